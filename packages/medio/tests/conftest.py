"""What the tests of medio share: a writer of small, valid CT series."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

WriteCT = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def write_ct() -> WriteCT:
    """Write a CT series: `write_ct(folder, stored, affine, **changes)` returns the paths in z order; changes set attributes of every file."""
    return _write_ct


def _write_ct(
    folder: Path, stored: np.ndarray, affine: np.ndarray, *, intercept: float = -1024, slope: float = 1, **changes: Any
) -> list[Path]:
    # affine maps (z, y, x, 1) to LPS mm: column 2 is a step along x, the row direction of DICOM.
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = affine[:3, :3] / spacing
    folder.mkdir(parents=True, exist_ok=True)
    seed = [str(folder.name), str(stored.shape)]
    series, study, frame = (generate_uid(entropy_srcs=[kind, *seed]) for kind in ("series", "study", "frame"))
    paths = []
    for z, pixels in enumerate(stored):
        uid = generate_uid(entropy_srcs=["instance", str(z), *seed])
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, uid, ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, uid, "CT"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "P1", "Test^Case", "", "O"
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "20240102", "101112", "", "1", ""
        ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = "Maker", 1, z + 1, "thorax"
        ds.ImagePositionPatient = [format_number_as_ds(float(v)) for v in affine[:3, 3] + z * affine[:3, 0]]
        ds.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in (*cosines[:, 2], *cosines[:, 1])]
        ds.PixelSpacing = [format_number_as_ds(float(v)) for v in spacing[1:]]
        ds.SliceThickness = format_number_as_ds(float(spacing[0]))
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = f"{intercept:g}", format_number_as_ds(float(slope)), "HU"
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.PixelRepresentation = int(pixels.dtype.kind == "i")
        ds.PixelData = pixels.tobytes()
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        path = folder / f"{stored.shape[0] - z:03d}.dcm"  # names run against positions: order must come from geometry
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
