"""DICOM SEG of every kind: fractions, label maps, overlap, tracking; on straight, enhanced, tilted and stripped sources."""

import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import dcmread

import medio
from medio import CorruptFileError, GeometryError, Segment, UnsupportedError
from medio.derived.segmentation_reader import decode

WriteCT = Callable[..., list[Path]]
LUNG = Segment(number=1, label="lung", code=("39607008", "SCT", "Lung"), algorithm="net", algorithm_version="1.2")
NODULE = Segment(
    number=2,
    label="nodule",
    code=("27925004", "SCT", "Nodule"),
    category=("49755003", "SCT", "Morphologically Abnormal Structure"),
    algorithm="net",
    semiautomatic=True,
    sites=(("39607008", "SCT", "Lung"),),
    tracking_id="lesion 1",
    tracking_uid="2.25.123456",
)
SHAPE = (5, 9, 11)
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.8, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])


def _overlapping() -> np.ndarray:
    stack = np.zeros((2, *SHAPE), np.uint8)
    stack[0, 1:4, 2:8, 2:9] = 1
    stack[1, 2:3, 4:6, 4:6] = 1  # inside the first
    return stack


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> Path:
    write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)
    return tmp_path / "ct"


def test_overlapping_segments_come_back_as_a_stack_and_not_as_labels(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_segmentation(_overlapping(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine)
    back = medio.read_segmentation(path, like=image, overlap="stack")
    assert back.array.dtype == np.uint8
    assert np.array_equal(back.array, _overlapping())
    with pytest.raises(UnsupportedError, match=r"segments 1 and 2 overlap.*overlap='stack'.*segments="):
        medio.read_segmentation(path, like=image)
    assert np.array_equal(medio.read_segmentation(path, like=image, segments=[2]).array, 2 * _overlapping()[1])
    assert dcmread(path).SegmentsOverlap == "YES"


def test_pydicom_reads_the_same_voxels_frame_by_frame(source: Path, tmp_path: Path) -> None:
    ds = dcmread(medio.write_segmentation(_overlapping(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=AFFINE))
    back = np.zeros_like(_overlapping())
    for group, plane in zip(ds.PerFrameFunctionalGroupsSequence, ds.pixel_array, strict=True):
        z = round((float(group.PlanePositionSequence[0].ImagePositionPatient[2]) - 30) / 2.5)
        back[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1, z] = plane
    assert np.array_equal(back, _overlapping())


def test_tracking_sites_and_the_hand_that_drew_come_back(source: Path, tmp_path: Path) -> None:
    path = medio.write_segmentation(_overlapping(), source, [NODULE, LUNG], tmp_path / "seg.dcm", affine=AFFINE)
    assert medio.read_segmentation(path, overlap="stack").meta["segments"] == (LUNG, NODULE)
    described = highdicom.seg.segread(path).get_segment_description(2)
    assert (described.tracking_id, described.tracking_uid) == ("lesion 1", "2.25.123456")
    assert described.algorithm_type.value == "SEMIAUTOMATIC"
    assert described.algorithm_identification[0].AlgorithmFamilyCodeSequence[0].CodeValue == "123110"  # Artificial Intelligence, CID 7162


@pytest.mark.parametrize("fractional_type", ["PROBABILITY", "OCCUPANCY"])
@pytest.mark.parametrize("compressed", [False, True])
def test_fractions_come_back_within_half_a_step(source: Path, tmp_path: Path, fractional_type: str, compressed: bool) -> None:
    image = medio.read(source)
    fractions = np.random.default_rng(3).random((2, *SHAPE), np.float32) * _overlapping()
    path = medio.write_segmentation(
        fractions,
        source,
        [LUNG, NODULE],
        tmp_path / "seg.dcm",
        affine=image.affine,
        kind="FRACTIONAL",
        fractional_type=fractional_type,
        compressed=compressed,
    )
    back = medio.read_segmentation(path, like=image)
    assert back.array.dtype == np.float32
    assert np.abs(back.array - fractions).max() <= 0.5 / 255 + 1e-6
    assert back.meta["fractional_type"] == fractional_type
    assert dcmread(path).file_meta.TransferSyntaxUID.is_compressed is compressed
    theirs = highdicom.seg.segread(path).get_pixels_by_source_instance(
        list(image.meta["sop_instance_uids"]), assert_missing_frames_are_empty=True
    )
    assert np.allclose(np.moveaxis(theirs, -1, 0), back.array, atol=1e-7)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_label_map_comes_back_exactly(source: Path, tmp_path: Path, compressed: bool) -> None:
    image = medio.read(source)
    labels = _overlapping()[0].copy()
    labels[_overlapping()[1] > 0] = 2
    path = medio.write_segmentation(
        labels, source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=image.affine, kind="LABELMAP", compressed=compressed
    )
    assert np.array_equal(medio.read_segmentation(path, like=image).array, labels)
    stack = medio.read_segmentation(path, like=image, overlap="stack").array
    assert np.array_equal(stack, [labels == 1, labels == 2])
    assert dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    with pytest.raises(UnsupportedError, match="overlap, which a LABELMAP cannot hold; write it as BINARY"):
        medio.write_segmentation(_overlapping(), source, [LUNG, NODULE], tmp_path / "no.dcm", affine=AFFINE, kind="LABELMAP")


def test_more_than_255_segments_are_kept_apart(source: Path, tmp_path: Path) -> None:
    many = [Segment(number=n, label=f"s{n}", code=("39607008", "SCT", "Lung")) for n in range(1, 301)]
    labels = np.zeros(SHAPE, np.uint16)
    labels[0].flat[:99], labels[1].flat[:2] = np.arange(201, 300), (44, 300)  # 300 - 256 = 44: a byte would confuse them
    for kind in ("BINARY", "LABELMAP"):
        path = medio.write_segmentation(labels, source, many, tmp_path / f"{kind}.dcm", affine=AFFINE, kind=kind)
        back = medio.read_segmentation(path, like=medio.read(source))
        assert back.array.dtype == np.uint16
        assert np.array_equal(back.array, labels)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_fractions_outside_0_to_1_are_refused(source: Path, tmp_path: Path, bad: float) -> None:
    fractions = np.zeros((1, *SHAPE), np.float32)
    fractions[0, 0, 0, 0] = bad
    with pytest.raises(UnsupportedError, match="values from 0 to 1"):
        medio.write_segmentation(fractions, source, [LUNG], tmp_path / "seg.dcm", affine=AFFINE, kind="FRACTIONAL")
    assert not (tmp_path / "seg.dcm").exists()


def test_real_tilted_ct_with_variable_spacing_round_trips_exactly(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    stack = np.zeros((2, 28, 512, 512), np.uint8)
    stack[0, 3:9, 100:200, 150:300] = 1
    stack[1, 5:24, 190:250, 240:260] = 1
    path = medio.write_segmentation(stack, source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=None)
    assert np.array_equal(medio.read_segmentation_frames(path, source, overlap="stack"), stack)
    with pytest.raises(GeometryError, match=r"no single affine is right; read them .* with medio\.read_segmentation_frames"):
        medio.read_segmentation(path)


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("mr_philips_enhanced", "*"),
        ("mr_siemens_vida_xa10_enhanced", "*"),
        ("mr_siemens_vida_enhanced_agfa_pacs", "*"),
    ],
)
def test_real_enhanced_sources_take_a_mask_on_their_frames(shared_data: Path, tmp_path: Path, folder: str, pattern: str) -> None:
    source = next(path for path in sorted((shared_data / "dicom_multivendor" / folder).rglob(pattern)) if path.is_file())
    header = dcmread(source, stop_before_pixels=True)
    positions = [tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in header.PerFrameFunctionalGroupsSequence]
    mask = np.zeros((len(set(positions)), header.Rows, header.Columns), np.uint8)  # several phases or echoes at a place count once
    mask[1, 3:20, 4:9] = 1
    path = medio.write_segmentation(mask, source, [LUNG], tmp_path / "seg.dcm", affine=None)
    assert np.array_equal(medio.read_segmentation_frames(path, source), mask)
    written = dcmread(path).PerFrameFunctionalGroupsSequence[0]
    here = tuple(written.PlanePositionSequence[0].ImagePositionPatient)
    references = written.DerivationImageSequence[0].SourceImageSequence
    assert [item.ReferencedFrameNumber for item in references] == [i + 1 for i, position in enumerate(positions) if position == here]
    assert {item.ReferencedSOPInstanceUID for item in references} == {header.SOPInstanceUID}


@pytest.mark.parametrize("folder", ["mr_siemens_skyra_epi_3", "mr_siemens_skyra_epi_4", "mr_siemens_skyra_epi_5", "mr_siemens_skyra_epi_6"])
def test_a_real_mosaic_takes_a_mask_on_its_slices(shared_data: Path, tmp_path: Path, folder: str) -> None:
    source = next(path for path in sorted((shared_data / "dicom_multivendor" / folder).rglob("*")) if path.suffix != ".txt")
    image = medio.read(source)
    mask = np.zeros(image.array.shape, np.uint8)
    mask[1:3, 10:20, 5:9] = 1
    path = medio.write_segmentation(mask, source, [LUNG], tmp_path / "seg.dcm", affine=image.affine)
    assert np.array_equal(medio.read_segmentation(path, like=image).array, mask)
    assert np.array_equal(medio.read_segmentation_frames(path, source), mask)
    written = medio.read_segmentation(path)
    assert np.allclose(written.affine[:3, 3], medio.index_to_world(image.affine, (1, 0, 0)), atol=1e-4)
    assert written.spacing == pytest.approx(image.spacing, abs=1e-4)
    named = dcmread(path).ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert named.ReferencedSOPInstanceUID == dcmread(source, stop_before_pixels=True).SOPInstanceUID


def test_a_reconstruction_of_nuclear_medicine_takes_a_mask_on_its_slices(write_ct: WriteCT, tmp_path: Path) -> None:
    (source,) = write_ct(tmp_path / "nm", np.zeros((1, 9, 11), np.uint16), AFFINE)
    ds = dcmread(source)
    place = pydicom.Dataset()
    place.ImagePositionPatient, place.ImageOrientationPatient = ds.ImagePositionPatient, ds.ImageOrientationPatient
    del ds.ImagePositionPatient, ds.ImageOrientationPatient
    ds.Modality, ds.ImageType = "NM", ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.20"
    ds.DetectorInformationSequence, ds.SpacingBetweenSlices = [place], -3  # against the normal: the last frame lies lowest
    ds.NumberOfFrames, ds.SliceVector, ds.PixelData = 4, [1, 2, 3, 4], bytes(4 * 9 * 11 * 2)
    ds.save_as(source)
    mask = np.zeros((4, 9, 11), np.uint8)
    mask[3, 2, 3] = mask[2, 4, 4:7] = 1
    path = medio.write_segmentation(mask, source, [LUNG], tmp_path / "seg.dcm", affine=None)
    assert np.array_equal(medio.read_segmentation_frames(path, source), mask)
    # slice 3 along the normal is the first frame, at the place of the detector
    assert decode(path, None).centroids()[1][1] == pytest.approx(
        np.mean([[-90 + 3 * 0.7, 50 + 2 * 0.8, 30]] + [[-90 + x * 0.7, 50 + 4 * 0.8, 27] for x in (4, 5, 6)], axis=0)
    )


def test_a_square_mask_that_was_transposed_is_refused(write_ct: WriteCT, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]]  # cubes: first and last corner of a slice stay where they are
    files = write_ct(tmp_path / "ct", np.zeros((3, 8, 8), np.uint16), affine)
    mask = np.zeros((3, 8, 8), np.uint8)
    mask[1, 2, 5] = 1
    transposed = affine[:, [0, 2, 1, 3]]
    with pytest.raises(GeometryError, match="does not lie on a slice of the mask"):
        medio.write_segmentation(mask, files, [LUNG], tmp_path / "seg.dcm", affine=transposed)
    path = medio.write_segmentation(mask, files, [LUNG], tmp_path / "seg.dcm", affine=affine)
    like = medio.Image(np.zeros((3, 8, 8)), transposed, (1, 1, 1))
    assert np.array_equal(medio.read_segmentation(path, like=like).array, mask.transpose(0, 2, 1))


def test_frames_that_are_not_parallel_to_like_are_refused(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_segmentation(_overlapping()[0], source, [LUNG], tmp_path / "seg.dcm", affine=AFFINE)
    assert image.affine is not None
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    like = medio.Image(image.array, turn @ image.affine, image.spacing)
    with pytest.raises(GeometryError, match="does not lie on the grid of `like`"):
        medio.read_segmentation(path, like=like)


def test_the_wrong_frame_of_reference_or_patient_is_refused_by_uid(source: Path, write_ct: WriteCT, tmp_path: Path) -> None:
    path = medio.write_segmentation(_overlapping()[0], source, [LUNG], tmp_path / "seg.dcm", affine=AFFINE)
    own = dcmread(path).FrameOfReferenceUID
    write_ct(tmp_path / "moved", np.zeros(SHAPE, np.uint16), AFFINE, FrameOfReferenceUID="1.2.3")
    with pytest.raises(GeometryError, match=rf"another FrameOfReferenceUID \({own}\) than `like` \(1\.2\.3\)"):
        medio.read_segmentation(path, like=medio.read(tmp_path / "moved"))
    with pytest.raises(GeometryError, match=rf"another FrameOfReferenceUID \({own}\) than its source \(1\.2\.3\)"):
        medio.read_segmentation_frames(path, tmp_path / "moved")
    write_ct(tmp_path / "other", np.zeros(SHAPE, np.uint16), AFFINE, PatientID="P2", StudyInstanceUID="1.2.4", FrameOfReferenceUID=own)
    for read in (
        lambda: medio.read_segmentation(path, like=medio.read(tmp_path / "other")),
        lambda: medio.read_segmentation_frames(path, tmp_path / "other"),
    ):
        with pytest.raises(UnsupportedError, match=r"belongs to another patient \(study .*\) than .* \(study 1\.2\.4\)") as refused:
            read()
        assert "P2" not in str(refused.value)  # errors are logged: they name studies, not patients


def test_a_radiograph_takes_no_seg_and_the_error_says_what_to_write(shared_data: Path, tmp_path: Path) -> None:
    film = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "dx_image.dcm"
    with pytest.raises(UnsupportedError, match=r"has no place in the patient.*write_measurements.*write_capture.*write_key_images"):
        medio.write_segmentation(np.zeros((1, 16, 16), np.uint8), film, [LUNG], tmp_path / "seg.dcm", affine=None)


def test_copies_of_a_slice_and_sources_of_two_series_are_refused(source: Path, write_ct: WriteCT, tmp_path: Path) -> None:
    files = sorted(source.iterdir())
    twice = [*files, files[0]]
    with pytest.raises(GeometryError, match="two source frames lie at one place"):
        medio.write_segmentation(np.zeros((6, 9, 11), np.uint8), twice, [LUNG], tmp_path / "seg.dcm", affine=None)
    study = dcmread(files[0]).StudyInstanceUID
    more = write_ct(tmp_path / "more", np.zeros(SHAPE, np.uint16), AFFINE + np.eye(4)[:, [3, 3, 3, 2]] * 0, StudyInstanceUID=study)
    with pytest.raises(UnsupportedError, match="belong to 2 series"):
        medio.write_segmentation(np.zeros((10, 9, 11), np.uint8), [*files, *more], [LUNG], tmp_path / "seg.dcm", affine=None)


def test_frames_smaller_than_a_byte_are_refused_as_binary_and_kept_as_labels(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros((3, 1, 5), np.uint16), AFFINE)
    labels = np.array([[[0, 1, 0, 2, 0]], [[1, 0, 0, 0, 2]], [[0, 0, 0, 0, 1]]], np.uint8)
    with pytest.raises(UnsupportedError, match=r"frames of 1x5 are smaller than a byte.*kind='LABELMAP'"):
        medio.write_segmentation(labels, files, [LUNG, NODULE], tmp_path / "seg.dcm", affine=AFFINE)
    path = medio.write_segmentation(labels, files, [LUNG, NODULE], tmp_path / "seg.dcm", affine=AFFINE, kind="LABELMAP")
    assert np.array_equal(medio.read_segmentation(path, like=medio.read(files)).array, labels)


def test_the_same_key_gives_the_same_uids_and_another_key_others(source: Path, tmp_path: Path) -> None:
    def uids(key: str | None) -> list[str]:
        extra = {} if key is None else {"uid": medio.keyed_uids(key)}
        ds = dcmread(medio.write_segmentation(_overlapping()[0], source, [LUNG], tmp_path / "seg.dcm", affine=AFFINE, **extra))
        return [ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.DimensionOrganizationSequence[0].DimensionOrganizationUID]

    assert uids("a") == uids("a")
    assert not set(uids("a")) & set(uids("b"))
    assert not set(uids(None)) & set(uids(None))
    assert all(pydicom.uid.UID(uid).is_valid for uid in (*uids("a"), *uids(None)))


def test_equipment_series_and_patient_are_written_as_given(write_ct: WriteCT, tmp_path: Path) -> None:
    name = "Müller^Jürgen"
    files = write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE, SpecificCharacterSet="ISO_IR 100", PatientName=name)
    equipment = medio.Equipment(manufacturer="ACME", model="LungNet", software_versions=("2.1", "w7"), serial_number="S1")
    segment = Segment(number=1, label="Lungenflügel", code=("39607008", "SCT", "Lung"))
    path = medio.write_segmentation(
        _overlapping()[0],
        files,
        [segment],
        tmp_path / "seg.dcm",
        affine=AFFINE,
        series_description="KI",
        series_number=77,
        equipment=equipment,
    )
    ds = dcmread(path)
    assert (ds.Manufacturer, ds.ManufacturerModelName, list(ds.SoftwareVersions), ds.DeviceSerialNumber) == (
        "ACME",
        "LungNet",
        ["2.1", "w7"],
        "S1",
    )
    assert (ds.SeriesDescription, ds.SeriesNumber, ds.Modality) == ("KI", 77, "SEG")
    assert (str(ds.PatientName), ds.PatientID, ds.StudyInstanceUID) == (name, "P1", dcmread(files[0]).StudyInstanceUID)
    assert medio.read_segmentation(path).meta["segments"] == (segment,)
    with pytest.raises(ValueError, match="texts of 1 to 64 characters"):
        medio.Equipment(manufacturer="a\\b")


def test_paths_may_be_texts(source: Path, tmp_path: Path) -> None:
    path = medio.write_segmentation(_overlapping()[0], str(source), [LUNG], str(tmp_path / "seg.dcm"), affine=AFFINE)
    assert path == tmp_path / "seg.dcm"
    files = [str(file) for file in source.iterdir()]
    assert np.array_equal(medio.read_segmentation_frames(str(path), files), _overlapping()[0])


def test_a_name_without_a_caret_is_not_printed(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE, PatientName="SECRETNAME")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        medio.write_segmentation(_overlapping()[0], files, [LUNG], tmp_path / "seg.dcm", affine=AFFINE)


def test_a_file_without_its_largest_fraction_is_corrupt(source: Path, tmp_path: Path) -> None:
    path = medio.write_segmentation(_overlapping(), source, [LUNG, NODULE], tmp_path / "seg.dcm", affine=AFFINE, kind="FRACTIONAL")
    ds = dcmread(path)
    del ds.MaximumFractionalValue
    ds.save_as(path)
    with pytest.raises(CorruptFileError, match="without MaximumFractionalValue"):
        medio.read_segmentation(path)
