"""MetaImage in and out: (x, y, z) in the file, (z, y, x) here, LPS in both.

Source: MetaIO documentation, "MetaImage tags", and the way that ITK, which defines the format, reads them: positions are LPS, `AnatomicalOrientation` is a
comment, `TransformMatrix` holds the direction of one axis after another.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.affines import axis_letters
from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.formats.voxels import as_image, header_lines, numbers, packed, read_voxels, sizes_of, to_write, write_pair
from medio.image import Image

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NAMES = {code: name for name, code in reversed(_TYPES.items())}
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}
_FIRST = {"origin": "offset", "position": "offset", "rotation": "transformmatrix", "orientation": "transformmatrix"}


def read_metaimage(path: Path) -> Image:
    """Read a MetaImage volume.

    Args:
        path: .mha, or .mhd with its voxels in files of their own.

    Returns:
        (D, H, W), or (C, D, H, W) for vectors or a fourth axis. Values are those stored.

    Raises:
        MissingFileError: no such file, or no such voxel file.
        CorruptFileError: a header that is broken, voxels that are cut short or damaged.
        GeometryError: no ElementSpacing, TransformMatrix or Offset.
        UnsupportedError: types and shapes that are not read.
    """
    header, start, listed = _parse(path)
    dimension = sizes_of(path, "NDims", _field(path, header, "ndims"), 1)[0]
    sizes = sizes_of(path, "DimSize", _field(path, header, "dimsize"), dimension)
    if dimension not in (3, 4):
        raise UnsupportedError(path, f"{dimension} axes are neither a volume nor a series of volumes; save films as .png or .tif")
    affine = _affine(path, header, dimension)
    name = _field(path, header, "elementtype").removesuffix("_ARRAY")
    if name not in _TYPES:
        raise UnsupportedError(path, f"voxels of type {name} are not read; only integers and floats are")
    channels = sizes_of(path, "ElementNumberOfChannels", header.get("elementnumberofchannels", "1"), 1)[0]
    big = _true(header.get("binarydatabyteordermsb", header.get("elementbyteordermsb", "False")))
    dtype = np.dtype((">" if big else "<") + _TYPES[name])
    values = _voxels(path, header, start, listed, dtype, math.prod(sizes) * channels)
    series = sizes[3] if dimension == 4 else 1
    if series > 1 and channels > 1:
        raise UnsupportedError(path, f"{series} volumes of {channels} channels each; split it into one file a volume")
    if channels > 1:
        array = values.reshape(*sizes[2::-1], channels).transpose(3, 0, 1, 2)
    else:
        array = values.reshape(*((series,) if series > 1 else ()), *sizes[2::-1])
    return as_image(path, array, affine, "TransformMatrix", {})


def write_metaimage(image: Image, path: Path, *, compress: bool = True) -> None:
    """Write a volume as MetaImage, whole or not at all; the affine is kept to rounding.

    Args:
        image: (D, H, W) or (C, D, H, W); channels become those of the voxels.
        path: .mha, one file; or .mhd, with the voxels beside it.
        compress: zlib, or raw.

    Raises:
        GeometryError: a film, which has no place in the patient.
        UnsupportedError: a type of value that MetaImage does not have.
    """
    array = to_write(image, path, "MetaImage")
    assert image.affine is not None
    channels = len(array) if array.ndim == 4 else 1
    if array.ndim == 4:
        array = np.ascontiguousarray(np.moveaxis(array, 0, -1))
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    directions = image.affine[:3, :3] / spacing
    data = packed(array, gzip=False) if compress else array.tobytes()
    fields: dict[str, Any] = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": compress,
        **({"CompressedDataSize": len(data)} if compress else {}),
        "TransformMatrix": _said(directions[:, ::-1].T.ravel()),
        "Offset": _said(image.affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        # MetaIO names where an axis comes from: the opposite of where it runs.
        "AnatomicalOrientation": "".join(_OPPOSITE[letter] for letter in axis_letters(image.affine)[::-1]),
        "ElementSpacing": _said(spacing[::-1]),
        "DimSize": " ".join(str(n) for n in image.spatial_shape[::-1]),
        **({"ElementNumberOfChannels": channels} if channels > 1 else {}),
        "ElementType": _NAMES[array.dtype.str[1:]],
    }
    header = "".join(f"{key} = {value}\n" for key, value in fields.items())
    if path.suffix.lower() == ".mhd":
        write_pair(path, lambda name: f"{header}ElementDataFile = {name}\n", data, ".zraw" if compress else ".raw")
        return
    with replacing(path) as partial:
        partial.write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + data)


def _parse(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """Give the fields, the byte after the header, and what follows `ElementDataFile = LIST`."""
    header: dict[str, str] = {}
    listed: list[str] = []
    start = 0
    for number, (line, after) in enumerate(header_lines(path)):
        if "elementdatafile" in header:
            if not header["elementdatafile"].startswith("LIST"):
                break
            listed += [line.strip()] if line.strip() else []
            continue
        key, equals, value = line.partition("=")
        if not equals and line.strip():
            raise CorruptFileError(path, f"line {number + 1} of the header is {line[:60]!r}, not 'Tag = value'; fetch the file again")
        name = key.strip().lower()
        header[_FIRST.get(name, name)] = value.strip()
        start = after
    if "elementdatafile" not in header:
        raise CorruptFileError(
            path, "its header ends before ElementDataFile; it is no MetaImage or truncated, fetch it again or exclude it"
        )
    return header, start, listed


def _affine(path: Path, header: dict[str, str], dimension: int) -> npt.NDArray[np.float64]:
    missing = [tag for tag in ("ElementSpacing", "TransformMatrix", "Offset") if tag.lower() not in header]
    if missing:
        raise GeometryError(
            path,
            f"has no {' and no '.join(missing)}: nothing says how a voxel lies in the patient; write them, e.g. from the original DICOM",
        )
    spacing = np.array(numbers(path, "ElementSpacing", header["elementspacing"], dimension))
    matrix = np.array(numbers(path, "TransformMatrix", header["transformmatrix"], dimension**2)).reshape(dimension, dimension)
    offset = np.array(numbers(path, "Offset", header["offset"], dimension))
    if dimension == 4 and (matrix[3, :3].any() or matrix[:3, 3].any()):
        raise GeometryError(path, "TransformMatrix mixes its fourth axis with space; no affine of three axes is right, save it as volumes")
    affine = np.eye(4)
    affine[:3, :3] = (matrix[:3, :3].T * spacing[:3])[:, ::-1]
    affine[:3, 3] = offset[:3]
    return affine


def _voxels(path: Path, header: dict[str, str], start: int, listed: list[str], dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    named = header["elementdatafile"]
    if not _true(header.get("binarydata", "True")):
        encoding = "text"
    else:
        encoding = "deflate" if _true(header.get("compresseddata", "False")) else "raw"
    if named.upper() == "LOCAL":
        return read_voxels(path, dtype, count, encoding=encoding, offset=start)
    if "%" in named:
        raise UnsupportedError(path, f"ElementDataFile {named!r} is a pattern of names; list the files under ElementDataFile = LIST")
    skip = int(numbers(path, "HeaderSize", header.get("headersize", "0"), 1)[0])
    names = listed if named.startswith("LIST") else [named]
    if not names or count % len(names):
        raise CorruptFileError(path, f"{len(names)} data files do not share {count} voxels evenly; correct the header")
    parts = [read_voxels(path.parent / name, dtype, count // len(names), encoding=encoding, offset=skip) for name in names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _field(path: Path, header: dict[str, str], name: str) -> str:
    if not header.get(name):
        raise CorruptFileError(path, f"its header has no {name}; fetch it again or exclude it")
    return header[name]


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "t")


def _said(values: npt.NDArray[np.float64]) -> str:
    return " ".join(repr(float(v)) for v in values)
