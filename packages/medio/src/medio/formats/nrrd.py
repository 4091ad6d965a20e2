"""NRRD in and out: (x, y, z) in the file, (z, y, x) and LPS here.

Source: "Definition of NRRD File Format", teem, sections 4 to 7 (fields, space and orientation, kinds).
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.formats.voxels import as_image, header_lines, numbers, packed, read_voxels, sizes_of, to_write, write_pair
from medio.image import Image

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw",
    "gz": "deflate",
    "gzip": "deflate",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "text",
    "text": "text",
    "ascii": "text",
}
_SPACES = {  # signs that turn world x, y, z into LPS
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
_MILLIMETRES = {
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
}


def read_nrrd(path: Path) -> Image:
    """Read a NRRD volume.

    Args:
        path: .nrrd, or .nhdr with its voxels in files of their own.

    Returns:
        (D, H, W), or (C, D, H, W) where one axis has no direction (vectors, time, gradients). Values are those stored. `meta["fields"]` holds the file's own
        key/value pairs, e.g. the b-values of a diffusion series.

    Raises:
        MissingFileError: no such file, or no such voxel file.
        CorruptFileError: a header that is broken, voxels that are cut short or damaged.
        GeometryError: no space, a space that is not of the patient, no directions or no origin.
        UnsupportedError: types, encodings and shapes that are not read.
    """
    header, pairs, start, files = _parse(path)
    dimension = sizes_of(path, "dimension", _field(path, header, "dimension"), 1)[0]
    sizes = sizes_of(path, "sizes", _field(path, header, "sizes"), dimension)
    affine, spatial = _affine(path, header, dimension)
    code = _CODES.get(_field(path, header, "type").lower())
    if code is None:
        raise UnsupportedError(path, f"voxels of type {header['type']!r} are not read; only integers and floats are")
    array = _voxels(path, header, start, files, code, math.prod(sizes)).reshape(sizes[::-1])
    rest = [axis for axis in range(dimension) if axis not in spatial]
    if sum(sizes[axis] > 1 for axis in rest) > 1:
        raise UnsupportedError(path, f"{len(rest)} axes beside the three of space; split it into one file a volume")
    # Array axes run against those of the file: the file names the fastest first.
    array = array.transpose([dimension - 1 - axis for axis in (*rest, *spatial[::-1])])
    channels = math.prod(sizes[axis] for axis in rest)
    array = array.reshape(*((channels,) if channels > 1 else ()), *array.shape[len(rest) :])
    return as_image(path, array, affine, "the space directions", {"fields": pairs})


def write_nrrd(image: Image, path: Path, *, compress: bool = True) -> None:
    """Write a volume as NRRD, whole or not at all; the affine is kept to the last bit.

    Args:
        image: (D, H, W) or (C, D, H, W); channels become the last axis, of kind `list`.
        path: .nrrd, one file; or .nhdr, with the voxels beside it.
        compress: gzip, or raw.

    Raises:
        GeometryError: a film, which has no place in the patient.
        UnsupportedError: a type of value that NRRD does not have.
    """
    array = to_write(image, path, "NRRD")
    assert image.affine is not None
    listed = array.ndim == 4
    vectors = [f"({','.join(repr(float(v)) for v in image.affine[:3, axis])})" for axis in (2, 1, 0)]
    lines = [
        "NRRD0005",
        f"type: {_TYPES[array.dtype.str[1:]][-1]}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape[::-1]))}",
        f"space directions: {' '.join(vectors)}{' none' if listed else ''}",
        f"kinds: domain domain domain{' list' if listed else ''}",
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        'space units: "mm" "mm" "mm"',
        f"space origin: ({','.join(repr(float(v)) for v in image.affine[:3, 3])})",
    ]
    header = "\n".join(lines) + "\n"
    data = packed(array, gzip=True) if compress else array.tobytes()
    if path.suffix.lower() == ".nhdr":
        write_pair(path, lambda name: f"{header}data file: {name}\n", data, ".raw.gz" if compress else ".raw")
        return
    with replacing(path) as partial:
        partial.write_bytes(header.encode() + b"\n" + data)


def _parse(path: Path) -> tuple[dict[str, str], dict[str, str], int, list[str] | None]:
    """Give the fields, the key/value pairs, the byte after the header, and the names of the files of voxels (None: this file)."""
    header: dict[str, str] = {}
    pairs: dict[str, str] = {}
    listed: list[str] | None = None
    start = -1
    for number, (line, after) in enumerate(header_lines(path)):
        if number == 0:
            if not re.fullmatch(r"NRRD000[1-5]", line.strip()):
                raise CorruptFileError(path, "does not begin with NRRD0001 to NRRD0005; it is no NRRD file, fetch it again or exclude it")
        elif listed is not None and header["data file"].startswith("LIST"):
            listed += [line.strip()] if line.strip() else []
        elif not line.strip():
            start = after
            break
        elif not line.startswith("#"):
            key, colon, value = line.partition(":")
            if not colon:
                raise CorruptFileError(path, f"line {number + 1} of the header is {line[:60]!r}, not 'field: value'; fetch the file again")
            if value.startswith("="):
                pairs[key.strip()] = value[1:].strip()
                continue
            name = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}.get(key.strip().lower(), key.strip().lower())
            header[name] = value.strip()
            if name == "data file":
                listed = [] if value.strip().startswith("LIST") else _named(path, value.strip())
    if listed is None and start < 0:
        raise CorruptFileError(path, "has no blank line after its header; the file is truncated, fetch it again or exclude it")
    return header, pairs, start, listed


def _named(path: Path, value: str) -> list[str]:
    pattern = re.fullmatch(r"(\S*%0?\d*d\S*)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(\s+\d+)?", value)
    if pattern is None:
        return [value]
    first, last, step = (int(part) for part in pattern.groups()[1:4])
    if step == 0 or abs(last - first) // abs(step) > 100_000:
        raise CorruptFileError(path, f"data file {value!r} names no sensible number of files; correct the header")
    return [pattern[1] % i for i in range(first, last + (1 if step > 0 else -1), step)]


def _affine(path: Path, header: dict[str, str], dimension: int) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Give the affine of (z, y, x) indices to LPS mm, and the axes of space in the order of the file."""
    if "space directions" not in header or "space" not in header:
        raise GeometryError(
            path,
            "has no space or no space directions: nothing says how a voxel lies in the patient; write them, e.g. from the original DICOM",
        )
    signs = _SPACES.get(header["space"].lower())
    if signs is None:
        raise GeometryError(path, f"space {header['space']!r} is not one of the patient; only LPS, RAS and LAS (three axes) are read")
    vectors = re.findall(r"none|\([^)]*\)", header["space directions"])
    if len(vectors) != dimension:
        raise CorruptFileError(path, f"space directions name {len(vectors)} axes, dimension {dimension}; correct the header")
    spatial = [axis for axis, vector in enumerate(vectors) if vector != "none"]
    if len(spatial) != 3:
        raise GeometryError(
            path, f"{len(spatial)} axes have a space direction, a volume has three; read it with another tool, or give all three"
        )
    if "space origin" not in header:
        raise GeometryError(path, "has no space origin: nothing says where the first voxel lies; write it, e.g. from the original DICOM")
    units = re.findall(r'"([^"]*)"', header.get("space units", ""))
    if len({*units}) > 1 or any(unit not in ("", "???", *_MILLIMETRES) for unit in units):
        raise GeometryError(
            path, f"space units {header['space units']} are not one known length; correct them, mm is meant where they are absent"
        )
    length = _MILLIMETRES.get(units[0], 1.0) if units else 1.0
    affine = np.eye(4)
    for column, axis in enumerate(spatial[::-1]):
        affine[:3, column] = numbers(path, "space directions", vectors[axis].strip("()"), 3)
    affine[:3, 3] = numbers(path, "space origin", header["space origin"].strip().strip("()"), 3)
    affine[:3] *= np.array(signs)[:, None] * length
    return affine, spatial


