"""Sheared stacks and uneven distances: refused, or interpolated where the caller chooses; proven on analytic fields and on a real head CT."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.valuerep import format_number_as_ds
from scipy import ndimage
from scipy.spatial.transform import Rotation

import medio
from medio import GeometryError

WriteSeries = Callable[..., list[Path]]
SHAPE = (20, 18)
SPACING = (0.8, 0.7)


def _field(points: np.ndarray) -> np.ndarray:
    """A linear field in the patient, which linear interpolation reproduces without error: 500 + 3x - 2y + 5z."""
    return 500 + points @ np.array([3.0, -2, 5])


def _slices(positions: np.ndarray, plane: np.ndarray) -> list:
    """Slices of the field, in thousandths."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    slices = []
    for position in positions:
        points = position + rows[..., None] * SPACING[0] * plane[3:] + columns[..., None] * SPACING[1] * plane[:3]
        values = np.rint(_field(points) * 1000).astype(np.int32)
        slices.append(
            (
                values,
                tuple(position),
                {
                    "ImageOrientationPatient": [format_number_as_ds(float(v)) for v in plane],
                    "RescaleSlope": "0.001",
                    "RescaleIntercept": "0",
                },
            )
        )
    return slices


def _inner(image: medio.Image, positions: np.ndarray, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels that lie between the outer pixels of every slice, and the field there."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.array.shape), indexing="ij"), axis=-1)
    points = medio.index_to_world(image.affine, index)
    inside = np.ones(image.array.shape, bool)
    for position in positions:
        for axis, spacing, count in ((plane[3:], SPACING[0], SHAPE[0]), (plane[:3], SPACING[1], SHAPE[1])):
            place = (points - position) @ axis / spacing
            inside &= (place >= -1e-6) & (place <= count - 1 + 1e-6)
    return image.array[inside], _field(points)[inside]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tilt=st.floats(-25, 25), side=st.floats(-8, 8), turn=st.tuples(*[st.floats(-90, 90)] * 3), distance=st.floats(0.5, 6))
def test_any_sheared_stack_is_resampled_to_where_the_field_is(
    write_series: WriteSeries, tmp_path_factory: pytest.TempPathFactory, tilt: float, side: float, turn: tuple, distance: float
) -> None:
    folder = tmp_path_factory.mktemp("ct")
    rotation = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
    plane = np.concatenate([rotation[:, 0], rotation[:, 1]])
    step = distance * (rotation[:, 2] + np.tan(np.radians(tilt)) * rotation[:, 1] + np.tan(np.radians(side)) * rotation[:, 0])
    positions = np.array([5.0, -7, 11]) + np.arange(5)[:, None] * step
    write_series(folder, _slices(positions, plane))
    image = medio.read(folder, tilt="resample")
    values, truth = _inner(image, positions, plane)
    # a plane is 16 mm by 12.6 mm and 4 slices shift it by up to 4 * 6 mm * tan 25 = 11 mm
    assert len(values) > 0
    assert np.abs(values - truth).max() < 2e-3  # stored in thousandths
    steps = image.affine[:3, :3] / image.spacing
    assert np.allclose(steps.T @ steps, np.eye(3), atol=1e-9)
    assert image.spacing == pytest.approx((distance, *SPACING), rel=1e-6)
    if abs(tilt) > 1 or abs(side) > 1:
        assert image.meta["resampled"]
        with pytest.raises(GeometryError, match=r"sheared by .*interpolate with tilt=\"resample\""):
            medio.read(folder)


def test_uneven_distances_are_resampled_to_the_usual_one(write_series: WriteSeries, tmp_path: Path) -> None:
    plane = np.array([1.0, 0, 0, 0, 1, 0])
    depth = np.array([0.0, 2, 4, 6, 11, 13, 14.5])  # usual 2 mm; one slice less than two missing, one too near
    positions = np.array([1.0, 2, 3]) + depth[:, None] * np.array([0, 0, 1.0])
    write_series(tmp_path / "ct", _slices(positions, plane))
    with pytest.raises(
        GeometryError, match=r"distances 1\.5, 2, 5 mm; usual 2\.00, but 5\.00 mm between 003\.dcm and 004\.dcm.*gaps=\"resample\""
    ):
        medio.read(tmp_path / "ct", tilt="resample")
    image = medio.read(tmp_path / "ct", gaps="resample")
    # 0, 2, … 14: the last plane at or before 14.5
    assert image.array.shape == (8, *SHAPE)
    assert image.spacing == (2, *SPACING)
    values, truth = _inner(image, positions, plane)
    assert len(values) == image.array.size
    assert np.abs(values - truth).max() < 2e-3
    assert image.meta["findings"][0].startswith("interpolated onto a regular grid: slices are not evenly spaced")


