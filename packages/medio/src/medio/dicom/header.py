"""The header of a DICOM file: found by one small read, converted only where it is asked for.

A walk in plain Python notes where the elements lie (about 0.1 ms a CT header); what it cannot explain, pydicom reads.
Source: DICOM PS3.5 section 7, PS3.10 section 7.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.datadict import keyword_dict

from medio.dicom.elements import (
    MAX_DEPTH,
    UNDEFINED,
    Element,
    Encoding,
    UnexplainedError,
    element_at,
    encoding_of,
    items,
    resolve_vr,
    tag_of,
    walk,
)
from medio.dicom.fallback import plain_value, pydicom_dataset, pydicom_item, reread
from medio.dicom.locating import Located, is_dicom_start, locate
from medio.dicom.sources import HEADER_LIMIT, Source, open_source
from medio.dicom.values import DEFAULT_CHARSET, Charset, charset_of, decode_tags, decode_value, empty_value, fast_decoders, private_vr
from medio.errors import CorruptFileError, MedioError

__all__ = ["Header", "header_of", "is_dicom_start", "keys_of", "read_header"]

_KEYS = {keyword: tag_of(tag) for keyword, tag in keyword_dict.items()}
_CHARSET_KEY, _PIXEL_REPRESENTATION, _LUT_DESCRIPTOR, _LUT_DATA = 0x00050008, 0x01030028, 0x30020028, 0x30060028
_COMMON = encoding_of(False)
_LUT_DESCRIPTORS = frozenset({0x11010028, 0x11020028, 0x11030028, _LUT_DESCRIPTOR})
_SPECIAL = _LUT_DESCRIPTORS | {_CHARSET_KEY}


def keys_of(keywords: Iterable[str]) -> tuple[int, ...]:
    """Prepare keywords for `Header.pick`.

    Raises:
        KeyError: a keyword that the standard's dictionary has not.
    """
    return tuple(_KEYS[keyword] for keyword in keywords)


class Header:
    """The elements of one dataset, read-only; a value is converted when it is first asked for.

    `header.get("Rows")`, `header.Rows`, `header["Rows"]` and `"Rows" in header` do what they do on a pydicom Dataset, in plain Python types: str, int, float,
    bytes, list where there are several values, list of Header for a sequence. A number that makes no sense raises ValueError. A tag as an integer
    (`0x60000010`) serves where an element has no keyword.

    Attributes:
        path: what errors call the file.
        syntax: transfer syntax UID; where the file does not say, the uncompressed one that its bytes show.
        pixel_tag: tag of PixelData, FloatPixelData or DoubleFloatPixelData, or None.
        pixel_vr: `OB` or `OW` where it is written.
        pixel_offset: offset in the file of the first byte of its value; None without pixels, and where the dataset is deflated.
        pixel_length: declared bytes of its value; None without pixels, and for encapsulated frames.
        end: offset in the file (in the inflated dataset where it is deflated) of the first byte that is no header.
        truncated: the file ends inside an element of the header.
        size: bytes of the file; None where only reading to its end would tell.
        located: what the walk found; None where pydicom read the file, and for the item of a sequence.
    """

    __slots__ = (
        "_buffer", "_charset", "_dataset", "_decoders", "_depth", "_elements", "_encoding", "_far", "_meta", "_parent", "_root",
        "_source", "_values", "end", "located", "path", "pixel_length", "pixel_offset", "pixel_tag", "pixel_vr", "size", "syntax",
        "truncated",
    )  # fmt: skip

    def __init__(self, path: str, source: Source, buffer: bytes, encoding: Encoding, elements: dict[int, int]) -> None:
        self.path = path
        self._source, self._buffer, self._encoding, self._elements = source, buffer, encoding, elements
        self._far: dict[int, int] = {}
        self._values: dict[int, Any] = {}
        self._charset: Charset | None = None
        self._decoders: dict[int, Callable[[bytes], Any]] | None = None
        self._dataset: Dataset | None = None
        self._parent: Header | None = None
        self.located: Located | None = None
        self._meta: Header | None = None
        self._root: Source = source
        self._depth = 0
        self.syntax = ""
        self.pixel_tag: int | None = None
        self.pixel_vr: str | None = None
        self.pixel_offset: int | None = None
        self.pixel_length: int | None = None
        self.end = 0
        self.truncated = False
        self.size: int | None = None

    @property
    def meta(self) -> "Header | None":
        """The file meta group, as a header of its own; None for the item of a sequence."""
        if self._meta is None and (located := self.located) is not None:
            self._meta = Header(self.path, self._root, located.meta_buffer, located.meta_encoding, located.meta)
        return self._meta

    @property
    def meta_sop_class_uid(self) -> str:
        """SOP class as the file meta says, else empty."""
        meta = self.meta
        return str(meta.get("MediaStorageSOPClassUID", "")) if meta is not None else ""

    @property
    def implicit(self) -> bool:
        """Whether VRs are not written in this dataset."""
        return self._encoding.implicit

    @property
    def big_endian(self) -> bool:
        """Byte order of this dataset's binary numbers."""
        return self._encoding.big_endian

    def get(self, keyword: str | int, default: Any = None) -> Any:
        """Return a value.

        Args:
            keyword: an element's keyword, or its tag.
            default: returned where the header has no such element.

        Raises:
            ValueError: a number that makes no sense.
            CorruptFileError: a sequence that does not.
        """
        key = _KEYS.get(keyword) if isinstance(keyword, str) else tag_of(keyword)
        if key in self._values:
            return self._values[key]
        if key is None or key not in self._elements:
            return default
        value = self._quick(key) if self._dataset is None else self._converted(self._dataset, tag_of(key))
        self._values[key] = value
        return value

    def _quick(self, key: int) -> Any:
        """Convert as `_convert` does; common VRs of explicit little-endian datasets in a third of its time."""
        if self._encoding is _COMMON and key not in _SPECIAL:
            self._decoders = self._decoders or fast_decoders(self._character_set())
            position = self._elements[key]
            _, vr, length = _COMMON.explicit_at(self._buffer, position)
            if length and (decode := self._decoders.get(vr)) is not None:
                try:
                    return decode(self._buffer[position + 8 : position + 8 + length])
                except (ValueError, OverflowError):
                    return self._convert(key)  # which says what is wrong
        return self._convert(key)

    def pick(self, keys: tuple[int, ...]) -> list[Any]:
        """Return the values of many elements at once, faster than one by one.

        Args:
            keys: the wanted elements, from `keys_of`.

        Returns:
            in their order; None where the header has no such element, or one that makes no sense.
        """
        elements = self._elements
        if self._dataset is not None or self._encoding is not _COMMON:
            return [self._tolerant(key) if key in elements else None for key in keys]
        # Explicit little-endian elements of common VRs, inline: this is what indexing an archive spends its time on.
        buffer, explicit_at, decoders = self._buffer, self._encoding.explicit_at, fast_decoders(self._character_set())
        values: list[Any] = []
        for key, position in zip(keys, map(elements.get, keys), strict=True):
            if position is None:
                values.append(None)
                continue
            _, vr, length = explicit_at(buffer, position)
            decode = decoders.get(vr)
            if decode is None:
                values.append(self._tolerant(key))
                continue
            start = position + 8
            raw = buffer[start : start + length]
            try:
                values.append(decode(raw) if raw else None)
            except (ValueError, OverflowError):
                values.append(None)
        return values

    def prefetch(self, keys: tuple[int, ...], known: Mapping[int, Any] | None = None) -> None:
        """Convert many elements at once, or take the values that are known, for `get` to find; what makes no sense is left to it."""
        if known:
            self._values.update(known)
            return
        self._values.update((key, value) for key, value in zip(keys, self.pick(keys), strict=True) if value is not None)

    def has_any(self, keys: tuple[int, ...]) -> bool:
        """Whether the header holds at least one of these elements (from `keys_of`)."""
        return not self._elements.keys().isdisjoint(keys)

    def _tolerant(self, key: int) -> Any:
        try:
            return self.get(tag_of(key))
        except (ValueError, MedioError):
            return None

    def __contains__(self, keyword: str | int) -> bool:
        key = _KEYS.get(keyword) if isinstance(keyword, str) else tag_of(keyword)
        return key in self._elements

    def __getitem__(self, keyword: str | int) -> Any:
        if keyword not in self:
            raise KeyError(keyword)
        return self.get(keyword)

    def __getattr__(self, keyword: str) -> Any:
        if keyword.startswith("_") or keyword not in self:
            raise AttributeError(f"the header holds no {keyword}")
        return self.get(keyword)

    def __repr__(self) -> str:
        return f"Header({self.path}, {len(self._elements)} elements)"

    def tags(self) -> list[int]:
        """Return the tags of this dataset's elements (not of its pixels), ascending."""
        return sorted(map(tag_of, self._elements))

    def vr(self, keyword: str | int) -> str | None:
        """Return an element's VR as written, or else as the dictionaries have it; None where the header has no such element."""
        if keyword not in self:
            return None
        key = _KEYS[keyword] if isinstance(keyword, str) else tag_of(keyword)
        if self._dataset is not None:
            return str(self._dataset[tag_of(key)].VR)
        return self._vr(element_at(self._buffer, self._elements[key], self._encoding))

    def private(self, creator: str, group: int, element: int) -> Any:
        """Return the value of a private element.

        Args:
            creator: private creator, e.g. `SIEMENS CSA HEADER`.
            group: e.g. 0x0029.
            element: its offset in the creator's block (the low byte of the tag), e.g. 0x10.

        Returns:
            bytes, or text or numbers where the file or pydicom's private dictionary names a VR; None where the header has no such element.
        """
        for block in range(0x10, 0x100):
            if group << 16 | block in self and self._creator(group << 16 | block << 8) == creator:
                tag = group << 16 | block << 8 | element
                if tag in self:
                    return self.get(tag)
        return None

    def to_pydicom(self) -> Dataset:
        """Read this dataset again as a pydicom Dataset, without its pixels.

        Raises:
            CorruptFileError: pydicom cannot read it.
        """
        if self._dataset is not None:
            return self._dataset
        if self._parent is None:
            return pydicom_dataset(self._root)
        raw = self._buffer[min(self._elements.values(), default=self.end) : self.end]
        return pydicom_item(self.path, raw, self._encoding, self._character_set())

    def _convert(self, key: int) -> Any:
        position = self._elements[key]
        element = element_at(self._buffer, position, self._encoding)
        vr = self._vr(element)
        if vr is None:
            vr = "SQ" if element.length == UNDEFINED and self._holds_items(element) else "UN"
        if element.length == 0:
            return empty_value(vr)
        if vr == "SQ":
            return self._sequence(element, position)
        raw = self._raw(element, position)
        if " or " in vr:
            vr = self._unambiguous(key, vr)
        if vr == "AT":
            return decode_tags(raw, self.big_endian)
        charset = DEFAULT_CHARSET if key == _CHARSET_KEY else self._character_set()
        try:
            value = decode_value(vr, raw, self.big_endian, charset)
        except (ValueError, OverflowError) as error:
            tag = tag_of(key)
            raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) holds {raw[:24]!r}, no {vr} ({error})") from error
        if key in _LUT_DESCRIPTORS and isinstance(value, list) and value[0] < 0:
            value[0] += 65536  # the first value is unsigned whatever the VR (PS3.3 C.11.1.1)
        return value

    def _converted(self, dataset: Dataset, tag: int) -> Any:
        value = plain_value(dataset, tag)
        if self.vr(tag) != "SQ":
            return value
        children = [_of_dataset(self.path, self._source, item, self._encoding) for item in value]
        for child in children:
            child._parent, child._depth, child.syntax = self, self._depth + 1, self.syntax
        return children

    def _vr(self, element: Element) -> str | None:
        vr = resolve_vr(element.key, element.vr, element.length)
        if vr is None and element.key & 1:
            tag = tag_of(element.key)
            creator = self._creator(tag)
            vr = private_vr(tag, creator) if creator else None
        return vr

    def _creator(self, tag: int) -> str | None:
        creator = self.get(tag & 0xFFFF0000 | (tag >> 8 & 0xFF)) if tag & 0xFF00 else None
        return creator if isinstance(creator, str) else None

    def _holds_items(self, element: Element) -> bool:
        return bool(items(self._buffer, element.start, element.length, self._encoding))

    def _raw(self, element: Element, position: int) -> bytes:
        if element.length == UNDEFINED:
            found = items(self._buffer, element.start, UNDEFINED, self._encoding)
            return self._buffer[element.start : found[-1][1]] if found else b""
        if position in self._far:
            raw = self._source.read_at(self._far[position], min(element.length, HEADER_LIMIT))
            if len(raw) == HEADER_LIMIT < element.length:
                raise CorruptFileError(self.path, f"one element holds {element.length} bytes, more than {HEADER_LIMIT}; exclude the file")
            return raw
        return self._buffer[element.start : element.start + element.length]

    def _sequence(self, element: Element, position: int) -> "list[Header]":
        buffer, start = self._buffer, element.start
        if position in self._far:
            buffer, start = self._raw(element, position), 0
        tag = tag_of(element.key)
        try:
            if self._depth >= MAX_DEPTH:
                raise UnexplainedError(start, f"sequences nest deeper than {MAX_DEPTH}")
            return [self._item(buffer, *bounds) for bounds in items(buffer, start, element.length, self._encoding)]
        except UnexplainedError as error:
            raise CorruptFileError(
                self.path,
                f"sequence ({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be parsed: {error.reason}; fetch the file again or exclude it",
            ) from error

    def _item(self, buffer: bytes, start: int, end: int, encoding: Encoding) -> "Header":
        elements: dict[int, int] = {}
        stop, _, _ = walk(buffer, start, end, encoding, elements, top=False, depth=self._depth + 1)
        item = Header(self.path, self._source, buffer, encoding, elements)
        item._parent, item._depth, item.end, item.syntax = self, self._depth + 1, stop, self.syntax
        return item

    def _character_set(self) -> Charset:
        if self._charset is None:
            if _CHARSET_KEY in self._elements:
                terms = self.get(0x00080005) or ""
                self._charset = charset_of(tuple(terms) if isinstance(terms, list) else (terms,))
            else:
                self._charset = self._parent._character_set() if self._parent is not None else DEFAULT_CHARSET
        return self._charset

    def _unambiguous(self, key: int, vr: str) -> str:
        """Choose where the standard's dictionary gives several VRs and the file (implicit) none."""
        if vr == "OB or OW":
            return vr
        if key == _LUT_DATA:
            descriptor = self.get(tag_of(_LUT_DESCRIPTOR))
            return "US" if isinstance(descriptor, list) and descriptor[0] == 1 else "OW"
        level: Header | None = self
        while level is not None and level.get(tag_of(_PIXEL_REPRESENTATION)) is None:
            level = level._parent
        return "SS" if level is not None and level.get(tag_of(_PIXEL_REPRESENTATION)) != 0 else "US"


