"""DICOM files on disk: which files are DICOM, their header, and where their pixels begin."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.errors import CorruptFileError, MissingFileError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
SENSELESS = (ValueError, TypeError, AttributeError, LookupError, OverflowError, NotImplementedError, struct.error, BytesLengthException)
"""What pydicom raises when it converts a senseless value."""
_PIXEL_DATA = (0x7FE0, 0x0010)
_FLOAT_PIXELS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009))


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM file, its pixels not read yet.

    Attributes:
        path: where it lies.
        header: every element before the pixels.
        syntax: transfer syntax UID.
        offset: where the first value of PixelData begins in the file; None where the file holds no PixelData, 0 where the dataset is deflated.
        length: declared bytes of PixelData; None for encapsulated (compressed) frames.
        float_pixels: the pixels are Float or Double Float Pixel Data.
    """

    path: Path
    header: Dataset
    syntax: str
    offset: int | None
    length: int | None
    float_pixels: bool = False

    @property
    def sop_class_uid(self) -> str:
        """SOP class, from the dataset or else from the file meta."""
        meta = getattr(self.header, "file_meta", {})
        return str(self.header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")

    @property
    def is_image(self) -> bool:
        """Whether the file should hold pixels: a raw-data object, report or presentation state should not."""
        return self.offset is not None or self.float_pixels or "Rows" in self.header or "Image Storage" in UID(self.sop_class_uid).name

    @property
    def frame_count(self) -> int:
        """Number of frames, 1 where the file does not say."""
        return int(self.header.get("NumberOfFrames") or 1)


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Turn what a senseless header value raises when it is converted (pydicom does so on first use) into one error that names the file.

    Raises:
        CorruptFileError: in place of the conversion's error.
    """
    try:
        yield
    except SENSELESS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(path, f"its header does not make sense ({reason}); fetch it again or exclude it") from error


def is_dicom(path: Path) -> bool:
    """Tell from the first bytes whether a file is DICOM, with a preamble or (old files) without.

    Raises:
        MissingFileError: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        raise MissingFileError(path, f"cannot be opened ({error.strerror})") from error
    if start[128:132] == b"DICM":
        return True
    # Without a preamble a dataset starts with its lowest group: file meta (2), command (0) or identification (8), little or big endian.
    group, element = start[:2], start[2:4]
    if group in (b"\x08\x00", b"\x02\x00"):
        little = start[4:6].isalpha() or int.from_bytes(start[4:8], "little") < 128
        return len(start) > 8 and element[1:] == b"\x00" and little
    return group == b"\x00\x08" and element[:1] == b"\x00" and start[4:6].isalpha()


def open_instance(path: Path) -> Instance:
    """Read a DICOM header and find its pixels.

    Raises:
        MissingFileError: the file cannot be opened.
        CorruptFileError: the file is not DICOM, or its header cannot be parsed.
    """
    if not is_dicom(path):
        raise CorruptFileError(path, f"not a DICOM file ({path.stat().st_size} bytes, no DICM mark); fetch it again or exclude it")
    try:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True, force=True)
            position = file.tell()
            file.seek(position)
            head = file.read(12)
    except MemoryError as error:
        raise CorruptFileError(path, "the header declares more bytes than memory holds; fetch the file again or exclude it") from error
    except Exception as error:  # pydicom raises whatever a broken element makes it raise
        raise CorruptFileError(path, f"the header cannot be parsed ({error}); fetch the file again or exclude it") from error
    syntax = _syntax(header)
    if syntax == DeflatedExplicitVRLittleEndian:
        return Instance(path, header, syntax, 0 if "Rows" in header else None, None)
    order: Literal["little", "big"] = "big" if syntax == ExplicitVRBigEndian else "little"
    tag = (int.from_bytes(head[0:2], order), int.from_bytes(head[2:4], order))
    if len(head) < 8 or tag != _PIXEL_DATA:
        return Instance(path, header, syntax, None, None, float_pixels=tag in _FLOAT_PIXELS)
    explicit = syntax != ImplicitVRLittleEndian
    length = int.from_bytes(head[8:12] if explicit else head[4:8], order)
    return Instance(path, header, syntax, position + (12 if explicit else 8), None if length == 0xFFFFFFFF else length)


def open_series(path: Path | Sequence[Path]) -> tuple[list[Instance], tuple[str, ...]]:
    """Open the image files of a folder (and its subfolders), of a list, or one file.

    In a folder, files that are not DICOM are passed over unless their suffix says DICOM; objects without pixels (raw data, reports) always are.

    Returns:
        the images by path, and the names of the DICOM files passed over.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a file that should be DICOM is not, or ends before its pixels.
    """
    if isinstance(path, Path) and path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "DICOMDIR" and not p.name.startswith("."))
        paths = [p for p in files if p.suffix.lower() in DICOM_SUFFIXES or is_dicom(p)]
        if not paths:
            raise MissingFileError(path, f"no DICOM file among the {len(files)} files of this folder; point to the folder of one series")
    else:
        paths = [path] if isinstance(path, Path) else list(path)
        if not paths:
            raise MissingFileError("read", "an empty list of paths; pass the files of one series")
    images, others = [], []
    for file in paths:
        instance = open_instance(file)
        with sound(file):
            is_image = instance.is_image
        if is_image:
            images.append(instance)
        else:
            others.append(file.name)
    if not images:
        raise MissingFileError(paths[0].parent if len(paths) > 1 else paths[0], "holds no image (no PixelData); point to an image series")
    return images, tuple(others)


def _syntax(header: Dataset) -> str:
    meta = getattr(header, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if named:
        return named
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)
