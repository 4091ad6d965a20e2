"""TIFF in and out: films, and stacks of pages as volumes where the caller says how large a voxel is.

Source: TIFF 6.0, sections 8 (baseline fields: PhotometricInterpretation, ResolutionUnit, Orientation) and 14 (differencing is left to tifffile).
"""

import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.formats.raster import channels_first, channels_last, two
from medio.formats.voxels import DEFLATE_LIMIT
from medio.image import Image

_UNIT_MM = {2: 25.4, 3: 10.0}  # ResolutionUnit: inch, centimetre


def read_tiff(path: Path, spacing: tuple[float, ...] | Literal["tags"] | None) -> Image:
    """Read a TIFF of one page as a film, of several pages as a volume.

    Args:
        path: .tif or .tiff.
        spacing: (row, column) mm of a film, or (page, row, column) mm of a volume. `tags` takes the resolution tags of a film at their word; they are often a
            printer's, so they are not trusted unasked.

    Returns:
        A film: (H, W), or (3, H, W) for colour, palettes resolved, bright where dense (min-is-white is inverted); affine None. A volume: (D, H, W). A stack
        has no place in the patient: where three spacings are given its axes are taken to run to S, P and L from the origin, and `meta["affine_source"]` says
        so. An orientation tag is not applied but said, in `meta["exif_orientation"]`.

    Raises:
        GeometryError: no spacing, or not one number a spatial axis.
        CorruptFileError: the file does not decode, or is cut short.
        UnsupportedError: pages of different sizes, transparency, colour volumes, complex values.
    """
    if spacing is None:
        raise GeometryError(
            path,
            "the resolution of a TIFF is not trusted; pass spacing=(row, column), (page, row, column) for several pages, or spacing='tags'",
        )
    try:
        _check_chain(path)
        with tifffile.TiffFile(path) as file:
            pages, planes = _decode(file, path)
            first = file.pages.first
            tags = {
                name: first.tags[name].value
                for name in ("XResolution", "YResolution", "ResolutionUnit", "Orientation")
                if name in first.tags
            }
    except FileNotFoundError as error:
        raise MissingFileError(path, "no such file") from error
    except (GeometryError, UnsupportedError, CorruptFileError):
        raise
    except Exception as error:  # tifffile and its codecs raise what the bytes make them raise
        raise CorruptFileError(path, f"does not decode as TIFF ({error}); fetch it again or exclude it") from error
    meta: dict[str, Any] = {"path": str(path), "spacing_source": "resolution tags" if spacing == "tags" else "argument"}
    if "Orientation" in tags:
        meta["exif_orientation"] = int(tags["Orientation"])
    sizes = _from_tags(tags, path) if spacing == "tags" else spacing
    if pages == 1:
        return Image(channels_first(planes[0], path), None, two(sizes, path), "", meta)
    if len(sizes) != 3:
        raise GeometryError(path, f"holds {pages} pages; pass spacing=(page, row, column) in mm to read them as a volume")
    volume = [channels_first(plane, path) for plane in planes]
    if volume[0].ndim != 2:
        raise UnsupportedError(path, "colour pages make no volume; save them one by one")
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = sizes
    affine[3, 3] = 1
    return Image(np.stack(volume), affine, (sizes[0], sizes[1], sizes[2]), "", {**meta, "affine_source": "assumed S, P, L from the origin"})


def write_tiff(image: Image, path: Path) -> None:
    """Write a film as TIFF (deflate), its type kept; the spacing is kept in the resolution tags, pixels a centimetre.

    Args:
        image: (H, W), (1, H, W), or (3, H, W) for colour; integers up to 32 bit or floats. bool becomes uint8.
        path: .tif or .tiff.

    Raises:
        UnsupportedError: a volume, whose place TIFF does not hold, or another type of value.
    """
    array = image.array
    if len(image.spacing) != 2 or (array.ndim == 3 and array.shape[0] not in (1, 3)):
        raise UnsupportedError(path, f"a TIFF here holds one plane, not an array of shape {array.shape}; write .nii.gz, .nrrd or .mha")
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(path, f"a TIFF here holds integers and floats, not {array.dtype}; convert the values first")
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    row, column = image.spacing
    with replacing(path) as partial:
        tifffile.imwrite(
            partial,
            channels_last(array),
            photometric="rgb" if array.ndim == 3 and array.shape[0] == 3 else "minisblack",
            compression="zlib",
            resolution=(10 / column, 10 / row),
            resolutionunit="CENTIMETER",
            metadata=None,
        )


