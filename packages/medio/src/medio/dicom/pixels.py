"""Stored pixel values of a DICOM file, frame by frame.

Source: DICOM PS3.5 section 8 and annexes A.4, G.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medio.dicom.instances import Instance
from medio.errors import CorruptFileError, MedioError, UnsupportedError

_NATIVE = frozenset(map(str, (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)))
_JPEG2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_LOSSY_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_DECODERS: dict[str, Callable[[bytes], npt.NDArray[Any]]] = {
    **{f"1.2.840.10008.1.2.4.{n}": imagecodecs.jpeg_decode for n in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{n}": imagecodecs.jpegls_decode for n in (80, 81)},
    **dict.fromkeys(_JPEG2000, imagecodecs.jpeg2k_decode),
}


def stored_dtype(instance: Instance) -> np.dtype[Any]:
    """Return the type of the stored values: (u)int8, 16 or 32 by BitsAllocated and PixelRepresentation.

    Raises:
        UnsupportedError: other depths.
        CorruptFileError: bits that contradict each other, or no pixels at all.
    """
    header = instance.header
    if instance.float_pixels:
        raise UnsupportedError(instance.path, "holds Float Pixel Data (a parametric map); only integer pixels are read")
    if instance.offset is None:
        raise CorruptFileError(instance.path, "ends before its PixelData; the file is truncated, fetch it again or exclude it")
    _check_described(instance)
    allocated, stored = int(header.BitsAllocated), int(header.get("BitsStored") or header.BitsAllocated)
    if allocated not in (8, 16, 32):
        raise UnsupportedError(instance.path, f"BitsAllocated is {allocated}; 8, 16 and 32 are read")
    if not 0 < stored <= allocated:
        raise CorruptFileError(instance.path, f"BitsStored {stored} does not fit in BitsAllocated {allocated}; exclude the file")
    return np.dtype(f"{'i' if header.get('PixelRepresentation') else 'u'}{allocated // 8}")


def frames(instance: Instance) -> Iterator[npt.NDArray[Any]]:
    """Decode the frames in stored order, without rescale.

    Yields:
        (H, W) arrays of `stored_dtype`, sign and high bits set right; for three samples a pixel (H, W, 3) RGB. The caller copies what it keeps.

    Raises:
        CorruptFileError: pixels that end early or do not decode.
        UnsupportedError: a transfer syntax that is not read.
    """
    dtype = stored_dtype(instance)
    if int(instance.header.get("SamplesPerPixel") or 1) != 1 or instance.header.get("PhotometricInterpretation") == "PALETTE COLOR":
        yield from _colour(instance)
    elif instance.syntax in _NATIVE:
        yield from (_fix_bits(frame, instance) for frame in _native(instance, dtype))
    elif instance.syntax in _DECODERS or instance.syntax == RLELossless:
        yield from _encapsulated(instance, dtype)
    else:
        raise UnsupportedError(
            instance.path, f"transfer syntax {instance.syntax} is not read; transcode the file to Explicit VR Little Endian"
        )


def _native(instance: Instance, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    header = instance.header
    rows, columns, count = int(header.Rows), int(header.Columns), instance.frame_count
    size = rows * columns * dtype.itemsize
    if instance.syntax == DeflatedExplicitVRLittleEndian:
        pixels = dcmread(instance.path, force=True).get("PixelData", b"")
        _check_length(instance, len(pixels), size * count)
        yield from np.frombuffer(pixels, dtype, rows * columns * count).reshape(count, rows, columns)
        return
    stored = dtype.newbyteorder(">") if instance.syntax == ExplicitVRBigEndian else dtype
    if stored.itemsize == 1 and instance.syntax == ExplicitVRBigEndian and _vr_is_ow(instance):
        raise UnsupportedError(
            instance.path, "8-bit pixels in big-endian words are not read; transcode the file to Explicit VR Little Endian"
        )
    offset = instance.offset or 0
    available = min(instance.path.stat().st_size - offset, size * count if instance.length is None else instance.length)
    _check_length(instance, available, size * count)
    with instance.path.open("rb") as file:
        file.seek(offset)
        for _ in range(count):
            yield np.fromfile(file, stored, rows * columns).reshape(rows, columns).astype(dtype, copy=False)


def missing_pixels(instance: Instance) -> str:
    """Say what a file lacks of its pixels without decoding them: empty for whole ones, and for compressed ones, where only decoding can tell.

    Raises:
        CorruptFileError: pixels whose size is not described.
    """
    header = instance.header
    if instance.offset is None:
        image = instance.is_image and not instance.float_pixels
        return "ends before its PixelData; the file is truncated, fetch it again or exclude it" if image else ""
    _check_described(instance)
    if instance.length is None or instance.offset == 0 or instance.syntax not in _NATIVE:
        return ""
    samples = int(header.get("SamplesPerPixel") or 1)
    bits = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) * instance.frame_count
    # Chroma at half width takes two samples a pixel instead of three.
    samples = 2 if str(header.get("PhotometricInterpretation")) == "YBR_FULL_422" else samples
    return _short(instance, min(instance.path.stat().st_size - instance.offset, instance.length), (bits * samples + 7) // 8)


def _check_described(instance: Instance) -> None:
    for name in ("Rows", "Columns", "BitsAllocated"):
        if not instance.header.get(name):
            raise CorruptFileError(instance.path, f"has PixelData but no {name}; fetch it again or exclude it")


def _short(instance: Instance, available: int, needed: int) -> str:
    if available >= needed:
        return ""
    header = instance.header
    frames = f"{instance.frame_count} frames of " if instance.frame_count > 1 else ""
    return (
        f"PixelData holds {available} bytes, {frames}{header.Rows}x{header.Columns}x{header.BitsAllocated} bit needs {needed}; "
        "the file is truncated, fetch it again or exclude it"
    )


def _check_length(instance: Instance, available: int, needed: int) -> None:
    short = _short(instance, available, needed)
    if short:
        raise CorruptFileError(instance.path, short)


def _vr_is_ow(instance: Instance) -> bool:
    with instance.path.open("rb") as file:
        file.seek((instance.offset or 12) - 8)
        return file.read(2) == b"OW"


def _encapsulated(instance: Instance, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    shape = (int(instance.header.Rows), int(instance.header.Columns))
    decode = _DECODERS.get(instance.syntax)
    count = 0
    for count, data in enumerate(_codestreams(instance), 1):
        try:
            frame = decode(data) if decode else _decode_rle(data, dtype, shape)
        except Exception as error:  # each codec has its own errors
            raise CorruptFileError(
                instance.path,
                f"frame {count} of {instance.frame_count} does not decode ({error}); the file is damaged or cut short, fetch it again or exclude it",
            ) from error
        if frame.shape != shape:
            raise CorruptFileError(
                instance.path,
                f"frame {count} decodes to {frame.shape}, the header says {shape[0]}x{shape[1]}; fetch the file again or exclude it",
            )
        signed = frame.dtype.kind == "i"
        frame = frame.astype(dtype, copy=False)
        # A signed JPEG 2000 codestream has carried the sign already; all others give bit patterns.
        yield frame if signed and dtype.kind == "i" else _fix_bits(frame, instance)
    if count < instance.frame_count:
        raise CorruptFileError(
            instance.path, f"holds {count} of {instance.frame_count} frames; it is truncated, fetch it again or exclude it"
        )


def _codestreams(instance: Instance) -> Iterator[bytes]:
    with instance.path.open("rb") as file:
        file.seek(instance.offset or 0)
        offsets = (instance.header.get("ExtendedOffsetTable"), instance.header.get("ExtendedOffsetTableLengths"))
        extended = (offsets[0], offsets[1]) if offsets[0] and offsets[1] else None
        try:
            streams = generate_frames(file, number_of_frames=instance.frame_count, extended_offsets=extended)
            yield from islice(streams, instance.frame_count)
        except (ValueError, EOFError, OSError, struct.error) as error:
            raise CorruptFileError(instance.path, f"compressed frames end early ({error}); fetch the file again or exclude it") from error


def _decode_rle(data: bytes, dtype: np.dtype[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Decode the byte planes of one frame, most significant first (PS3.5 G.3); raises ValueError where they do not fit.

    `imagecodecs.dicomrle_decode` is not used: it crashes the process on damaged segment tables.
    """
    count, *offsets = struct.unpack_from("<16I", data)
    starts = [*offsets[:count], len(data)]
    if count != dtype.itemsize or starts[0] < 64 or any(a >= b for a, b in pairwise(starts)):
        raise ValueError(f"{count} RLE segments at {starts[:4]} of {len(data)} bytes")
    size = shape[0] * shape[1]
    planes = np.empty((size, count), np.uint8)
    for place, (start, end) in enumerate(pairwise(starts)):
        plane = imagecodecs.packbits_decode(data[start:end])
        if len(plane) < size:
            raise ValueError(f"RLE segment {place + 1} holds {len(plane)} of {size} bytes")
        planes[:, count - 1 - place] = np.frombuffer(plane, np.uint8, size)
    return planes.view(dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)


