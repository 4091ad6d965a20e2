"""NIfTI: RAS outside, LPS inside, bits kept."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


def _volume(dtype: type = np.int16, shape: tuple[int, ...] = (3, 4, 5)) -> Image:
    return Image(np.arange(np.prod(shape)).reshape(shape).astype(dtype), AFFINE, (2.5, 0.8, 0.7))


def test_a_voxel_keeps_its_place_from_ras_to_lps(tmp_path: Path) -> None:
    array = np.zeros((5, 4, 3), np.int16)
    array[4, 1, 2] = 7
    # RAS affine: index (i, j, k) = (4, 1, 2) lies at (10 + 4*0.7, 20 + 1*0.8, 30 + 2*2.5) = (12.8, 20.8, 35) RAS = (-12.8, -20.8, 35) LPS
    ras = np.array([[0.7, 0, 0, 10], [0, 0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(array, ras), tmp_path / "a.nii.gz")
    image = medio.read(tmp_path / "a.nii.gz")
    assert image.array[2, 1, 4] == 7
    assert medio.index_to_world(image.affine, (2, 1, 4)) == pytest.approx((-12.8, -20.8, 35), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    shear=st.sampled_from([0.0, 0.3]),
    mirror=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64]),
)
def test_any_affine_and_type_round_trips(
    tmp_path_factory: pytest.TempPathFactory, angles: tuple, spacing: tuple, origin: tuple, shear: float, mirror: bool, dtype: type
) -> None:
    affine = np.eye(4)
    directions = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    directions[:, 0] += shear * directions[:, 1]
    affine[:3, :3] = directions / np.linalg.norm(directions, axis=0) * np.array(spacing) * (-1 if mirror else 1)
    affine[:3, 3] = origin
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    medio.write(Image(array, affine, spacing), path)
    back = medio.read(path)
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, array)
    # The format holds float32: a relative rounding of 2**-24 of each entry.
    assert np.abs(back.affine - affine).max() <= 2**-24 * np.abs(affine).max() + 1e-12
    if not shear:
        itk = SimpleITK.ReadImage(str(path))
        centre = tuple(float(v) for v in itk.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0)))
        # SimpleITK orthogonalises the float32 matrix: agreement to rounding over 3 voxels of 10 mm at 1 m
        assert medio.index_to_world(back.affine, (1, 2, 3)) == pytest.approx(centre, abs=1e-3)


def test_real_volumes_have_the_voxels_and_places_of_simpleitk_and_nibabel(shared_data: Path) -> None:
    files = [
        *sorted((shared_data / "mr_hippocampus").rglob("*.nii.gz"))[::40],
        *sorted((shared_data / "ct_totalseg").glob("*.nii.gz")),
        *sorted((shared_data / "mr_ms_longitudinal").rglob("*.nii.gz"))[:2],
    ]
    assert len(files) > 8
    for file in files:
        image, itk, ras = medio.read(file), SimpleITK.ReadImage(str(file)), nibabel.load(file)
        assert np.array_equal(image.array, SimpleITK.GetArrayFromImage(itk)), file
        far = tuple(n - 1 for n in image.array.shape)
        expected = itk.TransformIndexToPhysicalPoint(tuple(int(n) for n in far[::-1]))
        assert medio.index_to_world(image.affine, far) == pytest.approx(expected, abs=1e-4), file
        x, y, z = nibabel.affines.apply_affine(ras.affine, far[::-1])
        assert medio.index_to_world(image.affine, far) == pytest.approx((-x, -y, z), abs=1e-4), file


def test_a_header_without_either_code_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), None)
    image.header.set_sform(np.eye(4), code=0)
    image.header.set_qform(np.eye(4), code=0)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(GeometryError, match=r"a\.nii: sform_code and qform_code are both 0.*set one"):
        medio.read(tmp_path / "a.nii")


def test_the_sform_comes_before_the_qform(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), None)
    image.header.set_qform(np.diag([5.0, 5, 5, 1]), code=1)
    image.header.set_sform(np.diag([2.0, 3, 4, 1]), code=2)
    nibabel.save(image, tmp_path / "a.nii")
    assert medio.read(tmp_path / "a.nii").spacing == (4, 3, 2)


def test_metres_become_millimetres(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag([0.002, 0.003, 0.004, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    assert medio.read(tmp_path / "a.nii").spacing == pytest.approx((4, 3, 2), rel=1e-6)


def test_scaling_stays_whole_where_it_is_exact(tmp_path: Path) -> None:
    for name, slope, inter, dtype in (("whole", 2, -1024, np.int16), ("fraction", 0.5, 1, np.float32), ("large", 100, 0, np.float32)):
        image = nibabel.Nifti1Image(np.array([[[0, 1000]]], np.int16), np.eye(4))
        image.header.set_slope_inter(slope, inter)
        image.to_filename(tmp_path / f"{name}.nii")
        raw = bytearray((tmp_path / f"{name}.nii").read_bytes())
        raw[112:120] = np.array([slope, inter], np.float32).tobytes()  # scl_slope, scl_inter: nibabel resets them on saving
        raw[352:356] = np.array([0, 1000], np.int16).tobytes()
        (tmp_path / f"{name}.nii").write_bytes(raw)
        array = medio.read(tmp_path / f"{name}.nii").array
        assert (array.dtype, array.ravel().tolist()) == (dtype, [inter, 1000 * slope + inter])


def test_channels_become_the_first_axis(tmp_path: Path) -> None:
    image = Image(np.arange(48, dtype=np.int16).reshape(2, 2, 3, 4), AFFINE, (2.5, 0.8, 0.7))
    medio.write(image, tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").shape == (4, 3, 2, 2)
    assert np.array_equal(medio.read(tmp_path / "a.nii.gz").array, image.array)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_cut_file_is_corrupt_and_says_what_is_short(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 16)).astype(np.int16)
    medio.write(Image(noise, AFFINE, (2.5, 0.8, 0.7)), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=rf"{name}: ends before its voxels do .*8192 bytes of voxels declared"):
        medio.read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not an image", gzip.compress(b"nor this", mtime=0)])
def test_what_is_no_nifti_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"a\.nii\.gz: not a readable NIfTI header"):
        medio.read(tmp_path / "a.nii.gz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    medio.write(_volume(), path)
    before = path.read_bytes()
    with pytest.raises(UnsupportedError, match="not complex64"):
        medio.write(_volume(np.complex64), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_films_and_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="needs a volume"):
        medio.write(Image(np.zeros((4, 4), np.uint8), None, (1, 1)), tmp_path / "a.nii")
    with pytest.raises(UnsupportedError, match=r"written as \.nii, \.nii\.gz, \.nrrd, .*; choose one of these suffixes"):
        medio.write(_volume(), tmp_path / "a.npy")


def _saved(
    path: Path, array: np.ndarray, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int], kind: type = nibabel.Nifti1Image
) -> Path:
    image = kind(array, None)
    image.header.set_sform(sform, code=codes[0])
    image.header.set_qform(qform, code=codes[1])
    nibabel.save(image, path)
    return path


def test_sform_and_qform_of_one_frame_must_agree(tmp_path: Path) -> None:
    array, there = np.zeros((5, 4, 3), np.int16), np.diag([2.0, 3, 4, 1])
    near, far = there.copy(), there.copy()
    near[0, 3], far[0, 3] = 0.9, 1.1  # half a voxel is 1 mm
    for codes in ((1, 1), (2, 2)):
        assert medio.read(_saved(tmp_path / "a.nii", array, there, near, codes)).spacing == (4, 3, 2)
        with pytest.raises(
            GeometryError, match=rf"both claim frame {codes[0]} and lie up to 1\.1 mm apart; set the code of the wrong one to 0"
        ):
            medio.read(_saved(tmp_path / "a.nii", array, there, far, codes))
    # two frames may differ, and a form without a code says nothing
    for codes in ((2, 1), (1, 0)):
        assert medio.read(_saved(tmp_path / "a.nii", array, there, far, codes)).world((0, 0, 0)).tolist() == [0, 0, 0]
    assert medio.read(_saved(tmp_path / "a.nii", array, there, far, (0, 1))).world((0, 0, 0)).tolist() == pytest.approx([-1.1, 0, 0])


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_pairs_nifti2_and_both_byte_orders_have_the_values_of_nibabel(tmp_path: Path, kind: type, order: str, dtype: str) -> None:
    array = np.arange(60).reshape(5, 4, 3).astype(dtype)
    header = kind(array, np.eye(4), dtype=dtype).header.as_byteswapped(order)
    path = tmp_path / ("a.hdr" if kind is nibabel.Nifti1Pair else "a.nii")
    nibabel.save(kind(array, np.diag([0.7, 0.8, 2.5, 1]), header), path)
    size_of_header = np.frombuffer(path.read_bytes()[:4], order + "i4")[0]
    assert size_of_header in (348, 540)  # the file has the byte order of the case
    back = medio.read(path)
    assert back.array.dtype == np.dtype(dtype)
    assert np.array_equal(back.array, np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0))
    assert back.world((2, 1, 4)) == pytest.approx((-4 * 0.7, -0.8, 5), abs=1e-6)
    if kind is nibabel.Nifti1Pair:
        assert np.array_equal(medio.read(tmp_path / "a.img").array, back.array)
        (tmp_path / "a.img").unlink()
        with pytest.raises(MissingFileError, match=r"a\.hdr: the other file of its pair is missing"):
            medio.read(path)


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_become_channels(tmp_path: Path, names: str) -> None:
    record = np.dtype([(name, "u1") for name in names])
    values = np.random.default_rng(0).integers(0, 256, (5, 4, 3, len(names)), np.uint8)
    nibabel.save(nibabel.Nifti1Image(values.view(record)[..., 0], np.eye(4)), tmp_path / "a.nii.gz")
    assert np.array_equal(medio.read(tmp_path / "a.nii.gz").array, values.transpose(3, 2, 1, 0))


def test_micrometres_become_millimetres_and_a_unit_that_is_none_is_corrupt(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag([200.0, 300, 400, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    assert medio.read(tmp_path / "a.nii").spacing == pytest.approx((0.4, 0.3, 0.2), rel=1e-6)
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[123] = 7
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(CorruptFileError, match=r"a\.nii: xyzt_units is 7"):
        medio.read(tmp_path / "a.nii")


def test_analyze_does_not_know_left_from_right(tmp_path: Path) -> None:
    nibabel.save(nibabel.AnalyzeImage(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.img")
    with pytest.raises(GeometryError, match="nothing in it says left from right"):
        medio.read(tmp_path / "a.hdr")


def test_complex_values_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(UnsupportedError, match="type complex64"):
        medio.read(tmp_path / "a.nii")


def test_a_few_bytes_that_declare_a_huge_volume_take_no_memory(tmp_path: Path) -> None:
    medio.write(_volume(), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[42:48] = np.array([30000] * 3, "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw))
    for name in ("a.nii", "a.nii.gz"):
        with pytest.raises(CorruptFileError, match="54000000000000 bytes of voxels declared"):
            medio.read(tmp_path / name)


def test_a_negative_offset_of_the_voxels_is_corrupt(tmp_path: Path) -> None:
    medio.write(_volume(), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[108:112] = np.array([-400], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(CorruptFileError, match=r"a\.nii: .*(vox_offset is -400|not a readable NIfTI header)"):
        medio.read(tmp_path / "a.nii")
