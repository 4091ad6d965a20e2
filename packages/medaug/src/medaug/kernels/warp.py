"""One pass over the output of a batch: each row finds its places, then reads image and mask there."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.kernels.warp_coordinates import follow_row, start_row
from medaug.kernels.warp_sampling import FILL, cubic_row, find_cells, linear_row, nearest_row
from medaug.kernels.warp_straight import is_straight, straight_columns, straight_nearest, straight_row


@njit(cache=True, nogil=True)
def warp(
    first: int,
    last: int,
    joined: npt.NDArray[np.float64],
    matrices: npt.NDArray[np.float64],
    coefficients: npt.NDArray[np.float64],
    lattices: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    backward: npt.NDArray[np.bool_],
    exact: npt.NDArray[np.bool_],
    samples: npt.NDArray[np.int64],
    cubic: bool,
    mode: int,
    source: Any,
    shape: tuple[int, int, int],
    fill: Any,
    out: Any,
    grid: tuple[int, int, int],
    labels: Any,
    moved: Any,
) -> None:
    """Fill rows first..last of the output of a batch; rows count through samples, planes and lines.

    With mode FILL, exact samples are left to `warp_copies.copy_lines`.

    Args:
        first: the first row.
        last: one past the last row.
        joined: (B, 4, 4) the whole way of a sample that nothing deforms.
        matrices: (B, K + 1, 4, 4), see `warp_coordinates.follow_row`, as are the next four.
        coefficients: of all lattices.
        lattices: (K, 4).
        active: (B, K).
        backward: (K,).
        exact: (B,) samples whose voxels land on voxels.
        samples: (B, 3) how many places an output voxel averages along each axis.
        cubic: cubic convolution, else linear.
        mode: FILL, BORDER or REFLECT.
        source: (B, C, V) image, C may be 0.
        shape: of the image.
        fill: (B, C) in the output's dtype.
        out: (B, C, W).
        grid: shape of the output.
        labels: (B, 1, V) mask as unsigned integers of its size, or (0, 1, 1).
        moved: (B, 1, W) the mask's output.
    """
    channels = source.shape[1]
    n0, n1, n = grid
    c, line = np.empty((3, n)), np.empty((3, max(1, lattices[:, 3].max() if len(lattices) else 1)))
    base, fraction, inside = np.empty(n, np.uintp), np.empty((3, n), np.float32), np.empty(n, np.bool_)
    weights, taps = np.empty((3, 4), np.float32), np.empty((3, 4), np.uintp)
    masked = len(labels) > 0
    most, sample, low, high = samples[:, 2].max() + 1, -1, 0, 0
    bases, fractions, insides = np.empty((most, n), np.uintp), np.empty((most, n), np.float32), np.empty((most, n), np.bool_)
    flat = np.empty(shape[2], np.float32)
    for line_of_all in range(first, last):
        row, rest = line_of_all // (n0 * n1), line_of_all % (n0 * n1)
        z, y = rest // n1, rest % n1
        at = rest * n
        if exact[row] and mode == FILL:
            continue
        bent = active[row].any()
        m = matrices[row, 0] if bent else joined[row]
        aligned = m[0, 2] == 0.0 and m[1, 2] == 0.0 and m[3, 0] == 0.0 and m[3, 1] == 0.0 and m[3, 2] == 0.0
        k0, k1, k2 = samples[row]
        if not bent and (exact[row] or not cubic) and is_straight(m):
            if row != sample:
                sample, (low, high) = row, straight_columns(m, n, samples[row], mode, shape[2], bases, fractions, insides)
            b, f, i = bases[k2], fractions[k2], insides[k2]
            for channel in range(channels):
                values, to, outside = source[row, channel], out[row, channel, at : at + n], fill[row, channel]
                if exact[row]:
                    straight_nearest(m, z, y, n, mode, values, shape, outside, to, b, f, i)
                else:
                    straight_row(m, z, y, n, samples[row], mode, values, shape, outside, to, bases, fractions, insides, low, high, flat)
            if masked:
                straight_nearest(m, z, y, n, mode, labels[row, 0], shape, 0, moved[row, 0, at : at + n], b, f, i)
            continue
        count = k0 * k1 * k2
        # the mask is read in the middle of a voxel: with several places of their own that takes a turn more
        for part in range(-1 if masked and count > 1 else 0, count):
            middle = part < 0 or count == 1
            a, b, d = (0.0, 0.0, 0.0) if middle else ((part // (k1 * k2) + 0.5) / k0, (part // k2 % k1 + 0.5) / k1, (part % k2 + 0.5) / k2)
            shift = 0.0 if middle else 0.5
            start_row(c, m, z + a - shift, y + b - shift, d - shift, n)
            if bent:
                follow_row(c, n, matrices, coefficients, lattices, active, backward, n0 == 1 and shape[0] == 1, row, aligned, line)
            found = find_cells(c, n, shape, mode, base, fraction, inside)
            if masked and middle:
                nearest_row(labels[row, 0], base, fraction, inside, n, shape, 0, moved[row, 0, at : at + n])
            if part < 0:
                continue
            for channel in range(channels):
                to, outside = out[row, channel, at : at + n], fill[row, channel]
                if found == 0 and count == 1:
                    to[:] = outside
                elif exact[row]:
                    nearest_row(source[row, channel], base, fraction, inside, n, shape, outside, to)
                elif cubic:
                    cubic_row(source[row, channel], base, fraction, inside, n, shape, outside, to, part > 0, weights, taps)
                else:
                    linear_row(source[row, channel], base, fraction, inside, n, shape, outside, to, part > 0)
        if count == 1:
            continue
        for channel in range(channels):
            for i in range(at, at + n):
                out[row, channel, i] /= count
