"""Smooth fields: cubic B-splines through a coarse lattice of random numbers."""

import numpy as np
import numpy.typing as npt
from numba import njit

Singles = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def spread(
    knots: Singles,
    counts: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    weights: Singles,
    out: Singles,
) -> None:
    """Fill out (R, D, H, W) from each row's lattice, axis after axis.

    Args:
        knots: (R, K): the first `counts.prod()` numbers of a row are its lattice, in C order.
        counts: (R, 3) knots along each axis.
        first: (R, 3, n) the first of four knots of each voxel, n being the longest axis.
        weights: (R, 3, n, 4) their weights.
        out: (R, D, H, W).
    """
    rows, depth, height, width = out.shape
    for row in range(rows):
        m0, m1, m2 = counts[row]
        lattice = knots[row, : m0 * m1 * m2].reshape(m0 * m1, m2)
        lines = np.empty((m0, m1, width), np.float32)
        for i in range(m0 * m1):
            for x in range(width):
                total = np.float32(0)
                for t in range(min(4, m2)):
                    total += lattice[i, first[row, 2, x] + t] * weights[row, 2, x, t]
                lines[i // m1, i % m1, x] = total
        planes = np.empty((m0, height, width), np.float32)
        for i in range(m0):
            _mixed(lines[i], first[row, 1], weights[row, 1], planes[i])
        _mixed(planes.reshape(m0, height * width), first[row, 0], weights[row, 0], out[row].reshape(depth, height * width))


@njit(cache=True, nogil=True)
def _mixed(source: Singles, first: npt.NDArray[np.int64], weights: Singles, out: Singles) -> None:
    """Fill each row of out (n, inner) with the weighted sum of four rows of source (m, inner)."""
    n, inner = out.shape
    for i in range(n):
        j, line = first[i], out[i]
        if len(source) < 4:
            line[:] = source[j]
        else:
            a, b, c, d = source[j], source[j + 1], source[j + 2], source[j + 3]
            w, x, y, z = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
            for k in range(inner):
                line[k] = (a[k] * w + b[k] * x) + (c[k] * y + d[k] * z)
