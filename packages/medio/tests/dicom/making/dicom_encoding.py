"""What the tests of pixels share: small DICOM files of any transfer syntax, made by other libraries' encoders."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import MRImageStorage, generate_uid

PREFIX = "1.2.840.10008.1.2"
EXPLICIT, BIG, DEFLATED, RLE = f"{PREFIX}.1", f"{PREFIX}.2", f"{PREFIX}.1.99", f"{PREFIX}.5"
LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, JPEG_XL = (f"{PREFIX}.4.{n}" for n in (70, 80, 90, 201, 110))
RAW_FRAGMENTS, DEFLATED_FRAMES = f"{PREFIX}.1.98", f"{PREFIX}.8.1"


def encode(syntax: str, frame: np.ndarray, bits: int) -> bytes:
    """Encode one frame without loss; signed values as bit patterns where the codec knows no sign."""
    unsigned = (frame.astype(np.int64) & ((1 << bits) - 1)).astype(f"u{frame.itemsize}")
    if syntax == RLE and frame.itemsize > 2:
        return _rle(frame)
    if syntax == RLE:
        return RLELosslessEncoder.encode(
            frame.tobytes(),
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=frame.shape[2] if frame.ndim == 3 else 1,
            bits_allocated=8 * frame.itemsize,
            bits_stored=8 * frame.itemsize,
            pixel_representation=0,
            photometric_interpretation="RGB" if frame.ndim == 3 else "MONOCHROME2",
            planar_configuration=0,
            number_of_frames=1,
            encoding_plugin="pydicom",
        )
    if syntax == RAW_FRAGMENTS:
        return frame.tobytes()
    if syntax == DEFLATED_FRAMES:
        return bytes(imagecodecs.deflate_encode(frame.tobytes(), raw=True))
    if syntax == LOSSLESS:
        return bytes(imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=1, bitspersample=max(bits, 8)))
    if syntax == JPEG_LS:  # at the depth of the type: the sign is extended through it
        return bytes(imagecodecs.jpegls_encode(frame.view(f"u{frame.itemsize}")))
    if syntax == JPEG_2000:
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k"))
    if syntax == HTJ2K:
        return bytes(imagecodecs.htj2k_encode(frame, reversible=True))
    if syntax == JPEG_XL:
        return bytes(imagecodecs.jpegxl_encode(unsigned, lossless=True))
    raise NotImplementedError(syntax)


def _rle(frame: np.ndarray) -> bytes:
    """Run-length encode (H, W) of any depth: one segment a byte, the most significant first (PS3.5 G.2)."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, frame.itemsize).T
    segments = [bytes(imagecodecs.packbits_encode(np.ascontiguousarray(plane).tobytes())) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = np.cumsum([64, *map(len, segments[:-1])])
    return struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def dataset(frames: np.ndarray, *, bits: int | None = None, **changes: Any) -> Dataset:
    """Describe (F, H, W) or (F, H, W, 3) frames; changes set attributes."""
    out = Dataset()
    out.SOPClassUID, out.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=["instance"])
    out.SeriesInstanceUID, out.StudyInstanceUID, out.Modality = (
        generate_uid(entropy_srcs=["series"]),
        generate_uid(entropy_srcs=["study"]),
        "MR",
    )
    out.PatientID = out.PatientName = "test"
    out.Rows, out.Columns = frames.shape[1:3]
    colour = frames.ndim == 4
    out.SamplesPerPixel, out.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        out.PlanarConfiguration = 0
    out.BitsAllocated = 8 * frames.itemsize
    out.BitsStored = bits or out.BitsAllocated
    out.HighBit, out.PixelRepresentation = out.BitsStored - 1, int(frames.dtype.kind == "i")
    if len(frames) > 1:
        out.NumberOfFrames = len(frames)
    for keyword, value in changes.items():
        setattr(out, keyword, value)
    return out


def write(path: Path, out: Dataset, pixels: bytes, syntax: str = EXPLICIT, *, vr: str = "OW", undefined: bool = False) -> Path:
    """Write a dataset and its pixels as they stand: `undefined` for pixels that are items already."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = out.SOPClassUID, out.SOPInstanceUID
    known = syntax in (EXPLICIT, BIG, DEFLATED)
    meta.TransferSyntaxUID = syntax if known else EXPLICIT
    out.file_meta, out.preamble = meta, bytes(128)
    if syntax == DEFLATED:
        out.PixelData = pixels
        out["PixelData"].VR = vr
    buffer = io.BytesIO()
    out.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    if syntax != DEFLATED:
        order = ">" if syntax == BIG else "<"
        data += (
            struct.pack(f"{order}HH", 0x7FE0, 0x0010)
            + vr.encode()
            + struct.pack(f"{order}HI", 0, 0xFFFFFFFF if undefined else len(pixels))
            + pixels
        )
    path.write_bytes(data if known else with_syntax(data, syntax))
    return path


def write_encoded(path: Path, frames: np.ndarray, syntax: str, *, bits: int | None = None, **changes: Any) -> Path:
    """Write frames without loss in a transfer syntax."""
    described = dataset(frames, bits=bits, **changes)
    if syntax in (EXPLICIT, DEFLATED):
        return write(path, described, frames.tobytes(), syntax)
    if syntax == BIG:
        vr = "OB" if frames.itemsize == 1 else "OW"  # bytes in words would be swapped
        return write(path, described, frames.astype(frames.dtype.newbyteorder(">")).tobytes(), syntax, vr=vr)
    streams = [encode(syntax, frame, described.BitsStored) for frame in frames]
    return write(path, described, encapsulate(streams), syntax, vr="OB", undefined=True)


def items(table: bytes, fragments: Sequence[bytes], *, delimiter: bool = True) -> bytes:
    """Encapsulate by hand: an offset table and fragments as they are."""
    parts = [struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (table, *fragments)]
    return b"".join(parts) + (struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if delimiter else b"")


def with_syntax(data: bytes, uid: str) -> bytes:
    """Name another transfer syntax in the file meta: pydicom writes only those that it knows."""
    place = data.index(b"\x02\x00\x10\x00UI") + 6
    old = int.from_bytes(data[place : place + 2], "little")
    new = uid.encode() + b"\0" * (len(uid) % 2)
    group = int.from_bytes(data[140:144], "little") + len(new) - old
    return data[:140] + struct.pack("<I", group) + data[144:place] + struct.pack("<H", len(new)) + new + data[place + 2 + old :]


def made(dtype: str, bits: int, count: int = 1, shape: tuple[int, ...] = (24, 30)) -> np.ndarray:
    """Smooth values with noise over the whole range of the bits."""
    rng = np.random.default_rng(bits)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype[0] == "i" else (0, (1 << bits) - 1)
    ramp = np.linspace(low, high, count * int(np.prod(shape))) + rng.normal(0, 3, count * int(np.prod(shape)))
    return np.clip(ramp, low, high).astype(dtype).reshape(count, *shape)
