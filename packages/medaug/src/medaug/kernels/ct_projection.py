"""Parallel-beam projection of slices and its adjoint, ray by ray and voxel by voxel."""

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.draws import Numbers

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def _between(line: Floats, place: float) -> float:
    """Linear interpolation on a line that is 0 beyond its ends."""
    left = int(np.floor(place))
    part = place - left
    value = 0.0
    if 0 <= left < len(line):
        value += (1.0 - part) * line[left]
    if 0 <= left + 1 < len(line):
        value += part * line[left + 1]
    return value


@njit(cache=True, nogil=True)
def project(slices: Floats, pixel: Numbers, cosine: Numbers, sine: Numbers, pitch: Numbers, out: Floats) -> None:
    """Fill out (N, A, T) with line integrals of slices (N, H, W) along x cos + y sin = t, interpolated across the steeper axis (Joseph 1982)."""
    count, height, width = slices.shape
    bins = out.shape[2]
    for n in range(count):
        dy, dx = pixel[n, 0], pixel[n, 1]
        turned = slices[n].T.copy()
        for a in range(len(cosine)):
            c, s = cosine[a], sine[a]
            for b in range(bins):
                t = (b - 0.5 * (bins - 1)) * pitch[n]
                total = 0.0
                if abs(s) * dy > abs(c) * dx:
                    for j in range(width):
                        y = (t - (j - 0.5 * (width - 1)) * dx * c) / s
                        total += _between(turned[j], y / dy + 0.5 * (height - 1))
                    total *= dx / abs(s)
                else:
                    for i in range(height):
                        x = (t - (i - 0.5 * (height - 1)) * dy * s) / c
                        total += _between(slices[n, i], x / dx + 0.5 * (width - 1))
                    total *= dy / abs(c)
                out[n, a, b] = total


@njit(cache=True, nogil=True)
def backproject(sinogram: Floats, pixel: Numbers, cosine: Numbers, sine: Numbers, pitch: Numbers, out: Floats) -> None:
    """Fill out (N, H, W) with the mean over angles of what sinogram (N, A, T) holds for the ray through each voxel; edge bins reach on outwards."""
    count, angles, bins = sinogram.shape
    height, width = out.shape[1:]
    for n in range(count):
        dy, dx = pixel[n, 0], pixel[n, 1]
        out[n] = np.float32(0)
        for a in range(angles):
            line = sinogram[n, a]
            step = cosine[a] * dx / pitch[n]
            for i in range(height):
                start = ((i - 0.5 * (height - 1)) * dy * sine[a] - 0.5 * (width - 1) * dx * cosine[a]) / pitch[n] + 0.5 * (bins - 1)
                for j in range(width):
                    place = min(max(start + j * step, 0.0), bins - 1.001)
                    left = int(place)
                    part = np.float32(place - left)
                    out[n, i, j] += line[left] + part * (line[left + 1] - line[left])
        out[n] /= np.float32(angles)
