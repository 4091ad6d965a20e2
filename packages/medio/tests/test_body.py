"""The box around a patient: exact on phantoms whose truth is known, and whole on real ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import medio
from medio import GeometryError, Image

SPACING = (2.5, 1.0, 1.2)
SHAPE = (60, 200, 220)


def _grid() -> list[np.ndarray]:
    return [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True)]


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    z, y, x = np.ix_(*_grid())
    return ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((x - centre[2]) / radii[2]) ** 2 <= 1


def _box(mask: np.ndarray) -> tuple:
    places = np.nonzero(mask)
    return tuple((int(p.min()), int(p.max()) + 1) for p in places)


def _ct(array: np.ndarray) -> Image:
    affine = np.array([[0, 0, 1.2, -110], [0, 1.0, 0, -120], [2.5, 0, 0, 30], [0, 0, 0, 1]])
    return Image(array, affine, SPACING, "HU", {"modality": "CT"})


def _phantom(noise: float = 20) -> tuple[Image, np.ndarray]:
    body = _ellipsoid((0, 0, 0), (55, 60, 90))
    array = np.random.default_rng(0).normal(0, noise, SHAPE) + np.where(body, 40.0, -1000.0)
    array[_ellipsoid((0, -5, 40), (40, 30, 25))] -= 850  # a lung: dark inside the body
    array[:, 178:184] = 100  # a table of 6 mm, 18 mm under the back
    array[:, 186:187, 20:200] = 400
    return _ct(array.astype(np.int16)), body


@pytest.mark.parametrize("unit", ["HU", ""])
def test_the_box_of_a_body_on_a_table_is_exact(unit: str) -> None:
    image, body = _phantom()
    cropped, box = medio.crop_to_body(replace(image, unit=unit))
    assert box == _box(body)
    assert np.array_equal(cropped.array, image.array[tuple(slice(*b) for b in box)])
    start = [a for a, _ in box]
    assert np.allclose(cropped.world((0, 0, 0)), image.world(start))


def test_a_margin_is_millimetres_rounded_up_within_the_image() -> None:
    image, body = _phantom()
    _, box = medio.crop_to_body(image, margin_mm=3)
    # 3 mm are 2 slices of 2.5, 3 rows of 1.0, 3 columns of 1.2 mm
    assert box == tuple((max(0, a - m), min(n, b + m)) for (a, b), m, n in zip(_box(body), (2, 3, 3), SHAPE, strict=True))


def test_a_thick_table_is_not_the_largest_part_and_legs_are_kept() -> None:
    legs = _ellipsoid((0, 0, -50), (70, 35, 35)) | _ellipsoid((0, 0, 50), (70, 35, 35))
    array = np.where(legs, 40, -1000).astype(np.int16)
    array[:, 150:165, 90:120] = 60  # too thick to be opened away, 12 % of a leg
    _, box = medio.crop_to_body(_ct(array))
    assert box == _box(legs)


def test_dim_skin_round_dark_bone_is_body_in_mr() -> None:
    rng = np.random.default_rng(1)
    skin, bone, brain = (_ellipsoid((0, 0, 0), radii) for radii in ((65, 80, 65), (61, 76, 61), (53, 68, 53)))
    signal = np.where(brain, 300.0, np.where(bone, 5.0, np.where(skin, 90.0, 0.0)))
    magnitude = np.hypot(signal + rng.normal(0, 6, SHAPE), rng.normal(0, 6, SHAPE))  # Rician noise, as MR has it
    image = replace(_ct(magnitude.astype(np.uint16)), unit="", meta={})
    _, box = medio.crop_to_body(image)
    for (a, b), (start, stop) in zip(box, _box(skin), strict=True):
        assert abs(a - start) <= 1  # noise may stand beside the skin
        assert abs(b - stop) <= 1


def test_a_result_on_the_crop_goes_back_to_its_place() -> None:
    image, _ = _phantom()
    cropped, box = medio.crop_to_body(image)
    organ = _ellipsoid((0, 0, 0), (20, 20, 20))
    found = replace(cropped, array=medio.crop(replace(image, array=organ), box).array)
    whole = medio.paste_back(found, image)
    assert np.array_equal(whole.array, organ)
    assert np.array_equal(whole.affine, image.affine)


def test_channels_are_cropped_together() -> None:
    image, body = _phantom()
    cropped, box = medio.crop_to_body(replace(image, array=np.stack([image.array, -image.array])))
    assert box == _box(body)
    assert cropped.array.shape == (2, *(b - a for a, b in box))


def test_nothing_to_find_is_an_error() -> None:
    with pytest.raises(GeometryError, match=r"nothing larger than 12 mm is brighter than -500; pass threshold="):
        medio.crop_to_body(_ct(np.full(SHAPE, -1000, np.int16)))
    with pytest.raises(GeometryError, match="not a film"):
        medio.crop_to_body(Image(np.zeros((4, 4)), None, (1, 1)))
    with pytest.raises(ValueError, match="0 or more"):
        medio.crop_to_body(_phantom()[0], margin_mm=-1)


@pytest.mark.parametrize(
    ("scan", "masks"),
    [("example_ct_dicom", "example_seg_dicom"), ("example_ct_sm.nii.gz", "example_seg"), ("example_mr_sm.nii.gz", "example_seg_mr")],
)
def test_the_box_of_a_real_body_holds_every_organ(shared_data: Path, scan: str, masks: str) -> None:
    image = medio.read(shared_data / "ct_totalseg" / scan)
    organs = medio.resample(medio.read(shared_data / "ct_totalseg" / f"{masks}.nii.gz"), like=image, order=0)
    _, box = medio.crop_to_body(image)
    inner = _box(organs.array > 0)
    assert all(a <= start and stop <= b for (a, b), (start, stop) in zip(box, inner, strict=True))
    assert np.prod([b - a for a, b in box]) < 0.97 * image.array.size


def test_the_table_of_a_real_ct_is_left_out(shared_data: Path) -> None:
    image = medio.read(shared_data / "ct_totalseg" / "example_ct_dicom")
    _, ((z0, z1), (y0, y1), _) = medio.crop_to_body(image)
    assert (z0, z1) == (0, 20)
    # the couch: several rows of it, wide and brighter than air, lie behind the back in every slice
    assert ((image.array[:, y1 + 5 :] > -500).sum(axis=(1, 2)) > 1000).all()
    # and nothing wide lies in front of the chest
    assert (image.array[:, :y0] > -500).sum() < 1000


def test_a_real_head_keeps_its_skin(shared_data: Path) -> None:
    image = medio.read(shared_data / "mr_ms_longitudinal" / "patient01" / "study1_FLAIR.nii.gz")
    _, box = medio.crop_to_body(image)
    middle = image.array[len(image.array) // 2].astype(float)
    # skin: smoothed rows and columns at a tenth of the brain's brightness, an independent and simpler rule
    bright = middle > 0.1 * np.percentile(middle, 99)
    for axis, (a, b) in ((1, box[1]), (0, box[2])):
        places = np.flatnonzero(bright.sum(axis=axis) > 5)
        assert a <= places.min() + 3
        assert b >= places.max() - 2
