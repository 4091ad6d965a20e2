"""The median of a voxel and its neighbours, by exchanges of whole rows: no branch, so every exchange runs on vectors."""

import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.float32]
_WIDTH = 128
"""Voxels of a row at a time: with 15 rows of candidates they stay in the first cache."""


@njit(cache=True, nogil=True)
def median(image: Image) -> None:
    """Replace image (R, D, H, W) by the median of 3 x 3 x 3 voxels (3 x 3 where D is 1), in place; edges repeat their voxel.

    Forgetful selection: of half the candidates and two more, the least and the greatest cannot be the median; drop both, take the next candidate, and so on.
    """
    rows, depth, height, width = image.shape
    # padded planes above, at and below the one in work; the image itself may be overwritten behind them
    planes = np.empty((3, height + 2, width + 2), np.float32)
    thick = 3 if depth > 1 else 1
    held = np.empty(((9 * thick) // 2 + 2, _WIDTH), np.float32)
    for row in range(rows):
        for ahead in range(thick - 1):
            # planes -1 and 0 are both plane 0
            _padded(image[row, 0], planes[ahead])
        for z in range(depth):
            _padded(image[row, min(z + (thick - 1) // 2, depth - 1)], planes[(z + thick - 1) % thick])
            for y in range(height):
                for start in range(0, width, _WIDTH):
                    out = image[row, z, y, start : min(start + _WIDTH, width)]
                    _selected(planes, thick, y, start, held, out)


@njit(cache=True, nogil=True)
def _padded(plane: Image, out: Image) -> None:
    height, width = plane.shape
    for y in range(height + 2):
        source = plane[min(max(y - 1, 0), height - 1)]
        out[y, 0], out[y, width + 1] = source[0], source[width - 1]
        out[y, 1 : width + 1] = source


@njit(cache=True, nogil=True)
def _selected(planes: Image, thick: int, y: int, start: int, held: Image, out: Image) -> None:
    n, count, total = len(out), len(held), 9 * thick
    for i in range(count):
        held[i, :n] = planes[i // 9, y + (i // 3) % 3, start + i % 3 : start + i % 3 + n]
    taken = count
    while count > 2:
        # a tournament: lesser ones to the front half, greater ones to the back, then the least to row 0 and the greatest to the last
        half = count // 2
        for i in range(half):
            _exchange(held[i], held[count - 1 - i], n)
        for i in range(1, (count + 1) // 2):
            _exchange(held[0], held[i], n)
        for i in range(half, count - 1):
            _exchange(held[i], held[count - 1], n)
        if taken == total:
            break
        held[0, :n] = planes[taken // 9, y + (taken // 3) % 3, start + taken % 3 : start + taken % 3 + n]
        taken += 1
        count -= 1
    out[:] = held[1, :n]


@njit(cache=True, nogil=True)
def _exchange(low: Image, high: Image, n: int) -> None:
    for x in range(n):
        a, b = low[x], high[x]
        low[x], high[x] = min(a, b), max(a, b)
