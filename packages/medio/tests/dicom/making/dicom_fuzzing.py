"""What `test_fuzz.py` runs in child processes: mutated files, read by medio and by pydicom.

A child takes `first last folder` and prints one line a file: its number before it is read, and what came of it after. The parent knows by that which file ended
the process.
"""

import contextlib
import io
import json
import logging
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from dicom_encoding import with_syntax
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut

SECONDS_A_FILE = 10
ADDRESS_SPACE = 3 << 30
"""Bytes of address space that a child has beyond what it held before the first file."""
RESIDENT = 700 << 20
"""Bytes of memory that reading any one of these files may take: far above the files, far below what they declare."""

_PREFIX = "1.2.840.10008.1.2"
_SMALL = "MR_small.dcm"
_FILES = [
    _SMALL,
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "JPEGLSNearLossless_08.dcm",
    "rtdose_rle.dcm",
    "liver_1frame.dcm",
    "nested_priv_SQ.dcm",
]
_MADE = {  # syntaxes of which pydicom has no small file: made from the small MR
    "htj2k": (f"{_PREFIX}.4.201", lambda p: imagecodecs.htj2k_encode(p, reversible=True)),
    "jpeg_lossless": (f"{_PREFIX}.4.70", lambda p: imagecodecs.jpeg8_encode(p, lossless=True, predictor=1, bitspersample=16)),
    "jpeg_extended": (f"{_PREFIX}.4.51", lambda p: imagecodecs.jpeg8_encode(p >> 4, 95, bitspersample=12)),
    "jpeg_xl": (f"{_PREFIX}.4.110", lambda p: imagecodecs.jpegxl_encode(p, lossless=True)),
    "fragments_of_raw": (f"{_PREFIX}.1.98", lambda p: p.tobytes()),
    "deflated_frames": (f"{_PREFIX}.8.1", lambda p: imagecodecs.deflate_encode(p.tobytes(), raw=True)),
    "deflated": (f"{_PREFIX}.1.99", None),
}
_PLUGINS = {
    ".4.50": "pillow",
    ".4.80": "pyjpegls",
    ".4.81": "pyjpegls",
    ".4.90": "pylibjpeg",
    ".4.91": "pylibjpeg",
    ".4.201": "pylibjpeg",
    ".5": "pydicom",
}
_CONCEALING = {f"{_PREFIX}.4.201"}
"""Syntaxes whose decoder here is another than pydicom's, so that damage within the codestream is concealed in another way."""


def seeds() -> list[tuple[str, bytes]]:
    """Whole files, by name."""
    files = [(name, Path(str(get_testdata_file(name, download=False))).read_bytes()) for name in _FILES]
    small = pydicom.dcmread(io.BytesIO(files[0][1]))
    plane = small.pixel_array.astype(np.uint16)
    for name, (uid, encode) in _MADE.items():
        made = pydicom.dcmread(io.BytesIO(files[0][1]))
        made.PixelRepresentation = 0
        if encode is not None:
            made.PixelData = encapsulate([bytes(encode(plane))])
            made["PixelData"].VR = "OB"
            made["PixelData"].is_undefined_length = True
        else:
            made.file_meta.TransferSyntaxUID = uid
        files.append((name, with_syntax(_saved(made), uid)))
    floats = pydicom.dcmread(io.BytesIO(files[0][1]))
    del floats.PixelData, floats.BitsStored, floats.HighBit, floats.PixelRepresentation
    floats.FloatPixelData, floats.BitsAllocated = (plane / 7).astype(np.float32).tobytes(), 32
    files.append(("float", _saved(floats)))
    palette = pydicom.dcmread(io.BytesIO(files[0][1]))
    palette.PhotometricInterpretation, palette.PixelData = "PALETTE COLOR", (plane % 256).astype(np.uint8).tobytes()
    palette.BitsAllocated, palette.BitsStored, palette.HighBit, palette.PixelRepresentation = 8, 8, 7, 0
    for colour in range(3):
        palette.add_new(0x00281101 + colour, "US", [256, 0, 16])
        palette.add_new(0x00281201 + colour, "OW", (np.arange(256) * (colour + 1)).astype(np.uint16).tobytes())
    files.append(("palette", _saved(palette)))
    return files


def mutated(files: list[tuple[str, bytes]], number: int) -> tuple[str, bytes]:
    """Give the file of a number: the same in every run."""
    rng = np.random.default_rng([20240117, number])
    name, whole = files[number % len(files)]
    data = bytearray(whole)
    kinds: list[Callable[[bytearray, np.random.Generator], bytearray]] = [_flip, _flip_header, _cut, _resize, _declare, _splice, _nest]
    for _ in range(1 + int(rng.integers(3) == 0)):
        data = kinds[rng.integers(len(kinds))](data, rng)
    return name, bytes(data)


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, max(len(data), 1), rng.integers(1, 12)) if data else ():
        data[place] ^= 1 << int(rng.integers(8))
    return data


def _flip_header(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, max(min(len(data), 2000), 1), rng.integers(1, 12)) if data else ():
        data[place] = rng.integers(256)
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: rng.integers(len(data) + 1)]


