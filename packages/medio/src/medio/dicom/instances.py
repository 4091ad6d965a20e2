"""DICOM files on disk: which files are DICOM, their header, and where their pixels begin."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pydicom.errors import BytesLengthException
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medio.dicom.following import Follower
from medio.dicom.header import Header, is_dicom_start, keys_of, read_header
from medio.errors import CorruptFileError, MissingFileError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
SENSELESS = (ValueError, TypeError, AttributeError, LookupError, OverflowError, NotImplementedError, struct.error, BytesLengthException)
"""What the conversion of a senseless value raises."""
_PIXEL_DATA = 0x7FE00010
_ALWAYS = keys_of(
    [
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "SeriesDescription",
        "Modality",
        "ImageType",
        "FrameOfReferenceUID",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "NumberOfFrames",
        "PlanarConfiguration",
        "SpacingBetweenSlices",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
    ]
)
"""What reading a slice asks for."""
_COMPARED = frozenset(_ALWAYS)
_MANY = 6  # files from which on it pays to prepare the first for comparison, which takes as long as four walks


def compared(*keywords: str) -> frozenset[int]:
    """Prepare keywords for `Instance.twin`.

    Raises:
        ValueError: an element that is not compared.
    """
    keys = frozenset(keys_of(keywords))
    if not keys <= _COMPARED:
        raise ValueError(f"not all of {', '.join(keywords)} are compared")
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM file, its pixels not read yet.

    Attributes:
        path: where it lies.
        header: every element before the pixels.
        syntax: transfer syntax UID.
        offset: where the first value of the pixels begins in the file; None where the file holds none, 0 where the dataset is deflated.
        length: declared bytes of the pixels; None for encapsulated (compressed) frames, and where the dataset is deflated.
        size: bytes of the file.
        float_pixels: the pixels are Float or Double Float Pixel Data.
        memo: what was worked out from the header, kept because every stage of reading asks for it.
        leader: a file of the same elements, which this one was compared with.
        differs: compared elements whose bytes are not the leader's.
    """

    path: Path
    header: Header
    syntax: str
    offset: int | None
    length: int | None
    size: int
    float_pixels: bool = False
    memo: dict[str, Any] = field(default_factory=dict, repr=False)
    leader: "Instance | None" = field(default=None, repr=False)
    differs: frozenset[int] = frozenset()

    def twin(self, keys: frozenset[int]) -> "Instance | None":
        """Return a file of the same syntax that says the same of some elements, so that what follows from them need be worked out once; None where none is known.

        Args:
            keys: from `compared`.
        """
        return self.leader if self.leader is not None and self.differs.isdisjoint(keys) else None

    @property
    def sop_class_uid(self) -> str:
        """SOP class, from the dataset or else from the file meta."""
        return str(self.header.get("SOPClassUID") or self.header.meta_sop_class_uid)

    @property
    def is_image(self) -> bool:
        """Whether the file should hold pixels: a raw-data object, report or presentation state should not."""
        return self.offset is not None or "Rows" in self.header or "Image Storage" in UID(self.sop_class_uid).name

    @property
    def pixel_bytes(self) -> int:
        """Bytes that the file holds of its pixels: as declared, or up to its end."""
        held = max(self.size - (self.offset or 0), 0)
        return held if self.length is None else min(held, self.length)

    @property
    def frame_count(self) -> int:
        """Number of frames, 1 where the file does not say."""
        return int(self.header.get("NumberOfFrames") or 1)


class sound:  # noqa: N801  # reads as the function that it is, and costs a fifth of a generator
    """Turn what a senseless header value raises when it is converted (on first use) into one error that names the file.

    Args:
        path: of the file.

    Raises:
        CorruptFileError: in place of the conversion's error.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Watch what follows."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Replace the error of a conversion."""
        if isinstance(error, SENSELESS):
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CorruptFileError(self._path, f"its header does not make sense ({reason}); fetch it again or exclude it") from error


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
    return is_dicom_start(start)


def open_instance(path: Path) -> Instance:
    """Read a DICOM header and find its pixels.

    Raises:
        MissingFileError: the file cannot be opened.
        CorruptFileError: the file is not DICOM, or its header cannot be parsed.
    """
    header = read_header(path)
    return instance_of(path, header, header.size or 0)


def instance_of(path: Path, header: Header, size: int) -> Instance:
    """Say where the pixels of a header lie.

    Args:
        path: where the file lies, or what errors call it.
        header: of the file.
        size: bytes of the file.

    Raises:
        CorruptFileError: a character set that makes no sense.
    """
    return _instance(path, header, size, None, None, frozenset())


def _instance(
    path: Path, header: Header, size: int, shared: Mapping[int, Any] | None, leader: Instance | None, differs: frozenset[int]
) -> Instance:
    with sound(path):  # a character set that makes no sense shows here first
        header.prefetch(_ALWAYS, shared)
    offset, length = header.pixel_offset, header.pixel_length
    if header.syntax == DeflatedExplicitVRLittleEndian:
        offset, length = 0 if header.pixel_tag is not None or "Rows" in header else None, None
    float_pixels = header.pixel_tag is not None and header.pixel_tag != _PIXEL_DATA
    return Instance(path, header, header.syntax, offset, length, size, float_pixels, {}, leader, differs)


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
    follower = Follower(_ALWAYS) if len(paths) >= _MANY else None
    leader: Instance | None = None
    for file in paths:
        if follower is None or (found := follower.read(file)) is None:
            instance = open_instance(file)
            leader = instance if follower is not None and follower.learn(instance.header) else None
        else:
            instance = _instance(file, found.header, found.header.size or 0, found.shared, leader, found.differs)
        with sound(file):
            is_image = instance.is_image
        if is_image:
            images.append(instance)
        else:
            others.append(file.name)
    if not images:
        raise MissingFileError(paths[0].parent if len(paths) > 1 else paths[0], "holds no image (no PixelData); point to an image series")
    return images, tuple(others)
