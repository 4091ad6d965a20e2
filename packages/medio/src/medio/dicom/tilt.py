"""Stacks that are no regular grid, interpolated onto one: sheared by a tilted gantry, or with uneven distances.

Each slice is right as it is; only its place between its neighbours is not that of a regular grid. So a sheared stack is shifted inside its planes, slice by slice,
and uneven distances are bridged by linear interpolation between the two nearest slices.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.dicom.grid import Grid
from medio.errors import GeometryError

_LARGEST = 4
"""How many times as many voxels as the slices have the regular grid may have."""


def regularise(
    volume: npt.NDArray[Any], grid: Grid, name: Path | str, *, shear: bool, even: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], tuple[float, float, float]]:
    """Interpolate a stack onto an upright and even grid.

    The new grid keeps pixel spacing and directions of the slices, and has the first slice's depth. It is as large in plane as all slices together, so that nothing
    is cut; what no slice covers takes the smallest value of the volume. Without `even` the slices keep their depth; with it, they lie at the usual (median)
    distance, from the first slice on as far as the last one reaches.

    Args:
        volume: (D, H, W) real values, in the order of `grid.frames`.
        grid: where they lie.
        name: folder or file to name in errors.
        shear: shift slices in their planes; else their first pixels are taken to lie above one another.
        even: interpolate along the normal.

    Returns:
        the new array (same type; integers are rounded), its affine and spacing.

    Raises:
        GeometryError: slices so far apart or so sheared that the grid would be more than four times as large as they are.
    """
    frame = grid.frames[0]
    row, column = frame.orientation[:3], frame.orientation[3:]
    normal = np.cross(row, column)
    origin = frame.position
    offsets = np.stack([other.position - origin for other in grid.frames])
    # Where each slice's first pixel lies, in pixels (down, right) of the first slice.
    shifts = (
        np.stack([offsets @ column / frame.spacing[0], offsets @ row / frame.spacing[1]], axis=1) if shear else np.zeros((len(volume), 2))
    )
    lowest, highest = np.floor(shifts.min(axis=0) + 1e-6), np.ceil(shifts.max(axis=0) - 1e-6)
    size = (int(volume.shape[1] + highest[0] - lowest[0]), int(volume.shape[2] + highest[1] - lowest[1]))
    depth = grid.depth - grid.depth[0]
    distance = grid.usual_mm if even else float(depth[-1]) / (len(depth) - 1)
    count = int(np.floor(depth[-1] / distance + 1e-3)) + 1 if even else len(depth)
    if count * size[0] * size[1] > _LARGEST * volume.size:
        raise GeometryError(
            name,
            f"a regular grid would have {count}x{size[0]}x{size[1]} voxels for {len(volume)} slices of {volume.shape[1]}x{volume.shape[2]}: "
            "too little of it is measured; pass the slices that lie together",
        )
    out = np.empty((count, *size), volume.dtype)
    fill = float(volume.min())
    placed: dict[int, npt.NDArray[np.float64]] = {}
    for z in range(count):
        at = z * distance if even else float(depth[z])
        above = int(np.clip(np.searchsorted(depth, at - 1e-3 * distance), 0, len(depth) - 1))
        below = max(above - 1, 0)
        share = 1.0 if above == below else float(np.clip((at - depth[below]) / (depth[above] - depth[below]), 0, 1))
        share = 1.0 if share > 1 - 1e-3 else share
        for number in {above} if share == 1.0 else {above, below}:
            if number not in placed:
                placed[number] = _shifted(volume[number], shifts[number] - lowest, size, fill)
        plane = placed[above] if share == 1.0 else (1 - share) * placed[below] + share * placed[above]
        out[z] = np.rint(plane) if volume.dtype.kind in "iu" else plane
        placed = {number: kept for number, kept in placed.items() if number >= below}
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * distance, column * frame.spacing[0], row * frame.spacing[1]
    affine[:3, 3] = origin + affine[:3, 1] * lowest[0] + affine[:3, 2] * lowest[1]
    return out, affine, (distance, *frame.spacing)


def _shifted(plane: npt.NDArray[Any], shift: npt.NDArray[np.float64], size: tuple[int, int], fill: float) -> npt.NDArray[np.float64]:
    """Put a plane into a larger one, its first pixel at `shift` (down, right) of pixels; between pixels linear, beyond half a pixel outside `fill`."""
    values = plane.astype(np.float64)
    near = np.rint(shift)
    if np.abs(shift - near).max() < 1e-3:
        down, right = int(near[0]), int(near[1])
        out = np.full(size, fill)
        out[down : down + plane.shape[0], right : right + plane.shape[1]] = values
        return out
    out = ndimage.shift(
        np.pad(values, [(0, size[0] - plane.shape[0]), (0, size[1] - plane.shape[1])], mode="edge"), shift, order=1, mode="nearest"
    )
    rows, columns = np.arange(size[0]) - shift[0], np.arange(size[1]) - shift[1]
    out[(rows < -0.5) | (rows > plane.shape[0] - 0.5)] = fill
    out[:, (columns < -0.5) | (columns > plane.shape[1] - 0.5)] = fill
    return np.asarray(out, np.float64)
