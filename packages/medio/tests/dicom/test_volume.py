"""DICOM series: order, values, geometry, and every reason to refuse one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless, generate_uid
from scipy.spatial.transform import Rotation

import medio
from medio import CorruptFileError, GeometryError, MissingFileError, UnsupportedError

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


def _stored(depth: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4096, (depth, 12, 16)).astype(np.uint16)


def _edit(path: Path, **changes: object) -> None:
    ds = dcmread(path)
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.save_as(path)


def _itk_geometry(image: SimpleITK.Image) -> np.ndarray:
    affine = np.eye(4)
    # ITK's columns are steps along x, y, z; ours along z, y, x. Both worlds are LPS.
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


def _itk_series(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _farthest_corner_mm(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max())


def test_a_written_series_reads_back_in_the_order_of_its_positions_whatever_its_names(write_ct: WriteCT, tmp_path: Path) -> None:
    stored = _stored()
    write_ct(tmp_path / "ct", stored, AFFINE)  # names run against z
    image = medio.read(tmp_path / "ct")
    assert np.array_equal(image.array, stored.astype(np.int32) - 1024)
    assert (image.array.dtype, image.unit, image.spacing) == (np.int16, "HU", (2.5, 0.8, 0.7))
    assert np.allclose(image.affine, AFFINE, atol=1e-9)
    assert image.meta["paths"][0].endswith("006.dcm")


def test_folder_list_and_shuffled_list_read_the_same(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    whole, listed = medio.read(tmp_path / "ct"), medio.read([str(p) for p in paths[3:] + paths[:3]])
    assert np.array_equal(whole.array, listed.array)
    assert np.array_equal(whole.affine, listed.affine)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_any_geometry_comes_back_from_dicom_as_simpleitk_sees_it(
    write_ct: WriteCT, tmp_path_factory: pytest.TempPathFactory, angles: tuple, spacing: tuple, origin: tuple
) -> None:
    folder = tmp_path_factory.mktemp("ct")
    rotation = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, ::-1] * np.array(spacing)  # columns z, y, x of a right-handed frame: z = x cross y, as DICOM's normal
    affine[:3, 3] = origin
    stored = _stored(3)
    write_ct(folder, stored, affine)
    image = medio.read(folder)
    assert np.array_equal(image.array, stored.astype(np.int32) - 1024)
    # Decimal strings have 16 characters: some 1e-10 of rounding, over a few voxels far below 1e-4 mm.
    assert _farthest_corner_mm(image.affine, affine, stored.shape) < 1e-4
    assert _farthest_corner_mm(image.affine, _itk_geometry(_itk_series(folder)), stored.shape) < 1e-4


@pytest.mark.parametrize(
    ("folder", "tolerance"),
    [
        (
            "dicom_multivendor/mr_philips_elition_mprage",
            2e-4,
        ),  # slope 2.36: ITK gives float64, we the nearest float32, at most 2**-24 of 4000 off
        ("ct_totalseg/example_ct_dicom", 0),  # JPEG 2000
        ("dicom_decode/dcmqi/data/segmentations/ct-3slice", 0),
        ("dicom_decode/dcmqi/data/segmentations/23x38x3/image", 0),
    ],
)
def test_real_series_have_the_geometry_and_values_of_simpleitk(shared_data: Path, folder: str, tolerance: float) -> None:
    image, itk = medio.read(shared_data / folder), _itk_series(shared_data / folder)
    assert np.abs(SimpleITK.GetArrayFromImage(itk).astype(np.float64) - image.array).max() <= tolerance
    assert _farthest_corner_mm(image.affine, _itk_geometry(itk), image.array.shape) < 1e-4


def test_real_mprage_names_the_raw_data_object_that_it_passed_over(shared_data: Path) -> None:
    folder, raw = shared_data / "dicom_multivendor" / "mr_philips_elition_mprage", "1301_WIP_ADNI_Sag3D_MPRAGE_Raw.dcm"
    assert medio.read([*sorted(folder.glob("1301_00[0-2]*.dcm")), folder / raw]).meta["skipped"] == (raw,)


def test_real_tilted_ct_with_three_slice_distances_is_refused_with_both_reasons(shared_data: Path) -> None:
    folder = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    with pytest.raises(GeometryError, match=r"tilt.*18\.5 degrees.*not evenly spaced.*1\.08, 4, 7 mm.*exclude the series"):
        medio.read(folder)


def test_real_enhanced_mr_is_placed_frame_by_frame_as_in_simpleitk(shared_data: Path) -> None:
    path = shared_data / "dicom_multivendor" / "mr_siemens_vida_enhanced_agfa_pacs" / "011-0001.img"
    image, itk = medio.read(path), SimpleITK.ReadImage(str(path))
    assert np.array_equal(image.array, SimpleITK.GetArrayFromImage(itk))
    first = dcmread(path).PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    assert np.allclose(image.affine[:3, 3], [float(v) for v in first], atol=1e-6)
    assert image.spacing == pytest.approx((3.3, 3.28125, 3.28125), abs=1e-6)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mr_philips_enhanced", r"2 volumes: 'magnitude' \(32 slices\), 'B0 map' \(32 slices\); choose one, e\.g\. volume='magnitude'"),
        ("mr_siemens_vida_enhanced_agfa_pacs", r"4 volumes: 'time 1' \(25 slices\), .*'time 4'"),
        ("mr_siemens_skyra_epi_3", r"2 volumes: 'time 1' \(5 slices\), 'time 2'"),
        ("mr_uih_umr770_dti", r"17 volumes: 'b1' \(20 slices\), 'b930 #1' .*, and 9 more; choose one"),
    ],
)
def test_real_series_of_several_volumes_are_listed_not_mixed(shared_data: Path, where: str, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        medio.read(shared_data / "dicom_multivendor" / where)


def test_a_missing_slice_is_named_with_its_neighbours(write_ct: WriteCT, tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", _stored(), AFFINE)[2].unlink()
    # z=2 is gone: 005.dcm (z=1) and 003.dcm (z=3) are then 5 mm apart
    with pytest.raises(GeometryError, match=r"ct: .*5\.00 mm between 005\.dcm and 003\.dcm.*fetch missing slices"):
        medio.read(tmp_path / "ct")


@pytest.mark.parametrize("uid", [None, "1.2.3"])
def test_a_copy_of_a_slice_is_dropped_and_said_whatever_its_uid(write_ct: WriteCT, tmp_path: Path, uid: str | None) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    copy = tmp_path / "ct" / "copy.dcm"
    copy.write_bytes(paths[1].read_bytes())
    if uid:
        _edit(copy, SOPInstanceUID=uid)
    image = medio.read(tmp_path / "ct")
    assert np.array_equal(image.array, _stored().astype(np.int32) - 1024)
    assert image.meta["findings"] == ("copy.dcm is a copy of 005.dcm: dropped",)


def test_one_uid_with_two_sets_of_pixels_is_damage(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    (tmp_path / "ct" / "copy.dcm").write_bytes(paths[1].read_bytes()[:-2] + b"\1\1")
    with pytest.raises(CorruptFileError, match=r"copy\.dcm: has the SOPInstanceUID of 005\.dcm and other pixels; one of them is damaged"):
        medio.read(tmp_path / "ct")


def test_two_different_slices_at_one_place_that_nothing_tells_apart_are_refused(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    other = tmp_path / "ct" / "other.dcm"
    other.write_bytes(paths[1].read_bytes()[:-2] + b"\1\1")
    _edit(other, SOPInstanceUID="1.2.3")
    with pytest.raises(
        GeometryError, match=r"7 slices at 6 positions, e\.g\. 005\.dcm and other\.dcm at the same one with different pixels"
    ):
        medio.read(tmp_path / "ct")


def test_a_localizer_among_the_slices_is_named(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    _edit(paths[0], ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"])
    said = r"2 volumes: 'axial' \(5 slices\), 'coronal' \(1 slice\) \(mixed orientations: 001\.dcm lies axial, 006\.dcm lies coronal\); choose one"
    with pytest.raises(UnsupportedError, match=said):
        medio.read(tmp_path / "ct")
    assert medio.read(tmp_path / "ct", volume="axial").array.shape == (5, 12, 16)
    assert medio.read(tmp_path / "ct", volume="coronal").array.shape == (1, 12, 16)
    with pytest.raises(UnsupportedError, match="has no volume 'sagittal'; it holds 'axial'"):
        medio.read(tmp_path / "ct", volume="sagittal")


def test_slices_of_another_size_or_spacing_are_named(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    _edit(paths[5], PixelSpacing=["0.9", "0.7"])
    with pytest.raises(UnsupportedError, match=r"mixed pixel spacings: 002\.dcm has 0\.8 x 0\.7 mm, 001\.dcm has 0\.9 x 0\.7 mm"):
        medio.read(tmp_path / "ct")
    _edit(paths[5], PixelSpacing=["0.8", "0.7"], Rows=6, Columns=32)
    with pytest.raises(UnsupportedError, match=r"mixed sizes: 002\.dcm is 12x16, 001\.dcm is 6x32"):
        medio.read(tmp_path / "ct")


def test_a_sheared_stack_is_never_called_a_volume(write_ct: WriteCT, tmp_path: Path) -> None:
    tilted = AFFINE.copy()
    tilted[1, 0] = 2.5 * np.tan(np.radians(10))
    folder = tmp_path / "ct"
    for z, path in enumerate(write_ct(folder, _stored(), AFFINE)):
        _edit(path, ImagePositionPatient=[f"{v:.8g}" for v in tilted[:3, 3] + z * tilted[:3, 0]])
    with pytest.raises(GeometryError, match=r"sheared by 10\.0 degrees"):
        medio.read(folder)


def test_two_series_in_one_folder_are_listed(write_ct: WriteCT, tmp_path: Path) -> None:
    write_ct(tmp_path / "a", _stored(3), AFFINE)
    write_ct(tmp_path / "b", _stored(4), AFFINE, SeriesDescription="lung")
    with pytest.raises(UnsupportedError, match=r"2 series: thorax \(3\), lung \(4\); read one"):
        medio.read(tmp_path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_never_becomes_an_identity(write_ct: WriteCT, tmp_path: Path, keyword: str) -> None:
    paths = write_ct(tmp_path / "ct", _stored(3), AFFINE)
    _edit(paths[1], **{keyword: None})
    with pytest.raises(GeometryError, match=rf"002\.dcm: {keyword} is missing"):
        medio.read(tmp_path / "ct")


def test_a_truncated_slice_says_how_many_bytes_are_missing(write_ct: WriteCT, tmp_path: Path) -> None:
    path = write_ct(tmp_path / "ct", _stored(3), AFFINE)[1]
    path.write_bytes(path.read_bytes()[:-100])
    # 12 x 16 pixels of 2 bytes are 384 bytes; 100 are gone
    with pytest.raises(CorruptFileError, match=r"002\.dcm: PixelData holds 284 bytes, 12x16x16 bit needs 384; the file is truncated"):
        medio.read(tmp_path / "ct")


@pytest.mark.parametrize("keep", [0, 10, 131, 140, 300, 600, 900])
def test_a_file_cut_anywhere_in_its_header_is_one_medio_error(write_ct: WriteCT, tmp_path: Path, keep: int) -> None:
    path = write_ct(tmp_path / "ct", _stored(3), AFFINE)[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(medio.MedioError) as caught:
        medio.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_cut_compressed_file_is_corrupt_not_empty(shared_data: Path, tmp_path: Path) -> None:
    source = sorted((shared_data / "ct_totalseg" / "example_ct_dicom").iterdir())[0]
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(source.read_bytes()[:30000])
    with pytest.raises(CorruptFileError, match=r"cut\.dcm: .*fetch (it|the file) again"):
        medio.read(cut)


def test_pydicoms_truncated_mr_is_refused() -> None:
    with pytest.raises(CorruptFileError, match="PixelData holds 8130 bytes, 64x64x16 bit needs 8192"):
        medio.read(get_testdata_file("MR_truncated.dcm", download=False))


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm"]
)
def test_one_slice_in_five_encodings_has_the_values_of_pydicom(name: str) -> None:
    path = get_testdata_file(name, download=False)
    image = medio.read(path)
    assert np.array_equal(image.array[0], dcmread(path).pixel_array)
    # a single slice is as thick as SliceThickness says
    assert image.spacing == (0.8, 0.3125, 0.3125)


def test_signed_12_bit_values_are_sign_extended_and_overlay_bits_dropped(write_ct: WriteCT, tmp_path: Path) -> None:
    values = np.array([[-2048, -1, 0, 2047]], np.int16)
    # 12 stored bits; the top four bits hold an overlay, whatever the sign
    stored = ((values & 0x0FFF) | np.int16(0x5000)).astype(np.int16)[None]
    write_ct(tmp_path / "ct", stored, AFFINE, intercept=0, BitsStored=12, HighBit=11)
    assert medio.read(tmp_path / "ct").array.tolist() == [values.tolist()]


def test_values_beyond_int16_become_exact_float32(write_ct: WriteCT, tmp_path: Path) -> None:
    stored = np.array([[[0, 65535]]], np.uint16)
    write_ct(tmp_path / "wide", stored, AFFINE)
    write_ct(tmp_path / "fits", stored // 2, AFFINE)
    write_ct(tmp_path / "slope", stored // 65535, AFFINE, slope=0.5, intercept=0)
    wide, fits, slope = (medio.read(tmp_path / n).array for n in ("wide", "fits", "slope"))
    assert (wide.dtype, wide.tolist()) == (np.float32, [[[-1024.0, 64511.0]]])
    assert (fits.dtype, fits.tolist()) == (np.int16, [[[-1024, 31743]]])
    assert (slope.dtype, slope.tolist()) == (np.float32, [[[0.0, 0.5]]])


def test_each_slice_has_its_own_rescale(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", np.ones((2, 1, 2), np.uint16), AFFINE)
    _edit(paths[1], RescaleSlope="3", RescaleIntercept="-5")
    assert medio.read(tmp_path / "ct").array.tolist() == [[[-1023, -1023]], [[-2, -2]]]


def test_a_compressed_series_equals_the_plain_one(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(), AFFINE)
    plain = medio.read(tmp_path / "ct")
    for path in paths:
        ds = dcmread(path)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    assert np.array_equal(medio.read(tmp_path / "ct").array, plain.array)


def test_ct_without_rescale_or_in_other_units_is_not_called_hu(write_ct: WriteCT, tmp_path: Path) -> None:
    write_ct(tmp_path / "us", _stored(2), AFFINE, RescaleType="US")
    assert medio.read(tmp_path / "us").unit == ""


def test_a_broken_dcm_in_a_folder_is_an_error_but_a_readme_is_not(write_ct: WriteCT, tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    write_ct(folder, _stored(), AFFINE)
    (folder / "README.txt").write_text("a note")
    assert medio.read(folder).array.shape == (6, 12, 16)
    (folder / "007.dcm").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"007\.dcm: not a DICOM file \(0 bytes"):
        medio.read(folder)


def test_absent_paths_and_empty_folders_say_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="gone: no such file or folder"):
        medio.read(tmp_path / "gone")
    with pytest.raises(MissingFileError, match="no DICOM file among the 0 files"):
        medio.read(tmp_path)
    with pytest.raises(MissingFileError, match="empty list"):
        medio.read([])


def test_a_volume_refuses_a_second_opinion_on_its_spacing(write_ct: WriteCT, tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", _stored(2), AFFINE)
    with pytest.raises(GeometryError, match="carry their own spacing"):
        medio.read(tmp_path / "ct", spacing=(1.0, 1.0))


def test_slices_of_different_frames_of_reference_are_not_compared(write_ct: WriteCT, tmp_path: Path) -> None:
    paths = write_ct(tmp_path / "ct", _stored(3), AFFINE)
    _edit(paths[0], FrameOfReferenceUID=generate_uid())
    with pytest.raises(
        UnsupportedError, match=r"'axial #1' \(2 slices\), 'axial #2' \(1 slice\) \(mixed frames of reference: 001\.dcm lies in "
    ):
        medio.read(tmp_path / "ct")
