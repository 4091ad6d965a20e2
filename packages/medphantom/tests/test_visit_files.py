"""A visit's files: each says what the visit says, to pydicom, SimpleITK and medio alike, and dciodvfy finds no error."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.sr._concepts_dict import concepts

import medio
from medphantom import make_patient
from medphantom.dicom import VisitFiles, codes, write_dicom, write_visit
from medphantom.dicom.record import Record
from medphantom.errors import PhantomError
from medphantom.findings.drawing import KINDS
from medphantom.labels import CLASSES
from medphantom.projection import View
from medphantom.records import make_records
from medphantom.reports.lexicon import TERMS
from medphantom.sites import SITES

SITE = replace(SITES[2], ap_share=0.0, prevalence={"nodule": 1.0, "effusion": 1.0, "consolidation": 1.0, "pacemaker": 1.0})
ALL = ("ct", "mr", "dx", "seg", "sr")


@pytest.fixture(scope="module")
def record() -> Record:
    return make_records(5, 3, sites=(SITE,), spacing_mm=(8.0, 5.0, 5.0), mr=True, labels="full")[0]


@pytest.fixture(scope="module")
def files(record: Record, tmp_path_factory: pytest.TempPathFactory) -> VisitFiles:
    return write_visit(record, tmp_path_factory.mktemp("visit") / "first", contents=ALL, format="both")


@pytest.fixture(scope="module")
def later(record: Record) -> Record:
    field = np.zeros((*record.labels.shape, 3), np.float32)
    field[..., 0], field[..., 1], field[..., 2] = 1.5, -2.5, np.linspace(0, 4, len(field), dtype=np.float32)[:, None, None]
    noisier = medio.Image(np.roll(record.ct.array, 1, axis=1), record.ct.affine, record.ct.spacing, "HU", record.ct.meta)
    return replace(record, visit=1, day=100, ct=noisier, displacement_mm=field, prior=record.truths)


def all_dicom(files: VisitFiles) -> list[Path]:
    assert files.organs
    return sorted(files.organs.parent.parent.rglob("*.dcm"))


def test_dciodvfy_finds_no_error_in_any_kind_of_file(files, record, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    bedside = replace(record, films={"AP": record.films["PA"]}, mr={}, reports={})
    portable = write_visit(bedside, tmp_path / "bedside", contents=("dx",)).films["AP"]
    kinds = [files.ct[3], files.mr["T1w"][3], files.films["PA"], files.films["LAT"], files.organs, files.lesions, files.sizes, portable]
    for path in kinds:
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False).stderr
        assert not [line for line in said.splitlines() if line.startswith("Error")]


def test_every_uid_is_said_once_and_a_visit_is_one_study(files):
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in all_dicom(files)]
    assert len({ds.SOPInstanceUID for ds in datasets}) == len(datasets)
    assert len({ds.StudyInstanceUID for ds in datasets}) == 1
    # CT, two MR contrasts, two films, two SEG, one SR
    assert len({ds.SeriesInstanceUID for ds in datasets}) == len({ds.SeriesNumber for ds in datasets}) == 8
    assert len({ds.FrameOfReferenceUID for ds in datasets if "FrameOfReferenceUID" in ds}) == 1
    assert {ds.PatientID for ds in datasets} == {"PHANTOM-5-00003"}
    assert {ds.StudyDate for ds in datasets} == {ds.SeriesDate for ds in datasets if "SeriesDate" in ds}


def test_mr_is_read_back_in_place_with_its_timing(files, record):
    for name, image in record.mr.items():
        back = medio.read(files.mr[name][0].parent)
        assert np.array_equal(back.array, image.array)
        assert back.affine == pytest.approx(record.ct.affine, abs=1e-9)
        ds = pydicom.dcmread(files.mr[name][0])
        assert (ds.Modality, float(ds.EchoTime), float(ds.RepetitionTime)) == ("MR", image.meta["echo_time"], image.meta["repetition_time"])
    assert record.mr.keys() == {"T1w", "T2w"}


def test_each_segment_is_its_findings_mask_even_where_they_overlap(files, record):
    ds = pydicom.dcmread(files.lesions)
    seen = [truth for truth in record.truths if truth.seen]
    assert len(seen) >= 4
    z0, dz = record.ct.affine[2, 3], record.ct.affine[2, 0]
    masks = np.zeros((len(seen), *record.labels.shape), bool)
    for frame, group in zip(np.atleast_3d(ds.pixel_array), ds.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        z = round((group.PlanePositionSequence[0].ImagePositionPatient[2] - z0) / dz)
        masks[number - 1, z] = frame
    for number, (truth, item) in enumerate(zip(seen, ds.SegmentSequence, strict=True)):
        assert np.array_equal(masks[number], truth.on_grid())
        assert (item.TrackingID, item.SegmentLabel) == (truth.tracking_id, truth.tracking_id)
        assert item.TrackingUID == record.tracking_uid(truth)


def test_the_sr_states_every_size_of_every_finding_on_its_segment(files, record):
    rows = medio.read_measurements(files.sizes)
    stated = {(row.tracking_id, row.name[2]): (row.value, row.tracking_uid) for row in rows}
    expected = {}
    for truth in (truth for truth in record.truths if truth.seen):
        for name, value in (("Long axis", truth.diameter_mm), ("Short axis", truth.short_axis_mm), ("Volume", truth.volume_ml)):
            if value is not None:
                expected[truth.tracking_id, name] = (round(value, 3), record.tracking_uid(truth))
    assert stated == expected
    assert {"Long axis", "Short axis", "Volume"} == {name for _, name in stated}
    assert {row.time_point for row in rows} == {"visit 0"}
    lesions = pydicom.dcmread(files.lesions)
    for row in rows:
        (place,) = row.geometry
        assert place.sop_instance_uid == lesions.SOPInstanceUID
        assert lesions.SegmentSequence[place.number - 1].TrackingID == row.tracking_id


def test_films_say_their_view_and_which_way_they_are_shown(files, record, tmp_path):
    expected = {"PA": ("DX", "PA", ["L", "F"], "272479007"), "LAT": ("DX", "LL", ["P", "F"], "399173006")}
    portable = write_visit(replace(record, films={"AP": record.films["PA"]}), tmp_path / "bedside", contents=("dx",)).films
    expected["AP"] = ("CR", "AP", ["L", "F"], "399348003")
    for view, path in {**files.films, **portable}.items():
        ds = pydicom.dcmread(path)
        said = (ds.Modality, ds.ViewPosition, list(ds.PatientOrientation), ds.ViewCodeSequence[0].CodeValue)
        assert said == expected[view]
        film = record.films["PA" if view == "AP" else view]
        assert np.array_equal(ds.pixel_array, film.array)
        assert ds.DistanceSourceToDetector == film.meta["source_to_detector_mm"] == 1800
        assert medio.read(path).spacing == film.spacing


def test_full_labels_are_the_organs_of_the_seg(files, record):
    back = medio.read_segmentation(files.organs, like=record.ct)
    assert np.array_equal(back.array, record.labels)
    names = [item.SegmentLabel for item in pydicom.dcmread(files.organs).SegmentSequence]
    assert tuple(names) == record.classes[1:]


def test_the_same_visit_gives_the_same_bytes_in_every_file(files, record, tmp_path):
    again = write_visit(record, tmp_path / "again", contents=ALL, format="both")
    assert files.organs
    first, second = files.organs.parent.parent, tmp_path / "again"
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert {name.parts[0] for name in map(Path, names)} >= {"ct", "mr_T1w", "dx", "seg", "sr", "nifti"}
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert again.ct[0].read_bytes() == files.ct[0].read_bytes()


def test_a_later_visit_has_its_own_study_and_date_but_the_same_findings(files, record, later, tmp_path):
    second = write_visit(later, tmp_path / "second", contents=ALL)
    one, two = pydicom.dcmread(files.lesions), pydicom.dcmread(second.lesions)
    assert [item.TrackingUID for item in one.SegmentSequence] == [item.TrackingUID for item in two.SegmentSequence]
    assert one.StudyInstanceUID != two.StudyInstanceUID
    assert not {pydicom.dcmread(path).SOPInstanceUID for path in all_dicom(files)} & {
        pydicom.dcmread(p).SOPInstanceUID for p in all_dicom(second)
    }
    first_day, day = (np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (one.StudyDate, two.StudyDate))
    assert day - first_day == np.timedelta64(100, "D")
    for path in all_dicom(second):
        ds = pydicom.dcmread(path)
        assert {ds.StudyDate, ds.get("ContentDate", two.StudyDate), ds.get("SeriesDate", two.StudyDate)} == {two.StudyDate}
    assert {row.time_point for row in medio.read_measurements(second.sizes)} == {"visit 1"}
    born = np.datetime64(f"{record.person.birth_date[:4]}-{record.person.birth_date[4:6]}-{record.person.birth_date[6:]}")
    # whole years by days: right to a day in a birthday's neighbourhood, which this person is not in
    assert int(pydicom.dcmread(second.ct[0]).PatientAge[:3]) == int((day - born).astype(int) / 365.2425)


def test_nifti_holds_the_volumes_and_the_way_back_to_the_first_visit(later, tmp_path):
    files = write_visit(later, tmp_path / "second", format="nifti")
    assert not list((tmp_path / "second").rglob("*.dcm"))
    for name, array in {"ct": later.ct.array, "labels": later.labels, "lobes": later.lobes, "mr_T1w": later.mr["T1w"].array}.items():
        back = medio.reorient(medio.read(files.nifti[name]), "SPL")
        assert np.array_equal(back.array, array)
        assert back.affine == pytest.approx(later.ct.affine, abs=1e-3)  # NIfTI's affine is float32
    numbered = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(files.nifti["findings"])))
    last = np.zeros(later.labels.shape, int)
    for number, truth in enumerate(later.truths, start=1):
        last[truth.on_grid()] = number
    assert np.array_equal(numbered, last)
    field = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(files.nifti["displacement"])))
    assert field.shape == (3, *later.labels.shape)  # SimpleITK gives the fourth dimension first: x, y, z of LPS
    assert np.array_equal(np.moveaxis(field, 0, -1), later.displacement_mm)


def lookup(ds: pydicom.Dataset, path: str) -> str:
    found = ds
    for group, element, item in re.findall(r"\((\w{4}),(\w{4})\)|\[(\d+)\]", path):
        found = found[int(item)] if item else found[int(group, 16), int(element, 16)].value
    return str(found)


def test_planted_identifiers_stand_where_the_list_says(files):
    rows = json.loads(files.planted.read_text())
    folder = files.planted.parent
    assert {row["kind"] for row in rows} == {"name", "number", "date", "place", "phone", "device"}
    assert {name.split("/")[0] for row in rows for name in row["files"]} == {"ct", "mr_T1w", "mr_T2w", "dx", "seg", "sr"}
    datasets = {path.relative_to(folder).as_posix(): pydicom.dcmread(path, stop_before_pixels=True) for path in all_dicom(files)}
    assert {name for row in rows for name in row["files"]} == datasets.keys()
    for row in rows:
        for name in row["files"]:
            assert row["value"] in lookup(datasets[name], row["tag"])


def test_every_finding_and_class_has_the_code_that_dicom_gives_it():
    assert codes.FINDINGS.keys() == set(KINDS) == TERMS.keys()
    assert codes.CLASSES.keys() == set(CLASSES[1:])
    listed = {}
    for entries in concepts["SCT"].values():
        for value, (meaning, _) in entries.items():
            listed.setdefault(value, set()).add(re.sub(r" \(.*\)", "", meaning).lower())
    used = {code for row in (*codes.FINDINGS.values(), *codes.CLASSES.values()) for code in row} - {
        codes.ANATOMY
    }  # whose older name is kept
    known = [(value, meaning) for value, scheme, meaning in used if scheme == "SCT" and value in listed]
    assert len(known) >= 25  # the rest is SNOMED CT that no context group of DICOM uses
    for value, meaning in known:
        assert meaning.lower() in listed[value], (value, listed[value])


def test_a_patient_of_its_own_is_written_with_the_film_it_has(tmp_path):
    patient = make_patient(5, 1, spacing_mm=(20.0, 20.0, 20.0), shape=(14, 17, 19), views=(View(position="AP", source_mm=1000),))
    ds = pydicom.dcmread(write_dicom(patient, tmp_path).radiograph)
    assert (ds.Modality, ds.ViewPosition) == ("CR", "AP")
    assert np.array_equal(ds.pixel_array, patient.radiograph.array)


def test_slices_are_encoded_as_pydicom_encodes_them(files, tmp_path):
    for path in (files.ct[0], files.ct[-1], files.mr["T1w"][2]):
        again = tmp_path / path.name
        pydicom.dcmread(path).save_as(again, enforce_file_format=True)
        assert again.read_bytes() == path.read_bytes()


def test_deidentification_removes_every_planted_identifier(files, tmp_path):
    originals = tmp_path / "originals"
    folder = files.planted.parent
    for path in (files.ct[0], files.mr["T1w"][0], files.organs, files.lesions, files.sizes, files.films["LAT"]):
        (originals / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, originals / path.relative_to(folder))
    policy = medio.Policy(key=b"a secret of 16 bytes or more", clean_structured=True)
    report = medio.deidentify_files(originals, tmp_path / "out", policy)
    assert not report.quarantined
    assert not medio.verify_deidentified(originals, tmp_path / "out", policy).leaks
    # and by a search of our own, from the list alone
    values = {row["value"] for row in json.loads(files.planted.read_text())}
    for path in report.written:
        data = path.read_bytes()
        assert not [value for value in values if value.encode() in data]


def test_without_identifiers_no_file_holds_one(record, files, tmp_path):
    write_visit(record, tmp_path / "plain", contents=ALL, identifiers=False)
    rows = json.loads(files.planted.read_text())
    # the patient's number and the day stay: files could not be told apart without
    values = {row["value"] for row in rows} - {record.patient_id, record.study_date}
    assert len(values) >= 10
    for path in (tmp_path / "plain").rglob("*.dcm"):
        assert not [value for value in values if value.encode() in path.read_bytes()]
    assert not list(tmp_path.rglob("identifiers.json"))


def test_a_visit_that_fails_leaves_the_older_folder_as_it_was(record, tmp_path, monkeypatch):
    folder = tmp_path / "visit"
    write_visit(record, folder, contents=("ct",))
    before = {path: path.read_bytes() for path in folder.rglob("*.dcm")}

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("medphantom.dicom.writing.write_nifti", fail)
    with pytest.raises(OSError, match="disk full"):
        write_visit(later_films(record), folder, contents=("ct", "dx"), format="both")
    assert {path: path.read_bytes() for path in folder.rglob("*.dcm")} == before


def later_films(record: Record) -> Record:
    return replace(record, visit=1, day=3)


@pytest.mark.parametrize(
    ("contents", "said"), [(("dx", "seg"), "seg refers to ct"), (("ct", "sr"), "sr refers to seg"), (("ct", "pet"), "pet are not known")]
)
def test_contents_that_cannot_be_are_refused(record, tmp_path, contents, said):
    with pytest.raises(PhantomError, match=said):
        write_visit(record, tmp_path / "visit", contents=contents)
    assert not list(tmp_path.iterdir())


def test_a_kind_without_a_code_is_named_and_nothing_is_written(record, tmp_path):
    own = replace(record, truths=(replace(record.truths[0], kind="shadow"),))
    with pytest.raises(PhantomError, match="no code for its kind 'shadow', so neither SEG nor SR can hold it; leave these two out"):
        write_visit(own, tmp_path / "visit")
    assert not (tmp_path / "visit").exists()
    assert write_visit(own, tmp_path / "visit", contents=("ct", "dx")).ct


def test_visits_and_days_start_at_nought(record):
    with pytest.raises(PhantomError, match="visit 0 on day 3"):
        replace(record, day=3)
