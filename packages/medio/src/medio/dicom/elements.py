"""A walk over the elements of an encoded DICOM dataset: where each begins, nothing converted.

Source: DICOM PS3.5 sections 7.1 (elements), 7.5 (sequences) and 6.2.2 (UN). Departures from the standard that files are known for are read as pydicom reads them.
"""

from collections.abc import Callable
from struct import Struct, error
from typing import Any, NamedTuple

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from medio.dicom.values import dictionary_vr

UNDEFINED = 0xFFFFFFFF
MAX_DEPTH = 64
"""How deep sequences may nest; real ones stay below ten, and a hostile file must not exhaust the stack."""

# A key is a tag as its four little-endian bytes read as one number: element << 16 | group. It costs one unpacking instead of two and a shift.
ITEM, ITEM_END, SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
PIXEL_KEYS = frozenset({0x00107FE0, 0x00097FE0, 0x00087FE0})

_NAMES = {int.from_bytes(vr.encode(), "little"): str(vr) for vr in EXPLICIT_VR_LENGTH_16 | EXPLICIT_VR_LENGTH_32}
SHORT_VRS = frozenset(int.from_bytes(vr.encode(), "little") for vr in EXPLICIT_VR_LENGTH_16)
LONG_VRS = frozenset(int.from_bytes(vr.encode(), "little") for vr in EXPLICIT_VR_LENGTH_32)
_UNKNOWN = frozenset({b"??", b"  ", b"--"})  # written by some for a VR they do not know, with a length of two bytes
_explicit_little, _implicit_little, _length_little = Struct("<IHH").unpack_from, Struct("<II").unpack_from, Struct("<I").unpack_from
_explicit_big, _implicit_big, _length_big = Struct(">HH2sH").unpack_from, Struct(">HHI").unpack_from, Struct(">I").unpack_from


