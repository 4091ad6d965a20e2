"""Crops, margins and pasting back: no voxel moves in the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import medio
from medio import GeometryError, Image

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("zyx", (20, -10, 5), degrees=True).as_matrix()[:, ::-1] * (2.5, 0.8, 0.7)
AFFINE[:3, 3] = (-100, 50, 30)
VOLUME = Image(np.arange(2 * 5 * 6 * 7, dtype=np.int16).reshape(2, 5, 6, 7), AFFINE, (2.5, 0.8, 0.7), "HU", {"path": "ct"})
_cut = st.tuples(st.integers(0, 2), st.integers(3, 5))


@settings(max_examples=40)
@given(box=st.tuples(_cut, _cut, _cut), margins=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3))
def test_no_voxel_moves_by_a_crop_or_a_margin(box: tuple, margins: tuple) -> None:
    part = medio.crop(VOLUME, box)
    assert np.array_equal(part.array, VOLUME.array[(slice(None), *(slice(a, b) for a, b in box))])
    index = np.array([0, 1, 1])
    assert np.allclose(part.world(index), VOLUME.world(index + [a for a, _ in box]))
    wide = medio.pad(part, margins, fill=-1)
    before = np.array([b for b, _ in margins])
    assert np.allclose(wide.world(before + index), part.world(index))
    assert np.array_equal(medio.crop(wide, tuple((b, b + n) for b, n in zip(before, part.spatial_shape, strict=True))).array, part.array)
    assert (wide.array == -1).sum() == wide.array.size - part.array.size
    back = medio.paste_back(part, VOLUME, fill=-7)
    assert np.array_equal(np.where(back.array == -7, VOLUME.array, back.array), VOLUME.array)
    assert (back.array != -7).sum() == part.array.size
    assert np.array_equal(back.affine, VOLUME.affine)
    assert (part.unit, part.meta) == ("HU", {"path": "ct"})


def test_the_minimum_fills_a_margin_unless_told() -> None:
    film = Image(np.array([[5, 6], [7, 8]], np.uint8), None, (0.2, 0.1))
    padded = medio.pad(film, ((0, 1), (1, 0)))
    assert padded.array.tolist() == [[5, 5, 6], [5, 7, 8], [5, 5, 5]]
    assert (padded.affine, padded.spacing) == (None, (0.2, 0.1))


def test_a_crop_is_a_copy() -> None:
    part = medio.crop(VOLUME, ((0, 5), (0, 6), (0, 7)))
    part.array[...] = 0
    assert VOLUME.array.max() > 0


def test_films_go_back_by_their_box() -> None:
    film = Image(np.arange(12, dtype=np.uint8).reshape(3, 4), None, (1, 1))
    box = ((1, 3), (0, 2))
    part = medio.crop(film, box)
    assert medio.paste_back(part, film, box=box, fill=9).array.tolist() == [[9, 9, 9, 9], [4, 5, 9, 9], [8, 9, 9, 9]]
    with pytest.raises(GeometryError, match="does not know where it was cut out; pass box="):
        medio.paste_back(part, film)


@pytest.mark.parametrize(
    "box",
    [((0, 5), (0, 6)), ((0, 6), (0, 6), (0, 7)), ((2, 2), (0, 6), (0, 7)), ((-1, 5), (0, 6), (0, 7))],
    ids=["axes", "beyond", "empty", "negative"],
)
def test_a_box_that_does_not_fit_is_refused(box: tuple) -> None:
    with pytest.raises(GeometryError, match=r"ct: box .* within \(5, 6, 7\); clip it"):
        medio.crop(VOLUME, box)


def test_what_lies_between_the_voxels_is_not_pasted() -> None:
    part = medio.crop(VOLUME, ((0, 4), (0, 5), (0, 6)))
    coarse = medio.resample(part, spacing=(2.5, 1.6, 0.7))
    with pytest.raises(GeometryError, match=r"not on the grid of the whole image .*resample"):
        medio.paste_back(coarse, VOLUME)
    half = Image(part.array, AFFINE @ np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), part.spacing)
    with pytest.raises(GeometryError, match=r"off by 0\.5 voxels"):
        medio.paste_back(half, VOLUME)
    with pytest.raises(GeometryError, match="does not fill the box"):
        medio.paste_back(part, VOLUME, box=((0, 5), (0, 5), (0, 6)))
    with pytest.raises(GeometryError, match="pairs of 0 or more voxels"):
        medio.pad(VOLUME, ((-1, 0), (0, 0), (0, 0)))
