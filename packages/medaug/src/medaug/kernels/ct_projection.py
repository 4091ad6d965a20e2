"""Parallel-beam projection of slices and its adjoint, ray by ray and voxel by voxel."""

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.draws import Numbers

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def _march(lines: Floats, step: float, along: float, away: float, bins: int, total: Numbers) -> None:
    """Add to each bin what its ray meets on every line: linear interpolation at along · bin + away · line about the middles, 0 beyond the padded ends."""
    count, padded = lines.shape
    for k in range(count):
        start = away * (k - 0.5 * (count - 1)) - along * 0.5 * (bins - 1) + 0.5 * (padded - 1)
        # Bins whose place lies in [0, padded - 1); both ends of a line are 0.
        ends = (-start / along, (padded - 1.000001 - start) / along)
        first, last = max(int(np.ceil(min(ends))), 0), min(int(np.floor(max(ends))) + 1, bins)
        line = lines[k]
        for b in range(first, last):
            place = start + along * b
            left = int(place)
            part = place - left
            total[b] += step * ((1.0 - part) * line[left] + part * line[left + 1])


@njit(cache=True, nogil=True)
def project(slices: Floats, pixel: Numbers, cosine: Numbers, sine: Numbers, pitch: Numbers, out: Floats) -> None:
    """Fill out (N, A, T) with line integrals of slices (N, H, W) along x cos + y sin = t, interpolated across the steeper axis (Joseph 1982)."""
    count, height, width = slices.shape
    bins = out.shape[2]
    total = np.empty(bins)
    rows, columns = np.zeros((height, width + 2), np.float32), np.zeros((width, height + 2), np.float32)
    for n in range(count):
        dy, dx = pixel[n, 0], pixel[n, 1]
        rows[:, 1:-1] = slices[n]
        columns[:, 1:-1] = slices[n].T
        for a in range(len(cosine)):
            c, s = cosine[a], sine[a]
            total[:] = 0.0
            if abs(s) * dy > abs(c) * dx:
                _march(columns, dx / abs(s), pitch[n] / (s * dy), -dx * c / (s * dy), bins, total)
            else:
                _march(rows, dy / abs(c), pitch[n] / (c * dx), -dy * s / (c * dx), bins, total)
            for b in range(bins):
                out[n, a, b] = total[b]


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