def _check_chain(path: Path) -> None:
    """Follow the pages from one to the next, as the header and each page say: tifffile goes round a ring of them for ever.

    Raises:
        CorruptFileError: no TIFF, a page that lies outside the file or that comes twice.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        end = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack(f"{end}H", head[2:4])[0] if end and len(head) == 16 else 0
        if version not in (42, 43):
            raise CorruptFileError(path, "does not decode as TIFF (its first bytes are not those of one); fetch it again or exclude it")
        # BigTIFF has offsets of 8 bytes and entries of 20, TIFF of 4 and 12.
        offset_code, count_code, entry = ("Q", "Q", 20) if version == 43 else ("I", "H", 12)
        at = struct.unpack_from(f"{end}{offset_code}", head, 8 if version == 43 else 4)[0]
        seen = set()
        while at:
            seen.add(at)
            file.seek(at)
            field = file.read(struct.calcsize(count_code))
            count = struct.unpack(f"{end}{count_code}", field)[0] if len(field) == struct.calcsize(count_code) else size
            if at + count * entry > size:
                raise CorruptFileError(path, f"its page {len(seen)} lies beyond its {size} bytes; the file is truncated, fetch it again")
            file.seek(at + len(field) + count * entry)
            field = file.read(struct.calcsize(offset_code))
            at = struct.unpack(f"{end}{offset_code}", field)[0] if len(field) == struct.calcsize(offset_code) else 0
            if at in seen:
                raise CorruptFileError(path, f"its page {len(seen)} is followed by an earlier one; fetch it again or exclude it")


def _decode(file: tifffile.TiffFile, path: Path) -> tuple[int, list[npt.NDArray[Any]]]:
    """Give the pages that make up the image (thumbnails and the like are other series), each (H, W) or (H, W, C)."""
    pages = [page for page in file.pages if not getattr(page, "is_reduced", False)]
    shapes = {(page.shape, page.dtype) for page in pages}
    if len(shapes) != 1:
        raise UnsupportedError(path, f"its {len(pages)} pages have {len(shapes)} sizes or types; save them one by one")
    shape, dtype = shapes.pop()
    if dtype is None or np.dtype(dtype).kind not in "biuf":
        raise UnsupportedError(path, f"pixels of type {dtype} are not read; only integers and floats are")
    declared = len(pages) * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if declared > path.stat().st_size * DEFLATE_LIMIT:
        raise CorruptFileError(
            path, f"{path.stat().st_size} bytes that declare {declared} bytes of pixels; it is truncated, fetch it again"
        )
    return len(pages), [_plain(page, path) for page in pages]


def _plain(page: Any, path: Path) -> npt.NDArray[Any]:
    ends = [offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends, default=0) > path.stat().st_size:  # tifffile fills with nought what is not there
        raise CorruptFileError(
            path, f"ends at byte {path.stat().st_size}, its pixels at {max(ends)}; the file is truncated, fetch it again"
        )
    pixels: npt.NDArray[Any] = page.asarray()
    if page.planarconfig == 2 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        table = np.asarray(page.colormap)
        # 16 bit a colour, of which most writers fill 8, either by 257 or by 256
        table = (table >> 8).astype(np.uint8)
        return np.moveaxis(table[:, pixels], 0, -1)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        if pixels.dtype.kind != "u":
            raise UnsupportedError(path, f"min-is-white of type {pixels.dtype} has no top to invert from; save it as min-is-black")
        top = 255 if page.bitspersample == 1 else 2**page.bitspersample - 1
        return np.asarray(pixels.dtype.type(top) - pixels)
    return pixels


def _from_tags(tags: dict[str, Any], path: Path) -> tuple[float, float]:
    unit = _UNIT_MM.get(int(tags.get("ResolutionUnit", 0)))
    values = [tags.get(name) for name in ("YResolution", "XResolution")]
    if unit is None or not all(value and value[0] > 0 and value[1] > 0 for value in values):
        raise GeometryError(path, "has no resolution tags with a unit; pass spacing=(row, column) in mm")
    row, column = (unit * value[1] / value[0] for value in values if value)
    return row, column
