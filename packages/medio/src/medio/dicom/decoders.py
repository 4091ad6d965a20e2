"""One decoder for each compressed transfer syntax, straight into place.

Chosen by measurement on 512x512 CT (CPU ms a slice; `tests/benchmarks/bench_reader.py` measures the reader): JPEG lossless `imagecodecs.jpeg8` 1.5, `ljpeg` 2.6,
`jpegsof3` 3.8; JPEG-LS `imagecodecs` 3.9, pyjpegls 4.0; JPEG 2000 `imagecodecs` and pylibjpeg-openjpeg 21 both; HTJ2K `imagecodecs.htj2k` 1.2, `jpeg2k` 2.2,
pylibjpeg-openjpeg 2.4. All release the GIL. Source: DICOM PS3.5 section 8.2, PS3.6 table A-1.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from medio.dicom.codestream import Buffer, Codestream, describe_jpeg, describe_jpeg2000
from medio.dicom.colour import to_rgb
from medio.dicom.gdcm_child import decode_elsewhere
from medio.dicom.layout import RLE, Layout
from medio.dicom.native import drop_unused_bits, fill_native
from medio.dicom.rle import decode_rle
from medio.errors import UnsupportedError

Decoder: TypeAlias = Callable[[Buffer, Layout, npt.NDArray[Any]], None]

_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, with Huffman or arithmetic coding: libjpeg-turbo, 8 and 12 bit."""
_LOSSLESS_HUFFMAN = 0xC3
# The stubs of imagecodecs leave out memory views and arrays.
_decode_xl: Callable[..., Any] = imagecodecs.jpegxl_decode
_inflate: Callable[..., Any] = imagecodecs.deflate_decode


def decoder_of(layout: Layout) -> Decoder:
    """Find the decoder of a transfer syntax.

    Raises:
        UnsupportedError: video, streams by reference, and syntaxes not known.
    """
    decoder = _DECODERS.get(layout.syntax)
    if decoder is None:
        name = UID(layout.syntax).name
        if any(word in name for word in ("MPEG", "HEVC", "SMPTE")):
            raise UnsupportedError(layout.path, f"holds video ({name}); extract its frames with a video tool, e.g. ffmpeg")
        if "JPIP" in name:
            raise UnsupportedError(layout.path, f"holds a reference to pixels elsewhere ({name}); fetch the image itself")
        raise UnsupportedError(layout.path, f"transfer syntax {name} is not read; transcode the file to Explicit VR Little Endian")
    return decoder


def _jpeg(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    said = _checked(describe_jpeg(data), layout)
    lossless = said.process == _LOSSLESS_HUFFMAN
    if not said.complete:  # libjpeg fills what is missing
        raise ValueError("it ends before its end marker")
    # Colour as stored, so that the transform is DICOM's, and is made once.
    raw = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"} if said.samples == 3 and not lossless else {}
    if lossless or said.process in _DCT:
        _into(imagecodecs.jpeg8_decode, data, said, out, **raw)
    else:
        decode_elsewhere(data, layout, out)
    if layout.samples == 3:
        _colour(said, layout, out)
    if said.precision > layout.stored or layout.signed:
        drop_unused_bits(out, layout)


def _jpeg_ls(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    said = _checked(describe_jpeg(data), layout)
    if not said.complete:  # CharLS counts zeros beyond the end, for 4 s whatever the size of the image
        raise ValueError("it ends before its end marker")
    _into(imagecodecs.jpegls_decode, data, said, out)
    _colour(said, layout, out)
    _set_sign(said, layout, out)


def _jpeg2000(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    said = _checked(describe_jpeg2000(data), layout)
    _into(imagecodecs.jpeg2k_decode, data, said, out)
    _colour(said, layout, out)
    _set_sign(said, layout, out)


def _htj2k(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    said = _checked(describe_jpeg2000(data), layout)
    if not said.complete:  # OpenJPH fills what is missing
        raise ValueError("it ends before its end marker")
    try:
        _into(imagecodecs.htj2k_decode, data, said, out)
    except imagecodecs.Htj2kError:
        # Plain JPEG 2000 under an HTJ2K syntax, and what OpenJPH does not do: OpenJPEG, at half the speed.
        _into(imagecodecs.jpeg2k_decode, data, said, out)
    _colour(said, layout, out)
    _set_sign(said, layout, out)


def _jpeg_xl(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    # The codec knows its colour space and gives RGB; `out` fixes the size, so a codestream of another one is refused.
    _decode_xl(data, numthreads=1, out=out.view(f"u{out.itemsize}"))
    drop_unused_bits(out, layout)


def _rle(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    decode_rle(data, out)
    drop_unused_bits(out, layout)
    if layout.photometric.startswith("YBR_FULL"):
        to_rgb(out)


def _deflated(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    size = (layout.frame_bits + 7) // 8
    fill_native(memoryview(_inflate(data, raw=True, out=bytearray(size + size % 2))), layout, out)


def _uncompressed(data: Buffer, layout: Layout, out: npt.NDArray[Any]) -> None:
    fill_native(memoryview(data), layout, out)


def _checked(said: Codestream, layout: Layout) -> Codestream:
    """Hold the codestream to the header before anything of its size is allocated."""
    if (said.rows, said.columns, said.samples) != (layout.rows, layout.columns, layout.samples):
        raise ValueError(
            f"its codestream is {said.rows}x{said.columns} with {said.samples} samples a pixel, "
            f"the header says {layout.rows}x{layout.columns} with {layout.samples}"
        )
    if said.precision > layout.allocated:
        raise ValueError(f"its codestream has {said.precision} bit, the header says BitsAllocated {layout.allocated}")
    return said


def _into(decode: Callable[..., Any], data: Buffer, said: Codestream, out: npt.NDArray[Any], **options: Any) -> None:
    width = 1 if said.precision <= 8 else 2 if said.precision <= 16 else 4
    if width == out.itemsize:
        decode(data, out=out, **options)
    else:
        out[...] = decode(data, **options)


def _colour(said: Codestream, layout: Layout, out: npt.NDArray[Any]) -> None:
    # JPEG 2000 undoes YBR_RCT and YBR_ICT itself.
    if layout.samples == 3 and (said.colour == "YBR" or (not said.colour and layout.photometric.startswith("YBR_FULL"))):
        to_rgb(out)


def _set_sign(said: Codestream, layout: Layout, out: npt.NDArray[Any]) -> None:
    """Extend or drop the sign where codestream and header differ in it; the codestream knows its own depth."""
    shift = 8 * out.itemsize - said.precision
    if shift and said.signed != layout.signed:
        np.left_shift(out, shift, out=out)
        np.right_shift(out, shift, out=out)


_PREFIX = "1.2.840.10008.1.2."
_DECODERS: dict[str, Decoder] = {
    RLE: _rle,
    **{f"{_PREFIX}4.{n}": _jpeg for n in (*range(50, 67), 70)},
    **{f"{_PREFIX}4.{n}": _jpeg_ls for n in (80, 81)},
    **{f"{_PREFIX}4.{n}": _jpeg2000 for n in (90, 91, 92, 93)},
    **{f"{_PREFIX}4.{n}": _htj2k for n in (201, 202, 203)},
    **{f"{_PREFIX}4.{n}": _jpeg_xl for n in (110, 111, 112)},
    f"{_PREFIX}1.98": _uncompressed,
    f"{_PREFIX}8.1": _deflated,
}
