"""Curves by table: one table a sample, linear between its knots."""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def look_up(unit: Floats, tables: Floats) -> None:
    """Replace unit (B, n) in [0, 1] by the row's table (B, knots) there."""
    last = tables.shape[1] - 1
    for row in range(len(unit)):
        for i in range(unit.shape[1]):
            place = unit[row, i] * np.float32(last)
            left = min(max(int(place), 0), last - 1)
            low = tables[row, left]
            unit[row, i] = low + (place - np.float32(left)) * (tables[row, left + 1] - low)
