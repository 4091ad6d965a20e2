"""Finding a lesion in a mask, a place for it in another, and the soft border around it."""

import numpy as np
import numpy.typing as npt
from numba import njit

_FAR = 1e30


@njit(cache=True, nogil=True)
def _contains(values: npt.NDArray[np.int64], value: int) -> bool:
    found = False
    for x in values:
        found |= x == value
    return found


@njit(cache=True, nogil=True)
def _components(wanted: npt.NDArray[np.bool_], component: npt.NDArray[np.int32]) -> int:
    """Number the pieces of a volume that touch by faces, edges or corners, from 1 in row-major order of their first voxels; return how many."""
    depth, height, width = wanted.shape
    stack = np.empty(wanted.size, np.int64)
    count = 0
    for first in range(wanted.size):
        if not wanted.flat[first] or component.flat[first] != 0:
            continue
        count += 1
        component.flat[first] = count
        stack[0] = first
        top = 1
        while top > 0:
            top -= 1
            voxel = stack[top]
            z, y, x = voxel // (height * width), voxel // width % height, voxel % width
            for i in range(max(z - 1, 0), min(z + 2, depth)):
                for j in range(max(y - 1, 0), min(y + 2, height)):
                    for k in range(max(x - 1, 0), min(x + 2, width)):
                        if wanted[i, j, k] and component[i, j, k] == 0:
                            component[i, j, k] = count
                            stack[top] = (i * height + j) * width + k
                            top += 1
    return count


@njit(cache=True, nogil=True)
def place_lesions(
    donors: npt.NDArray[np.integer],
    recipients: npt.NDArray[np.integer],
    labels: npt.NDArray[np.int64],
    allowed: npt.NDArray[np.int64],
    inside: float,
    which: npt.NDArray[np.float64],
    where: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Choose one connected lesion of each donor and a place for it in each recipient.

    Args:
        donors: (B, D, H, W) masks.
        recipients: (B, D, H, W) masks.
        labels: of lesions.
        allowed: labels that a lesion may cover; empty: all but `labels`.
        inside: least share of the lesion's voxels on allowed ones.
        which: (B,) in [0, 1), picks the lesion.
        where: (B, T) in [0, 1), picks the allowed voxels that are tried in turn as the middle of the lesion's box.

    Returns:
        The lesions (B, D, H, W) bool; the boxes and the moves of each (B, 3, 3): first voxel, one past the last, move; (B,) whether a place was found.
    """
    rows, shape = donors.shape[0], donors.shape[1:]
    lesions = np.zeros(donors.shape, np.bool_)
    found = np.zeros(rows, np.bool_)
    frames = np.zeros((rows, 3, 3), np.int64)
    for row in range(rows):
        wanted = np.zeros(shape, np.bool_)
        free = np.zeros(shape, np.bool_)
        for z in range(shape[0]):
            for y in range(shape[1]):
                for x in range(shape[2]):
                    wanted[z, y, x] = _contains(labels, donors[row, z, y, x])
                    value = recipients[row, z, y, x]
                    free[z, y, x] = _contains(allowed, value) if len(allowed) else not _contains(labels, value)
        component = np.zeros(shape, np.int32)
        count = _components(wanted, component)
        places = np.flatnonzero(free)
        if count == 0 or len(places) == 0:
            continue
        lesion = np.flatnonzero(component == 1 + int(which[row] * count))
        low, high = np.full(3, donors.size), np.zeros(3, np.int64)
        for voxel in lesion:
            for axis, here in enumerate((voxel // (shape[1] * shape[2]), voxel // shape[2] % shape[1], voxel % shape[2])):
                low[axis], high[axis] = min(low[axis], here), max(high[axis], here + 1)
        for t in range(where.shape[1]):
            place = places[int(where[row, t] * len(places))]
            fits = True
            for axis, here in enumerate((place // (shape[1] * shape[2]), place // shape[2] % shape[1], place % shape[2])):
                move = here - (low[axis] + high[axis]) // 2
                fits &= low[axis] + move >= 0 and high[axis] + move <= shape[axis]
                frames[row, 2, axis] = move
            if not fits:
                continue
            # The lesion stays inside, so its flat indices all move by the same number.
            jump = (frames[row, 2, 0] * shape[1] + frames[row, 2, 1]) * shape[2] + frames[row, 2, 2]
            covered = 0
            for voxel in lesion:
                covered += free.flat[voxel + jump]
            if covered >= inside * len(lesion):
                found[row] = True
                for axis in range(3):
                    frames[row, 0, axis], frames[row, 1, axis] = low[axis], high[axis]
                for voxel in lesion:
                    lesions[row].flat[voxel] = True
                break
    return lesions, frames, found


@njit(cache=True, nogil=True)
def feathered(lesion: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64], feather_mm: float) -> npt.NDArray[np.float32]:
    """Weigh voxels by their distance from a lesion: 1 on it, falling smoothly (3t^2 - 2t^3) to 0 at `feather_mm` from the centre of its nearest voxel.

    Squared distances are exact up to the feather: each axis in turn looks as far as the feather reaches.
    """
    depth, height, width = lesion.shape
    square = np.empty(lesion.shape)
    for voxel in range(lesion.size):
        square.flat[voxel] = 0.0 if lesion.flat[voxel] else _FAR
    for axis in range(3):
        step = spacing[axis] ** 2
        reach = int(feather_mm / spacing[axis])
        before = square.copy()
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    here = z if axis == 0 else (y if axis == 1 else x)
                    size = lesion.shape[axis]
                    best = _FAR
                    for k in range(max(-reach, -here), min(reach, size - 1 - here) + 1):
                        if axis == 0:
                            value = before[z + k, y, x]
                        elif axis == 1:
                            value = before[z, y + k, x]
                        else:
                            value = before[z, y, x + k]
                        best = min(best, value + k * k * step)
                    square[z, y, x] = best
    out = np.empty(lesion.shape, np.float32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                t = 1.0
                if square[z, y, x] > 0:
                    t = max(0.0, 1 - np.sqrt(square[z, y, x]) / feather_mm) if feather_mm > 0 else 0.0
                out[z, y, x] = t * t * (3 - 2 * t)
    return out