class UnexplainedError(Exception):
    """Bytes that this walk cannot explain: pydicom must try.

    Args:
        position: where in the buffer.
        reason: what is there.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


class MoreNeededError(Exception):
    """The buffer ends inside an element of undefined length."""


def tag_of(key: int) -> int:
    """Return the tag (group << 16 | element) of a key, and the key of a tag."""
    return (key & 0xFFFF) << 16 | key >> 16


def _unpack_explicit_big(buffer: bytes, position: int) -> tuple[int, int, int]:
    group, element, vr, length = _explicit_big(buffer, position)
    return element << 16 | group, vr[0] | vr[1] << 8, length


def _unpack_implicit_big(buffer: bytes, position: int) -> tuple[int, int]:
    group, element, length = _implicit_big(buffer, position)
    return element << 16 | group, length


class Encoding(NamedTuple):
    """How a dataset is written; made by `encoding_of`, compared by identity.

    Attributes:
        implicit: VRs are not written.
        big_endian: byte order.
        explicit_at: (buffer, position) -> (key, VR as a number, two-byte length).
        implicit_at: (buffer, position) -> (key, four-byte length).
        length_at: (buffer, position) -> (four-byte length,).
    """

    implicit: bool
    big_endian: bool
    explicit_at: Callable[[bytes, int], tuple[Any, ...]]
    implicit_at: Callable[[bytes, int], tuple[Any, ...]]
    length_at: Callable[[bytes, int], tuple[Any, ...]]


_LITTLE = (_explicit_little, _implicit_little, _length_little)
_BIG = (_unpack_explicit_big, _unpack_implicit_big, _length_big)
_ENCODINGS = tuple(Encoding(implicit, big, *(_BIG if big else _LITTLE)) for implicit in (False, True) for big in (False, True))


def encoding_of(implicit: bool, big_endian: bool = False) -> Encoding:
    """Return the encoding with these two properties, always the same object."""
    return _ENCODINGS[2 * implicit + big_endian]


class Element(NamedTuple):
    """Where one element lies.

    Attributes:
        key: its tag, halves swapped.
        vr: as written; None where it is not written.
        start: position of the value's first byte.
        length: declared bytes of the value, `UNDEFINED` where a delimiter ends it.
    """

    key: int
    vr: str | None
    start: int
    length: int


def element_at(buffer: bytes, position: int, encoding: Encoding) -> Element:
    """Parse the head of one element.

    Raises:
        struct.error: the buffer ends inside it.
    """
    if encoding.implicit:
        key, length = encoding.implicit_at(buffer, position)
        return Element(key, None, position + 8, length)
    key, vr, length = encoding.explicit_at(buffer, position)
    if vr in SHORT_VRS:
        return Element(key, _NAMES[vr], position + 8, length)
    if vr in LONG_VRS:
        return Element(key, _NAMES[vr], position + 12, encoding.length_at(buffer, position + 8)[0])
    return _odd_element(buffer, position, encoding)


def walk(
    buffer: bytes, position: int, end: int, encoding: Encoding, elements: dict[int, int], *, top: bool, depth: int = 0
) -> tuple[int, int, bool]:
    """Note where the elements of one dataset begin.

    Args:
        buffer: the encoded bytes.
        position: where the next element begins.
        end: where the dataset ends at the latest.
        encoding: of the dataset.
        elements: key -> position of the element's head; added to. A later element of the same tag replaces an earlier one.
        top: stop at the pixels; else stop behind an item delimiter.
        depth: how many sequences enclose the dataset.

    Returns:
        where the walk stopped, where its last element of 64 kB or more began, and whether it stopped because the dataset is over; otherwise the buffer is, and the walk can go on
        from there with more of it.

    Raises:
        UnexplainedError: nested items that are none, or too deep.
    """
    last = position
    explicit_at, implicit_at, length_at, written = encoding.explicit_at, encoding.implicit_at, encoding.length_at, not encoding.implicit
    short, long = SHORT_VRS, LONG_VRS
    try:
        while position < end:
            if written:
                key, vr, length = explicit_at(buffer, position)
                if vr in short:  # most elements; too short ever to be skipped, so `last` need not know them
                    elements[key] = position
                    position += 8 + length
                    continue
                if vr in long:
                    start = position + 12
                    length = length_at(buffer, position + 8)[0]
                elif key == ITEM_END or key in PIXEL_KEYS:
                    start = position + 8
                else:
                    odd = _odd_element(buffer, position, encoding)
                    start, length = odd.start, odd.length
            else:
                key, length = implicit_at(buffer, position)
                start = position + 8
            if key & 0xFFFF >= 0x7FE0:
                if top and key in PIXEL_KEYS:
                    return position, last, True
                if key == ITEM_END:
                    return start, last, True
            if not key and not length and top:
                return position, last, True  # zeros: padding behind the dataset
            if length == UNDEFINED:
                behind = _behind_items(buffer, start, encoding, depth)
                elements[key] = last = position
                position = behind
            else:
                elements[key] = last = position
                position = start + length
    except (error, MoreNeededError):
        return position, last, False
    return position, last, False


def items(buffer: bytes, start: int, length: int, encoding: Encoding) -> "list[tuple[int, int, Encoding]]":
    """Find the items of a sequence.

    Args:
        buffer: holds the whole sequence.
        start: position of the sequence's value.
        length: its declared bytes, or `UNDEFINED`.
        encoding: of the dataset that holds it.

    Returns:
        of each item where its elements begin, where they end, and how they are written: a sequence of an explicit dataset may hold implicit items.

    Raises:
        UnexplainedError: bytes that are no item.
    """
    found: list[tuple[int, int, Encoding]] = []
    position, end = start, len(buffer) if length == UNDEFINED else min(start + length, len(buffer))
    try:
        while position < end:
            key, size = encoding.implicit_at(buffer, position)
            position += 8
            if key == SEQUENCE_END:
                return found
            if key != ITEM:
                raise UnexplainedError(
                    position - 8, f"({tag_of(key) >> 16:04X},{tag_of(key) & 0xFFFF:04X}) where an item of a sequence should be"
                )
            inner = _item_encoding(buffer, position, encoding)
            behind = _behind_items(buffer, position, inner, 0, in_item=True) if size == UNDEFINED else position + size
            found.append((position, behind, inner))
            position = behind
    except (error, MoreNeededError):
        raise UnexplainedError(position, "the file ends inside a sequence") from None
    if length == UNDEFINED:
        raise UnexplainedError(position, "the file ends inside a sequence")
    return found


def detect_implicit(buffer: bytes, position: int, assumed: bool) -> bool:
    """Tell from the first element of a dataset whether VRs are written, whatever the transfer syntax claims."""
    vr = buffer[position + 4 : position + 6]
    return assumed if len(vr) < 2 or vr in _UNKNOWN else not (0x40 < vr[0] < 0x5B and 0x40 < vr[1] < 0x5B)


def _item_encoding(buffer: bytes, position: int, outer: Encoding) -> Encoding:
    if outer.implicit or not detect_implicit(buffer, position, False):
        return outer
    return encoding_of(True, outer.big_endian)


def _odd_element(buffer: bytes, position: int, encoding: Encoding) -> Element:
    """Parse an element of an explicit dataset whose VR is none that is known."""
    key, _, short = encoding.explicit_at(buffer, position)
    vr = bytes(buffer[position + 4 : position + 6])
    if vr in _UNKNOWN:
        return Element(key, None, position + 8, short)
    if b"AA" <= vr <= b"ZZ":
        name = vr.decode("latin-1")
        if short == 0 and not _plausible(buffer, position + 8, key, encoding):
            return Element(key, name, position + 12, encoding.length_at(buffer, position + 8)[0])  # VRs to come have long lengths
        return Element(key, name, position + 8, short)
    key, length = encoding.implicit_at(buffer, position)  # some write single elements without a VR
    return Element(key, None, position + 8, length)


def _plausible(buffer: bytes, position: int, before: int, encoding: Encoding) -> bool:
    """Whether an explicit element that follows tag `before` begins here."""
    try:
        key, vr, _ = encoding.explicit_at(buffer, position)
    except error:
        return position == len(buffer)
    return tag_of(key) > tag_of(before) and (vr in SHORT_VRS or vr in LONG_VRS)


def _behind_items(buffer: bytes, position: int, encoding: Encoding, depth: int, *, in_item: bool = False) -> int:
    """Return the position behind the delimiter of a sequence (or fragments) of undefined length, or of an item (`in_item`); its content is not recursed into.

    Raises:
        struct.error, MoreNeededError: the buffer ends before it.
        UnexplainedError: bytes that are neither item nor delimiter.
    """
    open_items: list[bool] = [in_item]  # innermost last: an item (its elements follow) or a sequence (its items follow)
    encodings = [encoding]
    end = len(buffer)
    while True:
        if position >= end:
            raise MoreNeededError
        inner = encodings[-1]
        if not open_items[-1]:
            key, length = inner.implicit_at(buffer, position)
            position += 8
            if key == SEQUENCE_END:
                open_items.pop()
                encodings.pop()
            elif key != ITEM:
                tag = tag_of(key)
                raise UnexplainedError(position - 8, f"({tag >> 16:04X},{tag & 0xFFFF:04X}) where an item of a sequence should be")
            elif length == UNDEFINED:
                open_items.append(True)
                encodings.append(_item_encoding(buffer, position, inner))
            else:
                position += length
        else:
            element = element_at(buffer, position, inner)
            position = element.start
            if element.key == ITEM_END:
                open_items.pop()
                encodings.pop()
            elif element.key == SEQUENCE_END:
                raise UnexplainedError(position - 8, "a sequence ends inside one of its items")
            elif element.length == UNDEFINED:
                open_items.append(False)
                encodings.append(inner)
            else:
                position += element.length
        if not open_items:
            return position
        if len(open_items) > 2 * (MAX_DEPTH - depth):
            raise UnexplainedError(position, f"sequences nest deeper than {MAX_DEPTH}")


def resolve_vr(key: int, written: str | None, length: int) -> str | None:
    """Decide a VR where the file does not say: from the standard's dictionary; None where only a private dictionary can tell, or nothing.

    Args:
        key: of the element.
        written: the VR in the file; UN counts as unsaid for public elements (PS3.5 6.2.2 note 2).
        length: of the value, or `UNDEFINED`.
    """
    if written is not None and written != "UN":
        return written
    if length == UNDEFINED and written == "UN":
        return "SQ"
    if written == "UN" and length >= 0xFFFF:
        return "UN" if not key & 1 else None
    return dictionary_vr(tag_of(key))
