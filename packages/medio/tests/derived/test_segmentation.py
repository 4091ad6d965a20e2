"""DICOM SEG: what is written is what is read, in the same place."""

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from scipy.spatial.transform import Rotation

import medio
from medio import CorruptFileError, GeometryError, Segment, UnsupportedError

WriteCT = Callable[..., list[Path]]
LUNG = Segment(number=1, label="lung", code=("39607008", "SCT", "Lung"), algorithm="net", algorithm_version="1.2")
NODULE = Segment(
    number=2, label="nodule", code=("27925004", "SCT", "Nodule"), category=("49755003", "SCT", "Morphologically Abnormal Structure")
)


def _oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", (20, -10, 5), degrees=True).as_matrix()[:, ::-1] * np.array([2.5, 0.8, 0.7])
    affine[:3, 3] = (-100, 50, 30)
    return affine


def _mask() -> np.ndarray:
    mask = np.zeros((6, 13, 17), np.uint8)  # 221 pixels a frame: frames begin inside bytes
    mask[1:3, 3:9, 4:10] = 1
    mask[4, 2:5, 2:5] = 2
    return mask


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> Path:
    write_ct(tmp_path / "ct", np.zeros(_mask().shape, np.uint16), _oblique())
    return tmp_path / "ct"


def test_a_mask_comes_back_exactly_on_the_grid_of_its_source(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine)
    back = medio.read_segmentation(path, like=image)
    assert np.array_equal(back.array, _mask())
    assert np.array_equal(back.affine, image.affine)
    assert back.meta["segments"] == (LUNG, NODULE)


def test_without_like_the_grid_spans_the_stored_frames_in_their_place(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine)
    back = medio.read_segmentation(path)
    # slices 0 and 5 are empty and left out; slice 3 is empty but lies between stored ones
    assert np.array_equal(back.array, _mask()[1:5])
    assert np.allclose(back.affine[:3, 3], medio.index_to_world(image.affine, (1, 0, 0)), atol=1e-6)
    assert back.spacing == pytest.approx((2.5, 0.8, 0.7), abs=1e-6)


def test_distant_slices_alone_keep_their_true_distance(source: Path, tmp_path: Path) -> None:
    mask = np.zeros_like(_mask())
    mask[0, 2, 2] = mask[4, 5, 5] = 1
    image = medio.read(source)
    back = medio.read_segmentation(medio.write_segmentation(mask, source, [LUNG], tmp_path / "seg.dcm", affine=image.affine))
    assert back.spacing == pytest.approx((2.5, 0.8, 0.7), abs=1e-6)
    assert np.array_equal(back.array, mask[:5])


def test_highdicom_reads_the_same_voxels_and_codes(source: Path, tmp_path: Path) -> None:
    path = medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=medio.read(source).affine)
    seg = highdicom.seg.segread(path)
    uids = list(medio.read(source).meta["sop_instance_uids"])
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels, _mask())
    assert seg.get_segment_description(1).segmented_property_type.value == "39607008"
    assert [str(seg.get_segment_description(n).algorithm_type.value) for n in (1, 2)] == ["AUTOMATIC", "MANUAL"]
    assert seg.SegmentationType == "BINARY"


def test_an_empty_mask_is_written_and_read_as_empty(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_segmentation(np.zeros_like(_mask()), source, [LUNG], tmp_path / "seg.dcm", affine=image.affine)
    assert not medio.read_segmentation(path, like=image).array.any()


def test_real_mr_series_round_trips(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "dicom_multivendor" / "mr_philips_elition_mprage").glob("1301_00[0-2]*.dcm"))
    image = medio.read(files)
    mask = (image.array > np.percentile(image.array, 95)).astype(np.uint8)
    path = medio.write_segmentation(mask, files, [LUNG], tmp_path / "seg.dcm", affine=image.affine)
    assert np.array_equal(medio.read_segmentation(path, like=image).array, mask)
    assert np.allclose(medio.read_segmentation(path).affine, image.affine, atol=1e-6)


def test_real_tilted_ct_takes_a_mask_frame_by_frame(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    files = sorted(source.glob("*.dcm"), key=lambda p: float(dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]))
    mask = np.zeros((28, 512, 512), np.uint8)
    mask[3:9, 100:200, 150:300] = 1
    mask[20:24, 240:250, 240:260] = 2
    path = medio.write_segmentation(mask, source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=None)
    uids = [str(dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in files]
    pixels = highdicom.seg.segread(path).get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels, mask)
    with pytest.raises(GeometryError, match="not evenly stacked"):
        medio.read_segmentation(path)


