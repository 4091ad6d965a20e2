"""From stored values to real ones, in int16 wherever that is exact.

Source: DICOM PS3.3 C.11.1 (Modality LUT).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def rescale_slices(stored: npt.NDArray[Any], slopes: Sequence[float], intercepts: Sequence[float]) -> npt.NDArray[Any]:
    """Apply a slope and an intercept to each slice: real = slope * stored + intercept.

    Args:
        stored: (D, H, W) integers; may be changed and returned.
        slopes: D slopes.
        intercepts: D intercepts.

    Returns:
        (D, H, W) int16 where every slope and intercept is whole and every result fits, else float32.
    """
    whole = all(float(s).is_integer() and float(i).is_integer() for s, i in zip(slopes, intercepts, strict=True))
    if whole and _fits_int16(stored, slopes, intercepts):
        if stored.dtype.itemsize != 2:
            stored = stored.astype(np.int16) if _fits_int16(stored, [1] * len(stored), [0] * len(stored)) else stored.astype(np.int64)
        # Arithmetic modulo 2**16 is exact when the result fits, so the stored array is reused whatever its sign.
        values = stored.view(np.int16) if stored.dtype.itemsize == 2 else stored
        for plane, slope, intercept in zip(values, slopes, intercepts, strict=True):
            if slope != 1:
                np.multiply(plane, _wrap(slope, plane.dtype), out=plane)
            if intercept != 0:
                np.add(plane, _wrap(intercept, plane.dtype), out=plane)
        return values.astype(np.int16, copy=False)
    out = np.empty(stored.shape, np.float32)
    for target, plane, slope, intercept in zip(out, stored, slopes, intercepts, strict=True):
        # float64 on the way: the result is the real value rounded once.
        target[...] = plane * np.float64(slope) + np.float64(intercept)
    return out


def _fits_int16(stored: npt.NDArray[Any], slopes: Sequence[float], intercepts: Sequence[float]) -> bool:
    for plane, slope, intercept in zip(stored, slopes, intercepts, strict=True):
        ends = float(plane.min()) * slope + intercept, float(plane.max()) * slope + intercept
        if min(ends) < -32768 or max(ends) > 32767:
            return False
    return True


def _wrap(value: float, dtype: np.dtype[Any]) -> Any:
    return np.array(int(value)).astype(dtype)
