"""From a file to its slices, each with its place: classic, multi-frame, mosaic and nuclear medicine files.

Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16 (Multi-frame Functional Groups).
"""

from medio.dicom.frame import Frame, classic_frame, make_frame
from medio.dicom.grid import POSITION_TOLERANCE, SHEAR_TOLERANCE, order_stack
from medio.dicom.instances import Instance
from medio.dicom.mosaic import is_mosaic, is_slice_grid, mosaic_frames, slice_grid_frames
from medio.dicom.nuclear import is_reconstruction, reconstruction_frames
from medio.errors import GeometryError, UnsupportedError

__all__ = ["POSITION_TOLERANCE", "SHEAR_TOLERANCE", "Frame", "frames_of", "order_stack"]

_PLANE = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence")


def frames_of(instance: Instance) -> list[Frame]:
    """Read the geometry of every slice of a file.

    Raises:
        GeometryError: position, orientation or spacing missing or senseless.
        UnsupportedError: an ultrasound volume that is placed relative to its transducer only.
    """
    header = instance.header
    if "PerFrameFunctionalGroupsSequence" in header:
        return _functional_frames(instance)
    if is_mosaic(header):
        return mosaic_frames(instance)
    if is_slice_grid(header):
        return slice_grid_frames(instance)
    if is_reconstruction(header):
        return reconstruction_frames(instance)
    if instance.frame_count > 1:
        raise GeometryError(
            instance.path, f"{instance.frame_count} frames without a position each (cine or dose); only placed frames make a volume"
        )
    return [classic_frame(instance)]


def _functional_frames(instance: Instance) -> list[Frame]:
    header = instance.header
    shared = tuple(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != instance.frame_count:
        raise GeometryError(
            instance.path, f"places {len(groups)} frames and holds {instance.frame_count}; fetch the file again or exclude it"
        )
    if any(group.get("PlanePositionVolumeSequence") for group in (*groups[:1], *shared)):
        raise UnsupportedError(
            instance.path, "its frames are placed in the volume of the ultrasound transducer, not in the patient; it has no place there"
        )
    if is_mosaic(header):
        raise UnsupportedError(instance.path, "mosaics inside a multi-frame file do not say where their slices lie; export it unmosaiced")
    frames = []
    for index, group in enumerate(groups):
        items = [item for name in _PLANE for source in (group, *shared) for item in (source.get(name) or [])[:1]]
        frames.append(make_frame(instance, index, [*items, header], groups=(group, *shared, header)))
    return frames
