"""Any geometry goes from a DICOM source to a SEG and back to the mask, voxel by voxel and in millimetres; and through NIfTI."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from scipy.spatial.transform import Rotation

import medio
from medio import Image, Segment, index_to_world
from medio.derived.segmentation_reader import decode

WriteCT = Callable[..., list[Path]]
SEGMENTS = [
    Segment(number=1, label="lung", code=("39607008", "SCT", "Lung")),
    Segment(number=2, label="nodule", code=("27925004", "SCT", "Nodule")),
]
# rows and columns of a plane in LPS: axial, coronal, sagittal; columns of the affine are (z, y, x)
PLANES = {"axial": np.eye(3)[:, [2, 1, 0]], "coronal": np.eye(3)[:, [1, 2, 0]], "sagittal": np.eye(3)[:, [0, 2, 1]]}


@dataclass(frozen=True)
class Case:
    """A source series, and a mask on its frames."""

    affine: np.ndarray  # index (z, y, x) to LPS mm, of the grid from which frames may be missing
    kept: tuple[int, ...]  # slices of the grid that have a frame
    stack: np.ndarray  # (2, D, H, W), on the kept frames
    kind: str

    @property
    def regular(self) -> bool:
        """Whether one affine describes the frames."""
        return len(set(np.diff(self.kept))) <= 1

    @property
    def sheared(self) -> bool:
        """Whether the stack leans."""
        normal = np.cross(self.affine[:3, 2], self.affine[:3, 1])
        step = self.affine[:3, 0]
        return abs(step @ normal) / np.linalg.norm(step) / np.linalg.norm(normal) < 1 - 1e-9


@st.composite
def cases(draw: Any) -> Case:
    shape = tuple(draw(st.integers(1, n)) for n in (5, 7, 9))
    spacing = [draw(st.sampled_from([0.1, 0.5, 0.703125, 1.0, 3.3, 7.0])) for _ in range(3)]
    angles = draw(st.tuples(*[st.sampled_from([0.0, 0.0, 10.0, -33.3, 90.0, 180.0])] * 3))
    turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() @ PLANES[draw(st.sampled_from(sorted(PLANES)))]
    # files are ordered along the normal, row x column: the grid that they span runs so
    if np.linalg.det(turn[:, ::-1]) < 0:
        turn[:, 0] *= -1
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 0] += draw(st.sampled_from([0.0, 0.0, 0.4])) * affine[:3, 1]  # shear, as of a gantry
    affine[:3, 3] = draw(st.tuples(*[st.sampled_from([-500.0, 0.0, 12.34])] * 3))
    kept = draw(st.sets(st.integers(0, shape[0] - 1), min_size=1)) if draw(st.booleans()) else range(shape[0])
    kept = tuple(sorted(kept))
    bits = draw(st.integers(0, 2**32 - 1))
    stack = (np.random.default_rng(bits).random((2, len(kept), *shape[1:])) < 0.3).astype(np.uint8)
    kind = draw(st.sampled_from(["BINARY", "FRACTIONAL", "LABELMAP"][shape[1] * shape[2] < 8 :]))  # no BINARY below 8 pixels a frame
    if kind == "LABELMAP":
        stack[1] &= ~stack[0] & 1
    return Case(affine, kept, stack, kind)


def _write_source(write_ct: WriteCT, folder: Path, case: Case) -> list[Path]:
    whole = write_ct(folder, np.zeros((case.kept[-1] + 1, *case.stack.shape[2:]), np.uint16), case.affine)
    # the writer takes directions and positions from the affine: its own slice step may lean
    for z, path in enumerate(whole):
        if z not in case.kept:
            path.unlink()
    return [path for z, path in enumerate(whole) if z in case.kept]


def _check(write_ct: WriteCT, folder: Path, case: Case) -> None:
    for old in folder.rglob("*"):
        if old.is_file():
            old.unlink()
    files = _write_source(write_ct, folder / "ct", case)
    path = medio.write_segmentation(case.stack, files, SEGMENTS, folder / "seg.dcm", affine=None, kind=case.kind)

    # voxel by voxel on the frames of the source, whatever their places
    assert np.array_equal(medio.read_segmentation_frames(path, files, overlap="stack"), case.stack)

    # in millimetres, by the header of the source alone
    found = decode(path, None).centroids()
    for number, mask in enumerate(case.stack, 1):
        if not mask.any():
            assert number not in found
            continue
        points = [
            np.array(ds.ImagePositionPatient, float)
            + np.array(ds.ImageOrientationPatient[:3], float) * ds.PixelSpacing[1] * x
            + np.array(ds.ImageOrientationPatient[3:], float) * ds.PixelSpacing[0] * y
            for plane, ds in zip(mask, (dcmread(file, stop_before_pixels=True) for file in files), strict=True)
            for y, x in np.argwhere(plane)
        ]
        assert np.allclose(found[number][1], np.mean(points, axis=0), atol=1e-4)
        assert found[number][0] == pytest.approx(len(points))

    # on the grid from which the frames were taken; absent frames are background
    shape = (case.kept[-1] + 1, *case.stack.shape[2:])
    spacing = tuple(float(v) for v in np.linalg.norm(case.affine[:3, :3], axis=0))
    on_grid = medio.read_segmentation(path, like=Image(np.zeros(shape), case.affine, spacing), overlap="stack")
    expected = np.zeros((2, *shape))
    expected[:, list(case.kept)] = case.stack
    assert np.array_equal(on_grid.array, expected)

    # where one affine describes the source, by that affine too, and on through NIfTI
    if case.regular and not case.sheared:
        image = medio.read(files)
        again = medio.write_segmentation(case.stack, files, SEGMENTS, folder / "again.dcm", affine=image.affine, kind=case.kind)
        back = medio.read_segmentation(again, like=image, overlap="stack")
        assert np.array_equal(back.array, case.stack)
        labels = Image(back.array[0].astype(np.uint8), back.affine, back.spacing)
        medio.write(labels, folder / "mask.nii.gz")
        nifti = medio.read(folder / "mask.nii.gz")
        if case.stack[0].any():
            there = index_to_world(nifti.affine, np.argwhere(nifti.array).mean(axis=0))
            assert np.allclose(there, found[1][1], atol=1e-3)  # NIfTI keeps float32: 3e-5 at 500 mm, times the size
            assert np.count_nonzero(nifti.array) == np.count_nonzero(case.stack[0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_mask_on_any_geometry_comes_back(write_ct: WriteCT, tmp_path: Path, case: Case) -> None:
    _check(write_ct, tmp_path, case)


@pytest.mark.slow
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_mask_on_many_more_geometries_comes_back(write_ct: WriteCT, tmp_path: Path, case: Case) -> None:
    _check(write_ct, tmp_path, case)


@pytest.mark.parametrize("axes", ["SPL", "IPL", "SAL", "SPR", "LPS", "PSL", "RAI", "AIR"])
def test_a_mask_is_read_on_its_grid_in_any_order_and_direction(write_ct: WriteCT, tmp_path: Path, axes: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = PLANES["axial"] * [2.5, 0.8, 0.7]
    files = write_ct(tmp_path / "ct", np.zeros((4, 6, 8), np.uint16), affine)
    labels = np.random.default_rng(0).integers(0, 3, (4, 6, 8)).astype(np.uint8)
    path = medio.write_segmentation(labels, files, SEGMENTS, tmp_path / "seg.dcm", affine=affine)
    turned = medio.reorient(Image(labels, affine, (2.5, 0.8, 0.7)), axes)
    assert np.array_equal(medio.read_segmentation(path, like=turned).array, turned.array)


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("mr_philips_elition_mprage", "1301_00[0-1]*.dcm"),
        ("ct_ge_hispeed_variable_spacing_tilt", "*.dcm"),
    ],
)
def test_real_series_take_any_kind_on_their_frames(shared_data: Path, tmp_path: Path, folder: str, pattern: str) -> None:
    files = sorted((shared_data / "dicom_multivendor" / folder).rglob(pattern))
    by_place: dict[tuple[float, ...], Path] = {}
    for file in files:
        by_place.setdefault(tuple(dcmread(file, stop_before_pixels=True).ImagePositionPatient), file)
    files = list(by_place.values())  # of a DTI, one direction
    header = dcmread(files[0], stop_before_pixels=True)
    stack = (np.random.default_rng(1).random((2, len(files), header.Rows, header.Columns)) < 0.01).astype(np.uint8)
    for kind in ("BINARY", "FRACTIONAL"):
        path = medio.write_segmentation(stack, files, SEGMENTS, tmp_path / f"{kind}.dcm", affine=None, kind=kind)
        assert np.array_equal(medio.read_segmentation_frames(path, files, overlap="stack"), stack)
