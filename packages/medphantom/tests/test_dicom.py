"""The files: read back by pydicom, SimpleITK and medio as the very arrays and geometry that were written."""

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

import medio
from medphantom import PhantomStudy, make_patient, write_dicom

PATIENT = make_patient(5, 7)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    return write_dicom(PATIENT, tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def slices(study: PhantomStudy) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in reversed(study.ct)]


def test_slices_sorted_by_position_are_the_volume(slices):
    slices = sorted(slices, key=lambda ds: ds.ImagePositionPatient[2])
    hu = np.stack([ds.pixel_array * ds.RescaleSlope + ds.RescaleIntercept for ds in slices])
    assert np.array_equal(hu, PATIENT.ct.array)
    assert {ds.RescaleType for ds in slices} == {"HU"}


def test_slices_place_every_voxel_where_the_affine_does(slices):
    for ds in slices:
        z = ds.InstanceNumber - 1
        row, column = np.array(ds.ImageOrientationPatient).reshape(2, 3)  # along a row (x), down a column (y)
        corner = ds.ImagePositionPatient + row * 3 * ds.PixelSpacing[1] + column * 2 * ds.PixelSpacing[0]
        assert np.array_equal(corner, (PATIENT.ct.affine @ [z, 2, 3, 1])[:3])


def test_simpleitk_reads_the_same_array_origin_and_direction(study):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(study.ct[0].parent)))
    image = reader.Execute()
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), PATIENT.ct.array)
    assert image.GetOrigin() == pytest.approx(tuple(PATIENT.ct.affine[:3, 3]), abs=1e-9)
    assert image.GetSpacing() == pytest.approx(PATIENT.ct.spacing[::-1], abs=1e-9)
    assert image.GetDirection() == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1), abs=1e-12)


def test_medio_reads_the_same_volume(study):
    image = medio.read(study.ct[0].parent)
    assert np.array_equal(image.array, PATIENT.ct.array)
    assert np.array_equal(image.affine, PATIENT.ct.affine)
    assert image.spacing == PATIENT.ct.spacing
    assert image.unit == "HU"


@settings(max_examples=15, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.3, 12, allow_nan=False)] * 3),
    shape=st.tuples(st.integers(2, 4), st.integers(2, 9), st.integers(2, 9)),
)
def test_any_spacing_survives_the_decimal_strings(spacing, shape):
    patient = make_patient(1, 1, spacing_mm=spacing, shape=shape)
    with tempfile.TemporaryDirectory() as folder:
        study = write_dicom(patient, folder, with_radiograph=False)
        image = medio.read(study.ct)
        labels = medio.read(study.labels)
    assert np.array_equal(image.array, patient.ct.array)
    # DS holds 16 characters: at least 12 digits of a position below 10 m
    assert image.affine == pytest.approx(patient.ct.affine, abs=1e-8)
    assert medio.reorient(labels, "SPL").affine == pytest.approx(patient.ct.affine, abs=1e-3)  # NIfTI's affine is float32
    assert np.array_equal(medio.reorient(labels, "SPL").array, patient.labels)


def test_uids_tie_the_files_together_and_name_each_once(slices, study):
    film = pydicom.dcmread(study.radiograph)
    files = [*slices, film]
    assert len({ds.SOPInstanceUID for ds in files}) == len(files) == len(PATIENT.ct.array) + 1
    assert {ds.StudyInstanceUID for ds in slices} == {film.StudyInstanceUID}
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    assert film.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert len({ds.FrameOfReferenceUID for ds in slices}) == 1
    for ds in files:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        uids = [element.value for element in ds if element.VR == "UI"]
        assert all(uid.is_valid for uid in uids)


def test_uids_differ_between_patients_and_between_scans_of_one_patient(tmp_path):
    small = {"spacing_mm": (20.0, 40.0, 40.0), "shape": (3, 4, 4)}
    scans = [
        make_patient(1, 0, **small),
        make_patient(1, 1, **small),
        make_patient(2, 0, **small),
        make_patient(1, 0, spacing_mm=(21.0, 40.0, 40.0), shape=(3, 4, 4)),
    ]
    first = [pydicom.dcmread(write_dicom(scan, tmp_path / str(i)).ct[0]) for i, scan in enumerate(scans)]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert len({ds[keyword].value for ds in first}) == 4


