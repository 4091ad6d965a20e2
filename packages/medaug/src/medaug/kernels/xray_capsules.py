"""Thick lines on films: each is painted within its own box of pixels only."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.draws import Numbers

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def paint(capsules: Numbers, pixel: Numbers, out: Floats) -> None:
    """Raise out (B, H, W) to the density of each capsule where it covers.

    capsules (B, n, 6) are row 0, column 0, row 1, column 1, radius in mm and density; pixel (B, 2) mm. A radius of 0 paints nothing.
    """
    batch, height, width = out.shape
    for b in range(batch):
        dy, dx = pixel[b, 0], pixel[b, 1]
        edge = 0.5 * (dy + dx)
        for n in range(capsules.shape[1]):
            y0, x0, y1, x1, radius, density = capsules[b, n]
            if radius <= 0.0:
                continue
            reach = radius + edge
            top, bottom = max(int((min(y0, y1) - reach) / dy), 0), min(int((max(y0, y1) + reach) / dy) + 1, height)
            left, right = max(int((min(x0, x1) - reach) / dx), 0), min(int((max(x0, x1) + reach) / dx) + 1, width)
            vy, vx = y1 - y0, x1 - x0
            square = max(vy * vy + vx * vx, 1e-12)
            for i in range(top, bottom):
                py = (i + 0.5) * dy - y0
                for j in range(left, right):
                    px = (j + 0.5) * dx - x0
                    along = min(max((py * vy + px * vx) / square, 0.0), 1.0)
                    ey, ex = py - along * vy, px - along * vx
                    cover = min(max((radius - math.sqrt(ey * ey + ex * ex)) / edge + 0.5, 0.0), 1.0)
                    out[b, i, j] = max(out[b, i, j], np.float32(cover * density))
