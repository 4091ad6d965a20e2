"""Moving a volume a little, by linear interpolation."""

import numpy as np
import numpy.typing as npt
from numba import njit

from medaug.draws import Numbers

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def move(image: Floats, matrices: Numbers, out: Floats) -> None:
    """Fill out (B, C, D, H, W) with image where matrices (B, 3, 4) send each index (z, y, x, 1); the outermost voxels reach on beyond the edge."""
    batch, channels, depth, height, width = image.shape
    for b in range(batch):
        m = matrices[b]
        for z in range(depth):
            for y in range(height):
                sz = m[0, 0] * z + m[0, 1] * y + m[0, 3]
                sy = m[1, 0] * z + m[1, 1] * y + m[1, 3]
                sx = m[2, 0] * z + m[2, 1] * y + m[2, 3]
                for x in range(width):
                    pz = min(max(sz + m[0, 2] * x, 0.0), depth - 1.0)
                    py = min(max(sy + m[1, 2] * x, 0.0), height - 1.0)
                    px = min(max(sx + m[2, 2] * x, 0.0), width - 1.0)
                    z0, y0, x0 = int(pz), int(py), int(px)  # none is negative
                    z1, y1, x1 = min(z0 + 1, depth - 1), min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                    fz, fy, fx = np.float32(pz - z0), np.float32(py - y0), np.float32(px - x0)
                    for c in range(channels):
                        a, e, f, g = image[b, c, z0, y0], image[b, c, z0, y1], image[b, c, z1, y0], image[b, c, z1, y1]
                        a0, a1 = a[x0] + fx * (a[x1] - a[x0]), e[x0] + fx * (e[x1] - e[x0])
                        b0, b1 = f[x0] + fx * (f[x1] - f[x0]), g[x0] + fx * (g[x1] - g[x0])
                        low, high = a0 + fy * (a1 - a0), b0 + fy * (b1 - b0)
                        out[b, c, z, y, x] = low + fz * (high - low)
