"""Copies of samples whose voxels land on voxels: flips, quarter turns, whole crops.

A kernel of its own: a short way from row to row lets the processor fetch the next while it writes the last, and a flip waits for no other kernel to compile.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Whole = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def copy_lines(
    first: int,
    last: int,
    exact: npt.NDArray[np.bool_],
    whole: Whole,
    source: Any,
    shape: tuple[int, int, int],
    fill: Any,
    out: Any,
    grid: tuple[int, int, int],
) -> None:
    """Copy rows first..last of the output of a batch; rows count through samples, planes and lines.

    Args:
        first: the first row.
        last: one past the last row.
        exact: (B,) samples whose voxels land on voxels; the others are passed by.
        whole: (B, 4, 4) output index -> source index, in whole numbers.
        source: (B, C, V).
        shape: of the source.
        fill: (B, C) what voxels take that read outside.
        out: (B, C, W), of the source's dtype or a wider one.
        grid: shape of the output.
    """
    n0, n1, n = grid
    step, low, high = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    for row in range(first // (n0 * n1), min(last // (n0 * n1) + 1, len(exact))):
        if not exact[row]:
            continue
        begin = _box(whole[row], shape, grid, step, low, high)
        past = row * n0 * n1
        for line in range(max(first - past, 0), min(last - past, n0 * n1)):
            z, y = line // n1, line % n1
            within = low[0] <= z < high[0] and low[1] <= y < high[1] and low[2] < high[2]
            start, end = (low[2], high[2]) if within else (n, n)
            at = begin + step[0] * z + step[1] * y + step[2] * start
            for channel in range(source.shape[1]):
                to = out[row, channel, line * n : line * n + n]
                for i in range(np.uintp(start)):
                    to[i] = fill[row, channel]
                if within:
                    _copy(source[row, channel], np.uintp(at), step[2], np.uintp(start), np.uintp(end), to)
                for i in range(np.uintp(end), np.uintp(n)):
                    to[i] = fill[row, channel]


@njit(cache=True, nogil=True)
def _copy(source: Any, at: np.uintp, step: int, start: np.uintp, end: np.uintp, out: Any) -> None:
    """Fill start..end of out (n,) with every `step` voxel of source (V,) from `at`; unsigned, for numba tests signed indices for negative ones."""
    if step == 1:
        for i in range(end - start):
            out[start + i] = source[at + i]
    elif step == -1:
        low, top = at + np.uintp(1) - (end - start), end - np.uintp(1)  # reads go up, for memory is fetched ahead that way
        for i in range(end - start):
            out[top - i] = source[low + i]
    else:
        for i in range(end - start):
            out[start + i] = source[at + np.uintp(step) * i]  # whole numbers wrap around, so a negative step goes back


@njit(cache=True, nogil=True)
def _box(m: Whole, shape: tuple[int, int, int], grid: tuple[int, int, int], step: Whole, low: Whole, high: Whole) -> int:
    """Find the voxels of the output that read inside: low (3,), and one past the last, high (3,).

    Every axis of the source runs along one of the output, so voxel (z, y, x) of the output reads voxel begin + step · (z, y, x) of the flat source; returns
    begin.
    """
    begin = 0
    step[:] = 0
    for axis in range(3):
        size, place = shape[axis], m[axis, 3]
        begin = begin * size + place
        for j in range(3):
            slope = m[axis, j]
            step[j] = step[j] * size + slope
            if slope > 0:
                low[j], high[j] = max(0, -place), min(grid[j], size - place)
            elif slope < 0:
                low[j], high[j] = max(0, place - size + 1), min(grid[j], place + 1)
    return begin
