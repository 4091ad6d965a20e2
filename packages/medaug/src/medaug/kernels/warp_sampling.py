"""Values of a row of voxels at given places: linear, cubic, nearest.

A place counts as inside up to half a voxel past the outermost centres, where the edge's value holds; farther out it takes the fill. So places are
clamped first, every tap is safe, and the loops need no branch.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FILL, BORDER, REFLECT = 0, 1, 2

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.uintp]
Flags = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def find_cells(c: Floats, n: int, shape: tuple[int, int, int], mode: int, base: Offsets, fraction: Singles, inside: Flags) -> int:
    """Split places c (3, n), which `mode` may fold in place, into the flat index of a cell's first corner and fractions (3, n); returns how many lie inside.

    With `mode` BORDER or REFLECT every place does; REFLECT mirrors at the outer faces of the edge voxels.
    """
    for i in range(n):
        base[i] = 0
        inside[i] = True
    for axis in range(3):
        size = shape[axis]
        edge = size - 0.5 + 1e-6
        top, last = size - 1.0, max(size - 2, 0)
        if mode == REFLECT:  # in a loop of its own, or the next would not become vector code
            for i in range(n):
                v = abs(c[axis, i] + 0.5)
                v -= 2.0 * size * np.floor(v / (2.0 * size))
                c[axis, i] = (2.0 * size - v if v > size else v) - 0.5
        for i in range(n):
            v = c[axis, i]
            inside[i] &= (v >= -0.5 - 1e-6) & (v <= edge)
            v = min(max(v, 0.0), top)
            cell = min(int(v), last)
            fraction[axis, i] = v - cell
            base[i] = base[i] * np.uintp(size) + np.uintp(cell)
    if mode != FILL:
        for i in range(n):
            inside[i] = True
        return n
    count = 0
    for i in range(n):
        count += inside[i]
    return count


@njit(cache=True, nogil=True)
def linear_row(
    source: Any, base: Offsets, fraction: Singles, inside: Flags, n: int, shape: tuple[int, int, int], fill: float, out: Any, add: bool
) -> None:
    """Interpolate a flat volume linearly at n cells into out (n,), or add to it."""
    one = np.float32(1)
    sx = np.uintp(1 if shape[2] > 1 else 0)
    sy = np.uintp(shape[2] if shape[1] > 1 else 0)
    sz = np.uintp(shape[1] * shape[2] if shape[0] > 1 else 0)
    outside = np.float32(fill)
    if shape[0] == 1:
        for i in range(n):
            o = base[i]
            g, h = fraction[1, i], fraction[2, i]
            near = np.float32(source[o]) * (one - h) + np.float32(source[o + sx]) * h
            far = np.float32(source[o + sy]) * (one - h) + np.float32(source[o + sy + sx]) * h
            v = near * (one - g) + far * g
            v = v if inside[i] else outside
            out[i] = out[i] + v if add else v
        return
    for i in range(n):
        o = base[i]
        f, g, h = fraction[0, i], fraction[1, i], fraction[2, i]
        k = one - h
        near = np.float32(source[o]) * k + np.float32(source[o + sx]) * h
        far = np.float32(source[o + sy]) * k + np.float32(source[o + sy + sx]) * h
        v = near * (one - g) + far * g
        o += sz
        near = np.float32(source[o]) * k + np.float32(source[o + sx]) * h
        far = np.float32(source[o + sy]) * k + np.float32(source[o + sy + sx]) * h
        v = v * (one - f) + (near * (one - g) + far * g) * f
        v = v if inside[i] else outside
        out[i] = out[i] + v if add else v


@njit(cache=True, nogil=True)
def cubic_row(
    source: Any,
    base: Offsets,
    fraction: Singles,
    inside: Flags,
    n: int,
    shape: tuple[int, int, int],
    fill: float,
    out: Any,
    add: bool,
    weights: Singles,
    taps: Offsets,
) -> None:
    """Interpolate by Keys' cubic convolution (a = -0.5) into out (n,), or add to it; weights (3, 4) and taps (3, 4) are scratch.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
    """
    n0, n1, n2 = shape
    strides = (n1 * n2, n2, 1)
    for i in range(n):
        if not inside[i]:
            v = np.float32(fill)
        else:
            flat = np.int64(base[i])
            cell = (flat // strides[0], flat // n2 % n1, flat % n2)
            for axis in range(3):
                _keys(fraction[axis, i], weights[axis])
                for a in range(4):
                    at = int(cell[axis]) + a - 1
                    taps[axis, a] = np.uintp(min(max(at, 0), shape[axis] - 1) * strides[axis])
            v = np.float32(0)
            for a in range(4):
                if n0 == 1 and a != 1:
                    continue
                plane = np.float32(0)
                for b in range(4):
                    o = taps[0, a] + taps[1, b]
                    line = np.float32(0)
                    for k in range(4):
                        line += weights[2, k] * np.float32(source[o + taps[2, k]])
                    plane += weights[1, b] * line
                v += plane if n0 == 1 else weights[0, a] * plane
        if add:
            out[i] += v
        else:
            out[i] = v


@njit(cache=True, nogil=True)
def nearest_row(
    source: Any, base: Offsets, fraction: Singles, inside: Flags, n: int, shape: tuple[int, int, int], fill: Any, out: Any
) -> None:
    """Copy the nearest voxel of a flat volume into out (n,); halves go up."""
    half = np.float32(0.5)
    sx, sy, sz = np.uintp(1), np.uintp(shape[2]), np.uintp(shape[1] * shape[2])
    none = np.uintp(0)
    for i in range(n):
        o = base[i]
        o += sz if fraction[0, i] >= half else none
        o += sy if fraction[1, i] >= half else none
        o += sx if fraction[2, i] >= half else none
        out[i] = source[o] if inside[i] else fill


@njit(cache=True, nogil=True)
def _keys(t: float, out: Singles) -> None:
    """Four weights at t in [0, 1] from the second tap."""
    s = np.float32(1) - t
    half = np.float32(0.5)
    out[0] = -half * t * s * s
    out[1] = half * (t * t * (np.float32(3) * t - np.float32(5)) + np.float32(2))
    out[2] = half * (s * s * (np.float32(3) * s - np.float32(5)) + np.float32(2))
    out[3] = -half * s * t * t
