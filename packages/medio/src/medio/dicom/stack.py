"""From frames with a position each to one regular volume: ordering, and everything that forbids it.

Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16 (Multi-frame Functional Groups).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from medio.dicom.instances import Instance
from medio.errors import GeometryError

POSITION_TOLERANCE = 0.1
"""How far in mm, or as a share of the slice distance if that is less, a slice may lie from its place in a regular stack: room for rounded headers."""
SHEAR_TOLERANCE = 2e-3
"""Largest sideways step per step along the normal: 0.1 degree."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice: where it lies, and how its stored values become real ones.

    Attributes:
        instance: its file.
        index: its number in that file, from 0.
        position: (3,) LPS mm of the centre of the first pixel.
        orientation: (6,) unit vectors along increasing column index, then along increasing row index.
        spacing: (row, column) distance in mm.
        thickness: distance to the next slice or else slice thickness in mm, where said.
        slope: rescale slope, None where not said.
        intercept: rescale intercept.
        rescale_type: what the rescaled values are, e.g. `HU`; empty where not said.
        size: (rows, columns).
        frame_of_reference_uid: positions of different ones cannot be compared; empty where not said.
    """

    instance: Instance
    index: int
    position: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float | None
    slope: float | None
    intercept: float
    rescale_type: str
    size: tuple[int, int]
    frame_of_reference_uid: str

    @property
    def name(self) -> str:
        """File name, and the frame's number where the file holds several."""
        many = self.instance.frame_count > 1
        return f"{self.instance.path.name} frame {self.index + 1}" if many else self.instance.path.name


def frames_of(instance: Instance) -> list[Frame]:
    """Read the geometry of every frame of a classic or enhanced file.

    Raises:
        GeometryError: position, orientation or spacing missing or senseless.
    """
    header = instance.header
    if "PerFrameFunctionalGroupsSequence" not in header:
        if instance.frame_count > 1:
            raise GeometryError(
                instance.path, f"{instance.frame_count} frames without a position each (cine or dose); only placed frames make a volume"
            )
        return [_frame(instance, 0, [header])]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    groups = header.PerFrameFunctionalGroupsSequence
    if len(groups) != instance.frame_count:
        raise GeometryError(
            instance.path, f"places {len(groups)} frames and holds {instance.frame_count}; fetch the file again or exclude it"
        )
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence")
    frames = []
    for index, group in enumerate(groups):
        items = [item for name in names for source in (group, *shared) for item in (source.get(name) or [])[:1]]
        frames.append(_frame(instance, index, [*items, header]))
    return frames


def order_stack(frames: Sequence[Frame], name: Path) -> tuple[list[Frame], npt.NDArray[np.float64], tuple[float, float, float]]:
    """Order frames by their position along the normal, and prove that they form one regular grid.

    Args:
        frames: the slices of one volume, in any order.
        name: the folder or file to name in errors.

    Returns:
        the ordered frames, the affine of index (z, y, x, 1) to LPS mm, and the spacing (z, y, x) mm. z runs along row direction x column direction.

    Raises:
        GeometryError: mixed sizes, spacings or orientations, duplicates, gaps, variable spacing or shear (gantry tilt).
    """
    first = frames[0]
    _check_alike(frames, name)
    row, column = first.orientation[:3], first.orientation[3:]
    normal = np.cross(row, column)
    positions = np.stack([frame.position for frame in frames])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    ordered, positions, depth = [frames[i] for i in order], positions[order], depth[order]
    if len(frames) == 1:
        if not first.thickness:
            raise GeometryError(
                name, "a single slice without SliceThickness or SpacingBetweenSlices has no third spacing; read the whole series"
            )
        step = normal * first.thickness
    else:
        step = _check_steps(ordered, positions, depth, normal, name)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, column * first.spacing[0], row * first.spacing[1]
    affine[:3, 3] = positions[0]
    return ordered, affine, (float(np.linalg.norm(step)), *first.spacing)


def _check_alike(frames: Sequence[Frame], name: Path) -> None:
    first = frames[0]
    mend = "pass the files of one volume, e.g. those of medio.series"
    for frame in frames[1:]:
        if frame.size != first.size:
            a, b = (f"{f.name} is {f.size[0]}x{f.size[1]}" for f in (first, frame))
            raise GeometryError(name, f"mixed sizes: {a}, {b}; {mend}")
        if not np.allclose(frame.orientation, first.orientation, atol=1e-3):
            raise GeometryError(name, f"mixed orientations: {first.name} and {frame.name} lie in different planes (a localizer?); {mend}")
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-4):
            raise GeometryError(name, f"mixed pixel spacings: {first.name} has {first.spacing} mm, {frame.name} {frame.spacing} mm; {mend}")
        if frame.frame_of_reference_uid != first.frame_of_reference_uid:
            raise GeometryError(
                name, f"{first.name} and {frame.name} have different FrameOfReferenceUID: their positions cannot be compared; {mend}"
            )


