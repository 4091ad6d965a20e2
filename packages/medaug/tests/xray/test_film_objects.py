"""What is drawn on films: letters, devices."""

import numpy as np
import pytest
import torch
from skimage.draw import disk, line

from medaug.draws import Draws
from medaug.xray.font import word_dots
from medaug.xray.markers import Markers
from medaug.xray.occluders import Occluders, _paint_torch, paint_capsules

CPU = torch.device("cpu")
MM = np.full((1, 2), 0.5)


def dark_film(size: int = 256) -> torch.Tensor:
    image = torch.zeros(1, 1, size, size)
    image[..., size // 2, size // 2] = 1.0
    return image


@pytest.mark.parametrize("word", ["L", "R", "AP", "ERECT", "SUPINE", "PORTABLE"])
def test_a_marker_reads_as_its_word(word):
    # 0.5 mm pixels, letters of 14 mm: a dot is 4 pixels; take the middle of each
    out = Markers(words=(word,), height_mm=14.0, margin_mm=6.0, density=1.0).change(dark_film(512), Draws([(0, 0, "a", 0)]), MM)[0, 0]
    out[256, 256] = 0.0
    rows, columns = (torch.nonzero(out.amax(axis) > 0.5).flatten() for axis in (1, 0))
    assert len(rows) == 28
    read = out[rows[0] + 2 : rows[-1] + 1 : 4, columns[0] + 2 : columns[-1] + 1 : 4] > 0.5
    dots = word_dots(word)
    lit = np.flatnonzero(dots.any(0))
    np.testing.assert_array_equal(read.numpy(), dots[:, lit[0] : lit[-1] + 1])


def test_no_two_letters_look_alike():
    pictures = {word_dots(letter).tobytes() for letter in "ABCDEILNOPRSTU"}
    assert len(pictures) == 14


def test_side_markers_lie_on_the_side_they_name():
    # the patient's left is shown on the right
    for word, right in (("L", True), ("R", False)):
        for i in range(12):
            out = Markers(words=(word,)).change(dark_film(), Draws([(0, 0, str(i), 0)]), np.full((1, 2), 1.5))[0, 0]
            out[128, 128] = 0.0
            columns = torch.nonzero(out.amax(0) > 0.5).flatten()
            assert len(columns)
            assert ((columns > 128) == right).all()


def test_markers_are_dark_where_dense_is_dark():
    film = 1 - dark_film()
    out = Markers(words=("R",), density=1.0, dense_is_bright=False).change(film.clone(), Draws([(0, 0, "a", 0)]), np.full((1, 2), 1.5))
    written = out != film
    assert written.any()
    assert (out[written] == 0).all()


def test_a_capsule_is_a_disc_and_a_line():
    capsules = np.array([[[60.0, 50.0, 60.0, 50.0, 20.0, 1.0], [10.0, 10.0, 90.0, 130.0, 1.0, 0.5]]])
    painted = paint_capsules(capsules, np.ones((1, 2)), (128, 160), CPU)[0, 0].numpy()
    rows, columns = disk((59.5, 49.5), 19, shape=painted.shape)
    assert (painted[rows, columns] == 1).all()
    # pi 20² = 1257 with soft rims; the line crosses it
    only_disc = paint_capsules(capsules[:, :1], np.ones((1, 2)), (128, 160), CPU)
    assert only_disc.sum().item() == pytest.approx(np.pi * 400, rel=0.01)
    rows, columns = line(10, 10, 89, 129)
    assert (painted[rows, columns] >= 0.5).mean() > 0.95
    only_line = paint_capsules(capsules[:, 1:], np.ones((1, 2)), (128, 160), CPU)
    # length 144.2 times width 2, and two half discs, at density 0.5
    assert only_line.sum().item() == pytest.approx(0.5 * (np.hypot(80, 120) * 2 + np.pi), rel=0.03)


def test_both_ways_of_painting_agree():
    rng = np.random.default_rng(0)
    capsules = np.concatenate([rng.uniform(-10, 60, (2, 9, 4)), rng.uniform(0, 9, (2, 9, 1)), rng.uniform(0, 1, (2, 9, 1))], axis=2)
    capsules[:, 3, 4] = 0
    pixel = np.array([[1.0, 0.8], [0.6, 1.1]])
    torch.testing.assert_close(
        paint_capsules(capsules, pixel, (50, 61), CPU), _paint_torch(capsules, pixel, (50, 61), CPU), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("kind", ["pacemaker", "tube", "electrode"])
def test_devices_only_add_density_and_never_beyond_the_top(kind):
    image = torch.rand(6, 1, 128, 128, generator=torch.Generator().manual_seed(1))
    draws = Draws([(0, 0, str(i), 0) for i in range(6)])
    out = Occluders(kinds=(kind,), count=(1, 1)).change(image.clone(), draws, np.full((6, 2), 3.0))
    assert (out >= image - 1e-6).all()
    assert (out <= image.amax((1, 2, 3), keepdim=True) + 1e-6).all()
    share = ((out - image) > 1e-3).float().mean((1, 2, 3))
    # a few mm to cm of a film of 384 mm
    assert (share > 0.0005).all()
    assert (share < 0.08).all()


def test_a_pacemaker_is_the_size_of_one():
    # capsule of radius 16 to 22 mm and length 8 to 17 mm: 1060 to 2270 mm², less than 7 % of it lead
    image = torch.zeros(8, 1, 256, 256)
    image[:, :, 200, 5] = 1.0
    out = Occluders(kinds=("pacemaker",), count=(1, 1)).change(image, Draws([(0, 0, str(i), 0) for i in range(8)]), np.full((8, 2), 1.5))
    area = (out > 0.55).float().sum((1, 2, 3)) * 1.5**2
    assert (area > 950).all()
    assert (area < 2700).all()
