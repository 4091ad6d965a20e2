"""Values by values, in as few passes as their statistics allow, in place. Images come as (R, n): a row for each set of parameters."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.kernels.elementary import exp2, power

Rows = npt.NDArray[np.float32]
FLAT = np.float32(1e-30)
"""A row whose range is no larger counts as constant, and stays: float32 could not hold the inverse of a smaller one."""
_LANES = 128
"""Partial sums side by side: a fixed order of additions that runs on vectors."""

_PART = 2048
"""Voxels that are taken through several steps together, so that they stay in the nearest cache."""


@njit(cache=True, nogil=True)
def statistics(image: Rows) -> npt.NDArray[np.float64]:
    """Take minimum, maximum, mean and standard deviation (over n - 1) of each row: (R, 4)."""
    out = np.empty((len(image), 4))
    for row in range(len(image)):
        _statistics(image[row], out[row])
    return out


@njit(cache=True, nogil=True)
def _statistics(line: Rows, out: npt.NDArray[np.float64]) -> None:
    low, high = np.full(_LANES, line[0]), np.full(_LANES, line[0])
    total, square = np.zeros(_LANES), np.zeros(_LANES)
    # sums about one value of the row: no cancellation where the mean is far from zero, as in HU
    about, n = np.float64(line[0]), len(line)
    whole = n - n % _LANES
    for start in range(0, whole, _LANES):
        piece = line[start : start + _LANES]
        for lane in range(_LANES):
            x = piece[lane]
            low[lane] = min(low[lane], x)
            high[lane] = max(high[lane], x)
            d = np.float64(x) - about
            total[lane] += d
            square[lane] += d * d
    for i in range(whole, n):
        x = line[i]
        low[0] = min(low[0], x)
        high[0] = max(high[0], x)
        d = np.float64(x) - about
        total[0] += d
        square[0] += d * d
    s, q = 0.0, 0.0
    for lane in range(_LANES):
        low[0] = min(low[0], low[lane])
        high[0] = max(high[0], high[lane])
        s += total[lane]
        q += square[lane]
    out[0], out[1], out[2] = low[0], high[0], about + s / n
    out[3] = math.sqrt(max(q - s * s / n, 0.0) / max(n - 1, 1))


@njit(cache=True, nogil=True)
def linear(
    image: Rows, scale: npt.NDArray[np.float32], shift: npt.NDArray[np.float32], low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]
) -> None:
    """Replace x by x * scale + shift, held within [low, high]; one number of each a row."""
    for row in range(len(image)):
        line, a, b, least, most = image[row], scale[row], shift[row], low[row], high[row]
        for i in range(len(line)):
            line[i] = min(max(line[i] * a + b, least), most)


@njit(cache=True, nogil=True)
def gamma(image: Rows, exponent: npt.NDArray[np.float32], invert: bool, retain: bool) -> None:
    """Raise each row, scaled to [0, 1] by its extremes, to a power, and scale it back.

    Args:
        image: (R, n).
        exponent: (R,) positive.
        invert: turn the scale round first, and back after.
        retain: give the row its former mean and standard deviation back.
    """
    before, after = np.empty(4), np.empty(4)
    for row in range(len(image)):
        line, g = image[row], exponent[row]
        _statistics(line, before)
        least, extent = np.float32(before[0]), np.float32(before[1] - before[0])
        if extent > FLAT:
            per = np.float32(1) / extent
            if invert:
                for i in range(len(line)):
                    unit = np.float32(1) - min((line[i] - least) * per, np.float32(1))
                    line[i] = (np.float32(1) - power(unit, g)) * extent + least
            else:
                for i in range(len(line)):
                    line[i] = power(min((line[i] - least) * per, np.float32(1)), g) * extent + least
            if retain:
                _statistics(line, after)
                scale = np.float32(before[3] / max(after[3], 1e-7 * extent))
                mean, target = np.float32(after[2]), np.float32(before[2])
                for i in range(len(line)):
                    line[i] = (line[i] - mean) * scale + target


@njit(cache=True, nogil=True)
def local_gamma(
    image: Rows, field: Rows, low: npt.NDArray[np.float32], extent: npt.NDArray[np.float32], strength: npt.NDArray[np.float32]
) -> None:
    """Raise each voxel, scaled to [0, 1] by `low` and `extent` of its row, to the power 2**(strength * field), and scale it back.

    Args:
        image: (B * C, n).
        field: (B, n), one for the C rows of a sample.
        low: (B * C,).
        extent: (B * C,).
        strength: (B,).
    """
    channels = len(image) // len(field)
    for row in range(len(image)):
        line, by, least, size, s = image[row], field[row // channels], low[row], extent[row], strength[row // channels]
        if size > FLAT:
            per = np.float32(1) / size
            for i in range(len(line)):
                line[i] = power(min((line[i] - least) * per, np.float32(1)), exp2(s * by[i])) * size + least


@njit(cache=True, nogil=True)
def curve(image: Rows, low: npt.NDArray[np.float32], extent: npt.NDArray[np.float32], knots: Rows) -> None:
    """Map each row by the broken line through its knots (R, K + 1), set evenly over [low, low + extent]."""
    pieces = knots.shape[1] - 1
    places = np.empty(_PART, np.float32)
    for row in range(len(image)):
        if extent[row] > FLAT:
            per, least = np.float32(pieces) / extent[row], low[row]
            for start in range(0, image.shape[1], _PART):
                line = image[row, start : start + _PART]
                place = places[: len(line)]
                for i in range(len(line)):
                    place[i] = (line[i] - least) * per
                    line[i] = knots[row, 0]
                # a sum of ramps, each from 0 to its step: as many plain passes as pieces, where a look-up would leave the vectors
                for k in range(pieces):
                    first, step = np.float32(k), knots[row, k + 1] - knots[row, k]
                    for i in range(len(line)):
                        line[i] += min(max(place[i] - first, np.float32(0)), np.float32(1)) * step