@pytest.mark.parametrize("name", ["23x38x3", "24x38x3"])
def test_a_seg_of_dcmqi_lies_on_its_series(shared_data: Path, name: str) -> None:
    folder = shared_data / "dicom_decode" / "dcmqi" / "data" / "segmentations" / name
    image = medio.read(folder / "image")
    labels = medio.read_segmentation(folder / "seg" / "label.seg", like=image)
    # the reference of dcmqi itself
    truth = SimpleITK.ReadImage(str(folder / "nrrd" / "label.nrrd"))
    assert np.array_equal(labels.array, SimpleITK.GetArrayFromImage(truth))
    assert labels.array.any()
    assert np.allclose(labels.affine[:3, 3], truth.GetOrigin(), atol=1e-3)


def test_a_source_stripped_by_deidentification_still_takes_a_mask(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        ds = dcmread(path)
        for keyword in (
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyID",
            "StudyTime",
            "ReferringPhysicianName",
        ):
            delattr(ds, keyword)
        ds.save_as(path)
    image = medio.read(source)
    written = medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine)
    assert np.array_equal(medio.read_segmentation(written, like=image).array, _mask())
    assert dcmread(written).StudyInstanceUID == image.meta["study_instance_uid"]


def test_a_source_without_uids_is_refused(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ct_totalseg" / "example_ct_dicom"
    image = medio.read(source)
    with pytest.raises(CorruptFileError, match="has no StudyInstanceUID: a DICOM SEG could not refer to it"):
        medio.write_segmentation(np.zeros(image.array.shape, np.uint8), source, [LUNG], tmp_path / "seg.dcm", affine=image.affine)
    assert list(tmp_path.iterdir()) == []


def test_a_mask_of_another_shape_or_grid_is_refused_with_the_mend(source: Path, tmp_path: Path) -> None:
    affine = medio.read(source).affine
    with pytest.raises(GeometryError, match=r"the mask is \(5, 13, 17\), its source has 6 frames of 13x17; resample"):
        medio.write_segmentation(_mask()[:5], source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=affine)
    wrong = affine.copy()
    wrong[:3, 3] += wrong[:3, 0]  # one slice off
    with pytest.raises(GeometryError, match="does not lie on a slice of the mask"):
        medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=wrong)
    flipped = medio.reorient(medio.read(source), "SAL").affine  # same voxels, rows upside down
    with pytest.raises(GeometryError, match="does not lie on a slice of the mask"):
        medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=flipped)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_mask_stored_feet_down_is_put_on_its_slices(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    mask = medio.Image(_mask(), image.affine, image.spacing)
    down = medio.reorient(mask, "IPL")
    path = medio.write_segmentation(down.array, source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=down.affine)
    assert np.array_equal(medio.read_segmentation(path, like=image).array, _mask())
    assert np.array_equal(medio.read_segmentation(path, like=down).array, down.array)


def test_the_check_after_writing_catches_a_mask_that_moved(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = medio.read(source)

    class Shifted(highdicom.seg.Segmentation):
        def __init__(self, *, pixel_array: np.ndarray, **rest: object) -> None:
            super().__init__(pixel_array=np.roll(pixel_array, 1, axis=2), **rest)

    monkeypatch.setattr("highdicom.seg.Segmentation", Shifted)
    with pytest.raises(GeometryError, match=r"segment 1 came out with 72 voxels centred at .* nothing was written"):
        medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine)
    assert [p.name for p in tmp_path.iterdir()] == ["ct"]


def test_every_value_needs_its_segment_and_numbers_have_no_gaps(source: Path, tmp_path: Path) -> None:
    affine = medio.read(source).affine
    with pytest.raises(UnsupportedError, match=r"holds values \[2\] that no segment explains"):
        medio.write_segmentation(_mask(), source, [LUNG], tmp_path / "seg.dcm", affine=affine)
    with pytest.raises(UnsupportedError, match=r"run from 1 without gaps, got \[2\]"):
        medio.write_segmentation(_mask(), source, [NODULE], tmp_path / "seg.dcm", affine=affine)
    with pytest.raises(ValueError, match="code must be"):
        Segment(number=1, label="lung", code=("", "SCT", "Lung"))


def test_what_is_no_seg_is_refused_and_a_seg_is_no_image(shared_data: Path) -> None:
    files = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files"
    with pytest.raises(UnsupportedError, match="not a DICOM SEG"):
        medio.read_segmentation(files / "ct_image.dcm")
    with pytest.raises(UnsupportedError, match=r"use medio\.read_segmentation"):
        medio.read(files / "seg_image_ct_binary.dcm")


def test_a_cut_seg_is_corrupt(source: Path, tmp_path: Path) -> None:
    path = medio.write_segmentation(_mask(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=medio.read(source).affine)
    path.write_bytes(path.read_bytes()[:-20])
    # 3 stored frames of 221 bits are 663 bits: 83 bytes, one more to be even
    with pytest.raises(CorruptFileError, match=r"seg\.dcm: PixelData holds 64 bytes, 3 frames of 13x17x1 bit need 83"):
        medio.read_segmentation(path)