def test_the_same_patient_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_dicom(make_patient(5, 8, spacing_mm=(20.0, 10.0, 10.0), shape=(10, 30, 40)), folder)
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in folders]
    assert names[0] == names[1]
    assert len(names[0]) == 12  # ten slices, a film, the labels
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_writing_again_replaces_the_patients_folder_and_what_a_killed_run_left(tmp_path):
    long, short = (make_patient(1, 0, spacing_mm=(20.0, 40.0, 40.0), shape=(depth, 4, 4)) for depth in (6, 3))
    left = tmp_path / f".{long.patient_id}.partial" / "ct"
    left.mkdir(parents=True)
    (left / "0099.dcm").write_bytes(b"half a slice")
    write_dicom(long, tmp_path)
    study = write_dicom(short, tmp_path, with_radiograph=False)
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.is_file()) == ["0001.dcm", "0002.dcm", "0003.dcm", "labels.nii.gz"]
    assert sorted(study.ct) == sorted((tmp_path / short.patient_id / "ct").iterdir())


def test_the_film_says_how_to_show_it(study):
    ds = pydicom.dcmread(study.radiograph)
    assert np.array_equal(ds.pixel_array, PATIENT.radiograph.array)
    assert ds.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert (ds.PhotometricInterpretation, ds.PresentationLUTShape, ds.PixelIntensityRelationshipSign) == ("MONOCHROME2", "IDENTITY", -1)
    assert (list(ds.PatientOrientation), ds.ViewPosition) == (["L", "F"], "PA")
    assert tuple(ds.PixelSpacing) == PATIENT.radiograph.spacing
    assert "FrameOfReferenceUID" not in ds
    assert medio.read(study.radiograph).spacing == PATIENT.radiograph.spacing


def test_every_file_carries_invented_identifiers_for_deidentification_to_remove(slices, study):
    for ds in (*slices, pydicom.dcmread(study.radiograph)):
        assert str(ds.PatientName).startswith("PHANTOM^")
        assert ds.PatientID == PATIENT.patient_id
        assert ds.PatientBirthDate == PATIENT.person.birth_date
        assert "Phantom" in ds.InstitutionName
        assert "PHANTOM" in str(ds.ReferringPhysicianName)
        assert str(ds.PatientName) in ds.private_block(0x0011, "MEDPHANTOM")[0x01].value
        assert "SYNTHETIC" in ds.StudyDescription


def test_the_labels_lie_on_the_ct(study):
    labels = medio.reorient(medio.read(study.labels), "SPL")
    assert np.array_equal(labels.array, PATIENT.labels)
    assert labels.affine == pytest.approx(PATIENT.ct.affine, abs=1e-4)


@pytest.mark.parametrize("wants_nodule", [True, False])
def test_the_segmentation_says_the_same_as_the_labels(tmp_path, wants_nodule):
    patients = (make_patient(5, index, spacing_mm=(14.0, 3.5, 3.5), shape=(20, 96, 112)) for index in range(20))
    patient = next(p for p in patients if (6 in p.labels) == wants_nodule)
    study = write_dicom(patient, tmp_path, with_radiograph=False, segmentation=True)
    assert study.radiograph is None
    assert not list(Path(tmp_path).rglob("dx"))
    image = medio.read_segmentation(study.segmentation, like=patient.ct)
    assert np.array_equal(image.array, patient.labels)
    assert image.affine == pytest.approx(patient.ct.affine, abs=1e-6)
    ds = pydicom.dcmread(study.segmentation)
    labels = {item.SegmentNumber: item.SegmentLabel for item in ds.SegmentSequence}
    assert labels == dict(enumerate(patient.classes[1:], start=1))
