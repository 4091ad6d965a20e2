"""Uncompressed frames: from bytes to values in place.

Source: DICOM PS3.5 section 8.1 and annex D.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.colour import spread_422, to_rgb
from medio.dicom.layout import BIG_ENDIAN, Layout


def fill_native(data: memoryview, layout: Layout, out: npt.NDArray[Any]) -> None:
    """Write one frame, given from its first byte, to `out` of `layout.raw_shape`.

    Raises:
        ValueError: too few bytes.
    """
    size = (layout.frame_bits + 7) // 8
    if len(data) < size:
        raise ValueError(f"it holds {len(data)} of {size} bytes")
    if layout.allocated == 1:
        out.reshape(-1)[...] = unpack_bits(np.frombuffer(data, np.uint8), 0, out.size)
        return
    stored = layout.raw.newbyteorder(">") if layout.syntax == BIG_ENDIAN else layout.raw.newbyteorder("<")
    arrange(np.frombuffer(data[:size], stored), layout, out)


def arrange(values: npt.NDArray[Any], layout: Layout, out: npt.NDArray[Any]) -> None:
    """Bring the flat samples of a frame into (H, W) or (H, W, 3) RGB."""
    if layout.samples == 3 and layout.photometric == "YBR_FULL_422":
        spread_422(values, out)
    elif layout.planar:
        out[...] = np.moveaxis(values.reshape(3, layout.rows, layout.columns), 0, -1)
    else:
        out[...] = values.reshape(out.shape)
    finish(layout, out)


def finish(layout: Layout, out: npt.NDArray[Any]) -> None:
    """Drop unused bits and make YBR_FULL RGB."""
    drop_unused_bits(out, layout)
    if layout.samples == 3 and layout.photometric.startswith("YBR_FULL"):
        to_rgb(out)


def drop_unused_bits(frame: npt.NDArray[Any], layout: Layout) -> None:
    """Drop the bits above HighBit (old files keep overlays there) and below the lowest, and extend the sign, in place."""
    if layout.stored == layout.allocated:
        return
    width = 8 * frame.itemsize
    if layout.high == layout.stored - 1 and not layout.signed:
        np.bitwise_and(frame, frame.dtype.type((1 << layout.stored) - 1), out=frame)
        return
    np.left_shift(frame, width - 1 - layout.high, out=frame)
    np.right_shift(frame, width - layout.stored, out=frame)


def unpack_bits(data: npt.NDArray[np.uint8], first: int, count: int) -> npt.NDArray[np.uint8]:
    """Give `count` values of one bit from bit `first` on; frames follow one another without padding."""
    bits = np.unpackbits(data[first // 8 : (first + count + 7) // 8], bitorder="little")
    return bits[first % 8 : first % 8 + count]
