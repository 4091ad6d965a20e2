"""Frames of derived objects laid on regular grids."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from medio.dicom.stack import POSITION_TOLERANCE, SHEAR_TOLERANCE, Frame
from medio.errors import GeometryError, UnsupportedError
from medio.geometry import world_to_index
from medio.image import Image

_IDENTITY = {
    "patient_id": "PatientID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}
_ALIGNED = 0.1
"""Share of a voxel that a pixel may lie beside its place in a grid."""
_MOST_SLICES = 2000
"""Slices that a grid may span, or twenty a frame: a damaged position must not claim all memory."""


class Grid(NamedTuple):
    """A regular grid: affine of index (z, y, x, 1) to LPS mm, (D, H, W), and spacing (z, y, x) in mm."""

    affine: npt.NDArray[np.float64]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


class Place(NamedTuple):
    """Where a frame lies in an array: the index (z, y, x) of its first pixel, and the whole steps to the next row and the next column."""

    start: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]

    def indices(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """Give the array indices of pixels, as z, y, x."""
        return tuple(s + d * rows + r * columns for s, d, r in zip(self.start, self.down, self.right, strict=True))


def upright(z: int, row: int = 0, column: int = 0) -> Place:
    """Place a frame as it is, its first pixel at (z, row, column)."""
    return Place(np.array([z, row, column]), np.array([0, 1, 0]), np.array([0, 0, 1]))


def place_in(frame: Frame, affine: npt.NDArray[np.float64], shape: Sequence[int], path: Path) -> Place:
    """Find where a frame lies on a grid; its rows may run along any axis of the grid, in either direction.

    Raises:
        GeometryError: its pixels do not lie on voxels of the grid, or its plane is not parallel to two of the axes.
    """
    right = np.linalg.solve(affine[:3, :3], frame.orientation[:3] * frame.spacing[1])
    down = np.linalg.solve(affine[:3, :3], frame.orientation[3:] * frame.spacing[0])
    start = world_to_index(affine, frame.position)
    steps = np.rint([down, right])
    off = np.abs(start - np.rint(start)).max()
    for exact, whole, count in ((down, steps[0], frame.size[0]), (right, steps[1], frame.size[1])):
        off += np.abs(exact - whole).max() * (count - 1)
    if off > _ALIGNED or not (np.abs(steps).sum(axis=1) == 1).all():
        ends = start + down * (frame.size[0] - 1) + right * (frame.size[1] - 1)
        raise GeometryError(
            path,
            f"{frame.name} does not lie on the grid of `like` (its corners are at index {np.round([start, ends], 2).tolist()} of {tuple(shape)}); "
            "read it without like= and resample(..., like=..., order=0)",
        )
    return Place(np.rint(start).astype(np.int64), steps[0].astype(np.int64), steps[1].astype(np.int64))


def grid_of(frames: Sequence[Frame], path: Path) -> Grid:
    """Find the regular grid that frames span; places between them may be empty.

    Raises:
        GeometryError: they span none.
    """
    first = frames[0]
    row, column = first.orientation[:3], first.orientation[3:]
    normal = np.cross(row, column)
    for frame in frames:
        if not np.allclose(frame.orientation, first.orientation, atol=1e-3) or not np.allclose(frame.spacing, first.spacing, rtol=1e-4):
            raise GeometryError(path, "its frames lie in planes of different orientation or spacing; read it with like= the source")
    positions = np.stack([frame.position for frame in frames])
    depth = (positions - positions[0]) @ normal
    start, end = positions[depth.argmin()], positions[depth.argmax()]
    step = _step(first, end - start, depth, normal, path)
    length = float(np.linalg.norm(step))
    slices = np.rint((positions - start) @ step / length**2)
    if slices.max() >= max(_MOST_SLICES, 20 * len(frames)):
        raise GeometryError(path, f"its {len(frames)} frames lie {slices.max():.0f} slices apart; read them on the frames of their source")
    off = np.linalg.norm(positions - start - slices[:, None] * step, axis=1).max()
    sideways = float(np.linalg.norm(step - (step @ normal) * normal))
    if off > POSITION_TOLERANCE * min(1.0, length) or sideways > SHEAR_TOLERANCE * length:
        raise GeometryError(
            path,
            f"its frames are not evenly stacked (up to {off:.2f} mm off, {np.degrees(np.arcsin(min(1.0, sideways / length))):.1f} degrees sheared): "
            "no single affine is right; read them on the frames of their source with medio.read_segmentation_frames",
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = step, column * first.spacing[0], row * first.spacing[1], start
    return Grid(affine, (int(slices.max()) + 1, *first.size), (length, *first.spacing))


def identity_of(header: Dataset) -> dict[str, str]:
    """Read patient, study, series and frame of reference, empty where not said; as keys of `Image.meta`."""
    return {key: str(header.get(keyword) or "") for key, keyword in _IDENTITY.items()}


def check_like(like: Image, header: dict[str, str], path: Path) -> npt.NDArray[np.float64]:
    """Return the affine of `like` if an object belongs on it.

    Args:
        like: the image.
        header: of the object, from `identity_of`.
        path: the object.

    Raises:
        GeometryError: `like` has no place in the patient, or another frame of reference.
        UnsupportedError: another patient.
    """
    check_patient(like, header, path)
    here, there = header["frame_of_reference_uid"], str(like.meta.get("frame_of_reference_uid") or "")
    if here and there and here != there:
        raise GeometryError(
            path, f"lies in another FrameOfReferenceUID ({here}) than `like` ({there}); pass the image that it was drawn on"
        )
    if like.affine is None or len(like.spacing) != 3:
        raise GeometryError(path, "`like` is a film, which has no place in the patient; pass the volume that it was drawn on")
    return like.affine


def check_patient(like: Image, header: dict[str, str], path: Path) -> None:
    """Raise UnsupportedError where an object and an image name different patients; the studies are named, not the patients."""
    here, there = header["patient_id"], str(like.meta.get("patient_id") or "")
    if here and there and here != there:
        studies = header["study_instance_uid"], str(like.meta.get("study_instance_uid") or "unknown")
        raise UnsupportedError(
            path, f"belongs to another patient (study {studies[0]}) than `like` (study {studies[1]}); pass the image it was made on"
        )


def _step(
    first: Frame, extent: npt.NDArray[np.float64], depth: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], path: Path
) -> npt.NDArray[np.float64]:
    """Return the step (3,) mm from one slice to the next."""
    gaps = np.diff(np.unique(depth.round(3)))
    said = first.thickness
    if not len(gaps):
        if not said:
            raise GeometryError(
                path, "a single plane without SpacingBetweenSlices or SliceThickness has no third spacing; read it with like= the source"
            )
        return np.asarray(normal * said, np.float64)
    # The stated distance is that of the source; frames left out make gaps of several of it. Where it does not fit, the smallest gap is the distance.
    distance = float(gaps.min())
    if said and abs(round(distance / said) * said - distance) < POSITION_TOLERANCE * min(1.0, said) and round(distance / said) >= 1:
        distance = said
    count = max(1, round(float(extent @ normal) / distance))
    return np.asarray(extent / count, np.float64)
