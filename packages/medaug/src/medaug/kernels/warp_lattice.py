"""Random control points that depend on the sample and on their own place alone, so every grid and batch gets the same ones."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.kernels.philox import block

_ORIGIN = 1 << 20
_UNIT = 2.0**-32


@njit(cache=True, nogil=True)
def draw_lattice(seeds: npt.NDArray[np.uint64], radius: npt.NDArray[np.int64], normal: bool, out: npt.NDArray[np.float64]) -> None:
    """Fill out (B, 3, N0, N1, N2), of odd sizes, within `radius` (B, 3) of its middle: standard normal, else uniform in [-1, 1); 0 beyond.

    A control point takes its three numbers from the block whose counter is its place, counted from the middle.
    """
    middle = (out.shape[2] // 2, out.shape[3] // 2, out.shape[4] // 2)
    out[:] = 0.0
    for row in range(len(seeds)):
        r0, r1, r2 = min(radius[row, 0], middle[0]), min(radius[row, 1], middle[1]), min(radius[row, 2], middle[2])
        for i in range(-r0, r0 + 1):
            for j in range(-r1, r1 + 1):
                for k in range(-r2, r2 + 1):
                    counter = ((i + _ORIGIN) << 42) | ((j + _ORIGIN) << 21) | (k + _ORIGIN)
                    a, b, c, d = block(seeds[row], np.uint64(counter))
                    u, v, w = np.float64(a) * _UNIT, np.float64(b) * _UNIT, np.float64(c) * _UNIT
                    if normal:  # Box and Muller 1958
                        long, short = math.sqrt(-2 * math.log1p(-u)), math.sqrt(-2 * math.log1p(-w))
                        x, y, z = (
                            long * math.cos(2 * math.pi * v),
                            long * math.sin(2 * math.pi * v),
                            short * math.cos(2 * math.pi * np.float64(d) * _UNIT),
                        )
                    else:
                        x, y, z = 2 * u - 1, 2 * v - 1, 2 * w - 1
                    out[row, 0, middle[0] + i, middle[1] + j, middle[2] + k] = z
                    out[row, 1, middle[0] + i, middle[1] + j, middle[2] + k] = x
                    out[row, 2, middle[0] + i, middle[1] + j, middle[2] + k] = y
