"""DICOM run-length encoding of one frame.

Source: DICOM PS3.5 annex G.
"""

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from medio.dicom.codestream import Buffer

_HEADER = struct.Struct("<16I")
_unpack: Callable[..., Any] = imagecodecs.packbits_decode  # its stubs leave out memory views and arrays


def decode_rle(data: Buffer, out: npt.NDArray[Any]) -> None:
    """Decode a frame into place.

    Each segment is one byte of every sample, the most significant first. `imagecodecs.dicomrle_decode`, which does all segments at once, is slower than
    decoding them one by one (0.33 against 0.25 ms for 512x512x16 bit) and crashes the process on damaged segment tables.

    Args:
        data: the frame.
        out: (H, W) or (H, W, samples) integers, contiguous; filled.

    Raises:
        ValueError: segments that do not fit the frame.
    """
    if len(data) < 64:
        raise ValueError(f"{len(data)} bytes are no RLE frame, whose table alone takes 64")
    count, *offsets = _HEADER.unpack_from(data)
    samples = out.shape[2] if out.ndim == 3 else 1
    starts = [*offsets[:count], len(data)]
    if count != samples * out.itemsize or starts[0] < 64 or any(a >= b for a, b in pairwise(starts)):
        raise ValueError(f"{count} RLE segments at {starts[:4]} of {len(data)} bytes, not {samples * out.itemsize}")
    view = memoryview(data)
    size = out.shape[0] * out.shape[1]
    segments = list(pairwise(starts))
    if count == 1:
        _decode_segment(view[slice(*segments[0])], out.reshape(-1), 1)
        return
    plane = np.empty(size, np.uint8)
    pixels = out.reshape(size, samples).view(f"u{out.itemsize}")
    for place, (start, end) in enumerate(segments):
        _decode_segment(view[start:end], plane, place + 1)
        channel = pixels[:, place // out.itemsize]
        if place % out.itemsize == 0:
            channel[...] = plane
        else:
            np.left_shift(channel, 8, out=channel)
            np.bitwise_or(channel, plane, out=channel)


def _decode_segment(data: memoryview, out: npt.NDArray[Any], number: int) -> None:
    target = out.view(np.uint8)
    try:
        count = len(_unpack(data, out=target))
    except imagecodecs.PackbitsError:
        # Some writers leave more than a frame in a segment: take what is asked for. What is damaged fails here again.
        decoded = np.frombuffer(_unpack(data), np.uint8)[: len(target)]
        count = len(decoded)
        target[:count] = decoded
    if count < len(target):
        raise ValueError(f"RLE segment {number} holds {count} of {len(target)} bytes")
