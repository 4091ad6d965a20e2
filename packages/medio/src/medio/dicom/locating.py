"""Where the parts of a DICOM file lie: file meta, dataset, pixels.

Source: DICOM PS3.10 section 7, PS3.5 sections 7, A.5.
"""

from dataclasses import dataclass, field
from struct import error

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.dicom.elements import (
    PIXEL_KEYS,
    UNDEFINED,
    Element,
    Encoding,
    UnexplainedError,
    detect_implicit,
    element_at,
    encoding_of,
    tag_of,
    walk,
)
from medio.dicom.sources import HEADER_LIMIT, InflatedSource, Source
from medio.errors import CorruptFileError

_FIRST, _BLOCK, _FAR = 1 << 14, 1 << 16, 1 << 16  # bytes: the first read, later reads, and from where on a value is skipped instead of read
_META = encoding_of(False)
SYNTAX_KEY, ROWS_KEY = 0x00100002, 0x00100028
META_HEAD = b"\2\0\0\0UL\4\0"  # (0002,0000) UL, four bytes: the length of the group
_DEFLATED, _BIG, _EXPLICIT, _IMPLICIT = map(
    str, (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian)
)


@dataclass(slots=True)
class Located:
    """The parts of one file; positions are in `buffer` unless said otherwise.

    Attributes:
        source: reads the dataset: the file, or its inflated part.
        buffer: the file up to the pixels, without the long values that were skipped.
        encoding: of the dataset.
        elements: key -> position of an element's head.
        far: position of a head -> offset in the file of its skipped value.
        meta: as `elements`, for the file meta, in `meta_buffer`.
        meta_buffer: the bytes that hold the file meta.
        meta_encoding: of the file meta.
        named_syntax: transfer syntax as the file meta says, else empty.
        assumed: encoding that the transfer syntax promises, or that the first element shows.
        pixel: the pixel element, its start an offset in the file; None without one.
        end: offset in the file where the walk stopped: the head of the pixel element, or the end.
        truncated: the last element goes on behind the end of the file.
        size: of the dataset's source, where known.
    """

    source: Source
    buffer: bytes
    encoding: Encoding
    elements: dict[int, int]
    far: dict[int, int]
    meta: dict[int, int]
    meta_buffer: bytes
    meta_encoding: Encoding
    named_syntax: str
    assumed: Encoding
    pixel: Element | None = None
    end: int = 0
    truncated: bool = False
    deflated: bool = field(default=False)

    @property
    def syntax(self) -> str:
        """Transfer syntax UID; where the file does not say, the uncompressed one that its bytes show."""
        return self.named_syntax or (_IMPLICIT if self.assumed.implicit else _BIG if self.assumed.big_endian else _EXPLICIT)


def is_dicom_start(start: bytes) -> bool:
    """Tell from the first 132 bytes or more whether a file is DICOM, with a preamble or (old files) without.

    Without a preamble a dataset starts with its lowest group: file meta (2), command (0) or identification (8), little or big endian.
    """
    if start[128:132] == b"DICM":
        return True
    group, element = start[:2], start[2:4]
    if group in (b"\x08\x00", b"\x02\x00"):
        little = start[4:6].isalpha() or int.from_bytes(start[4:8], "little") < 128
        return len(start) > 8 and element[1:] == b"\x00" and little
    if start[:8] == b"\0\0\0\0\4\0\0\0":  # the length of a command group
        return len(start) > 20
    return group == b"\x00\x08" and element[:1] == b"\x00" and start[4:6].isalpha()


def locate(source: Source, *, force: bool = False) -> Located:
    """Find the parts of a file.

    Args:
        source: the file.
        force: try even where the first bytes do not look like DICOM.

    Raises:
        CorruptFileError: the file is not DICOM, does not inflate, or holds more than `HEADER_LIMIT` bytes before its pixels.
        MissingFileError: it cannot be read.
        UnexplainedError: the walk does not understand it.
    """
    buffer = source.read_at(0, _FIRST)
    if not force and not is_dicom_start(buffer):
        size = source.size if source.size is not None else f"at least {len(buffer)}"
        raise CorruptFileError(source.name, f"not a DICOM file ({size} bytes, no DICM mark); fetch it again or exclude it")
    position = 132 if buffer[128:132] == b"DICM" else 0
    buffer, position, meta, meta_encoding = _meta(source, buffer, position)
    if buffer[position : position + 2] == b"\0\0" and any(buffer[position : position + 8]):
        raise UnexplainedError(position, "a command group")
    named = _text(buffer, meta, SYNTAX_KEY, meta_encoding)
    meta_buffer, deflated, cut = buffer, named == _DEFLATED, position > len(buffer)
    position = min(position, len(buffer))
    if deflated:
        source = InflatedSource(source, position)
        buffer, position = source.read_at(0, _FIRST), 0
    elif len(buffer) < position + 6:
        buffer += source.read_at(len(buffer), _BLOCK)
    assumed = _assumed(named, buffer, position)
    implicit = detect_implicit(buffer, position, assumed.implicit)
    if implicit != assumed.implicit and _key(buffer, position, assumed) in PIXEL_KEYS:
        implicit = assumed.implicit  # pydicom does not judge by the pixels
    located = Located(
        source,
        buffer,
        encoding_of(implicit, assumed.big_endian),
        {},
        {},
        meta,
        meta_buffer,
        meta_encoding,
        named,
        assumed,
        deflated=deflated,
    )
    _walk_file(located, position)
    located.truncated |= cut
    return located


