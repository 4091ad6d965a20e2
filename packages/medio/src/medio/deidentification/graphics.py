"""Overlays: bitmaps that lie over the pixels, in attributes of their own or in the pixels' unused bits."""

from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from medio.deidentification.ocr import find_text
from medio.errors import CorruptFileError, PrivacyError

_KEPT = frozenset({0x0010, 0x0011, 0x0015, 0x0040, 0x0050, 0x0051, 0x0100, 0x0102})
"""Elements of an overlay group that say where the bitmap lies: rows, columns, frames, type, origin, first frame, bits."""
DATA = 0x3000
_PLANES = range(0x6000, 0x6020, 2)


def is_layout(element: DataElement) -> bool:
    """Tell whether an element of an overlay group only says where the bitmap lies."""
    return int(element.tag.element) in _KEPT and element.VR in ("US", "SS", "IS", "CS")


def clean_overlay(element: DataElement, dataset: Dataset, name: str) -> tuple[DataElement, int]:
    """Blank the text in one overlay's bitmap.

    Returns:
        The element, and how many pieces of text were blanked.

    Raises:
        CorruptFileError: a bitmap that is shorter than its header says.
    """
    group = int(element.tag.group)
    sizes = [dataset.get((group, number)) for number in (0x0010, 0x0011, 0x0015)]
    rows, columns, count = (int(size.value or 1) if size is not None else 1 for size in sizes)
    bits = np.unpackbits(np.frombuffer(element.value, np.uint8), bitorder="little")
    if bits.size < rows * columns * count:
        raise CorruptFileError(name, f"overlay {group:04X} holds {bits.size} bits of {rows * columns * count}; exclude it")
    planes = bits[: rows * columns * count].reshape(count, rows, columns)
    found = 0
    for plane in planes:
        for box in find_text(plane * np.uint8(255)):
            plane[max(box.top - 2, 0) : box.bottom + 2, max(box.left - 2, 0) : box.right + 2] = 0
            found += 1
    data = np.packbits(bits, bitorder="little").tobytes()
    return DataElement(element.tag, element.VR, data), found


def clear_unused_bits(source: Dataset, result: Dataset, name: str) -> bool:
    """Clear overlays that lie in the pixels' unused bits.

    Returns:
        Whether there were any.

    Raises:
        PrivacyError: when the pixels are compressed, so that the bits cannot be reached.
    """
    embedded = [group for group in _PLANES if (group, 0x0010) in source and (group, DATA) not in source]
    if not embedded:
        return False
    pixels: Any = result.get("PixelData")
    allocated, stored = int(source.get("BitsAllocated") or 0), int(source.get("BitsStored") or 0)
    high = int(source.get("HighBit") or stored - 1)
    if pixels is None:
        return True
    if result["PixelData"].is_undefined_length or allocated not in (8, 16, 32):
        raise PrivacyError(name, "an overlay lies in the unused bits of its compressed pixels, which cannot be cleared; exclude it")
    syntax = getattr(source, "file_meta", {}).get("TransferSyntaxUID")
    values = np.frombuffer(pixels, f"{'>' if syntax == ExplicitVRBigEndian else '<'}u{allocated // 8}")
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    result.PixelData = (values & values.dtype.type(mask)).astype(values.dtype).tobytes()
    return True
