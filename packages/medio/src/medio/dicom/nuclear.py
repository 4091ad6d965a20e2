"""Reconstructed nuclear medicine: one file, slices at equal distances from a first one that is placed.

Source: DICOM PS3.3 C.8.4.8 (NM Multi-frame), C.8.4.11 (NM Detector), C.8.4.15 (NM Reconstruction: the sign of SpacingBetweenSlices).
"""

from typing import Any

import numpy as np

from medio.dicom.frame import Frame, make_frame, numbers_of, plane_of
from medio.dicom.header import Header
from medio.dicom.instances import Instance
from medio.errors import GeometryError

_VECTORS = {
    "EnergyWindowVector": "energy_window",
    "DetectorVector": "detector",
    "RRIntervalVector": "rr_interval",
    "TimeSlotVector": "phase",
    "PhaseVector": "time_index",
}


def is_reconstruction(header: Header) -> bool:
    """Whether a file is a reconstructed (gated) tomogram of nuclear medicine."""
    kinds = [str(v) for v in header.get("ImageType") or []]
    return str(header.get("Modality")) == "NM" and any(kind in kinds for kind in ("RECON TOMO", "RECON GATED TOMO"))


def reconstruction_frames(instance: Instance) -> list[Frame]:
    """Place the slices of a reconstructed tomogram.

    The first slice lies where the detector information says; the others follow along the normal, at SpacingBetweenSlices, whose sign is their direction.

    Raises:
        GeometryError: no position, orientation or spacing.
    """
    header = instance.header
    sources: list[Any] = [*(header.get("DetectorInformationSequence") or [])[:1], header]
    origin, plane = numbers_of(instance, sources, "ImagePositionPatient", 3), plane_of(instance, sources)
    count = instance.frame_count
    slices = [int(v) for v in header.get("SliceVector") or range(1, count + 1)] if count > 1 else [1]
    step = header.get("SpacingBetweenSlices")
    if len(slices) != count:
        raise GeometryError(instance.path, f"SliceVector places {len(slices)} frames, the file holds {count}; exclude the file")
    if not step and max(slices) > 1:
        raise GeometryError(
            instance.path, "SpacingBetweenSlices is missing: its slices have no distance; nothing is assumed, exclude the file"
        )
    normal = np.cross(plane[:3], plane[3:]) * float(step or 0)
    vectors = {name: [int(v) for v in header.get(keyword) or []] for keyword, name in _VECTORS.items()}
    frames = []
    for index, place in enumerate(slices):
        numbers = tuple((name, vector[index]) for name, vector in vectors.items() if len(vector) == count and len(set(vector)) > 1)
        frames.append(make_frame(instance, index, sources, position=origin + (place - 1) * normal, numbers=numbers))
    return frames