def _fix_bits(frame: npt.NDArray[Any], instance: Instance) -> npt.NDArray[Any]:
    """Drop the bits above HighBit (old files keep overlays there) and extend the sign from BitsStored."""
    allocated = int(instance.header.BitsAllocated)
    stored = int(instance.header.get("BitsStored") or allocated)
    high = int(instance.header.get("HighBit", stored - 1))
    if not stored - 1 <= high < allocated:
        high = stored - 1
    if stored == allocated:
        return frame
    return (frame << (allocated - 1 - high)) >> (allocated - stored)


def _colour(instance: Instance) -> Iterator[npt.NDArray[Any]]:
    """Decode three samples a pixel, or a palette, to RGB.

    Baseline JPEG and uncompressed colour go through pydicom, whose raw colour space is the one the header names.
    """
    header = instance.header
    photometric, shape = str(header.get("PhotometricInterpretation")), (int(header.Rows), int(header.Columns), 3)
    try:
        if instance.syntax in _DECODERS and instance.syntax not in _LOSSY_JPEG and photometric != "PALETTE COLOR":
            for data in _codestreams(instance):
                frame = _DECODERS[instance.syntax](data).reshape(shape)
                # JPEG 2000 undoes its own transforms (YBR_RCT, YBR_ICT); only YBR_FULL is still to convert.
                yield convert_color_space(frame, photometric, "RGB") if photometric.startswith("YBR_FULL") else frame
            return
        dataset = dcmread(instance.path, force=True)
        pixels = dataset.pixel_array  # RGB, or the indices of a palette
        if photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
    except MedioError:
        raise
    except Exception as error:  # pydicom, its plugins and the codecs raise what they like
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(instance.path, f"colour pixels do not decode ({reason}); fetch the file again or exclude it") from error
    yield from pixels if instance.frame_count > 1 else pixels[None]
