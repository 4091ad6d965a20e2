"""Whether slices form one regular grid: their order along the normal, and everything that forbids it.

Source: DICOM PS3.3 C.7.6.2 (Image Plane).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medio.dicom.frame import Frame, normal_of
from medio.errors import GeometryError

POSITION_TOLERANCE = 0.1
"""How far in mm, or as a share of the slice distance if that is less, a slice may lie from its place in a regular stack: room for rounded headers."""
SHEAR_TOLERANCE = 2e-3
"""Largest sideways step per step along the normal: 0.1 degree."""
SAME_PLACE = 0.01
"""Slices nearer than this share of their pixel spacing lie at the same position: headers of different time points are rounded differently."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A distance between neighbouring slices that is not the usual one.

    Attributes:
        before: name of the slice before it, in the order of positions.
        after: name of the slice after it.
        distance_mm: between them, along the normal.
        missing: how many slices at the usual distance would fill it; 0 where none would: the distance just differs.
    """

    before: str
    after: str
    distance_mm: float
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Slices in the order of their positions, and how regular they lie.

    Attributes:
        frames: ordered along row direction x column direction.
        depth: (D,) mm along the normal.
        affine: of index (z, y, x, 1) to LPS mm; right only where there are no faults.
        spacing: (z, y, x) mm, z the mean distance.
        tilt_degrees: angle between the line through the slices' first pixels and the normal.
        usual_mm: the median distance; 0 for one slice.
        gaps: distances that are not the usual one.
        tilted: whether the stack is sheared (gantry tilt).
        uneven: whether the distances differ.
        faults: in words, what forbids a regular grid.
    """

    frames: tuple[Frame, ...]
    depth: npt.NDArray[np.float64]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float, float]
    tilt_degrees: float
    usual_mm: float
    gaps: tuple[Gap, ...]
    tilted: bool
    uneven: bool
    faults: tuple[str, ...]


def order_stack(frames: Sequence[Frame], name: Path | str) -> tuple[list[Frame], npt.NDArray[np.float64], tuple[float, float, float]]:
    """Order frames by their position along the normal, and prove that they form one regular grid.

    Args:
        frames: the slices of one volume, in any order.
        name: the folder or file to name in errors.

    Returns:
        the ordered frames, the affine of index (z, y, x, 1) to LPS mm, and the spacing (z, y, x) mm. z runs along row direction x column direction.

    Raises:
        GeometryError: mixed sizes, spacings or orientations, duplicates, gaps, variable spacing or shear (gantry tilt).
    """
    grid = measure_grid(frames, name)
    refuse_faults(grid, name)
    return list(grid.frames), grid.affine, grid.spacing


def refuse_faults(grid: Grid, name: Path | str) -> None:
    """Raise where a stack is no regular grid.

    Raises:
        GeometryError: what is wrong and what to do about it.
    """
    if grid.faults:
        choices = [text for wrong, text in ((grid.tilted, 'tilt="resample"'), (grid.uneven, 'gaps="resample"')) if wrong]
        resample = f"interpolate with {' and '.join(choices)}, " if choices else ""
        raise GeometryError(
            name,
            f"{' and '.join(grid.faults)}; no single affine is right: fetch missing slices, {resample}pass one evenly spaced part, or exclude the series",
        )


def measure_grid(frames: Sequence[Frame], name: Path | str) -> Grid:
    """Order frames by their position along the normal, and say how regular they lie.

    Args:
        frames: the slices of one volume, in any order.
        name: the folder or file to name in errors.

    Raises:
        GeometryError: mixed sizes, spacings or orientations; two slices at one position; a single slice without thickness.
    """
    first = frames[0]
    check_alike(frames, name)
    row, column = first.orientation[:3], first.orientation[3:]
    normal = normal_of(first)
    positions = np.stack([frame.position for frame in frames])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    ordered, positions, depth = tuple(frames[i] for i in order), positions[order], depth[order]
    gaps: tuple[Gap, ...] = ()
    faults: tuple[str, ...] = ()
    tilted = uneven = False
    if len(frames) == 1:
        if not first.thickness:
            raise GeometryError(
                name, "a single slice without SliceThickness or SpacingBetweenSlices has no third spacing; read the whole series"
            )
        step, tilt, usual = normal * first.thickness, 0.0, 0.0
    else:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        along = float(step @ normal)
        _refuse_same_place(ordered, depth, name)
        sideways = float(np.linalg.norm(step - along * normal))
        tilt, usual = float(np.degrees(np.arctan2(sideways, along))), _usual(np.diff(depth))
        gaps, tilted, uneven, faults = _faults(ordered, positions, depth, along, sideways)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, column * first.spacing[0], row * first.spacing[1]
    affine[:3, 3] = positions[0]
    return Grid(ordered, depth, affine, (float(np.linalg.norm(step)), *first.spacing), tilt, usual, gaps, tilted, uneven, faults)


