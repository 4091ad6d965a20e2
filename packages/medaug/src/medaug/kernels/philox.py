"""Philox4x32-10: a counter-based generator, so any number of any stream is computed on its own, in any order, on any device.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _32, _11 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(11)
_UNIT = 2.0**-53


@njit(cache=True, nogil=True, inline="always")
def block(key: np.uint64, counter: np.uint64) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    """Ten rounds on the counter (counter, 0) under a key: four words of 32 bits."""
    k0, k1 = np.uint32(key & _LOW), np.uint32(key >> _32)
    c0, c1, c2, c3 = np.uint32(counter & _LOW), np.uint32(counter >> _32), np.uint32(0), np.uint32(0)
    for _ in range(10):
        left, right = _M0 * np.uint64(c0), _M1 * np.uint64(c2)
        c0, c1, c2, c3 = (
            np.uint32(right >> _32) ^ c1 ^ k0,
            np.uint32(right & _LOW),
            np.uint32(left >> _32) ^ c3 ^ k1,
            np.uint32(left & _LOW),
        )
        k0, k1 = np.uint32(k0 + _W0), np.uint32(k1 + _W1)
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@njit(cache=True, nogil=True, inline="always")
def mixed(x: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection, so distinct streams keep distinct keys."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def stream_keys(digests: npt.NDArray[np.uint64], stream: np.uint64) -> npt.NDArray[np.uint64]:
    """Join digests of samples (B,) and of a stream's name to the keys of the generator."""
    out = np.empty_like(digests)
    for row in range(len(digests)):
        out[row] = mixed(digests[row] ^ stream)
    return out


@njit(cache=True, nogil=True)
def uniforms(digests: npt.NDArray[np.uint64], stream: np.uint64, low: float, extent: float, out: npt.NDArray[np.float64]) -> None:
    """Fill out (B, count) with numbers in [low, low + extent) of 53 bits, two a block, each row from its stream."""
    count = out.shape[1]
    for row in range(len(digests)):
        key = mixed(digests[row] ^ stream)
        for i in range((count + 1) // 2):
            a, b, c, d = block(key, np.uint64(i))
            out[row, 2 * i] = low + extent * (np.float64((np.uint64(a) << _32 | np.uint64(b)) >> _11) * _UNIT)
            if 2 * i + 1 < count:
                out[row, 2 * i + 1] = low + extent * (np.float64((np.uint64(c) << _32 | np.uint64(d)) >> _11) * _UNIT)
