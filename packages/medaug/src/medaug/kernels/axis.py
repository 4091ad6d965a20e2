"""A linear map along one axis of many images: what blurs, projects on modes, and drops or weighs lines of k-space, all in one loop."""

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.draws import Numbers

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

_TILE = 64


@njit(cache=True, nogil=True)
def _accumulate(tile: Floats, weights: Floats, first: int, last: int, width: int, total: Floats) -> None:
    """total[t] = sum over k in [first, last) of weights[k] * tile[k, t], added in the order of k whatever the unrolling."""
    total[:width] = np.float32(0)
    k = first
    while k + 8 <= last:
        a, b, c, d = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        e, f, g, h = weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]
        for t in range(width):
            s = total[t] + a * tile[k, t]
            s = s + b * tile[k + 1, t]
            s = s + c * tile[k + 2, t]
            s = s + d * tile[k + 3, t]
            s = s + e * tile[k + 4, t]
            s = s + f * tile[k + 5, t]
            s = s + g * tile[k + 6, t]
            total[t] = s + h * tile[k + 7, t]
        k += 8
    while k < last:
        a = weights[k]
        for t in range(width):
            total[t] = total[t] + a * tile[k, t]
        k += 1


@njit(cache=True, nogil=True)
def map_axis(x: Floats, matrices: Floats, first: Whole, last: Whole, out: Floats) -> None:
    """Fill out (B, outer, m, inner) with matrices (B, m, n) times x (B, outer, n, inner); row i uses the entries [first, last)[b, i] only."""
    batch, outer, n, inner = x.shape
    m = out.shape[2]
    tile = np.empty((n, _TILE), np.float32)
    total = np.empty(_TILE, np.float32)
    for b in range(batch):
        if inner >= 16:
            for o in range(outer):
                for start in range(0, inner, _TILE):
                    width = min(_TILE, inner - start)
                    for k in range(n):
                        for t in range(width):
                            tile[k, t] = x[b, o, k, start + t]
                    for i in range(m):
                        _accumulate(tile, matrices[b, i], first[b, i], last[b, i], width, total)
                        for t in range(width):
                            out[b, o, i, start + t] = total[t]
        else:
            # Short inner axes (the last axis has 1): the tile takes several lines side by side instead.
            lines = outer * inner
            for start in range(0, lines, _TILE):
                width = min(_TILE, lines - start)
                for t in range(width):
                    o, r = (start + t) // inner, (start + t) % inner
                    for k in range(n):
                        tile[k, t] = x[b, o, k, r]
                for i in range(m):
                    _accumulate(tile, matrices[b, i], first[b, i], last[b, i], width, total)
                    for t in range(width):
                        out[b, (start + t) // inner, i, (start + t) % inner] = total[t]


@njit(cache=True, nogil=True)
def map_mirrored(x: Floats, even: Floats, odd: Floats, out: Floats) -> None:
    """Multiply lines by matrices that do not change when both axes are reversed, at half the work: even and odd parts of a line keep to themselves.

    x and out (B, outer, n, inner); even and odd (B, ceil(n / 2), ceil(n / 2)) act on x[k] ± x[n - 1 - k].
    """
    batch, outer, n, inner = x.shape
    half = (n + 1) // 2
    plus, minus = np.empty((half, _TILE), np.float32), np.empty((half, _TILE), np.float32)
    first, second = np.empty(_TILE, np.float32), np.empty(_TILE, np.float32)
    lines = outer * inner
    for b in range(batch):
        start = 0
        while start < lines:
            # A tile stays within one outer index where lines lie side by side, and takes several where the axis is the last.
            o, r = start // inner, start % inner
            width = min(_TILE, inner - r) if inner >= 16 else min(_TILE, lines - start)
            for k in range(half):
                if inner >= 16:
                    for t in range(width):
                        a, c = x[b, o, k, r + t], x[b, o, n - 1 - k, r + t]
                        plus[k, t], minus[k, t] = a + c, a - c
                else:
                    for t in range(width):
                        i, j = (start + t) // inner, (start + t) % inner
                        a, c = x[b, i, k, j], x[b, i, n - 1 - k, j]
                        plus[k, t], minus[k, t] = a + c, a - c
            for k in range(half):
                _accumulate(plus, even[b, k], 0, half, width, first)
                _accumulate(minus, odd[b, k], 0, half, width, second)
                if inner >= 16:
                    for t in range(width):
                        out[b, o, n - 1 - k, r + t] = first[t] - second[t]
                        out[b, o, k, r + t] = first[t] + second[t]
                else:
                    for t in range(width):
                        i, j = (start + t) // inner, (start + t) % inner
                        out[b, i, n - 1 - k, j] = first[t] - second[t]
                        out[b, i, k, j] = first[t] + second[t]
            start += width


@njit(cache=True, nogil=True)
def row_means(x: Floats) -> Numbers:
    """Mean of |x| of each row, (B,) float64, added in order: torch's sums depend on the number of threads."""
    means = np.empty(len(x))
    for row in range(len(x)):
        total = 0.0
        for i in range(x.shape[1]):
            total += abs(x[row, i])
        means[row] = total / x.shape[1]
    return means