def read_header(source: Path | str | bytes | BinaryIO, *, name: str | None = None, force: bool = False) -> Header:
    """Read the header of a DICOM file.

    Args:
        source: a path, the bytes of a file, or an open binary file that can seek (a member of a zip); values of more than 64 KiB are read from it when asked for.
        name: what errors call it; its path by default.
        force: try even where the first bytes do not look like DICOM.

    Returns:
        the header; at most `HEADER_LIMIT` bytes of the file are held.

    Raises:
        MissingFileError: a path that cannot be opened.
        CorruptFileError: not a DICOM file, or neither this walk nor pydicom can parse its header.
    """
    opened = open_source(source, name)
    try:
        return header_of(locate(opened, force=force), opened)
    except UnexplainedError as problem:
        return _by_pydicom(opened, f"{problem.reason} at byte {problem.position}")
    finally:
        opened.close()


def header_of(located: Located, root: Source) -> Header:
    """Wrap what was found of a file."""
    header = Header(root.name, located.source, located.buffer, located.encoding, located.elements)
    header._far, header._root, header.located, header.syntax = located.far, root, located, located.syntax
    header.end, header.truncated, header.size = located.end, located.truncated, root.size
    _set_pixel(header, located.pixel, deflated=located.deflated)
    return header


def _by_pydicom(source: Source, reason: str) -> Header:
    read = reread(source, reason)
    header = _of_dataset(source.name, source, read.dataset, read.encoding)
    header._meta = _of_dataset(source.name, source, read.dataset.file_meta, encoding_of(False))
    header.syntax, header.end, header.size = read.syntax, read.end, source.size
    _set_pixel(header, read.pixel)
    return header


def _set_pixel(header: Header, pixel: Element | None, *, deflated: bool = False) -> None:
    if pixel is not None:
        header.pixel_tag, header.pixel_vr, header.pixel_offset = tag_of(pixel.key), pixel.vr, None if deflated else pixel.start
        header.pixel_length = None if pixel.length == UNDEFINED else pixel.length


def _of_dataset(name: str, source: Source, dataset: Dataset, encoding: Encoding) -> Header:
    header = Header(name, source, b"", encoding, {tag_of(int(tag)): 0 for tag in dataset.keys()})  # noqa: SIM118  # iterating the dataset converts every value
    header._dataset = dataset
    return header
