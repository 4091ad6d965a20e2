"""Blocks of hidden tokens, laid one after another until the count is exact."""

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def _hide_box(hidden: npt.NDArray[np.bool_], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], left: int) -> int:
    """Hide at most `left` more tokens of a box [low, high) of one grid (D, H, W), in row-major order; return how many are left to hide."""
    for d in range(max(low[0], 0), min(high[0], hidden.shape[0])):
        for h in range(max(low[1], 0), min(high[1], hidden.shape[1])):
            for w in range(max(low[2], 0), min(high[2], hidden.shape[2])):
                if left == 0:
                    return 0
                if not hidden[d, h, w]:
                    hidden[d, h, w] = True
                    left -= 1
    return left


@njit(cache=True, nogil=True)
def hide_blocks(
    starts: npt.NDArray[np.int64], extents: npt.NDArray[np.int64], grid: tuple[int, int, int], count: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Hide blocks, in their order, until `count` tokens of a sample are hidden; where the blocks do not suffice, the last one grows on all sides.

    Args:
        starts: (B, T, 3) first token of each block.
        extents: (B, T, 3) tokens along each axis.
        grid: (D, H, W).
        count: (B,), each at most the product of the grid.

    Returns:
        (B, D, H, W) bool.
    """
    out = np.zeros((starts.shape[0], grid[0], grid[1], grid[2]), np.bool_)
    for row in range(starts.shape[0]):
        left = count[row]
        for t in range(starts.shape[1]):
            left = _hide_box(out[row], starts[row, t], starts[row, t] + extents[row, t], left)
        low, high = starts[row, -1].copy(), starts[row, -1] + extents[row, -1]
        while left > 0:
            low -= 1
            high += 1
            left = _hide_box(out[row], low, high, left)
    return out
