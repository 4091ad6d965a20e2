"""Order statistics by radix selection: exact, in two passes and without a sort."""

import numpy as np
import numpy.typing as npt
from numba import njit

_SIGN, _16, _LOW = np.uint32(0x80000000), np.uint32(16), np.uint32(0xFFFF)


@njit(cache=True, nogil=True)
def ranked(image: npt.NDArray[np.float32], ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Take the values of given ranks (K,), from 0, of each row of image (R, n): (R, K). No value may be NaN."""
    out = np.empty((len(image), len(ranks)), np.float32)
    upper, lower = np.empty(1 << 16, np.int64), np.empty(1 << 16, np.int64)
    for row in range(len(image)):
        bits = image[row].view(np.uint32)
        upper[:] = 0
        for i in range(len(bits)):
            upper[_ordered(bits[i]) >> _16] += 1
        for k in range(len(ranks)):
            high, before = _place(upper, ranks[k])
            lower[:] = 0
            for i in range(len(bits)):
                key = _ordered(bits[i])
                if key >> _16 == np.uint32(high):
                    lower[key & _LOW] += 1
            low, _ = _place(lower, ranks[k] - before)
            key = np.uint32(np.uint32(high) << _16 | np.uint32(low))
            out[row, k] = np.uint32(key ^ _SIGN if key & _SIGN else ~key).view(np.float32)
    return out


@njit(cache=True, nogil=True, inline="always")
def _ordered(bits: np.uint32) -> np.uint32:
    """Turn the bits of a float32 into a whole number of the same order: negative ones count down."""
    return np.uint32(~bits if bits & _SIGN else bits | _SIGN)


@njit(cache=True, nogil=True)
def _place(counts: npt.NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Find the bin that holds a rank, and how many values lie before it."""
    before = 0
    for at in range(len(counts)):
        if before + counts[at] > rank:
            return at, before
        before += counts[at]
    return len(counts) - 1, before