def _check_steps(
    ordered: Sequence[Frame],
    positions: npt.NDArray[np.float64],
    depth: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
    name: Path,
) -> npt.NDArray[np.float64]:
    """Return the step (3,) mm from one slice to the next."""
    gaps = np.diff(depth)
    same = np.flatnonzero(gaps < 1e-3)
    if len(same):
        distinct = len(gaps) + 1 - len(same)
        a, b = ordered[same[0]].name, ordered[same[0] + 1].name
        what = f"{len(ordered)} slices at {distinct} positions, e.g. {a} and {b} at the same one"
        raise GeometryError(name, f"{what} (copies, or time points, echoes, b-values); pass the files of one volume")
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    along = float(step @ normal)
    sideways = float(np.linalg.norm(step - along * normal))
    faults = []
    tilt = np.degrees(np.arctan2(sideways, along))
    if sideways > SHEAR_TOLERANCE * along:
        faults.append(f"sheared by {tilt:.1f} degrees (gantry tilt)")
    off = np.abs(depth - (depth[0] + along * np.arange(len(depth)))).max()
    if off > POSITION_TOLERANCE * min(1.0, along):
        usual = float(np.median(gaps))
        worst = int(np.abs(gaps - usual).argmax())
        kinds = ", ".join(f"{gap:g}" for gap in np.unique(gaps.round(2))[:6])
        between = f"{gaps[worst]:.2f} mm between {ordered[worst].name} and {ordered[worst + 1].name}"
        faults.append(
            f"slices are not evenly spaced (distances {kinds} mm; usual {usual:.2f}, but {between}: a slice is missing or the spacing varies)"
        )
    if not faults:
        expected = positions[0] + np.arange(len(positions))[:, None] * step
        drift = np.linalg.norm(positions - expected, axis=1)
        if drift.max() > POSITION_TOLERANCE * min(1.0, along):
            faults.append(f"{ordered[int(drift.argmax())].name} lies {drift.max():.2f} mm beside the stack")
    if faults:
        raise GeometryError(
            name,
            f"{' and '.join(faults)}; no single affine is right: fetch missing slices, pass one evenly spaced part, or exclude the series",
        )
    return np.asarray(step, np.float64)


def _frame(instance: Instance, index: int, sources: Sequence[Dataset]) -> Frame:
    header = instance.header
    position = _numbers(instance, sources, "ImagePositionPatient", 3)
    orientation = _numbers(instance, sources, "ImageOrientationPatient", 6)
    spacing = _numbers(instance, sources, "PixelSpacing", 2)
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(row @ column) > 1e-3:
        raise GeometryError(
            instance.path, f"ImageOrientationPatient {orientation.tolist()} is not two perpendicular unit vectors; exclude the file"
        )
    orientation = np.concatenate([row / lengths[0], column / lengths[1]])
    if (spacing <= 0).any():
        raise GeometryError(instance.path, f"PixelSpacing {spacing.tolist()} is not positive; exclude the file")
    thickness = _first(sources, "SpacingBetweenSlices") or _first(sources, "SliceThickness")
    slope, intercept = _first(sources, "RescaleSlope"), _first(sources, "RescaleIntercept")
    return Frame(
        instance,
        index,
        position,
        orientation,
        (float(spacing[0]), float(spacing[1])),
        abs(float(thickness)) if thickness else None,
        None if slope is None else float(slope),
        float(intercept or 0),
        str(_first(sources, "RescaleType") or ""),
        (int(header.Rows), int(header.Columns)),
        str(header.get("FrameOfReferenceUID") or ""),
    )


def _first(sources: Sequence[Dataset], keyword: str) -> Any:
    return next((source[keyword].value for source in sources if keyword in source and source[keyword].value is not None), None)


def _numbers(instance: Instance, sources: Sequence[Dataset], keyword: str, count: int) -> npt.NDArray[np.float64]:
    value = _first(sources, keyword)
    try:
        numbers = np.array([float(v) for v in value], np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise GeometryError(
            instance.path, f"{keyword} is missing or not {count} numbers (found {value!r}); nothing is assumed, exclude the file"
        )
    return numbers