def _resize(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrite the length of an item, of the pixels or of some element."""
    heads = [b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00", b"\x28\x00\x10\x00", b"\x08\x00", b"\x20\x00", b"\x28\x00"]
    place = _found(data, heads[rng.integers(len(heads))], rng)
    if place >= 0 and place + 12 <= len(data):
        offset = place + int(rng.choice([4, 6, 8]))
        length = int(rng.choice([0, 1, 2, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, rng.integers(1 << 32)]))
        data[offset : offset + 4] = struct.pack("<I", length)
    return data


def _declare(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Declare another size, depth, sign or colour."""
    elements = [(0x10, b"US"), (0x11, b"US"), (0x100, b"US"), (0x101, b"US"), (0x102, b"US"), (0x103, b"US"), (0x02, b"US"), (0x06, b"US")]
    element, vr = elements[rng.integers(len(elements))]
    place = data.find(struct.pack("<HH", 0x28, element) + vr + b"\x02\x00")
    if place >= 0:
        value = int(rng.choice([0, 1, 2, 3, 4, 7, 8, 11, 12, 15, 16, 17, 32, 64, 255, 256, 4096, 32768, 65535]))
        data[place + 8 : place + 10] = struct.pack("<H", value)
    else:  # no such element: insert frames that are not there
        place = data.find(b"\x28\x00\x10\x00")
        if place >= 0:
            data[place:place] = b"\x28\x00\x08\x00IS\x0a\x00" + f"{int(rng.integers(1, 1 << 31)):<10d}".encode()
    return data


def _splice(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = sorted(int(v) for v in rng.integers(0, len(data) + 1, 2))
    b = min(b, a + 400)
    return data[:a] + data[b:] if rng.integers(2) else data[:b] + data[a:b] * int(rng.integers(1, 4)) + data[b:]


def _nest(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Put sequences within sequences before the size of the image."""
    place = data.find(b"\x28\x00\x10\x00")
    depth = int(rng.choice([2, 20, 63, 100, 1000, 5000]))
    if place >= 0:
        head = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        tail = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        data[place:place] = head * depth + (tail * depth if rng.integers(2) else b"")
    return data


def _found(data: bytearray, what: bytes, rng: np.random.Generator) -> int:
    places = []
    place = data.find(what)
    while place >= 0 and len(places) < 50:
        places.append(place)
        place = data.find(what, place + 1)
    return places[rng.integers(len(places))] if places else -1


def _saved(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def by_pydicom(path: Path) -> np.ndarray:
    """Decode as pydicom does, by a named plugin, all in RGB."""
    dataset = pydicom.dcmread(path, force=True)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")).removeprefix(_PREFIX)
    if ".4." in syntax and syntax not in _PLUGINS:
        raise NotImplementedError("pydicom would take GDCM, which ends the process on damaged data")
    pixels = pixel_array(dataset, decoding_plugin=_PLUGINS.get(syntax, ""))
    return apply_color_lut(pixels, dataset) if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else pixels


def comparable(path: Path) -> str:
    """Say why pydicom's pixels are no measure for a file; empty where they are."""
    header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    if header.get("HighBit") is not None and header.get("BitsStored") and header.HighBit != header.BitsStored - 1:
        return "pydicom does not look at HighBit"
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if header.get("PhotometricInterpretation") == "YBR_FULL_422" and header.get("PlanarConfiguration"):
        return "half-width chroma has no planes"
    if ".1.2.4." in syntax and header.get("PlanarConfiguration"):
        return "pydicom applies PlanarConfiguration to what a codec has interleaved"
    if syntax in _CONCEALING:
        return "another decoder, which conceals damage in another way"
    return ""


def _read(path: Path) -> dict[str, Any]:
    """Read one file, and say what came of it."""
    import medio
    from medio.dicom.instances import open_instance, sound
    from medio.dicom.pixels import frames

    try:
        medio.read(path)
    except medio.MedioError as error:
        assert str(error).startswith(str(path.parent)), error  # noqa: PT017
    try:
        with sound(path):
            pixels = np.stack(list(frames(open_instance(path))))
    except medio.MedioError as error:
        return {"kind": "error", "said": error.reason}
    print("pydicom", flush=True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            why, theirs = comparable(path), by_pydicom(path)
    except BaseException as error:  # noqa: BLE001  # pydicom is the oracle only where it has an answer
        return {"kind": "image", "pydicom": type(error).__name__}
    theirs = theirs.reshape(-1, *pixels.shape[1:]) if theirs.size % pixels[0].size == 0 else theirs
    count = min(len(pixels), len(theirs))
    same = theirs.shape[1:] == pixels.shape[1:] and np.array_equal(pixels[:count], theirs[:count], equal_nan=pixels.dtype.kind == "f")
    return {"kind": "image", "same": same, "why": why}


def main(first: int, last: int, folder: str) -> None:
    """Read the files of some numbers."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    files = seeds()
    import medio  # before memory is measured

    path = Path(folder) / "fuzz.dcm"
    path.write_bytes(files[0][1])
    with contextlib.suppress(medio.MedioError):
        medio.read(path)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_SPACE, held + ADDRESS_SPACE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        name, data = mutated(files, number)
        path.write_bytes(data)
        print(f"file {number} {name}", flush=True)
        signal.alarm(SECONDS_A_FILE)  # not handled: it ends the process, also in the midst of a decoder
        found = _read(path)
        signal.alarm(0)
        found["grown"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
