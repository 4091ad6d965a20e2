"""A synthetic patient as files: a CT series, a DX film, and the true labels beside them."""

import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

import medio
from medio.image import Image
from medphantom.patient import Patient
from medphantom.radiograph import BITS

_INTERCEPT = -1024
_NAMESPACE = uuid.UUID("5b0f0e4e-6f0c-5d8e-9a53-2f6d9f2f7a11")
# SNOMED CT codes of the classes, from DICOM PS3.16 (context groups 7151 and 7159).
_CODES = {
    "lung": ("39607008", "SCT", "Lung"),
    "heart": ("80891009", "SCT", "Heart"),
    "spine": ("421060004", "SCT", "Spine"),
    "rib": ("113197003", "SCT", "Rib"),
    "vessel": ("59820001", "SCT", "Blood Vessel"),
    "nodule": ("27925004", "SCT", "Nodule"),
}
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_LESION = ("49755003", "SCT", "Morphologically Abnormal Structure")


@dataclass(frozen=True)
class PhantomStudy:
    """The files of one patient.

    Attributes:
        ct: one file a slice, from inferior to superior.
        radiograph: the PA film, or None if it was not asked for.
        labels: the true labels on the CT's grid, NIfTI.
        segmentation: the same as DICOM SEG, or None if it was not asked for.
    """

    ct: list[Path]
    radiograph: Path | None
    labels: Path
    segmentation: Path | None = None


def write_dicom(patient: Patient, folder: Path | str, *, with_radiograph: bool = True, segmentation: bool = False) -> PhantomStudy:
    """Write a patient below `folder/<patient_id>/`: `ct/0001.dcm` …, `dx/0001.dcm`, `labels.nii.gz` and, if asked for, `seg/0001.dcm`.

    Every file carries invented identifiers (names, birth date, institution, physicians, address, accession number, a private tag), so that
    de-identification has something to remove. UIDs are derived from seed, index, spacing and shape: the same patient gives the same bytes.

    Args:
        patient: from `make_patient`.
        folder: made if absent. The patient's own folder in it appears whole or not at all, and replaces an older one whole.
        with_radiograph: also write the film.
        segmentation: also write the labels as DICOM SEG.

    Returns:
        The paths.

    Source: DICOM PS3.3, CT Image IOD (A.3) and Digital X-Ray Image IOD (A.26).
    """
    final = Path(folder) / patient.patient_id
    # A fixed name: what a killed run left is found and removed by the next.
    staged = final.with_name(f".{patient.patient_id}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    ct = _write_ct(patient, staged / "ct")
    if with_radiograph:
        _write_film(patient, staged / "dx" / "0001.dcm")
    labels = Image(patient.labels, patient.ct.affine, patient.ct.spacing, "", {"patient_id": patient.patient_id})
    medio.write(labels, staged / "labels.nii.gz")
    if segmentation:
        _write_segmentation(patient, ct, staged / "seg" / "0001.dcm")
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)
    return PhantomStudy(
        ct=[final / "ct" / path.name for path in ct],
        radiograph=final / "dx" / "0001.dcm" if with_radiograph else None,
        labels=final / "labels.nii.gz",
        segmentation=final / "seg" / "0001.dcm" if segmentation else None,
    )


