"""DICOM and NIfTI in and out, archive index, de-identification, training shards.

Names are imported when they are first used: a worker process that only reads shards should not wait for what writes DICOM.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medio.archive.members import open_member
    from medio.archive.scan import scan
    from medio.archive.series import Series, series
    from medio.archive.studies import Study, histories, prior_of, studies
    from medio.body import crop_to_body
    from medio.deidentification.dataset import deidentify
    from medio.deidentification.files import DeidentifyReport, deidentify_files
    from medio.deidentification.identifiers import Identifiers
    from medio.deidentification.policy import Policy
    from medio.deidentification.stamp import AuditEntry
    from medio.deidentification.text import TextEntry, scrub_text
    from medio.deidentification.verify import Leak, LeakReport, verify_deidentified
    from medio.derived.captures import write_capture, write_key_images
    from medio.derived.measurement import ImageReference, Measurement, Region, Region3D, SegmentReference
    from medio.derived.measurements import write_measurements
    from medio.derived.measurements_reader import read_measurements
    from medio.derived.parametric_map import read_parametric_map, write_parametric_map
    from medio.derived.rtstruct import Structure, read_rtstruct
    from medio.derived.rtstruct_writer import write_rtstruct
    from medio.derived.segment import Segment
    from medio.derived.segmentation import write_segmentation
    from medio.derived.segmentation_reader import read_segmentation, read_segmentation_frames
    from medio.derived.source import Equipment, keyed_uids
    from medio.dicom.cine import Cine, read_cine
    from medio.dicom.luts import window
    from medio.dicom.report import SeriesReport, VolumeReport
    from medio.dicom.series import Volumes, inspect_series, read_series
    from medio.errors import (
        CorruptFileError,
        GeometryError,
        LoaderError,
        MedioError,
        MissingFileError,
        PrivacyError,
        SampleError,
        UnsupportedError,
    )
    from medio.geometry import Box, axis_letters, crop, index_to_world, pad, paste_back, reorient, resample, resample_labels, world_to_index
    from medio.image import Image
    from medio.keyed import SampleKey, key_digest, keyed_generator
    from medio.loading.balance import balance, shape_buckets
    from medio.loading.collation import collate
    from medio.loading.devices import to_device
    from medio.loading.dicom_dataset import DicomDataset
    from medio.loading.loader import Loader, make_loader
    from medio.loading.sampler import Draw, Sampler
    from medio.quarantine import Quarantined
    from medio.reading import read, write
    from medio.resizing import resize
    from medio.shards.build import BuildReport, build_shards
    from medio.shards.cache import Cache
    from medio.shards.crop import Crop
    from medio.shards.dataset import ShardDataset
    from medio.shards.sample import ShardSample
    from medio.shards.verification import VerifyReport, verify_shards
    from medio.splits import split_patients

_HOMES = {
    "medio.archive.members": ("open_member",),
    "medio.archive.scan": ("scan",),
    "medio.archive.series": (
        "Series",
        "series",
    ),
    "medio.archive.studies": (
        "Study",
        "histories",
        "prior_of",
        "studies",
    ),
    "medio.body": ("crop_to_body",),
    "medio.deidentification.dataset": ("deidentify",),
    "medio.deidentification.files": (
        "DeidentifyReport",
        "deidentify_files",
    ),
    "medio.deidentification.identifiers": ("Identifiers",),
    "medio.deidentification.policy": ("Policy",),
    "medio.deidentification.stamp": ("AuditEntry",),
    "medio.deidentification.text": (
        "TextEntry",
        "scrub_text",
    ),
    "medio.deidentification.verify": (
        "Leak",
        "LeakReport",
        "verify_deidentified",
    ),
    "medio.derived.captures": (
        "write_capture",
        "write_key_images",
    ),
    "medio.derived.measurement": (
        "ImageReference",
        "Measurement",
        "Region",
        "Region3D",
        "SegmentReference",
    ),
    "medio.derived.measurements": ("write_measurements",),
    "medio.derived.measurements_reader": ("read_measurements",),
    "medio.derived.parametric_map": (
        "read_parametric_map",
        "write_parametric_map",
    ),
    "medio.derived.rtstruct": (
        "Structure",
        "read_rtstruct",
    ),
    "medio.derived.rtstruct_writer": ("write_rtstruct",),
    "medio.derived.segment": ("Segment",),
    "medio.derived.segmentation": ("write_segmentation",),
    "medio.derived.segmentation_reader": (
        "read_segmentation",
        "read_segmentation_frames",
    ),
    "medio.derived.source": (
        "Equipment",
        "keyed_uids",
    ),
    "medio.dicom.cine": (
        "Cine",
        "read_cine",
    ),
    "medio.dicom.luts": ("window",),
    "medio.dicom.report": (
        "SeriesReport",
        "VolumeReport",
    ),
    "medio.dicom.series": (
        "Volumes",
        "inspect_series",
        "read_series",
    ),
    "medio.errors": (
        "CorruptFileError",
        "GeometryError",
        "LoaderError",
        "MedioError",
        "MissingFileError",
        "PrivacyError",
        "SampleError",
        "UnsupportedError",
    ),
    "medio.geometry": (
        "Box",
        "axis_letters",
        "crop",
        "index_to_world",
        "pad",
        "paste_back",
        "reorient",
        "resample",
        "resample_labels",
        "world_to_index",
    ),
    "medio.image": ("Image",),
    "medio.keyed": (
        "SampleKey",
        "key_digest",
        "keyed_generator",
    ),
    "medio.loading.balance": (
        "balance",
        "shape_buckets",
    ),
    "medio.loading.collation": ("collate",),
    "medio.loading.devices": ("to_device",),
    "medio.loading.dicom_dataset": ("DicomDataset",),
    "medio.loading.loader": (
        "Loader",
        "make_loader",
    ),
    "medio.loading.sampler": (
        "Draw",
        "Sampler",
    ),
    "medio.quarantine": ("Quarantined",),
    "medio.reading": (
        "read",
        "write",
    ),
    "medio.resizing": ("resize",),
    "medio.shards.build": (
        "BuildReport",
        "build_shards",
    ),
    "medio.shards.cache": ("Cache",),
    "medio.shards.crop": ("Crop",),
    "medio.shards.dataset": ("ShardDataset",),
    "medio.shards.sample": ("ShardSample",),
    "medio.shards.verification": (
        "VerifyReport",
        "verify_shards",
    ),
    "medio.splits": ("split_patients",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AuditEntry",
    "Box",
    "BuildReport",
    "Cache",
    "Cine",
    "CorruptFileError",
    "Crop",
    "DeidentifyReport",
    "DicomDataset",
    "Draw",
    "Equipment",
    "GeometryError",
    "Identifiers",
    "Image",
    "ImageReference",
    "Leak",
    "LeakReport",
    "Loader",
    "LoaderError",
    "Measurement",
    "MedioError",
    "MissingFileError",
    "Policy",
    "PrivacyError",
    "Quarantined",
    "Region",
    "Region3D",
    "SampleError",
    "SampleKey",
    "Sampler",
    "Segment",
    "SegmentReference",
    "Series",
    "SeriesReport",
    "ShardDataset",
    "ShardSample",
    "Structure",
    "Study",
    "TextEntry",
    "UnsupportedError",
    "VerifyReport",
    "VolumeReport",
    "Volumes",
    "axis_letters",
    "balance",
    "build_shards",
    "collate",
    "crop",
    "crop_to_body",
    "deidentify",
    "deidentify_files",
    "histories",
    "index_to_world",
    "inspect_series",
    "key_digest",
    "keyed_generator",
    "keyed_uids",
    "make_loader",
    "open_member",
    "pad",
    "paste_back",
    "prior_of",
    "read",
    "read_cine",
    "read_measurements",
    "read_parametric_map",
    "read_rtstruct",
    "read_segmentation",
    "read_segmentation_frames",
    "read_series",
    "reorient",
    "resample",
    "resample_labels",
    "resize",
    "scan",
    "scrub_text",
    "series",
    "shape_buckets",
    "split_patients",
    "studies",
    "to_device",
    "verify_deidentified",
    "verify_shards",
    "window",
    "world_to_index",
    "write",
    "write_capture",
    "write_key_images",
    "write_measurements",
    "write_parametric_map",
    "write_rtstruct",
    "write_segmentation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
