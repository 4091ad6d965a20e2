"""Cuboids, filled."""

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def fill_cuboids(
    image: npt.NDArray[np.float32], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], filling: npt.NDArray[np.float32]
) -> None:
    """Fill low <= index < high of image (B, C, D, H, W), in place, for bounds (B, n, 3) and filling (B, C)."""
    for row in range(len(image)):
        for k in range(low.shape[1]):
            z0, y0, x0 = low[row, k]
            z1, y1, x1 = high[row, k]
            if x1 > x0:
                for channel in range(image.shape[1]):
                    for z in range(z0, z1):
                        for y in range(y0, y1):
                            image[row, channel, z, y, x0:x1] = filling[row, channel]
