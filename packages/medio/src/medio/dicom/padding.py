"""Pixels that are no image: PixelPaddingValue.

Source: DICOM PS3.3 C.7.5.1.1.2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.frame import numbers_in
from medio.dicom.header import Header


def padding_of(header: Header) -> tuple[float, float] | None:
    """Return the (lowest, highest) stored value that means padding, None where not said."""
    low = numbers_in(header.get("PixelPaddingValue"), "u")
    if not low:
        return None
    high = numbers_in(header.get("PixelPaddingRangeLimit"), "u") or low
    bits = int(header.get("BitsAllocated") or 16)
    ends = [_as_stored(value, bits, signed=bool(header.get("PixelRepresentation"))) for value in (low[0], high[0])]
    return min(ends), max(ends)


def is_padding(stored: npt.NDArray[Any], padding: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Mark the stored values that mean padding; both ends count."""
    return np.asarray((stored >= padding[0]) & (stored <= padding[1]))


def _as_stored(value: float, bits: int, *, signed: bool) -> float:
    """Undo the wrong sign that some writers give the value."""
    span = float(1 << bits)
    if signed and value >= span / 2:
        return value - span
    return value + span if not signed and value < 0 else value
