"""CT and MR series and films as DICOM.

Source: DICOM PS3.3, CT Image IOD (A.3), MR Image IOD (A.4), Digital X-Ray Image IOD (A.26), Computed Radiography Image IOD (A.2).
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, DigitalXRayImageStorageForPresentation, MRImageStorage

from medio.image import Image
from medphantom.dicom.header import code, decimals, number, set_pixels, start
from medphantom.dicom.record import Record, Uids
from medphantom.dicom.slices import SliceEncoder
from medphantom.radiograph import BITS

_INTERCEPT = -1024
_VIEWS = {
    # PatientOrientation: where rows run, where columns run. View Position, and its code of CID 4010.
    "PA": (["L", "F"], "PA", ("272479007", "SCT", "postero-anterior")),
    "AP": (["L", "F"], "AP", ("399348003", "SCT", "antero-posterior")),
    "LAT": (["P", "F"], "LL", ("399173006", "SCT", "left lateral")),
}
_VARYING = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "SliceLocation", "PixelData")
FIRST_FILM, FIRST_MR = 2, 10
"""Series numbers; the CT is 1."""


def write_ct(record: Record, uids: Uids, folder: Path, *, identifiers: bool) -> list[Path]:
    """Write the CT, one file a slice from inferior to superior; HU within -1024 to 3071 are kept exactly."""
    stored = (record.ct.array.astype(np.int32) - _INTERCEPT).astype(np.int16)
    ds = start(record, uids, CTImageStorage, "CT", series=1, role="CT", identifiers=identifiers)
    ds.SeriesDescription = "SYNTHETIC PHANTOM thorax CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.KVP = "120"
    ds.ConvolutionKernel = record.site.kernel
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1500"]
    ds.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"]
    _place(ds, record.ct, uids)
    return _write_slices(ds, record.ct, stored, uids, "CT", folder)


def write_mr(record: Record, uids: Uids, name: str, folder: Path, *, identifiers: bool) -> list[Path]:
    """Write one MR contrast, one file a slice from inferior to superior, in the CT's frame of reference."""
    image = record.mr[name]
    role = f"MR {name}"
    ds = start(record, uids, MRImageStorage, "MR", series=FIRST_MR + list(record.mr).index(name), role=role, identifiers=identifiers)
    ds.SeriesDescription = f"SYNTHETIC PHANTOM thorax {name}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    inversion = image.meta.get("inversion_time")
    ds.ScanningSequence = "SE" if inversion is None else ["SE", "IR"]
    ds.SequenceVariant = "NONE"
    ds.ScanOptions = ""
    ds.MRAcquisitionType = "2D"
    ds.EchoTrainLength = ""
    ds.EchoTime, ds.RepetitionTime = decimals([image.meta["echo_time"]]), decimals([image.meta["repetition_time"]])
    if inversion is not None:
        ds.InversionTime = decimals([inversion])
    low, high = np.percentile(image.array, (1, 99.5))
    ds.WindowCenter, ds.WindowWidth = decimals([round((low + high) / 2)]), decimals([max(round(high - low), 1)])
    _place(ds, image, uids)
    return _write_slices(ds, image, image.array.astype(np.uint16), uids, role, folder)


def write_film(record: Record, uids: Uids, view: str, path: Path, *, identifiers: bool) -> Path:
    """Write a film: PA and lateral as DX; AP, which is taken at the bedside, as CR."""
    film = record.films[view]
    orientation, position, view_code = _VIEWS[view]
    series = FIRST_FILM + list(record.films).index(view)
    # Another film of the same CT is another instance: its UID holds its pixels.
    role = f"film {view} {hashlib.blake2b(film.array.tobytes(), digest_size=16).hexdigest()}"
    if view == "AP":
        ds = start(record, uids, ComputedRadiographyImageStorage, "CR", series=series, role=role, identifiers=identifiers)
        ds.ImageType = ["DERIVED", "PRIMARY"]
    else:
        ds = start(record, uids, DigitalXRayImageStorageForPresentation, "DX", series=series, role=role, identifiers=identifiers)
        _digital(ds)
    number(ds, uids, role, 1)
    ds.SeriesDescription = f"SYNTHETIC PHANTOM chest {view}"
    ds.DerivationDescription = "Line integrals through a synthetic patient"
    ds.AcquisitionNumber = 1
    ds.PatientOrientation = orientation
    ds.ViewPosition = position
    ds.ViewCodeSequence = Sequence([code(*view_code)])
    ds.AnatomicRegionSequence = Sequence([code("816094009", "SCT", "Chest")])
    source = film.meta.get("source_to_detector_mm")
    if source is not None:
        ds.DistanceSourceToDetector = decimals([source])
    ds.ImagerPixelSpacing = decimals(film.spacing)
    ds.PixelSpacing = decimals(film.spacing)
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1  # a higher value means less X-ray intensity: denser is brighter
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = "1900", "2600"
    set_pixels(ds, film.array, bits_stored=BITS)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _digital(ds: FileDataset) -> None:
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ImageLaterality = "U"
    ds.PositionerType = "NONE"
    ds.AcquisitionContextSequence = Sequence()
    ds.DetectorType = "DIRECT"


def _place(ds: FileDataset, image: Image, uids: Uids) -> None:
    affine = image.affine
    assert affine is not None  # an Image of three dimensions always has one
    sz, sy, sx = image.spacing
    ds.FrameOfReferenceUID = uids("frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.PatientPosition = "HFS"
    ds.AcquisitionNumber = 1
    ds.ImageOrientationPatient = decimals([*(affine[:3, 2] / sx), *(affine[:3, 1] / sy)])  # along a row, then down a column
    ds.PixelSpacing = decimals([sy, sx])
    ds.SliceThickness = decimals([sz])
    ds.SpacingBetweenSlices = decimals([sz])


def _write_slices(
    ds: FileDataset, image: Image, stored: npt.NDArray[np.int16] | npt.NDArray[np.uint16], uids: Uids, role: str, folder: Path
) -> list[Path]:
    affine = image.affine
    assert affine is not None  # as above
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    encoder = None
    for z, pixels in enumerate(stored):
        number(ds, uids, role, z + 1)
        position = affine[:3, 3] + affine[:3, 0] * z
        ds.ImagePositionPatient = decimals(position)
        ds.SliceLocation = decimals([position[2]])
        set_pixels(ds, pixels, bits_stored=16)
        encoder = encoder or SliceEncoder(ds, _VARYING)
        path = folder / f"{z + 1:04d}.dcm"
        path.write_bytes(encoder.encode(ds))
        paths.append(path)
    return paths
