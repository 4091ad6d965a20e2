"""Rows of voxels whose axes run along the source's: crops, zooms, resizes and flips.

Along such a row the first two places are constant. The source rows around it are first joined to one line, a loop over contiguous memory, and the line is then
interpolated: two scattered reads a voxel in place of eight. An average over several places in a voxel parts in the same way.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.kernels.warp_sampling import FILL, REFLECT

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.uintp]
Flags = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def is_straight(m: Floats) -> bool:
    """Whether a matrix (4, 4) scales, flips and shifts along the axes, and nothing else."""
    mixes = m[0, 1] != 0.0 or m[0, 2] != 0.0 or m[1, 0] != 0.0 or m[1, 2] != 0.0 or m[2, 0] != 0.0 or m[2, 1] != 0.0
    return not (mixes or m[3, 0] != 0.0 or m[3, 1] != 0.0 or m[3, 2] != 0.0)


@njit(cache=True, nogil=True)
def straight_columns(
    m: Floats, n: int, samples: npt.NDArray[np.int64], mode: int, size: int, base: Offsets, fraction: Singles, inside: Flags
) -> tuple[int, int]:
    """Find the cells of a sample's rows along the last axis, the same for all its rows.

    Args:
        m: (4, 4), straight.
        n: voxels of a row.
        samples: (3,) places to average along each axis.
        mode: FILL, BORDER or REFLECT.
        size: of the source along the last axis.
        base: (>= samples[2] + 1, n) cells of each place, then those of the voxels' middles; fraction and inside likewise.
        fraction: see base.
        inside: see base.

    Returns:
        The first source voxel that is read, and one past the last.
    """
    count = samples[2]
    low, high = size, 0
    for k in range(count + 1):
        first = m[2, 3] + m[2, 2] * (0.0 if k == count else (k + 0.5) / count - 0.5)
        for i in range(n):
            base[k, i], fraction[k, i], inside[k, i] = _cell(first + m[2, 2] * i, size, mode)
            cell = int(np.int64(base[k, i]))
            low, high = min(low, cell), max(high, cell)
    return low, min(high + 2, size)


@njit(cache=True, nogil=True)
def straight_row(
    m: Floats,
    z: int,
    y: int,
    n: int,
    samples: npt.NDArray[np.int64],
    mode: int,
    source: Any,
    shape: tuple[int, int, int],
    fill: float,
    out: Any,
    base: Offsets,
    fraction: Singles,
    inside: Flags,
    low: int,
    high: int,
    line: Singles,
) -> None:
    """Interpolate row (z, y) of one channel of a sample linearly, source (V,) to out (n,).

    Args:
        m: (4, 4), straight.
        z: plane of the row.
        y: line of the row.
        n: voxels of the row.
        samples: (3,) places to average along each axis.
        mode: FILL, BORDER or REFLECT.
        source: flat volume.
        shape: of the source.
        fill: what a place outside takes.
        out: (n,).
        base: see `straight_columns`, as are the next four.
        fraction: (…, n).
        inside: (…, n).
        low: first source voxel read.
        high: one past the last.
        line: (>= shape[2],) scratch.
    """
    k0, k1, k2 = samples
    beyond = 0
    for a in range(k0):
        plane, f, within = _cell(m[0, 0] * (z + (a + 0.5) / k0 - 0.5) + m[0, 3], shape[0], mode)
        for b in range(k1):
            row, g, met = _cell(m[1, 1] * (y + (b + 0.5) / k1 - 0.5) + m[1, 3], shape[1], mode)
            if within and met:
                _join(source, plane, f, row, g, shape, low, high, line, a * k1 + b > beyond)
            else:
                beyond += 1
    if beyond == k0 * k1:
        out[:] = fill
        return
    if beyond > 0:
        for i in range(np.uintp(low), np.uintp(high)):
            line[i] += np.float32(beyond * fill)
    for k in range(k2):
        _read(line, base[k], fraction[k], inside[k], n, shape[2], fill * (k0 * k1), out, k > 0)
    if k0 * k1 * k2 > 1:
        for i in range(n):
            out[i] /= k0 * k1 * k2


@njit(cache=True, nogil=True)
def straight_nearest(
    m: Floats,
    z: int,
    y: int,
    n: int,
    mode: int,
    source: Any,
    shape: tuple[int, int, int],
    fill: Any,
    out: Any,
    base: Offsets,
    fraction: Singles,
    inside: Flags,
) -> None:
    """Fill row (z, y) with the nearest voxels: source (V,) to out (n,); base, fraction and inside (n,) of the voxels' middles. Halves go up."""
    half, one, none = np.float32(0.5), np.uintp(1), np.uintp(0)
    plane, f, within = _cell(m[0, 0] * z + m[0, 3], shape[0], mode)
    row, g, met = _cell(m[1, 1] * y + m[1, 3], shape[1], mode)
    if not (within and met):
        out[:] = fill
        return
    plane += one if f >= half else none
    row += one if g >= half else none
    at = (plane * np.uintp(shape[1]) + row) * np.uintp(shape[2])
    for i in range(n):
        o = at + base[i] + (one if fraction[i] >= half else none)
        out[i] = source[o] if inside[i] else fill