def alike(a: Frame, b: Frame) -> str:
    """Say in what the planes of two frames differ so that they cannot lie in one volume: size, orientation, spacing or frame of reference; empty where in nothing."""
    if a.size != b.size:
        return "sizes"
    if a.orientation is not b.orientation and np.abs(a.orientation - b.orientation).max() > 1e-3:
        return "orientations"
    if abs(a.spacing[0] / b.spacing[0] - 1) > 1e-4 or abs(a.spacing[1] / b.spacing[1] - 1) > 1e-4:
        return "pixel spacings"
    return "" if a.frame_of_reference_uid == b.frame_of_reference_uid else "frames of reference"


def check_alike(frames: Sequence[Frame], name: Path | str) -> None:
    """Prove that the planes of all frames are alike.

    Raises:
        GeometryError: naming two that are not.
    """
    first = frames[0]
    mend = "pass the files of one volume, e.g. those of medio.series"
    for frame in frames[1:]:
        differs = alike(first, frame)
        if not differs:
            continue
        if differs == "sizes":
            a, b = (f"{f.name} is {f.size[0]}x{f.size[1]}" for f in (first, frame))
            raise GeometryError(name, f"mixed sizes: {a}, {b}; {mend}")
        if differs == "orientations":
            raise GeometryError(name, f"mixed orientations: {first.name} and {frame.name} lie in different planes (a localizer?); {mend}")
        if differs == "pixel spacings":
            raise GeometryError(name, f"mixed pixel spacings: {first.name} has {first.spacing} mm, {frame.name} {frame.spacing} mm; {mend}")
        raise GeometryError(
            name, f"{first.name} and {frame.name} have different FrameOfReferenceUID: their positions cannot be compared; {mend}"
        )


def places(frames: Sequence[Frame]) -> npt.NDArray[np.int64]:
    """Number the positions along the normal of frames with alike planes: the same number for frames at the same position, increasing along the normal."""
    normal = normal_of(frames[0])
    depth = np.stack([frame.position for frame in frames]) @ normal
    order = np.argsort(depth, kind="stable")
    numbers = np.empty(len(frames), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(depth[order]) >= SAME_PLACE * min(frames[0].spacing))])
    return numbers


def _usual(distances: npt.NDArray[np.float64]) -> float:
    """Return the median distance, the lesser one of an even number: a real one."""
    return float(np.sort(distances)[(len(distances) - 1) // 2])


def _refuse_same_place(ordered: Sequence[Frame], depth: npt.NDArray[np.float64], name: Path | str) -> None:
    same = np.flatnonzero(np.diff(depth) < SAME_PLACE * min(ordered[0].spacing))
    if len(same):
        distinct = len(depth) - len(same)
        a, b = ordered[same[0]].name, ordered[same[0] + 1].name
        what = f"{len(ordered)} slices at {distinct} positions, e.g. {a} and {b} at the same one"
        raise GeometryError(name, f"{what} (copies, or time points, echoes, b-values); pass the files of one volume")


def _faults(
    ordered: Sequence[Frame], positions: npt.NDArray[np.float64], depth: npt.NDArray[np.float64], along: float, sideways: float
) -> tuple[tuple[Gap, ...], bool, bool, tuple[str, ...]]:
    distances = np.diff(depth)
    usual = _usual(distances)
    faults: list[str] = []
    gaps: list[Gap] = []
    limit = POSITION_TOLERANCE * min(1.0, along)
    tilted = sideways > SHEAR_TOLERANCE * along
    if tilted:
        faults.append(f"sheared by {np.degrees(np.arctan2(sideways, along)):.1f} degrees (gantry tilt)")
    uneven = bool(np.abs(depth - (depth[0] + along * np.arange(len(depth)))).max() > limit)
    if uneven:
        for place in map(int, np.flatnonzero(np.abs(distances - usual) > POSITION_TOLERANCE * min(1.0, usual))):
            share = distances[place] / usual
            missing = round(share) - 1 if share > 1.5 and abs(share - round(share)) < 0.05 else 0
            gaps.append(Gap(ordered[place].name, ordered[place + 1].name, float(distances[place]), missing))
        worst = int(np.abs(distances - usual).argmax())
        kinds = ", ".join(f"{gap:g}" for gap in np.unique(distances.round(2))[:6])
        between = f"{distances[worst]:.2f} mm between {ordered[worst].name} and {ordered[worst + 1].name}"
        lacking = sum(gap.missing for gap in gaps)
        if gaps and all(gap.missing for gap in gaps):
            reason = f"{lacking} slice{'s are' if lacking > 1 else ' is'} missing"
        else:
            reason = "a slice is missing or the spacing varies"
        faults.append(f"slices are not evenly spaced (distances {kinds} mm; usual {usual:.2f}, but {between}: {reason})")
    if not faults:
        expected = positions[0] + np.arange(len(positions))[:, None] * ((positions[-1] - positions[0]) / (len(positions) - 1))
        drift = np.linalg.norm(positions - expected, axis=1)
        if drift.max() > limit:
            faults.append(f"{ordered[int(drift.argmax())].name} lies {drift.max():.2f} mm beside the stack")
    return tuple(gaps), tilted, uneven, tuple(faults)