def _write_ct(patient: Patient, folder: Path) -> list[Path]:
    image, affine = patient.ct, patient.ct.affine
    assert affine is not None  # an Image of three dimensions always has one
    sz, sy, sx = image.spacing
    stored = (image.array.astype(np.int32) - _INTERCEPT).astype(np.int16)  # HU within -1024 to 3071 become 0 to 4095: nothing is lost
    folder.mkdir(parents=True, exist_ok=True)
    ds = _instance(patient, CTImageStorage, "CT", 1)
    ds.SeriesDescription = "SYNTHETIC PHANTOM thorax CT"
    ds.FrameOfReferenceUID = _uid(patient, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.PatientPosition = "HFS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber = 1
    ds.KVP = "120"
    ds.ImageOrientationPatient = _decimals([*(affine[:3, 2] / sx), *(affine[:3, 1] / sy)])  # along a row, then down a column
    ds.PixelSpacing = _decimals([sy, sx])
    ds.SliceThickness = _decimals([sz])
    ds.SpacingBetweenSlices = _decimals([sz])
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1500"]
    ds.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"]
    paths = []
    for z, pixels in enumerate(stored):
        _number(ds, patient, z + 1)
        position = affine[:3, 3] + affine[:3, 0] * z
        ds.ImagePositionPatient = _decimals(position)
        ds.SliceLocation = _decimals([position[2]])
        _set_pixels(ds, pixels, bits_stored=16)
        path = folder / f"{z + 1:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _write_film(patient: Patient, path: Path) -> None:
    film = patient.radiograph
    ds = _instance(patient, DigitalXRayImageStorageForPresentation, "DX", 2)
    _number(ds, patient, 1)
    ds.SeriesDescription = "SYNTHETIC PHANTOM chest PA"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = "Line integrals through a synthetic CT"
    ds.AcquisitionNumber = 1
    ds.PatientOrientation = ["L", "F"]  # rows run to the patient's left, columns to the feet
    ds.ImageLaterality = "U"
    ds.ViewPosition = "PA"
    ds.ViewCodeSequence = Sequence([_code("272479007", "SCT", "postero-anterior")])
    ds.AnatomicRegionSequence = Sequence([_code("816094009", "SCT", "Chest")])
    ds.AcquisitionContextSequence = Sequence()
    ds.DetectorType = "DIRECT"
    ds.ImagerPixelSpacing = _decimals(film.spacing)
    ds.PixelSpacing = _decimals(film.spacing)
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1  # a higher value means less X-ray intensity: denser is brighter
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = "1900", "2600"
    _set_pixels(ds, film.array, bits_stored=BITS)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def _write_segmentation(patient: Patient, ct: list[Path], path: Path) -> None:
    affine = patient.ct.affine
    assert affine is not None  # as above
    segments = [
        medio.Segment(
            number=number, label=name, code=_CODES[name], category=_LESION if name == "nodule" else _ANATOMY, algorithm="medphantom"
        )
        for number, name in enumerate(patient.classes)
        if number > 0
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    medio.write_segmentation(patient.labels, ct, segments, path, affine=affine)


def _instance(patient: Patient, sop_class: UID, modality: str, series: int) -> FileDataset:
    """Start a file with what all images of a series share: patient, study, equipment, and the planted identifiers."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uuid_uid("medphantom implementation")
    meta.ImplementationVersionName = "MEDPHANTOM_0"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    person, site = patient.person, patient.site
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class

    ds.PatientName = person.name
    ds.PatientID = patient.patient_id
    ds.PatientBirthDate = person.birth_date
    ds.PatientSex = person.sex
    ds.PatientAge = f"{person.age:03d}Y"
    ds.PatientAddress = f"{patient.index + 1} Phantom Street, Nowhere"
    ds.PatientTelephoneNumbers = f"+00 000 {patient.index:05d}"
    ds.PatientComments = "Synthetic phantom, not a real person"

    ds.StudyInstanceUID = _uid(patient, "study")
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = person.study_date
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "101500"
    ds.StudyID = f"S{patient.index:05d}"
    ds.AccessionNumber = f"PHANTOM-ACC-{patient.index % 10000:04d}"
    ds.ReferringPhysicianName = person.referrer
    ds.PerformingPhysicianName = "PHANTOM-RADIOLOGIST^RUNA"
    ds.OperatorsName = "PHANTOM-OPERATOR^OLE"
    ds.StudyDescription = "SYNTHETIC PHANTOM thorax"

    ds.Modality = modality
    ds.SeriesInstanceUID = _uid(patient, f"series {modality}")
    ds.SeriesNumber = series
    ds.BodyPartExamined = "CHEST"
    ds.Manufacturer = site.vendor
    ds.ManufacturerModelName = site.model
    ds.InstitutionName = site.name
    ds.InstitutionAddress = "1 Phantom Square, Nowhere"
    ds.StationName = f"PHANTOM-{modality}"
    ds.DeviceSerialNumber = f"PHANTOM-{site.model}-0001"
    ds.SoftwareVersions = "medphantom"
    ds.ImageComments = "Synthetic phantom, not for clinical use"
    ds.private_block(0x0011, "MEDPHANTOM", create=True).add_new(0x01, "LO", f"{person.name} {person.birth_date}")
    return ds


def _number(ds: FileDataset, patient: Patient, instance: int) -> None:
    ds.InstanceNumber = instance
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid(patient, f"instance {ds.Modality} {instance}")


def _set_pixels(ds: FileDataset, pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint16], *, bits_stored: int) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    ds.add_new("PixelData", "OW", pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _decimals(values: Iterable[float]) -> list[str]:
    """Format numbers as DS: exact to about 13 digits in at most 16 characters."""
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _uid(patient: Patient, role: str) -> UID:
    scan = f"spacing {patient.ct.spacing} shape {patient.ct.array.shape}"
    return _uuid_uid(f"seed {patient.seed} index {patient.index} {scan} {role}")


def _uuid_uid(name: str) -> UID:
    """A name-based UID below 2.25 (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")
