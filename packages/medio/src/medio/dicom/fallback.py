"""What the walk over a header cannot explain, as pydicom reads it."""

from dataclasses import dataclass
from io import BytesIO
from struct import error
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.dicom.elements import PIXEL_KEYS, Element, Encoding, element_at, encoding_of
from medio.dicom.sources import Clamped, Source
from medio.dicom.values import Charset
from medio.errors import CorruptFileError, MedioError

_NUMERIC = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})


@dataclass(frozen=True, slots=True)
class Reread:
    """A header as pydicom reads it.

    Attributes:
        dataset: every element before the pixels.
        encoding: of the dataset.
        syntax: transfer syntax UID, named or derived.
        pixel: the pixel element, its start an offset in the file; None without one.
        end: offset in the file where reading stopped.
    """

    dataset: Dataset
    encoding: Encoding
    syntax: str
    pixel: Element | None
    end: int


def pydicom_dataset(source: Source) -> Dataset:
    """Read a header with pydicom.

    Raises:
        CorruptFileError: pydicom cannot parse it either.
    """
    return _read(source)[0]


def pydicom_item(name: str, raw: bytes, encoding: Encoding, charset: Charset) -> Dataset:
    """Read the bytes of an item of a sequence with pydicom.

    Args:
        name: what errors call the file.
        raw: its elements.
        encoding: of them.
        charset: where the item does not say another.

    Raises:
        CorruptFileError: pydicom cannot parse it.
    """
    try:
        return read_dataset(
            BytesIO(raw),
            encoding.implicit,
            not encoding.big_endian,
            bytelength=len(raw),
            parent_encoding=list(charset.encodings),
            at_top_level=False,
        )
    except Exception as problem:  # pydicom raises whatever a broken element makes it raise
        raise CorruptFileError(name, f"an item of a sequence cannot be parsed ({problem}); fetch the file again or exclude it") from problem


def reread(source: Source, reason: str) -> Reread:
    """Read with pydicom what the walk did not understand for `reason`, and find the pixels.

    Raises:
        CorruptFileError: pydicom cannot parse it either.
    """
    try:
        dataset, end = _read(source)
    except CorruptFileError as problem:
        raise CorruptFileError(source.name, f"the header cannot be parsed: {reason}; fetch the file again or exclude it") from problem
    implicit, little = dataset.original_encoding
    encoding = encoding_of(bool(implicit), not little)
    meta = dataset.file_meta
    syntax = str(meta.get("TransferSyntaxUID") or "")
    if not syntax:
        syntax = str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian)
    pixel = None
    if syntax != DeflatedExplicitVRLittleEndian:
        try:
            found = element_at(source.read_at(end, 12), 0, encoding)
            pixel = Element(found.key, found.vr, found.start + end, found.length) if found.key in PIXEL_KEYS else None
        except error:
            pixel = None
    return Reread(dataset, encoding, syntax, pixel, end)


def plain_value(dataset: Dataset, tag: int) -> Any:
    """Return an element's value in plain Python types; a sequence stays a pydicom Sequence.

    Raises:
        ValueError: a number that makes no sense, an unknown VR.
    """
    try:
        element = dataset[tag]
        vr, value = str(element.VR), element.value
    except (BytesLengthException, NotImplementedError, AttributeError, TypeError, LookupError, OverflowError, error) as problem:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) does not make sense ({problem})") from problem
    if vr == "SQ":
        return value
    several = isinstance(value, list) or hasattr(value, "append")
    values = [_plain(vr, one, tag) for one in value] if several else [_plain(vr, value, tag)]
    return values if several else values[0]


def _plain(vr: str, value: Any, tag: int) -> Any:
    if value is None or isinstance(value, bytes):
        return value
    if vr in _NUMERIC:
        if isinstance(value, str) and value.strip():
            raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) holds {value[:24]!r}, no {vr}")
        return value if isinstance(value, str) else float(value) if isinstance(value, float) else int(value)
    return str(value)


def _read(source: Source) -> tuple[Dataset, int]:
    file = Clamped(source)
    try:
        return dcmread(file, stop_before_pixels=True, force=True), file.tell()
    except MedioError:
        raise
    except MemoryError as problem:
        raise CorruptFileError(
            source.name, "the header declares more bytes than memory holds; fetch the file again or exclude it"
        ) from problem
    except Exception as problem:  # pydicom raises whatever a broken element makes it raise
        raise CorruptFileError(source.name, f"the header cannot be parsed ({problem}); fetch the file again or exclude it") from problem
