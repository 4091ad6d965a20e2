"""The pixels of a deflated file.

Source: DICOM PS3.5 annex A.5.
"""

import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import imagecodecs
import numpy as np

from medio.dicom.instances import Instance
from medio.dicom.layout import Layout
from medio.errors import CorruptFileError

_SLACK = 1 << 16
"""Room for what may follow the pixels."""
_ELEMENT = 12
"""Bytes of an element's tag, VR and length."""
_inflate: Callable[..., Any] = imagecodecs.deflate_decode  # its stubs leave out memory views and arrays


def inflate_pixels(instance: Instance, layout: Layout, file: BinaryIO) -> memoryview:
    """Return the bytes of PixelData; fewer than declared where the stream ends early.

    Raises:
        CorruptFileError: a stream that does not inflate.
    """
    file.seek(0)
    data = file.read()
    packed = memoryview(data)[_dataset_start(data) :]
    start = instance.header.end + _ELEMENT
    needed = start + (layout.frame_bits * layout.frames + 7) // 8
    try:
        # libdeflate takes less than half of zlib's time, but wants room for the whole stream.
        whole = np.asarray(_inflate(packed, raw=True, out=np.empty(needed + _SLACK, np.uint8)))
    except (imagecodecs.DeflateError, ValueError):
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            whole = np.frombuffer(stream.decompress(packed, needed), np.uint8)
        except zlib.error as error:
            raise CorruptFileError(layout.path, f"does not inflate ({error}); fetch it again or exclude it") from error
    return whole.data[start:needed]


def _dataset_start(data: bytes) -> int:
    """Find the end of the file meta information: explicit VR little endian elements of group 2."""
    place = 132 if data[128:132] == b"DICM" else 0
    while data[place : place + 2] == b"\x02\x00":
        if data[place + 4 : place + 6] in (b"OB", b"UN"):
            place += _ELEMENT + int.from_bytes(data[place + 8 : place + 12], "little")
        else:
            place += 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    return place