def _voxels(path: Path, header: dict[str, str], start: int, files: Sequence[str] | None, code: str, count: int) -> npt.NDArray[Any]:
    encoding = _ENCODINGS.get(_field(path, header, "encoding").lower())
    if encoding is None:
        raise UnsupportedError(path, f"encoding {header['encoding']!r} is not read; save it as raw or gzip")
    order = {"little": "<", "big": ">"}.get(header.get("endian", "").lower(), "")
    if not order and code[1] != "1" and encoding != "text":
        raise CorruptFileError(path, "has no endian field, so its bytes have no order; correct the header")
    dtype = np.dtype((order or "<") + code)
    skips = [int(numbers(path, name, header.get(name, "0"), 1)[0]) for name in ("line skip", "byte skip")]
    if files is None:
        return _one(path, start, skips, dtype, count, encoding)
    if not files or count % len(files):
        raise CorruptFileError(path, f"{len(files)} data files do not share {count} voxels evenly; correct the header")
    parts = [_one(path.parent / name, 0, skips, dtype, count // len(files), encoding) for name in files]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _one(path: Path, start: int, skips: Sequence[int], dtype: np.dtype[Any], count: int, encoding: str) -> npt.NDArray[Any]:
    lines, skip = skips
    if lines > 0:
        ends = [after for _, after in header_lines(path) if after > start]
        start = ends[min(lines, len(ends)) - 1] if ends else start
    if skip < 0 or encoding == "raw":
        return read_voxels(path, dtype, count, encoding=encoding, offset=-1 if skip < 0 else start + skip)
    return read_voxels(path, dtype, count, encoding=encoding, offset=start, skip=skip)


def _field(path: Path, header: dict[str, str], name: str) -> str:
    if not header.get(name):
        raise CorruptFileError(path, f"its header has no {name}; fetch it again or exclude it")
    return header[name]