@njit(cache=True, nogil=True)
def _cell(v: float, size: int, mode: int) -> tuple[np.uintp, np.float32, bool]:
    """Split a place along one axis into cell and fraction, and tell whether it lies inside: to the bit as `warp_sampling.find_cells` does."""
    if mode == REFLECT:
        v = abs(v + 0.5)
        v -= 2.0 * size * np.floor(v / (2.0 * size))
        v = (2.0 * size - v if v > size else v) - 0.5
    inside = mode != FILL or (v >= -0.5 - 1e-6 and v <= size - 0.5 + 1e-6)
    v = min(max(v, 0.0), size - 1.0)
    cell = min(int(v), max(size - 2, 0))
    return np.uintp(cell), np.float32(v - cell), inside


@njit(cache=True, nogil=True)
def _join(
    source: Any,
    plane: np.uintp,
    f: np.float32,
    row: np.uintp,
    g: np.float32,
    shape: tuple[int, int, int],
    low: int,
    high: int,
    line: Singles,
    add: bool,
) -> None:
    """Interpolate between the four rows of a flat volume at cell (plane, row): voxels low..high of line, or add to them."""
    one = np.float32(1)
    sy = np.uintp(shape[2] if shape[1] > 1 else 0)
    sz = np.uintp(shape[1] * shape[2] if shape[0] > 1 else 0)
    a = (plane * np.uintp(shape[1]) + row) * np.uintp(shape[2]) + np.uintp(low)
    b, c, d = a + sy, a + sz, a + sz + sy
    to, count = np.uintp(low), np.uintp(max(high - low, 0))
    if shape[0] == 1:
        for i in range(count):
            v = np.float32(source[a + i]) * (one - g) + np.float32(source[b + i]) * g
            line[to + i] = line[to + i] + v if add else v
        return
    for i in range(count):
        near = np.float32(source[a + i]) * (one - g) + np.float32(source[b + i]) * g
        far = np.float32(source[c + i]) * (one - g) + np.float32(source[d + i]) * g
        v = near * (one - f) + far * f
        line[to + i] = line[to + i] + v if add else v


@njit(cache=True, nogil=True)
def _read(line: Singles, base: Offsets, fraction: Singles, inside: Flags, n: int, size: int, fill: float, out: Any, add: bool) -> None:
    """Interpolate a line at n cells into out (n,), or add to it."""
    sx, one, outside = np.uintp(1 if size > 1 else 0), np.float32(1), np.float32(fill)
    for i in range(n):
        o, h = base[i], fraction[i]
        v = line[o] * (one - h) + line[o + sx] * h
        v = v if inside[i] else outside
        out[i] = out[i] + v if add else v
