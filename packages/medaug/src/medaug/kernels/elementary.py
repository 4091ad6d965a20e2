"""Elementary functions of float32 as polynomials, so that loops which use them run on vectors.

A library's logarithm or power takes another path for a vector than for the few numbers that are left over at its end, and the two differ in the last bit.
These are plain sums and products in a fixed order, each rounded once: one argument gives one result, wherever it stands. Coefficients are minimax fits
(Remez, relative error) made for these intervals; the errors stated are those of the whole function, rounding included.
"""

import numpy as np
from numba import njit

_F = np.float32
_MANTISSA, _ONE_BITS, _SQRT_HALF = np.int32(0x007FFFFF), np.int32(0x3F800000), np.int32(0x3F3504F3)
_BIAS, _23 = np.int32(127), np.int32(23)
_LEAST = _F(1.1754944e-38)

_L0, _L1, _L2, _L3, _L4 = _F(1.442695041), _F(-0.7213473515), _F(0.4808982411), _F(-0.3606966494), _F(0.2885674084)
_L5, _L6, _L7, _L8, _L9 = _F(-0.2396174035), _F(0.2046006196), _F(-0.1910627549), _F(0.1861749623), _F(-0.1099495514)
_E1, _E2, _E3, _E4 = _F(0.6931472057), _F(0.2402264689), _F(0.05550328777), _F(0.009618488957)
_E5, _E6, _ONE = _F(0.001339993122), _F(0.0001534581199), _F(1)
_S0, _S1, _S2, _S3 = _F(1.570796322), _F(-0.6459634602), _F(0.07968003277), _F(-0.004601657887)
_C1, _C2, _C3, _C4 = _F(-1.233700541), _F(0.2536692039), _F(-0.02086007132), _F(0.000903631703)
_HALF, _FOUR, _LOWEST, _HIGHEST = _F(0.5), _F(4), _F(-126), _F(127.99999)


@njit(cache=True, nogil=True, inline="always")
def log2(x: np.float32) -> np.float32:
    """Logarithm to base 2 of a normal positive number, to 2e-7 relative; of 1 it is 0."""
    bits = np.float32(x).view(np.int32)
    # split x = 2**exponent * (1 + m) with m in [sqrt(1/2) - 1, sqrt(2) - 1], so that the logarithm of 1 + m has no cancellation against the exponent
    exponent = np.int32(np.int32(bits - _SQRT_HALF) >> _23)
    m = np.int32(bits - np.int32(exponent << _23)).view(np.float32) - _ONE
    series = _L5 + m * (_L6 + m * (_L7 + m * (_L8 + m * _L9)))
    return np.float32(exponent) + m * (_L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * series)))))


@njit(cache=True, nogil=True, inline="always")
def exp2(x: np.float32) -> np.float32:
    """Raise 2 to a power, to 2e-7 relative; powers are held within [-126, 128), where the result is a normal number."""
    held = min(max(x, _LOWEST), _HIGHEST)
    whole = np.float32(np.floor(held + _HALF))
    f = held - whole
    series = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    # 2**127.99 is 2**128 * 2**-0.01: 2**128 is no float32, so the exponent is added to the bits of the series
    return np.int32(np.float32(series).view(np.int32) + np.int32(np.int32(whole) << _23)).view(np.float32)


@njit(cache=True, nogil=True, inline="always")
def power(x: np.float32, exponent: np.float32) -> np.float32:
    """Raise a number in [0, 1] to a positive power, to 1e-7 absolute or 3e-6 relative; 0 stays 0, 1 stays 1 and NaN stays NaN."""
    raised = exp2(exponent * log2(max(x, _LEAST)))
    return raised if x > _F(0) else x


@njit(cache=True, nogil=True, inline="always")
def cos_sin_turn(u: np.float32) -> tuple[np.float32, np.float32]:
    """Take cosine and sine of u turns (2 pi u), u in [0, 1], to 2e-7."""
    quarters = u * _FOUR
    nearest = np.float32(np.floor(quarters + _HALF))
    r = quarters - nearest
    t = r * r
    sine = r * (_S0 + t * (_S1 + t * (_S2 + t * _S3)))
    cosine = _ONE + t * (_C1 + t * (_C2 + t * (_C3 + t * _C4)))
    quadrant = np.int32(nearest) & np.int32(3)
    swapped = (quadrant & np.int32(1)) == np.int32(1)
    c, s = (sine, cosine) if swapped else (cosine, sine)
    # quadrants 1 and 2 have a negative cosine, 2 and 3 a negative sine
    c = -c if quadrant == np.int32(1) or quadrant == np.int32(2) else c
    return c, -s if quadrant >= np.int32(2) else s
