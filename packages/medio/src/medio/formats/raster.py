"""PNG and JPEG in, PNG out: one plane without a place in the patient, and with no spacing that can be trusted."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.formats.voxels import DEFLATE_LIMIT
from medio.image import Image

_ORIENTATION = 274  # the tag of TIFF and EXIF that says how to turn an image for display


def read_raster(path: Path, spacing: tuple[float, ...] | None) -> Image:
    """Read a PNG or JPEG of 1 to 16 bit, grey, palette or colour.

    Args:
        path: the file.
        spacing: (row, column) mm of the pixels as they are stored; these formats carry none that can be trusted.

    Returns:
        (H, W) uint8 or uint16, or (3, H, W) where the channels differ; affine None. Pixels lie as they are stored: an EXIF orientation is not applied but
        said, in `meta["exif_orientation"]` (1: upright, 6: to be turned clockwise, …), where the file has one.

    Raises:
        GeometryError: no spacing given.
        CorruptFileError: the file does not decode.
        UnsupportedError: transparency, or CMYK.
    """
    kind = path.suffix[1:].upper()
    if spacing is None:
        raise GeometryError(path, f"a {kind} file carries no pixel spacing; pass spacing=(row, column) in mm")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(path, f"cannot be opened ({error.strerror})") from error
    png = path.suffix.lower() == ".png"
    declared = _declared_bytes(data, png)
    if declared > DEFLATE_LIMIT * len(data):
        raise CorruptFileError(
            path, f"{len(data)} bytes that declare {declared} bytes of pixels; it is truncated, fetch it again or exclude it"
        )
    try:
        pixels: npt.NDArray[Any] = (imagecodecs.png_decode if png else imagecodecs.jpeg_decode)(data)
    except Exception as error:  # the codecs have their own errors
        raise CorruptFileError(path, f"{len(data)} bytes that do not decode as {kind} ({error}); fetch it again or exclude it") from error
    if not png and pixels.ndim == 3 and pixels.shape[-1] == 4:
        raise UnsupportedError(path, "is a CMYK JPEG, made for print; convert it to grey or RGB first")
    meta: dict[str, Any] = {"path": str(path), "spacing_source": "argument"}
    turned = _exif_orientation(data, png)
    if turned is not None:
        meta["exif_orientation"] = turned
    return Image(channels_first(pixels, path), None, two(spacing, path), "", meta)


def write_png(image: Image, path: Path) -> None:
    """Write a film as PNG, 8 bit where every value fits, else 16 bit; the spacing is not kept.

    Args:
        image: (H, W), (1, H, W), or (3, H, W) for colour; whole numbers in 0 to 65535.
        path: ends in .png.

    Raises:
        UnsupportedError: a volume, fractions, or values out of range.
    """
    array = image.array
    if len(image.spacing) != 2 or (array.ndim == 3 and array.shape[0] not in (1, 3)):
        raise UnsupportedError(path, f"a PNG holds one plane, not an array of shape {array.shape}; write .nii.gz or one slice")
    if array.dtype.kind not in "iub" or array.min() < 0 or array.max() > 65535:
        raise UnsupportedError(path, f"a PNG holds whole numbers in 0 to 65535, not {array.dtype}; window and convert the values first")
    wide = array.dtype not in (np.uint8, np.bool_) and (array.dtype == np.uint16 or int(array.max()) > 255)
    array = array.astype(np.uint16 if wide else np.uint8)
    with replacing(path) as partial:
        partial.write_bytes(imagecodecs.png_encode(channels_last(array)))


def channels_first(pixels: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """Turn decoded pixels ([H, W] or [H, W, C]) into (H, W), or (3, H, W) where the channels differ; an opaque alpha is dropped.

    Raises:
        UnsupportedError: transparent pixels, or another number of channels.
    """
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
        if (pixels[..., -1] != top).any():
            raise UnsupportedError(path, "has transparent pixels, whose value is not defined; flatten it first")
        pixels = pixels[..., :-1]
    if pixels.ndim == 3:
        if pixels.shape[-1] not in (1, 3):
            raise UnsupportedError(path, f"has {pixels.shape[-1]} channels, a film one or three; split it")
        grey = bool((pixels == pixels[..., :1]).all())
        pixels = pixels[..., 0] if grey else np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(pixels)


def channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn (H, W), (1, H, W) or (3, H, W) into what encoders take: (H, W) or (H, W, 3)."""
    if array.ndim == 3:
        array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    return np.ascontiguousarray(array)


def two(spacing: tuple[float, ...], path: Path) -> tuple[float, float]:
    """Check the spacing of a film.

    Raises:
        GeometryError: not two numbers.
    """
    if len(spacing) != 2:
        raise GeometryError(path, f"a film needs spacing (row, column), got {spacing}")
    return float(spacing[0]), float(spacing[1])


def _declared_bytes(data: bytes, png: bool) -> int:
    """Give the bytes of pixels that a header declares, 0 where it is not found: no memory is taken for what cannot be there."""
    if png:
        if data[12:16] != b"IHDR" or len(data) < 26:
            return 0
        width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
        return int(width * height * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1) * bits // 8)
    for marker, segment in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(segment) >= 6:
            height, width = struct.unpack(">HH", segment[1:5])
            return int(height * width)
    return 0


def _exif_orientation(data: bytes, png: bool) -> int | None:
    if png:
        at = 8
        while at + 8 <= len(data):
            length, name = struct.unpack(">I4s", data[at : at + 8])
            if name == b"eXIf":
                return _orientation_tag(data[at + 8 : at + 8 + length])
            at += 12 + length
        return None
    return next((_orientation_tag(part[6:]) for marker, part in _segments(data) if marker == 0xE1 and part.startswith(b"Exif\0\0")), None)


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Give the marker segments of a JPEG up to its first scan."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + max(2, length)
    return found


def _orientation_tag(block: bytes) -> int | None:
    order = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return None
    end = "<" if order == "little" else ">"
    try:
        (first,) = struct.unpack_from(end + "I", block, 4)
        (count,) = struct.unpack_from(end + "H", block, first)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(end + "HHIH", block, first + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value)
    except struct.error:  # a block that is cut says nothing
        return None
    return None
