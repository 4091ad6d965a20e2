"""Voxels of file formats with a text header: raw, compressed or written out, straight into one array; and what such headers share."""

import bz2
import zlib
from collections.abc import Callable, Iterator
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.image import Image

DEFLATE_LIMIT = 1032
"""Bytes that one byte of deflate can stand for at most: a header that declares more is wrong, and no memory is taken for it."""
HEADER_LIMIT = 1 << 20
"""Bytes of a text header that are looked at."""
_CHUNK = 1 << 20


def read_voxels(path: Path, dtype: np.dtype[Any], count: int, *, encoding: str = "raw", offset: int = 0, skip: int = 0) -> npt.NDArray[Any]:
    """Read `count` values from a file.

    Args:
        path: where they lie.
        dtype: how each is stored, with its byte order.
        count: how many the header declares.
        encoding: `raw`, `deflate` (zlib or gzip), `bzip2` or `text`.
        offset: byte of the file where they begin, before decompression; -1: they are the last bytes of a raw file.
        skip: bytes to pass over after decompression.

    Returns:
        (count,) in the byte order of this machine.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: fewer values than declared, or compressed bytes that are damaged.
    """
    needed = count * dtype.itemsize
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            begin = max(0, size - needed) if offset < 0 else offset
            _check_size(path, size - begin, needed, encoding)
            file.seek(begin)
            if encoding == "text":
                values = _text(file, dtype, count)
            else:
                whole = _at_once(file, dtype, count, skip) if encoding == "deflate" else None
                file.seek(begin)
                values = _binary(file, dtype, count, encoding, skip) if whole is None else whole
    except FileNotFoundError as error:
        raise MissingFileError(path, "no such file; the header beside it names it") from error
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise CorruptFileError(path, f"its voxels do not decode as {encoding} ({error}); fetch it again or exclude it") from error
    if len(values) < count:
        raise CorruptFileError(
            path,
            f"ends before its voxels do ({len(values) * dtype.itemsize} bytes decoded, {needed} bytes of voxels declared); fetch it again or exclude it",
        )
    return values.astype(dtype.newbyteorder("="), copy=False)


def as_image(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64], said_by: str, meta: dict[str, Any]) -> Image:
    """Make an image of a volume whose geometry a header gave; a geometry that is none is refused.

    Args:
        path: the file.
        array: ([C,] D, H, W).
        affine: (4, 4), index (z, y, x, 1) to LPS mm.
        said_by: the field of the header that the affine comes from, for the error.
        meta: what else the header said.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * max(float(np.prod(spacing)), 1e-12):
        raise GeometryError(path, f"{said_by} is singular; correct it, e.g. from the original DICOM")
    sizes = float(spacing[0]), float(spacing[1]), float(spacing[2])
    return Image(np.ascontiguousarray(array), affine, sizes, "", {"path": str(path), **meta})


def to_write(image: Image, path: Path, format_name: str) -> npt.NDArray[Any]:
    """Give the voxels of a volume in a type that the formats hold, C-contiguous and little-endian: bool as uint8, float16 as float32.

    Raises:
        GeometryError: a film, which has no place in the patient.
        UnsupportedError: a type of value that the formats do not have.
    """
    if image.affine is None or len(image.spacing) != 3:
        raise GeometryError(path, f"{format_name} needs a volume with an affine; write films as .png or .tif")
    array = image.array
    if array.dtype in (np.bool_, np.float16):
        array = array.astype(np.uint8 if array.dtype == np.bool_ else np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise UnsupportedError(path, f"{format_name} here holds integers and floats, not {array.dtype}; convert the values first")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def write_pair(path: Path, header: Callable[[str], str], data: bytes, suffix: str) -> None:
    """Write a header, and its voxels in a file of their own, so that a header only ever stands beside its own voxels.

    The file of voxels is named by their hash, `NAME.<hash>SUFFIX`, and is whole before the header, which names it, takes the place of an older one; the voxels
    of the older one are removed last.

    Args:
        path: the header.
        header: its text, made of the name of the file of voxels.
        data: the voxels as they are stored.
        suffix: of the file of voxels.
    """
    voxels = path.with_name(f"{path.stem}.{sha256(data).hexdigest()[:12]}{suffix}")
    with replacing(path) as partial:
        partial.write_text(header(voxels.name), encoding="utf-8")
        with replacing(voxels) as beside:
            beside.write_bytes(data)
    for other in path.parent.glob(f"{escape(path.stem)}.{'[0-9a-f]' * 12}{suffix}"):
        if other != voxels:
            other.unlink(missing_ok=True)


def packed(array: npt.NDArray[Any] | bytes, *, gzip: bool) -> bytes:
    """Compress voxels: gzip, or zlib; at the level where CT is smallest for its time."""
    encode: Any = imagecodecs.gzip_encode if gzip else imagecodecs.deflate_encode
    data: bytes = encode(array, level=1)
    return data


def header_lines(path: Path) -> Iterator[tuple[str, int]]:
    """Give the lines of a text header, each with the byte after it; ends with the file or after 1 MiB."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_LIMIT)
    except FileNotFoundError as error:
        raise MissingFileError(path, "no such file") from error
    except OSError as error:
        raise MissingFileError(path, f"cannot be opened ({error.strerror})") from error
    at = 0
    while at < len(head):
        end = head.find(b"\n", at)
        end = len(head) if end < 0 else end
        yield head[at:end].decode("utf-8", "replace").rstrip("\r"), min(end + 1, len(head))
        at = end + 1


