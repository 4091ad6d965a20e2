"""Quantiles of the beta distribution: one uniform number makes one beta number, so a draw stays a pure function of its key.

Source: DLMF 8.17.22 (the continued fraction), Lentz 1976 (its evaluation).
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

_TINY = 1e-300
_MOST_TERMS = 2000


@njit(cache=True, nogil=True)
def _cumulative(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for x up to (a + 1) / (a + b + 2), where the fraction converges fast."""
    fraction, upper, lower = 1.0, 1.0, 0.0
    for n in range(1, _MOST_TERMS):
        m = n // 2
        if n % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        lower = 1 + term * lower
        lower = 1 / (lower if abs(lower) > _TINY else _TINY)
        upper = 1 + term / (upper if abs(upper) > _TINY else _TINY)
        step = upper * lower
        fraction *= step
        if abs(step - 1) < 1e-15:
            break
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * fraction)


@njit(cache=True, nogil=True)
def beta_quantiles(unit: npt.NDArray[np.float64], a: float, b: float) -> npt.NDArray[np.float64]:
    """Solve I_x(a, b) = u by bisection for each u in [0, 1) of a 1D array, to 2**-60."""
    out = np.empty(len(unit))
    middle = (a + 1) / (a + b + 2)
    at_middle = _cumulative(a, b, middle)
    for i in range(len(unit)):
        # The tail with x below the middle: that of u itself, or of 1 - u with the parameters swapped.
        below = unit[i] <= at_middle
        target, first, second = (unit[i], a, b) if below else (1 - unit[i], b, a)
        low, high = 0.0, middle if below else 1 - middle
        for _ in range(60):
            x = (low + high) / 2
            if _cumulative(first, second, x) < target:
                low = x
            else:
                high = x
        out[i] = (low + high) / 2 if below else 1 - (low + high) / 2
    return out
