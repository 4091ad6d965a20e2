"""DICOM and NIfTI in and out, archive index, de-identification, training shards."""

from medio.errors import CorruptFileError, GeometryError, MedioError, MissingFileError, PrivacyError, UnsupportedError
from medio.geometry import axis_letters, index_to_world, reorient, resample, world_to_index
from medio.image import Image
from medio.keyed import SampleKey, key_digest, keyed_generator
from medio.read import read, write

__all__ = [
    "CorruptFileError",
    "GeometryError",
    "Image",
    "MedioError",
    "MissingFileError",
    "PrivacyError",
    "SampleKey",
    "UnsupportedError",
    "axis_letters",
    "index_to_world",
    "key_digest",
    "keyed_generator",
    "read",
    "reorient",
    "resample",
    "world_to_index",
    "write",
]