def numbers(path: Path, field: str, text: str, count: int) -> list[float]:
    """Read the numbers of a field of a header.

    Raises:
        CorruptFileError: not `count` finite numbers.
    """
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise CorruptFileError(path, f"{field} is {text[:60]!r}, not {count} numbers; correct the header or fetch the file again")
    return values


def sizes_of(path: Path, field: str, text: str, count: int) -> list[int]:
    """Read the sizes of the axes, fastest first.

    Raises:
        CorruptFileError: not `count` positive whole numbers.
    """
    values = numbers(path, field, text, count)
    if not all(v.is_integer() and v > 0 for v in values):
        raise CorruptFileError(path, f"{field} is {text[:60]!r}, not {count} positive sizes; correct the header or fetch the file again")
    return [int(v) for v in values]


def _check_size(path: Path, held: int, needed: int, encoding: str) -> None:
    factor = {"raw": 1, "deflate": DEFLATE_LIMIT}.get(encoding)
    if factor is not None and held * factor < needed:
        raise CorruptFileError(
            path,
            f"ends before its voxels do ({max(held, 0)} bytes on disk, {needed} bytes of voxels declared); fetch it again or exclude it",
        )


def _text(file: BinaryIO, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    words = file.read().split(None, count)[:count]
    return np.array([float(word) if dtype.kind == "f" else int(word) for word in words], dtype)


def _at_once(file: BinaryIO, dtype: np.dtype[Any], count: int, skip: int) -> npt.NDArray[Any] | None:
    """Decode one whole member by libdeflate, twice as fast as zlib; None where it is anything else, which the way in pieces reads or explains."""
    data = file.read()
    room = np.empty(skip + count * dtype.itemsize, np.uint8)
    decode: Any = imagecodecs.gzip_decode if data[:2] == b"\x1f\x8b" else imagecodecs.deflate_decode
    try:
        filled = len(decode(data, out=room))
    except imagecodecs.DeflateError:
        return None
    return np.require(room[skip:].view(dtype), requirements="A") if filled == len(room) else None


def _binary(file: BinaryIO, dtype: np.dtype[Any], count: int, encoding: str, skip: int) -> npt.NDArray[Any]:
    values = np.empty(count, dtype)
    room = values.view(np.uint8)
    filled = 0
    for part in _parts(file, encoding, len(room) + skip):
        dropped = min(skip, len(part))
        skip -= dropped
        kept = part[dropped : dropped + len(room) - filled]
        room[filled : filled + len(kept)] = np.frombuffer(kept, np.uint8)
        filled += len(kept)
    return values[: filled // dtype.itemsize]


def _parts(file: BinaryIO, encoding: str, needed: int) -> Iterator[bytes]:
    """Give the decoded bytes piece by piece, about `needed` of them; several compressed members in a row count as one."""
    if encoding == "deflate":
        yield from _inflate(file, needed)
        return
    plain: Any = bz2.BZ2File(file) if encoding == "bzip2" else file
    while needed > 0 and (part := plain.read(min(needed, _CHUNK))):
        needed -= len(part)
        yield part


def _inflate(file: BinaryIO, needed: int) -> Iterator[bytes]:
    decoder, data = zlib.decompressobj(47), b""  # 47: zlib or gzip, told by the first bytes
    # Goes on to the end of the member, past the last value, so that its check sum is checked.
    while needed > 0 or not decoder.eof:
        data = data or file.read(_CHUNK)
        if not data:
            if needed <= 0:
                raise EOFError("the compressed bytes have no end")
            return
        if decoder.eof:
            decoder = zlib.decompressobj(47)
        part = decoder.decompress(data, _CHUNK)
        data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        needed -= len(part)
        yield part
