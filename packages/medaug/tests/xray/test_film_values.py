"""Exposure, scatter, grids and inversion of films by their physics."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

from medaug import AugmentationError
from medaug.draws import Draws
from medaug.xray.collimation import Collimation
from medaug.xray.exposure import Exposure
from medaug.xray.grid import GridLines
from medaug.xray.inversion import Inversion
from medaug.xray.markers import Markers
from medaug.xray.occluders import Occluders
from medaug.xray.scatter import Scatter

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]
MM = np.full((1, 2), 1.0)


def film(*shape: int) -> torch.Tensor:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    image[..., 0, 0], image[..., 0, 1] = 0, 1
    return image


@pytest.mark.parametrize("bright", [True, False])
def test_exposure_shifts_a_film_by_its_logarithm(bright):
    image = film(1, 1, 16, 16)
    out = Exposure(exposure=1.2, gain=1.0, response=0.0, range_neper=4.0, dense_is_bright=bright).change(
        image.clone(), Draws(KEYS[:1]), None
    )
    # ln 1.2 / 4 = 0.0456: more exposure, less density
    shift = np.log(1.2) / 4 * (-1 if bright else 1)
    torch.testing.assert_close(out, (image + shift).clamp(0, 1), atol=1e-6, rtol=0)


def test_gain_turns_contrast_about_the_middle_of_the_range():
    image = film(1, 1, 16, 16) * 4000 - 500
    out = Exposure(exposure=1.0, gain=0.5, response=0.0).change(image.clone(), Draws(KEYS[:1]), None)
    torch.testing.assert_close(out, 1500 + (image - 1500) * 0.5, atol=1e-2, rtol=0)


def test_a_bent_response_keeps_ends_middle_and_order():
    image = torch.linspace(0, 1, 101).view(1, 1, 1, 101)
    out = Exposure(exposure=1.0, gain=1.0, response=1.5).change(image.clone(), Draws(KEYS[:1]), None).flatten()
    assert out[[0, 50, 100]].numpy() == pytest.approx([0, 0.5, 1], abs=1e-6)
    assert (out.diff() > 0).all()
    # slope at the middle sqrt(1 + k²) = 1.80
    assert (out[51] - out[49]).item() / 0.02 == pytest.approx(np.sqrt(1 + 1.5**2), rel=0.01)


@pytest.mark.parametrize("bright", [True, False])
def test_scatter_lowers_the_contrast_of_a_small_detail_by_its_fraction(bright):
    # a faint dot of 5 mm on a flat field: blurred over 30 mm it vanishes in the veil, so its contrast in exposure falls by 1 - fraction
    image = torch.full((1, 1, 160, 160), 0.5)
    image[..., 78:83, 78:83] = 0.51 if bright else 0.49
    image[..., 0, 0], image[..., 0, -1] = 0.0, 1.0
    out = Scatter(fraction=0.4, sigma_mm=30.0, range_neper=4.0, dense_is_bright=bright).change(image.clone(), Draws(KEYS[:1]), MM)
    before, after = ((x[0, 0, 80, 80] - x[0, 0, 80, 60]).item() for x in (image, out))
    assert after / before == pytest.approx(0.6, abs=0.012)


def test_scatter_is_the_blurred_exposure():
    image = ndi.gaussian_filter(film(1, 1, 90, 120).numpy(), (0, 0, 6, 6))
    image = torch.from_numpy((image - image.min()) / np.ptp(image))
    spacing = np.array([[1.5, 0.8]])
    out = Scatter(fraction=0.3, sigma_mm=12.0, range_neper=3.0).change(image.clone(), Draws(KEYS[:1]), spacing)
    exposure = np.exp(-3.0 * image[0, 0].double().numpy())
    total = 0.7 * exposure + 0.3 * ndi.gaussian_filter(exposure, (12 / 1.5, 12 / 0.8), mode="reflect", truncate=6)
    np.testing.assert_allclose(out[0, 0].numpy(), -np.log(total) / 3, atol=2e-5)


def test_grid_lines_have_their_period_angle_and_amplitude():
    spacing = np.array([[0.5, 0.4]])
    flat = torch.full((1, 1, 200, 250), 100.0)
    flat[..., 0, 0] = 0.0
    out = GridLines(period_mm=5.0, angle_deg=30.0, amplitude=0.1).change(flat.clone(), Draws(KEYS[:1]), spacing)
    wave = (out - flat)[0, 0].double().numpy()
    assert np.abs(wave).max() == pytest.approx(10, rel=0.01)
    spectrum = np.abs(np.fft.fft2(wave))
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    frequency = np.array([np.fft.fftfreq(200, 0.5)[peak[0]], np.fft.fftfreq(250, 0.4)[peak[1]]])
    # field 100 x 100 mm: frequencies are found to 0.005 per mm
    assert np.hypot(*frequency) == pytest.approx(1 / 5, abs=0.006)
    turn = np.degrees(np.arctan2(frequency[0], frequency[1])) % 90
    assert turn == pytest.approx(30, abs=3)


def test_inversion_is_an_involution_and_swaps_the_ends():
    image = film(2, 1, 20, 20) * torch.tensor([1.0, 4000.0]).view(2, 1, 1, 1)
    once = Inversion().change(image.clone(), Draws(KEYS), None)
    assert torch.equal(once.amin((1, 2, 3)), image.amin((1, 2, 3)))
    assert torch.equal(once.flatten(1).argmin(1), image.flatten(1).argmax(1))
    twice = Inversion().change(once.clone(), Draws(KEYS), None)
    torch.testing.assert_close(twice, image, rtol=3e-7, atol=3e-7 * 4000)


def test_shutters_cover_what_their_margins_say():
    image = film(1, 1, 100, 200)
    out = Collimation(margin=0.1, rotation_deg=0.0, edge_mm=0.0, fill=1.0).change(image.clone(), Draws(KEYS[:1]), np.array([[2.0, 1.0]]))
    covered = out[0, 0] == 1.0
    assert torch.equal(out[0, 0, 11:89, 22:178], image[0, 0, 11:89, 22:178])
    assert covered[:9].all()
    assert covered[:, :18].all()
    assert covered[91:].all()
    assert covered[:, 182:].all()


def test_a_turned_field_has_the_area_and_the_edges_of_its_rectangle():
    image = torch.full((1, 1, 300, 300), 1.0)
    image[..., 150, 150] = 0.0
    out = Collimation(margin=0.2, rotation_deg=25.0, edge_mm=1.0, fill=0.0).change(image.clone(), Draws(KEYS[:1]), MM)[0, 0]
    # 60 % of 300 mm a side
    assert out.sum().item() == pytest.approx(180**2, rel=0.005)
    # the middle of an edge lies at 90 mm along the turned axis; the penumbra is half way there
    c, s = np.cos(np.radians(25.0)), np.sin(np.radians(25.0))
    for distance, value in ((87, 1.0), (93, 0.0)):
        assert out[round(149.5 + c * distance), round(149.5 - s * distance)].item() == pytest.approx(value, abs=0.02)


@pytest.mark.parametrize("op", [Exposure(), Scatter(), GridLines(), Collimation(), Markers(), Occluders()])
def test_volumes_are_no_films(op):
    with pytest.raises(AugmentationError, match="a film has 2"):
        op.change(torch.rand(1, 1, 4, 8, 8), Draws(KEYS[:1]), np.ones((1, 3)))


@pytest.mark.parametrize("op", [Scatter(), GridLines(), Collimation(), Markers(), Occluders()])
def test_films_without_spacing_are_refused_where_millimetres_count(op):
    with pytest.raises(AugmentationError, match="a: has no spacing"):
        op.change(film(1, 1, 16, 16), Draws(KEYS[:1]), None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exposure(gain=0.0),
        lambda: Scatter(fraction=1.0),
        lambda: GridLines(period_mm=0.0),
        lambda: Collimation(margin=0.6),
        lambda: Markers(words=("Q",)),
        lambda: Markers(words=()),
        lambda: Occluders(kinds=()),
        lambda: Occluders(count=(0, 1)),
        lambda: Inversion(p=2.0),
    ],
)
def test_senseless_options_of_films_are_refused(make):
    with pytest.raises(AugmentationError):
        make()
