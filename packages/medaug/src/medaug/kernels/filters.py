"""Filters along one axis after another, each in place: the image, and a scratch that stays in cache, are all the memory they need.

An image (R, outer, n, inner) is filtered along n; R are the samples (or the channels of samples), each with numbers of its own. Edges repeat their voxel.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.float32]
_CHUNK = 512
"""Numbers of the inner axes that are filtered together: n rows of so many stay in the second cache."""


@njit(cache=True, nogil=True)
def symmetric(image: Image, weights: npt.NDArray[np.float32], radius: npt.NDArray[np.int64]) -> None:
    """Convolve along n by even kernels, in place.

    Args:
        image: (R, outer, n, inner).
        weights: (R, taps): the middle, then one side outwards.
        radius: (R,) how many weights beside the middle are used; 0 leaves a row as it is.
    """
    rows, outer, n, inner = image.shape
    for row in range(rows):
        if radius[row] > 0:
            if inner == 1:
                _along_lines(image[row].reshape(outer, n), weights[row], radius[row])
            else:
                _across_rows(image[row], weights[row], radius[row])


@njit(cache=True, nogil=True)
def _along_lines(image: Image, weights: npt.NDArray[np.float32], radius: int) -> None:
    lines, n = image.shape
    padded = np.empty(n + 2 * radius, np.float32)
    for i in range(lines):
        line = image[i]
        padded[:radius] = line[0]
        padded[radius : radius + n] = line
        padded[radius + n :] = line[n - 1]
        _convolved(line, padded, np.int64(1), weights, radius)


@njit(cache=True, nogil=True)
def _across_rows(image: Image, weights: npt.NDArray[np.float32], radius: int) -> None:
    outer, n, inner = image.shape
    width = min(inner, _CHUNK)
    scratch = np.empty((n + 2 * radius) * width, np.float32)
    for o in range(outer):
        for start in range(0, inner, width):
            stop = min(start + width, inner)
            chunk = stop - start
            for i in range(n + 2 * radius):
                scratch[i * chunk : (i + 1) * chunk] = image[o, min(max(i - radius, 0), n - 1), start:stop]
            for i in range(n):
                _convolved(image[o, i, start:stop], scratch[i * chunk :], chunk, weights, radius)


@njit(cache=True, nogil=True)
def _convolved(out: Image, source: Image, stride: int | np.int64, weights: npt.NDArray[np.float32], radius: int) -> None:
    """Fill `out` (n,) with the sum over taps t of w[|t - radius|] * source[t * stride : t * stride + n], two pairs of taps a pass."""
    n = len(out)
    middle = source[radius * stride : radius * stride + n]
    w = weights[0]
    for x in range(n):
        out[x] = middle[x] * w
    t = 1
    while t + 1 <= radius:
        a, b = source[(radius - t) * stride : (radius - t) * stride + n], source[(radius + t) * stride : (radius + t) * stride + n]
        c, d = (
            source[(radius - t - 1) * stride : (radius - t - 1) * stride + n],
            source[(radius + t + 1) * stride : (radius + t + 1) * stride + n],
        )
        near, far = weights[t], weights[t + 1]
        for x in range(n):
            out[x] = out[x] + (a[x] + b[x]) * near + (c[x] + d[x]) * far
        t += 2
    if t == radius:
        a, b = source[:n], source[2 * radius * stride : 2 * radius * stride + n]
        near = weights[t]
        for x in range(n):
            out[x] = out[x] + (a[x] + b[x]) * near


@njit(cache=True, nogil=True)
def tabled(image: Image, index: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], active: npt.NDArray[np.bool_]) -> None:
    """Replace voxel i along n by the sum over t of weights[t, i] * voxel index[t, i], in place.

    Args:
        image: (R, outer, n, inner).
        index: (R, taps, n), at least two taps.
        weights: (R, taps, n).
        active: (R,): False leaves a row as it is.
    """
    rows, outer, n, inner = image.shape
    width = min(inner, _CHUNK)
    scratch = np.empty(n * width, np.float32)
    for row in range(rows):
        if active[row]:
            if inner == 1:
                _tabled_lines(image[row].reshape(outer, n), index[row], weights[row], scratch)
            else:
                for o in range(outer):
                    for start in range(0, inner, width):
                        _tabled_rows(image[row, o], start, min(start + width, inner), index[row], weights[row], scratch)


@njit(cache=True, nogil=True)
def _tabled_rows(
    image: Image, start: int, stop: int, index: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], scratch: Image
) -> None:
    n, chunk, taps = len(image), stop - start, len(index)
    for i in range(n):
        scratch[i * chunk : (i + 1) * chunk] = image[i, start:stop]
    for i in range(n):
        out = image[i, start:stop]
        j, k = np.intp(index[0, i]), np.intp(index[1, i])
        a, b = scratch[j * chunk : (j + 1) * chunk], scratch[k * chunk : (k + 1) * chunk]
        left, right = weights[0, i], weights[1, i]
        for x in range(chunk):
            out[x] = a[x] * left + b[x] * right
        for t in range(2, taps):
            w = weights[t, i]
            if w != np.float32(0):
                j = np.intp(index[t, i])
                a = scratch[j * chunk : (j + 1) * chunk]
                for x in range(chunk):
                    out[x] = out[x] + a[x] * w


@njit(cache=True, nogil=True)
def _tabled_lines(image: Image, index: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], scratch: Image) -> None:
    lines, n = image.shape
    taps = len(index)
    for i in range(lines):
        line = image[i]
        scratch[:n] = line
        j, k, left, right = index[0], index[1], weights[0], weights[1]
        for x in range(n):
            line[x] = scratch[j[x]] * left[x] + scratch[k[x]] * right[x]
        for t in range(2, taps):
            j, left = index[t], weights[t]
            for x in range(n):
                line[x] = line[x] + scratch[j[x]] * left[x]
