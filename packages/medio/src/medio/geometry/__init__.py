"""Grids in the patient: where a voxel lies, other grids, other axis orders, parts of a grid."""

from medio.affines import axis_letters, index_to_world, world_to_index
from medio.geometry.boxes import Box, crop, pad, paste_back
from medio.geometry.labels import resample_labels
from medio.geometry.orientation import reorient
from medio.geometry.resampling import resample

__all__ = [
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
]
