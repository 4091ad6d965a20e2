"""Small tables of weights for `filters`: a loop of a few hundred numbers, which as array expressions would cost more than the filter of a film."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def gaussian(sigma: npt.NDArray[np.float64], truncate: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Make one half of a Gaussian a row, of sum 1 with its mirror: weights (R, taps), the middle first, and how many beside it are used (R,).

    Args:
        sigma: (R,) in voxels.
        truncate: standard deviations at which it ends.
    """
    radius = np.empty(len(sigma), np.int64)
    for row in range(len(sigma)):
        radius[row] = math.floor(truncate * sigma[row] + 0.5)
    weights = np.zeros((len(sigma), radius.max() + 1), np.float32)
    for row in range(len(sigma)):
        total = 1.0
        for t in range(1, radius[row] + 1):
            total += 2 * math.exp(-0.5 * (t / sigma[row]) ** 2)
        weights[row, 0] = 1 / total
        for t in range(1, radius[row] + 1):
            weights[row, t] = math.exp(-0.5 * (t / sigma[row]) ** 2) / total
    return weights, radius


@njit(cache=True, nogil=True)
def coarse(n: int, points: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """Take each of n voxels from the two coarse points beside it: index (R, 2, n) and weights (R, 2, n).

    Coarse point j holds the voxel at floor((j + 1/2) n / points), torch's "nearest-exact"; both grids cover the same extent (align_corners=False).

    Args:
        n: voxels along the axis.
        points: (R,) coarse points.
    """
    index, weights = np.empty((len(points), 2, n), np.uint32), np.empty((len(points), 2, n), np.float32)
    for row in range(len(points)):
        m = points[row]
        for i in range(n):
            # (i + 1/2) m / n - 1/2 in whole numbers over 2 n, so that no rounding moves a point
            place = max((2 * i + 1) * m - n, 0)
            left = place // (2 * n)
            right = min(left + 1, m - 1)
            fraction = np.float32((place - left * 2 * n) / (2 * n))
            index[row, 0, i], index[row, 1, i] = (2 * left + 1) * n // (2 * m), (2 * right + 1) * n // (2 * m)
            weights[row, 0, i], weights[row, 1, i] = np.float32(1) - fraction, fraction
    return index, weights
