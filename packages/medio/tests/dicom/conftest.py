"""A writer of synthetic series whose slices differ in anything."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

WriteSeries = Callable[..., list[Path]]
Slice = tuple[np.ndarray, tuple[float, float, float], Mapping[str, Any]]


@pytest.fixture(scope="session")
def write_series() -> WriteSeries:
    """Write slices: `write_series(folder, [(pixels, position, elements), …], **common)`; private elements go by `{("creator", group, element): (VR, value)}`.

    Spacing is (0.8, 0.7) mm, the slices 2.5 mm thick and axial unless elements say otherwise; files are named by their order in the list.
    """
    return _write_series


def _write_series(folder: Path, slices: Iterable[Slice], **common: Any) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = (generate_uid(entropy_srcs=[kind, folder.name]) for kind in ("series", "study", "frame"))
    paths = []
    for number, (pixels, position, elements) in enumerate(slices):
        uid = generate_uid(entropy_srcs=["instance", folder.name, str(number)])
        chosen: dict[Any, Any] = {**common, **elements}
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = chosen.get("SOPClassUID", MRImageStorage)
        meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = uid, ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = MRImageStorage, uid, "MR"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.InstanceNumber = number + 1
        ds.ImagePositionPatient = [format_number_as_ds(float(v)) for v in position]
        ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.8, 0.7], 2.5
        ds.Rows, ds.Columns = pixels.shape[:2] if pixels.ndim < 3 or pixels.shape[-1] == 3 else pixels.shape[1:3]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if pixels.ndim > 2 and pixels.shape[-1] == 3 else (1, "MONOCHROME2")
        if ds.SamplesPerPixel == 3:
            ds.PlanarConfiguration = 0
        ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
        ds.HighBit = ds.BitsStored - 1
        ds.PixelRepresentation = int(pixels.dtype.kind == "i")
        ds.PixelData = pixels.tobytes()
        set_elements(ds, chosen)
        path = folder / f"{number:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def set_elements(ds: Dataset, elements: Mapping[Any, Any]) -> None:
    """Set elements by keyword (None deletes), or private ones by (creator, group, element)."""
    for key, value in elements.items():
        if isinstance(key, tuple):
            creator, group, element = key
            ds.private_block(group, creator, create=True).add_new(element, *value)
        elif value is None:
            if key in ds:
                delattr(ds, key)
        else:
            setattr(ds, key, value)


def item(**elements: Any) -> Dataset:
    """Make one item of a sequence."""
    ds = Dataset()
    set_elements(ds, elements)
    return ds
