"""DICOM and NIfTI in and out, archive index, de-identification, training shards."""

from medio.archive.scan import Series, scan, series
from medio.deidentification.dataset import AuditEntry, Policy, deidentify
from medio.deidentification.files import DeidentifyReport, deidentify_files
from medio.derived.segmentation import Segment, read_segmentation, write_segmentation
from medio.errors import CorruptFileError, GeometryError, MedioError, MissingFileError, PrivacyError, SampleError, UnsupportedError
from medio.geometry import axis_letters, index_to_world, reorient, resample, world_to_index
from medio.image import Image
from medio.keyed import SampleKey, key_digest, keyed_generator
from medio.loading.loader import collate, make_loader
from medio.loading.sampler import Draw, Sampler
from medio.read import read, write
from medio.resizing import resize
from medio.shards.build import BuildReport, Quarantined, build_shards
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset
from medio.shards.sample import ShardSample
from medio.shards.verification import VerifyReport, verify_shards
from medio.splits import split_patients

__all__ = [
    "AuditEntry",
    "BuildReport",
    "CorruptFileError",
    "Crop",
    "DeidentifyReport",
    "Draw",
    "GeometryError",
    "Image",
    "MedioError",
    "MissingFileError",
    "Policy",
    "PrivacyError",
    "Quarantined",
    "SampleError",
    "SampleKey",
    "Sampler",
    "Segment",
    "Series",
    "ShardDataset",
    "ShardSample",
    "UnsupportedError",
    "VerifyReport",
    "axis_letters",
    "build_shards",
    "collate",
    "deidentify",
    "deidentify_files",
    "index_to_world",
    "key_digest",
    "keyed_generator",
    "make_loader",
    "read",
    "read_segmentation",
    "reorient",
    "resample",
    "resize",
    "scan",
    "series",
    "split_patients",
    "verify_shards",
    "world_to_index",
    "write",
    "write_segmentation",
]
