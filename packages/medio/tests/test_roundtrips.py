"""Any geometry goes out and comes back in every format, and others read it at the same place in the patient."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import medio
from medio import Image

WriteCT = Callable[..., list[Path]]
TOLERANCE_MM = 1e-4
FORMATS = ["nii.gz", "nii", "nrrd", "nhdr", "mha", "mhd"]


@st.composite
def geometries(draw: st.DrawFn, *, shear: bool = False, mirror: bool = True) -> tuple[np.ndarray, tuple[float, ...]]:
    """An affine of (z, y, x) indices: any rotation, anisotropic, perhaps flipped or sheared; places as large as scanners have them."""
    rotation = Rotation.from_euler("zyx", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    spacing = draw(st.tuples(*[st.floats(0.1, 10)] * 3))
    directions = rotation[:, ::-1] * (1, 1, 1)
    if mirror and draw(st.booleans()):
        directions[:, draw(st.integers(0, 2))] *= -1
    if shear:
        directions[:, 0] += draw(st.floats(-0.5, 0.5)) * directions[:, 1]
    affine = np.eye(4)
    affine[:3, :3] = directions / np.linalg.norm(directions, axis=0) * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine, spacing


def _corners(image: Image) -> np.ndarray:
    return np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in image.spatial_shape], indexing="ij"), axis=-1).reshape(-1, 3)


def _apart(a: Image, b: Image) -> float:
    """The largest distance in mm between the same corners of two images of one size."""
    return float(np.linalg.norm(a.world(_corners(a)) - b.world(_corners(a)), axis=1).max())


def _itk_places(path: Path, index: np.ndarray) -> np.ndarray:
    itk = SimpleITK.ReadImage(str(path))
    return np.array([itk.TransformContinuousIndexToPhysicalPoint([float(v) for v in i[::-1]]) for i in index])


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=12)
@given(
    geometry=geometries(shear=True),
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "f4", "f8"]),
    channels=st.sampled_from([(), (3,)]),
)
def test_any_geometry_comes_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, geometry: tuple, dtype: str, channels: tuple
) -> None:
    affine, spacing = geometry
    shape = (*channels, 2, 3, 4)
    image = Image((np.arange(np.prod(shape)).reshape(shape) % 127).astype(dtype), affine, spacing)
    path = tmp_path_factory.mktemp("trip") / f"a.{suffix}"
    medio.write(image, path)
    back = medio.read(path)
    assert back.array.dtype == image.array.dtype
    assert np.array_equal(back.array, image.array)
    assert _apart(back, image) < TOLERANCE_MM
    if suffix in ("nrrd", "nhdr"):
        assert np.array_equal(back.affine, affine)  # to the last bit


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=12)
@given(geometry=geometries())
def test_simpleitk_reads_our_files_at_the_same_place(tmp_path_factory: pytest.TempPathFactory, suffix: str, geometry: tuple) -> None:
    affine, spacing = geometry
    image = Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine, spacing)
    path = tmp_path_factory.mktemp("itk") / f"a.{suffix}"
    medio.write(image, path)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), image.array)
    # Positions of up to 500 mm in the float32 of NIfTI: 2**-24 * 500 = 3e-5 mm; SimpleITK makes its directions orthogonal once more.
    limit = 2 * TOLERANCE_MM if suffix.startswith("nii") else 1e-6
    assert np.abs(_itk_places(path, _corners(image)) - image.world(_corners(image))).max() < limit


@settings(max_examples=25)
@given(geometry=geometries(shear=True))
def test_nibabel_reads_our_files_at_the_same_place(tmp_path_factory: pytest.TempPathFactory, geometry: tuple) -> None:
    affine, spacing = geometry
    image = Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine, spacing)
    path = tmp_path_factory.mktemp("nib") / "a.nii"
    medio.write(image, path)
    other = nibabel.load(path)
    corners = _corners(image)
    places = nibabel.affines.apply_affine(other.affine, corners[:, ::-1]) * (-1, -1, 1)
    assert np.abs(places - image.world(corners)).max() < TOLERANCE_MM
    assert np.array_equal(np.asarray(other.dataobj).T, image.array)


@settings(max_examples=20)
@given(geometry=geometries(mirror=False))
def test_any_geometry_comes_back_from_dicom(tmp_path_factory: pytest.TempPathFactory, write_ct: WriteCT, geometry: tuple) -> None:
    affine, spacing = geometry  # slices run along the normal, as a reader sorts them
    stored = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    folder = tmp_path_factory.mktemp("ct")
    write_ct(folder, stored, affine)
    image = medio.read(folder)
    assert np.array_equal(image.array, stored - 1024)
    assert _apart(image, Image(image.array, affine, spacing)) < TOLERANCE_MM


@settings(max_examples=8)
@given(geometry=geometries(mirror=False), suffix=st.sampled_from(FORMATS))
def test_a_dicom_series_goes_through_every_other_format(
    tmp_path_factory: pytest.TempPathFactory, write_ct: WriteCT, geometry: tuple, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("ct")
    write_ct(folder / "dicom", np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), geometry[0])
    image = medio.read(folder / "dicom")
    medio.write(image, folder / f"a.{suffix}")
    back = medio.read(folder / f"a.{suffix}")
    assert np.array_equal(back.array, image.array)
    assert _apart(back, image) < TOLERANCE_MM


def test_real_volumes_go_through_every_format_and_simpleitk_agrees(shared_data: Path, tmp_path: Path) -> None:
    files = [
        *sorted((shared_data / "mr_hippocampus" / "images").glob("*.nii.gz"))[::60],
        *sorted((shared_data / "mr_hippocampus" / "labels").glob("*.nii.gz"))[::60],
        *sorted((shared_data / "ct_totalseg").glob("*.nii.gz")),
        shared_data / "ct_totalseg" / "example_ct_dicom",
        shared_data / "mr_ms_longitudinal" / "patient01" / "study1_FLAIR.nii.gz",
    ]
    assert len(files) > 8
    for file in files:
        image = medio.read(file)
        for suffix in ("nii.gz", "nrrd", "mha"):
            path = tmp_path / f"a.{suffix}"
            medio.write(image, path)
            back = medio.read(path)
            assert back.array.dtype == image.array.dtype, file
            assert np.array_equal(back.array, image.array), file
            assert _apart(back, image) < TOLERANCE_MM, file
            assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), image.array), file
            assert np.abs(_itk_places(path, _corners(image)) - image.world(_corners(image))).max() < 2 * TOLERANCE_MM, file


@pytest.mark.slow
def test_every_real_nifti_has_the_voxels_and_places_of_nibabel_and_simpleitk(shared_data: Path) -> None:
    files = [
        f for folder in ("mr_hippocampus", "ct_totalseg", "mr_ms_longitudinal") for f in sorted((shared_data / folder).rglob("*.nii.gz"))
    ]
    assert len(files) > 300
    for file in files:
        image, ras = medio.read(file), nibabel.load(file)
        assert np.array_equal(image.array, np.asarray(ras.dataobj).T), file
        corners = _corners(image)
        places = nibabel.affines.apply_affine(ras.affine, corners[:, ::-1]) * (-1, -1, 1)
        assert np.abs(places - image.world(corners)).max() < TOLERANCE_MM, file
        assert np.abs(_itk_places(file, corners) - image.world(corners)).max() < TOLERANCE_MM, file
