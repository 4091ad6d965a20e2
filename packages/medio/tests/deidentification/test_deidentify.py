import io
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from medio.deidentification.dataset import deidentify
from medio.deidentification.files import deidentify_files
from medio.deidentification.identifiers import Identifiers
from medio.deidentification.policy import Policy
from medio.deidentification.rules import KEEP
from medio.deidentification.stamp import AuditEntry
from medio.errors import CorruptFileError, MissingFileError, PrivacyError

POLICY = Policy(key="a secret of 24 letters..")


def ct(patient: str = "MRN-778812", study_date: str = "20210304", **extra: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[patient, study_date, str(extra.get("InstanceNumber", 1))])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[patient, study_date])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[patient, study_date, "series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[patient, "frame"])
    dataset.PatientID = patient
    dataset.PatientName = "Doelittle^Johanna^Q"
    dataset.PatientBirthDate = "19500607"
    dataset.PatientSex = "F"
    dataset.PatientAge = "070Y"
    dataset.StudyDate = study_date
    dataset.StudyTime = "101112"
    dataset.AcquisitionDateTime = f"{study_date}101500.25+0100"
    dataset.Modality = "CT"
    dataset.Manufacturer = "ACME"
    dataset.StudyDescription = "CT of Johanna"
    dataset.AccessionNumber = "ACC-99123"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PixelSpacing = [0.5, 0.5]
    dataset.ImagePositionPatient = [1, 2, 3]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 4, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(16, dtype="<u2").tobytes()
    for keyword, value in extra.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.SourceApplicationEntityTitle = "WARD7AET"
    return dataset


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_what_images_need_stays_and_what_names_people_goes() -> None:
    result, audit = deidentify(ct(), POLICY)
    assert result.PixelData == ct().PixelData
    for keyword in (
        "PixelSpacing",
        "ImagePositionPatient",
        "RescaleIntercept",
        "Rows",
        "Modality",
        "Manufacturer",
        "StudyTime",
        "PatientSex",
        "PatientAge",
    ):
        assert result[keyword].value == ct()[keyword].value
    assert result.PatientID == result.PatientName.family_name == POLICY.pseudonym("id:MRN-778812")
    assert result.PatientBirthDate == result.AccessionNumber == ""
    assert "StudyDescription" not in result
    assert (result.PatientIdentityRemoved, result.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert [item.CodeValue for item in result.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert AuditEntry("(0008,1030)", "StudyDescription", "removed") in audit
    assert AuditEntry("(0010,0020)", "PatientID", "replaced") in audit
    content = written(result)
    for text in (b"MRN-778812", b"oelittle", b"ohanna", b"ACC-99123", b"1950", b"WARD7AET", b"+0100", b"20210304"):
        assert text not in content
    assert dcmread(io.BytesIO(content)).pixel_array.tolist() == np.arange(16).reshape(4, 4).tolist()


def test_the_input_is_not_changed() -> None:
    dataset = ct(ReferencedImageSequence=Sequence([ct()]))
    before = dataset.to_json()
    deidentify(dataset, POLICY)
    assert dataset.to_json() == before
    assert dataset.file_meta.SourceApplicationEntityTitle == "WARD7AET"


def _text_attributes() -> list[str]:
    text = {"LO", "SH", "ST", "LT", "UT", "UC", "PN", "UR", "AE"}
    keywords = (keyword_for_tag(tag) for tag in DicomDictionary if dictionary_VR(tag) in text and tag >> 16 > 2)
    return sorted(k for k in keywords if k and k not in KEEP)


def test_no_text_attribute_of_the_dictionary_off_the_keep_list_survives_at_any_depth() -> None:
    planted = _text_attributes()
    assert len(planted) > 500
    dataset = ct()
    for target in (dataset, *(Dataset() for _ in range(2))):
        for number, keyword in enumerate(planted):
            if keyword not in ("PatientID", "PatientName") or target is not dataset:
                setattr(target, keyword, f"ZQ{number}PHI")
        if target is not dataset:
            # one in a sequence that goes, one in a sequence that stays
            name = "RequestAttributesSequence" if "RequestAttributesSequence" not in dataset else "SharedFunctionalGroupsSequence"
            setattr(dataset, name, Sequence([target]))
    dataset.add_new(0x00090010, "LO", "ZQ PHI PRIVATE")
    dataset.add_new(0x00091001, "LO", "ZQ PHI PRIVATE")
    dataset.add_new(0x60003000, "OW", b"ZQPHI...")
    dataset.add_new(0x60000010, "US", 4)
    dataset.preamble = b"ZQPHI".ljust(128)
    result, audit = deidentify(dataset, POLICY)
    content = written(result)
    assert b"ZQ" not in content
    assert AuditEntry("(0009,1001)", "private", "removed") in audit
    removed = {entry.tag.rsplit("(", 1)[0] for entry in audit}
    assert "(5200,9229)[0]." in removed


# A first letter, so that no draw is a DICOM code or a part of a UID by chance.
identifier = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=6, max_size=12).map(lambda text: f"Q{text}")


@settings(max_examples=25, deadline=None)
@given(identifier, identifier, identifier, st.booleans())
def test_names_and_numbers_are_found_even_in_attributes_that_stay(patient: str, family: str, accession: str, nested: bool) -> None:
    dataset = ct(patient=patient, PatientName=f"{family}^A", AccessionNumber=accession, OperatorsName=None)
    carrier = dataset
    if nested:
        carrier = Dataset()
        dataset.SharedFunctionalGroupsSequence = Sequence([carrier])
    carrier.ManufacturerModelName = f"Scanner of {family.title()}"
    carrier.ConvolutionKernel = accession
    carrier.SequenceName = f"*{patient}"
    content = written(deidentify(dataset, POLICY)[0]).upper()
    for secret in (patient, family, accession):
        assert secret.encode() not in content


def test_a_series_its_references_and_its_frame_of_reference_stay_together() -> None:
    first, second = ct(InstanceNumber=1), ct(InstanceNumber=2)
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, first.SOPInstanceUID
    second.SourceImageSequence = Sequence([reference])
    a, b = deidentify(first, POLICY)[0], deidentify(second, POLICY)[0]
    assert b.SourceImageSequence[0].ReferencedSOPInstanceUID == a.SOPInstanceUID != first.SOPInstanceUID
    assert b.SourceImageSequence[0].ReferencedSOPClassUID == CTImageStorage
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert a[keyword].value == b[keyword].value != first[keyword].value
    assert a.SOPInstanceUID != b.SOPInstanceUID
    assert a.file_meta.MediaStorageSOPInstanceUID == a.SOPInstanceUID
    assert a.SOPInstanceUID.startswith("2.25.")
    assert len(a.SOPInstanceUID) <= 64


@settings(max_examples=30, deadline=None)
@given(st.dates(min_value=date(1960, 1, 1), max_value=date(2030, 1, 1)), st.integers(0, 4000), identifier)
def test_a_patients_intervals_are_kept_to_the_day(first: date, days: int, patient: str) -> None:
    later = first + timedelta(days=days)
    dates = [d.strftime("%Y%m%d") for d in (first, later)]
    moved = [deidentify(ct(patient=patient, study_date=d), POLICY)[0] for d in dates]
    stamps = [datetime.strptime(m.StudyDate, "%Y%m%d").date() for m in moved]
    assert stamps[1] - stamps[0] == later - first
    assert stamps[0] < first
    assert moved[0].AcquisitionDateTime == f"{moved[0].StudyDate}101500.25"


def test_patients_move_by_different_days_and_keys_give_different_pseudonyms() -> None:
    shifts = {POLICY.shift_days(f"id:{n}") for n in range(40)}
    assert len(shifts) > 30
    assert all(-3650 <= s <= -1 for s in shifts)
    other = Policy(key="another secret of 24 ....")
    a, b = deidentify(ct(), POLICY)[0], deidentify(ct(), other)[0]
    assert a.PatientID != b.PatientID
    assert a.SOPInstanceUID != b.SOPInstanceUID
    assert written(a) == written(deidentify(ct(), POLICY)[0])
    assert "secret" not in repr(POLICY)


def test_the_flags_of_the_policy_are_kept() -> None:
    strict = Policy(key=b"0123456789abcdef", keep_sex=False, keep_age=False, keep_size_and_weight=False)
    result, _ = deidentify(ct(PatientWeight=70), strict)
    assert result.PatientSex == ""
    assert not {"PatientAge", "PatientWeight"} & set(result.dir())
    assert [item.CodeValue for item in result.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert deidentify(ct(PatientWeight=70), POLICY)[0].PatientWeight == 70
    assert deidentify(ct(PatientAge="093Y"), POLICY)[0].PatientAge == "090Y"
    with pytest.raises(ValueError, match="at least 16 characters, got 5"):
        Policy(key="short")


def test_dates_that_are_none_and_text_in_numbers_are_removed() -> None:
    dataset = ct()
    dataset.add_new(0x00080021, "DA", "")
    dataset["StudyDate"]._value = "around 2021"
    dataset.add_new(0x00080031, "TM", "")
    dataset["SeriesTime"]._value = "noon, Mr Smith"
    result, _ = deidentify(dataset, POLICY)
    assert result.StudyDate == ""
    assert "SeriesTime" not in result


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation is YES"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "picture of a screen"),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}, "picture of a screen"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "Secondary Capture Image Storage may hold text"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "Ultrasound Image Storage may hold text"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "Comprehensive SR"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "Encapsulated PDF"),
        ({"PatientID": "", "StudyInstanceUID": ""}, "neither PatientID nor StudyInstanceUID"),
        ({"SOPClassUID": ""}, "no SOP Class UID"),
    ],
)
def test_objects_that_cannot_be_cleaned_are_refused(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(PrivacyError, match=words):
        deidentify(ct(**extra), POLICY)


def test_what_is_known_of_the_house_is_looked_for_in_every_text() -> None:
    known = Identifiers.named(["Brolligan^Siobhan"]) | Identifiers(places=frozenset({"Saint Elsewhere"}))
    policy = Policy(key="a secret of 24 letters..", clean_descriptors=True)
    dataset = ct(SeriesDescription="for brolligan at Saint-Elsewhere, 3 mm")
    assert deidentify(dataset, policy)[0].SeriesDescription == "for brolligan at Saint-Elsewhere, 3 mm"
    assert deidentify(dataset, policy, known=known)[0].SeriesDescription == "for [NAME] at [PLACE], 3 mm"


def test_text_in_the_place_of_a_uid_does_not_pass_as_a_registered_one() -> None:
    result, _ = deidentify(ct(FrameOfReferenceUID="1.2.840.10008.1.4.1.1", StorageMediaFileSetUID="1.2.840.10008.Johanna"), POLICY)
    assert result.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert "Johanna" not in str(result)
    kept = Policy(key="a secret of 24 letters..", keep_uids=True)
    assert deidentify(ct(FrameOfReferenceUID="Johanna"), kept)[0].FrameOfReferenceUID.startswith("2.25.")


def test_what_follows_the_last_pixel_goes_and_the_pixels_stay() -> None:
    dataset = ct()
    dataset.PixelData += b"Johanna Doelittle "
    assert deidentify(dataset, POLICY)[0].PixelData == ct().PixelData


@pytest.mark.parametrize(
    ("part", "modality", "said"),
    [("HEAD", "CT", "YES"), ("head and neck", "MR", "YES"), ("HEART", "CT", None), ("FOREARM", "MR", None), ("SKULL", "CR", None)],
)
def test_series_from_which_a_face_can_be_rendered_say_so(part: str, modality: str, said: str | None) -> None:
    result, _ = deidentify(ct(BodyPartExamined=part, Modality=modality), POLICY)
    assert result.get("RecognizableVisualFeatures") == said
    assert "113102" not in [item.CodeValue for item in result.DeidentificationMethodCodeSequence]


def test_a_name_inside_compressed_pixels_is_found() -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    dataset = ct()
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xfe\x00\x12Doelittle, Joh\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(PrivacyError, match="inside its compressed pixels"):
        deidentify(dataset, POLICY)
    dataset.PatientName = "Somebody^Else"
    result, _ = deidentify(dataset, POLICY)
    assert dcmread(io.BytesIO(written(result))).PixelData == dataset.PixelData


def test_implicit_vr_and_segment_labels(tmp_path: Path) -> None:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = (
        1,
        "Hers",
        "AUTOMATIC",
        "of Ann",
    )
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "39607008", "SCT", "Lung"
    segment.SegmentedPropertyTypeCodeSequence = Sequence([code])
    own = Dataset()
    own.CodeValue, own.CodingSchemeDesignator, own.CodeMeaning = "X1", "99HOSPITAL", "Room of Ann"
    segment.SegmentedPropertyCategoryCodeSequence = Sequence([own])
    dataset = ct(SegmentSequence=Sequence([segment]))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dcmwrite(tmp_path / "in.dcm", dataset, enforce_file_format=True)
    result, _ = deidentify(dcmread(tmp_path / "in.dcm"), POLICY)
    back = dcmread(io.BytesIO(written(result)))
    assert back.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (back.SegmentSequence[0].SegmentLabel, back.SegmentSequence[0].SegmentAlgorithmName) == ("Lung", "unnamed")
    assert "SegmentedPropertyCategoryCodeSequence" not in back.SegmentSequence[0]


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def test_files_are_streamed_resumed_and_set_aside_with_reasons(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for n in (1, 2, 3):
        save(ct(InstanceNumber=n), source / f"{n}.dcm")
    save(ct(InstanceNumber=1), source / "4_again.dcm")
    save(ct(InstanceNumber=5, BurnedInAnnotation="YES"), source / "5.dcm")
    short = save(ct(InstanceNumber=6), source / "6.dcm")
    short.write_bytes(short.read_bytes()[:-8])
    (source / "notes.txt").write_text("about Johanna")
    seen: list[tuple[int, int]] = []
    report = deidentify_files(source, out, POLICY, progress=lambda done, total: seen.append((done, total)))
    assert len(report.written) == 3
    reasons = {Path(q.item).name: q.reason for q in report.quarantined}
    assert list(reasons) == ["4_again.dcm", "5.dcm", "6.dcm", "notes.txt"]
    assert "same SOP Instance UID as 1.dcm" in reasons["4_again.dcm"]
    assert "PixelData holds 24 bytes, its header needs 32" in reasons["6.dcm"]
    assert seen[-1] == (7, 7)
    pseudonym = POLICY.pseudonym("id:MRN-778812")
    assert all(path.relative_to(out).parts[0] == pseudonym for path in report.written)
    rows = pq.read_table(report.audit).to_pylist()
    assert {row["file"] for row in rows} == {path.relative_to(out).as_posix() for path in report.written}

    contents = {path: path.read_bytes() for path in report.written}
    report.written[0].unlink()
    kept = report.written[1].stat().st_mtime_ns
    again = deidentify_files(source, out, POLICY)
    assert again.skipped == 2
    assert report.written[1].stat().st_mtime_ns == kept
    assert {path: path.read_bytes() for path in again.written} == contents
    assert pq.read_table(again.audit).to_pylist() == rows

    other = save(ct(patient="MRN-2"), tmp_path / "more" / "1.dcm")
    deidentify_files([other], out, POLICY)
    assert len({row["file"] for row in pq.read_table(report.audit).to_pylist()}) == 4
    for path in out.rglob("*"):
        assert path.is_dir() or b"ohanna" not in path.read_bytes()
    assert not [path for path in out.rglob("*") if "partial" in path.name]


def test_a_folder_of_another_policy_or_of_originals_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in"
    save(ct(), source / "1.dcm")
    deidentify_files(source, tmp_path / "out", POLICY)
    with pytest.raises(PrivacyError, match="another key or other options"):
        deidentify_files(source, tmp_path / "out", Policy(key="another secret of 24 ...."))
    with pytest.raises(PrivacyError, match="lie in one another"):
        deidentify_files(source, source / "out", POLICY)
    with pytest.raises(PrivacyError, match="not of a de-identification"):
        deidentify_files([source / "1.dcm"], source, POLICY)
    with pytest.raises(MissingFileError, match="does not exist"):
        deidentify_files(tmp_path / "absent", tmp_path / "out", POLICY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="holds no file"):
        deidentify_files(tmp_path / "empty", tmp_path / "out", POLICY)


@pytest.mark.parametrize(
    "name", ["humans/ctbrain2.dcm", "dicom-cookies/image1.dcm", "dicom-cookies/image2.dcm", "ultrasounds/RGB_IMAGE.dcm"]
)
def test_no_planted_string_of_a_real_header_survives(shared_data: Path, name: str) -> None:
    # The pixels are refused (above); here the header goes through as if it were a CT slice's.
    dataset = dcmread(shared_data / "deid" / name)
    del dataset.PixelData
    dataset.SOPClassUID = CTImageStorage
    dataset.BurnedInAnnotation = "NO"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    people = {"PN", "LO", "SH", "ST", "LT", "UT", "DA", "DT", "UI"}
    planted = {
        str(value)
        for element in dataset.iterall()
        if element.VR in people and (element.tag.is_private or element.keyword not in KEEP)
        for value in (element.value if element.VM > 1 else [element.value])
    }
    planted = {p for p in planted if len(p) >= 5 and not p.startswith("1.2.840.10008.")}
    assert len(planted) > 5
    content = written(deidentify(dataset, POLICY)[0])
    assert [text for text in sorted(planted) if text.encode() in content] == []


@pytest.mark.parametrize(
    ("folder", "pattern"), [("mr_philips_elition_mprage", "1301_000*.dcm"), ("mr_siemens_vida_xa10_enhanced", "6_1.dcm")]
)
def test_a_real_series_reads_the_same_after_as_before(shared_data: Path, tmp_path: Path, folder: str, pattern: str) -> None:
    from medio.reading import read

    sources = sorted((shared_data / "dicom_multivendor" / folder).glob(pattern))
    report = deidentify_files(sources, tmp_path / "out", POLICY)
    assert report.quarantined == ()
    before, after = read(sources), read(report.written)
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_array_equal(after.affine, before.affine)  # type: ignore[arg-type]
    assert after.meta["patient_id"] != before.meta["patient_id"]


def test_a_header_of_nonsense_names_its_file(tmp_path: Path) -> None:
    path = save(ct(), tmp_path / "bad.dcm")
    path.write_bytes(path.read_bytes().replace(b"0.5\\0.5 ", b"ab\\cd.e "))
    with pytest.raises(CorruptFileError, match=r"bad\.dcm: PixelSpacing holds"):
        deidentify(dcmread(path), POLICY)
