"""Noise for every voxel: fields of Philox words, and images with noise put in one pass, without a field in memory.

Voxel i of a stream is made from words of block i // 4 alone, so any part of a field can be made on its own.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.kernels.elementary import cos_sin_turn, log2
from medaug.kernels.philox import block

_8, _UNIT, _HALF_UNIT = np.uint32(8), np.float32(2.0**-24), np.float32(2.0**-25)
_TO_RADIUS = np.float32(-2 * math.log(2))
_PART = 2048
"""Voxels of noise at a time, so that it stays in the nearest cache."""
FEW = np.float32(10)
"""Expected counts below which the Poisson distribution is summed."""

Rows = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]


@njit(cache=True, nogil=True, inline="always")
def _pair(a: np.uint32, b: np.uint32) -> tuple[np.float32, np.float32]:
    """Two standard normal numbers of two words; Box and Muller 1958."""
    radius = np.float32(math.sqrt(_TO_RADIUS * log2(np.float32(a >> _8) * _UNIT + _HALF_UNIT)))
    cosine, sine = cos_sin_turn(np.float32(b >> _8) * _UNIT)
    return radius * cosine, radius * sine


@njit(cache=True, nogil=True)
def _normal_part(key: np.uint64, first: int | np.int64, out: Rows) -> None:
    """Fill `out` (n,) with the normal numbers from voxel 4 * `first` on."""
    whole = len(out) // 4
    for i in range(whole):
        a, b, c, d = block(key, np.uint64(first + i))
        out[4 * i], out[4 * i + 1] = _pair(a, b)
        out[4 * i + 2], out[4 * i + 3] = _pair(c, d)
    rest = len(out) - 4 * whole
    if rest:
        a, b, c, d = block(key, np.uint64(first + whole))
        left, right = _pair(a, b), _pair(c, d)
        for i in range(rest):
            out[4 * whole + i] = left[i] if i < 2 else right[i - 2]


@njit(cache=True, nogil=True)
def _uniform_part(key: np.uint64, first: int | np.int64, out: Rows) -> None:
    """Fill `out` (n,) with the numbers in [0, 1) from voxel 4 * `first` on."""
    whole = len(out) // 4
    for i in range(whole):
        a, b, c, d = block(key, np.uint64(first + i))
        out[4 * i] = np.float32(a >> _8) * _UNIT
        out[4 * i + 1] = np.float32(b >> _8) * _UNIT
        out[4 * i + 2] = np.float32(c >> _8) * _UNIT
        out[4 * i + 3] = np.float32(d >> _8) * _UNIT
    rest = len(out) - 4 * whole
    if rest:
        words = block(key, np.uint64(first + whole))
        for i in range(rest):
            out[4 * whole + i] = np.float32(words[i] >> _8) * _UNIT


@njit(cache=True, nogil=True)
def normals(keys: Keys, out: Rows) -> None:
    """Fill rows with standard normal numbers: out (B, n) by keys (B,)."""
    for row in range(len(keys)):
        # a plain 0 would be a type of its own, and compile the loop once more
        _normal_part(keys[row], np.int64(0), out[row])


@njit(cache=True, nogil=True)
def uniform_rows(keys: Keys, out: Rows) -> None:
    """Fill rows with numbers in [0, 1) of 24 bits: out (B, n) by keys (B,)."""
    for row in range(len(keys)):
        _uniform_part(keys[row], np.int64(0), out[row])


@njit(cache=True, nogil=True)
def add_normals(image: npt.NDArray[np.float32], keys: Keys, scale: npt.NDArray[np.float32]) -> None:
    """Add normal noise to image (B, C, n), times scale (B, C): `image += scale * normals`, in place."""
    part = np.empty(_PART, np.float32)
    rows, channels, size = image.shape
    for row in range(rows):
        line = image[row].reshape(channels * size)
        for start in range(0, len(line), _PART):
            piece = line[start : start + _PART]
            noise = part[: len(piece)]
            _normal_part(keys[row], start // 4, noise)
            done = 0
            while done < len(piece):
                channel = (start + done) // size
                upto = min(len(piece), (channel + 1) * size - start)
                factor = scale[row, channel]
                run, by = piece[done:upto], noise[done:upto]
                for i in range(len(run)):
                    # two roundings, never a fused multiply-add: the same bits as a sum of tensors
                    run[i] += by[i] * factor
                done = upto


@njit(cache=True, nogil=True)
def rician(image: npt.NDArray[np.float32], real: Keys, imaginary: Keys, scale: npt.NDArray[np.float32]) -> None:
    """Take the magnitude of image (B, C, n) with normal noise of scale (B, C) in both parts of a complex signal, in place."""
    first, second = np.empty(_PART, np.float32), np.empty(_PART, np.float32)
    rows, channels, size = image.shape
    for row in range(rows):
        line = image[row].reshape(channels * size)
        for start in range(0, len(line), _PART):
            piece = line[start : start + _PART]
            a, b = first[: len(piece)], second[: len(piece)]
            _normal_part(real[row], start // 4, a)
            _normal_part(imaginary[row], start // 4, b)
            done = 0
            while done < len(piece):
                channel = (start + done) // size
                upto = min(len(piece), (channel + 1) * size - start)
                factor = scale[row, channel]
                run, x, y = piece[done:upto], a[done:upto], b[done:upto]
                for i in range(len(run)):
                    along, across = run[i] + x[i] * factor, y[i] * factor
                    run[i] = np.float32(math.sqrt(along * along + across * across))
                done = upto


@njit(cache=True, nogil=True)
def poisson(image: Rows, normal_keys: Keys, uniform_keys: Keys, counts: npt.NDArray[np.float32], zero: np.float32) -> None:
    """Replace image (B, n) by Poisson counts of mean counts[b] * (image - zero), back in the image's unit, in place.

    From `FEW` expected counts on, the quantile is an expansion about the normal one (Giles, ACM TOMS 42, 2016, Q_N2); below, the distribution is summed.
    """
    part, other = np.empty(_PART, np.float32), np.empty(_PART, np.float32)
    for row in range(len(image)):
        line, scale = image[row], counts[row]
        for start in range(0, len(line), _PART):
            piece = line[start : start + _PART]
            z, u = part[: len(piece)], other[: len(piece)]
            _normal_part(normal_keys[row], start // 4, z)
            few = 0
            for i in range(len(piece)):
                piece[i] = (piece[i] - zero) * scale
                few += piece[i] < FEW
            if few:
                _uniform_part(uniform_keys[row], start // 4, u)
                for i in range(len(piece)):
                    if piece[i] >= FEW:
                        piece[i] = _many(piece[i], z[i])
                    else:
                        piece[i] = _few(piece[i], u[i])
            else:
                for i in range(len(piece)):
                    piece[i] = _many(piece[i], z[i])
            for i in range(len(piece)):
                piece[i] = piece[i] / scale + zero


@njit(cache=True, nogil=True, inline="always")
def _many(mean: np.float32, z: np.float32) -> np.float32:
    root, square = np.float32(math.sqrt(mean)), z * z
    skew = np.float32(1 / 3) + square * np.float32(1 / 6)
    tail = z * (np.float32(-1 / 36) - square * np.float32(1 / 72)) / root
    last = (np.float32(-8 / 405) + square * (np.float32(7 / 810) + square * np.float32(1 / 270))) / mean
    return np.float32(max(np.floor(mean + root * z + skew + tail + last), np.float32(0)))


@njit(cache=True, nogil=True)
def _few(mean: np.float32, u: np.float32) -> np.float32:
    if not mean > np.float32(0):
        # NaN stays NaN: a bad sample must not look like a good one
        return mean if mean != mean else np.float32(0)
    chance = np.float32(math.exp(-mean))
    total, count = chance, np.float32(0)
    # 24 bits of u: beyond 64 counts the sum of a distribution with a mean below 10 is 1
    while u >= total and count < np.float32(64):
        count += np.float32(1)
        chance = chance * mean / count
        total = total + chance
    return count