def _meta(source: Source, buffer: bytes, position: int) -> tuple[bytes, int, dict[int, int], Encoding]:
    encoding = encoding_of(detect_implicit(buffer, position, False)) if buffer[position : position + 2] == b"\2\0" else _META
    meta: dict[int, int] = {}
    if encoding is _META and buffer[position : position + 8] == META_HEAD:
        # The common case: the group says truly how long it is.
        end = position + 12 + int.from_bytes(buffer[position + 8 : position + 12], "little")
        if end + 12 <= len(buffer) and buffer[end : end + 2] != b"\2\0":
            stop, _, done = walk(buffer, position, end, encoding, meta, top=False)
            if stop == end and not done and all(key & 0xFFFF == 2 for key in meta):
                return buffer, end, meta, encoding
            meta.clear()
    while True:
        if position + 12 > len(buffer):
            more = source.read_at(len(buffer), _BLOCK + max(0, min(position - len(buffer), HEADER_LIMIT)))
            buffer += more
            if len(buffer) > HEADER_LIMIT:
                raise CorruptFileError(source.name, f"holds more than {HEADER_LIMIT} bytes of file meta; exclude it")
        if buffer[position : position + 2] != b"\2\0":
            return buffer, position, meta, encoding
        try:
            element = element_at(buffer, position, encoding)
        except error:
            return buffer, position, meta, encoding
        if element.length == UNDEFINED:
            raise UnexplainedError(position, "file meta of undefined length")
        meta[element.key] = position
        position = element.start + element.length


def _text(buffer: bytes, elements: dict[int, int], key: int, encoding: Encoding) -> str:
    if key not in elements:
        return ""
    element = element_at(buffer, elements[key], encoding)
    return buffer[element.start : element.start + element.length].decode("latin-1").rstrip(" \0")


def _assumed(named: str, buffer: bytes, position: int) -> Encoding:
    if named:
        return encoding_of(named == _IMPLICIT, named == _BIG)
    # No transfer syntax: the first element tells. A big-endian group below 0x0100 reads as 1024 or more in little-endian.
    if detect_implicit(buffer, position, True):
        return encoding_of(True)
    return encoding_of(False, int.from_bytes(buffer[position : position + 2], "little") >= 1024)


def _key(buffer: bytes, position: int, encoding: Encoding) -> int:
    try:
        return int(encoding.implicit_at(buffer, position)[0])
    except error:
        return 0


def _walk_file(located: Located, position: int) -> None:
    """Walk the dataset, reading on where the buffer ends and passing over long values."""
    source, buffer, encoding, elements = located.source, located.buffer, located.encoding, located.elements
    skipped = 0  # bytes of the file that are not in the buffer
    while True:
        position, last, done = walk(buffer, position, len(buffer), encoding, elements, top=True)
        if done:
            element = element_at(buffer, position, encoding) if position + 12 <= len(buffer) else None
            if element is None and (more := source.read_at(len(buffer) + skipped, _BLOCK)):
                buffer += more
                continue
            if element is not None and element.key in PIXEL_KEYS and located.pixel is None:
                located.pixel = Element(element.key, element.vr, element.start + skipped, element.length)
                located.end = position + skipped
                if ROWS_KEY not in elements and element.length != UNDEFINED:
                    # Out of order: what describes the pixels may lie behind them.
                    buffer, skipped, position = buffer[: element.start], skipped + element.length, element.start
                    buffer += source.read_at(position + skipped, _BLOCK)
                    continue
            break
        if position > len(buffer) + _FAR:
            head = element_at(buffer, last, encoding)
            located.far[last] = head.start + skipped
            buffer, skipped, position = buffer[: head.start], skipped + position - head.start, head.start
        more = source.read_at(len(buffer) + skipped, max(_BLOCK, len(buffer), position + 12 - len(buffer)))
        buffer += more
        if len(buffer) > HEADER_LIMIT:
            raise CorruptFileError(source.name, f"holds more than {HEADER_LIMIT} bytes before its pixels; exclude it")
        if not more:
            located.truncated = _is_cut(located, buffer, position, skipped)
            break
    located.buffer = buffer
    if located.pixel is None:
        located.end = position + skipped
        odd = next((key for key in PIXEL_KEYS if key in elements), None)
        if odd is not None:
            raise UnexplainedError(elements[odd], f"({tag_of(odd) >> 16:04X},{tag_of(odd) & 0xFFFF:04X}) with a VR of short length")


def _is_cut(located: Located, buffer: bytes, position: int, skipped: int) -> bool:
    """Whether the file ends inside an element, the buffer holding all that there is."""
    if position >= len(buffer):
        return position > len(buffer) or (located.source.size is not None and position + skipped > located.source.size)
    try:
        element = element_at(buffer, position, located.encoding)
    except error:
        return True
    if element.length == UNDEFINED:
        raise UnexplainedError(position, "the file ends inside a sequence")
    return True