def test_what_no_slice_covers_is_the_smallest_value_and_nothing_is_cut(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.full((4, 6), 50, np.int16)
    pixels[1, 1] = -900
    # each slice lies two whole pixels (of 0.8 mm) further down
    write_series(tmp_path / "ct", [(pixels, (0, 1.6 * z, 2 * z), {}) for z in range(3)])
    image = medio.read(tmp_path / "ct", tilt="resample")
    assert image.array.shape == (3, 8, 6)
    for z in range(3):
        assert np.array_equal(image.array[z, 2 * z : 2 * z + 4], pixels)
        assert (np.delete(image.array[z], slice(2 * z, 2 * z + 4), axis=0) == -900).all()
    assert image.array.dtype == np.int16


def test_a_regular_stack_is_not_touched_by_either_choice(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (4, 6, 5)).astype(np.int16)
    write_series(tmp_path / "ct", [(pixels[z], (0, 0, 2 * z), {}) for z in range(4)])
    image = medio.read(tmp_path / "ct", tilt="resample", gaps="resample")
    assert np.array_equal(image.array, pixels)
    assert not image.meta["resampled"]


def test_a_slice_beside_the_stack_is_refused_whatever_is_chosen(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.int16)
    write_series(tmp_path / "ct", [(pixels, (3.0 if z == 2 else 0, 0, 2 * z), {}) for z in range(5)])
    with pytest.raises(GeometryError, match=r"002\.dcm lies 3\.00 mm beside the stack"):
        medio.read(tmp_path / "ct", tilt="resample", gaps="resample")


def test_an_unknown_choice_says_which_there_are(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", [(np.zeros((4, 4), np.int16), (0, 0, 2 * z), {}) for z in range(2)])
    with pytest.raises(ValueError, match="tilt must be one of 'refuse', 'resample', got 'fix'"):
        medio.read(tmp_path / "ct", tilt="fix")
    with pytest.raises(ValueError, match="threads must be at least 1 or None, got 0"):
        medio.read(tmp_path / "ct", threads=0)


def test_a_real_tilted_ct_is_resampled_to_what_its_own_slices_say(shared_data: Path) -> None:
    folder = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    image = medio.read(folder, tilt="resample", gaps="resample")
    # each source slice by itself, as a volume of one
    sources = [medio.read(path) for path in sorted(folder.iterdir())]
    normal = np.cross(sources[0].affine[:3, 2], sources[0].affine[:3, 1])
    normal /= np.linalg.norm(normal)
    sources.sort(key=lambda s: float(s.affine[:3, 3] @ normal))
    depth = np.array([s.affine[:3, 3] @ normal for s in sources])
    assert image.unit == "HU"
    assert image.spacing[0] == pytest.approx(4, abs=0.01)
    rng = np.random.default_rng(0)
    index = np.stack([rng.integers(0, n, 20000) for n in image.array.shape], axis=1)
    points = medio.index_to_world(image.affine, index)
    at = points @ normal
    above = np.clip(np.searchsorted(depth, at - 1e-6), 1, len(depth) - 1)
    values, inside = np.zeros((2, len(at))), np.ones(len(at), bool)
    for which, numbers in enumerate((above - 1, above)):
        for number in np.unique(numbers):
            here = numbers == number
            source = sources[number]
            place = medio.world_to_index(source.affine, points[here])[:, 1:]
            values[which, here] = ndimage.map_coordinates(source.array[0].astype(float), place.T, order=1, mode="nearest")
            inside[here] &= ((place >= 0) & (place <= np.array(source.array.shape[1:]) - 1)).all(axis=1)
    share = np.clip((at - depth[above - 1]) / (depth[above] - depth[above - 1]), 0, 1)
    expected = (1 - share) * values[0] + share * values[1]
    assert inside.sum() > 10000
    # rounded to whole HU once; positions in the header have 7 decimals, edges some 1000 HU a pixel
    assert np.abs(expected - image.array[tuple(index.T)])[inside].max() < 0.51


@pytest.mark.parametrize("far", [(0, 0, 1e6), (0, 900.0, 4)])
def test_slices_that_do_not_belong_together_are_not_bridged(write_series: WriteSeries, tmp_path: Path, far: tuple) -> None:
    pixels = np.zeros((4, 4), np.int16)
    write_series(tmp_path / "ct", [(pixels, (0, 0, 0), {}), (pixels, (0, 0, 2), {}), (pixels, far, {})])
    with pytest.raises(GeometryError, match=r"a regular grid would have .* too little of it is measured"):
        medio.read(tmp_path / "ct", tilt="resample", gaps="resample")
