"""What all images of a series share: patient, study, equipment, and the identifiers planted for de-identification to remove."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from medio import keyed_uids
from medphantom.dicom.record import Record, Uids

TIME = "101500"
"""Time of day of every study."""


def start(record: Record, uids: Uids, sop_class: UID, modality: str, *, series: int, role: str, identifiers: bool) -> FileDataset:
    """Start a file of a series.

    Args:
        record: the visit.
        uids: of the visit.
        sop_class: of the file.
        modality: CT, MR, DX, CR.
        series: number of the series in the study.
        role: names the series among those of the visit; its UID is made from it.
        identifiers: whether to plant invented names, addresses, numbers and a private tag; else what DICOM lets be empty is empty.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(keyed_uids("medphantom implementation")("class"))
    meta.ImplementationVersionName = "MEDPHANTOM_0"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    person, site = record.person, record.site
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class

    ds.PatientName = person.name if identifiers else "SYNTHETIC^PHANTOM"
    ds.PatientID = record.patient_id
    ds.PatientBirthDate = person.birth_date if identifiers else ""
    ds.PatientSex = person.sex
    ds.PatientAge = f"{record.age:03d}Y"
    ds.PatientComments = "Synthetic phantom, not a real person"

    ds.StudyInstanceUID = uids("study")
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = record.study_date
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = TIME
    ds.StudyID = f"S{record.index:05d}" if identifiers else ""
    ds.AccessionNumber = _accession(record) if identifiers else ""
    ds.ReferringPhysicianName = person.referrer if identifiers else ""
    ds.StudyDescription = "SYNTHETIC PHANTOM thorax"

    ds.Modality = modality
    ds.SeriesInstanceUID = uids(f"series {role}")
    ds.SeriesNumber = series
    ds.BodyPartExamined = "CHEST"
    ds.Manufacturer = site.vendor
    ds.ManufacturerModelName = site.model
    ds.SoftwareVersions = "medphantom"
    ds.ImageComments = "Synthetic phantom, not for clinical use"
    if identifiers:
        _plant(ds, record)
    return ds


def _plant(ds: FileDataset, record: Record) -> None:
    person, site = record.person, record.site
    ds.PatientAddress = f"{record.index + 1} Phantom Street, Nowhere"
    ds.PatientTelephoneNumbers = f"+00 000 {record.index:05d}"
    ds.PerformingPhysicianName = "PHANTOM-RADIOLOGIST^RUNA"
    ds.OperatorsName = "PHANTOM-OPERATOR^OLE"
    ds.InstitutionName = site.name
    ds.InstitutionAddress = "1 Phantom Square, Nowhere"
    ds.StationName = f"PHANTOM-{ds.Modality}"
    ds.DeviceSerialNumber = f"PHANTOM-{site.model}-0001"[:64]
    ds.private_block(0x0011, "MEDPHANTOM", create=True).add_new(0x01, "LO", f"{person.name} {person.birth_date}")


def _accession(record: Record) -> str:
    # 16 characters at most (SH); a number a visit.
    visit = f"-{record.visit}" if record.visit else ""
    return f"PHANTOM-ACC-{record.index % 10000:04d}" if not visit else f"PH-ACC-{record.index % 10000:04d}{visit}"[:16]


def number(ds: FileDataset, uids: Uids, role: str, instance: int) -> None:
    """Give a file its number in the series, and its UID."""
    ds.InstanceNumber = instance
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uids(f"instance {role} {instance}")


def set_pixels(ds: FileDataset, pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint16], *, bits_stored: int) -> None:
    """Put one frame of 16 bits into a file."""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    ds.add_new("PixelData", "OW", pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Make an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def decimals(values: Iterable[float]) -> list[str]:
    """Format numbers as DS: exact to about 13 digits in at most 16 characters."""
    return [format_number_as_ds(float(value) + 0.0) for value in values]
