"""Values of DICOM elements from their bytes, as plain Python.

Source: DICOM PS3.5 sections 6.1 (character sets) and 6.2 (value representations). Agrees with pydicom's `Dataset.get`, except that a number which makes no
sense raises ValueError where pydicom hands its text on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from struct import unpack
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.datadict import dictionary_VR, private_dictionary_VR

_ESCAPE = 0x1B
_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C}  # each resets ISO 2022 to the first character set (PS3.5 6.1.2.5.3)
_EMPTY_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})


@dataclass(frozen=True, slots=True)
class Charset:
    """The character sets of a dataset.

    Attributes:
        encodings: Python's names of them, the default one first.
        keeps_ascii: bytes below 0x80 mean ASCII in the default one.
    """

    encodings: tuple[str, ...]
    keeps_ascii: bool

    def decode(self, raw: bytes) -> str:
        """Decode a text; what cannot be decoded becomes U+FFFD."""
        if self.keeps_ascii and raw.isascii() and _ESCAPE not in raw:
            return raw.decode("ascii")
        return decode_bytes(raw, self.encodings, _DELIMITERS)


@lru_cache(maxsize=256)
def charset_of(terms: tuple[str, ...]) -> Charset:
    """Find the character sets that the defined terms of SpecificCharacterSet name; unknown terms fall back to ISO 8859-1."""
    encodings = tuple(convert_encodings(list(terms)))
    printable = bytes(range(0x20, 0x7F))
    try:
        keeps_ascii = printable.decode(encodings[0]) == printable.decode("ascii")
    except (LookupError, UnicodeError):
        keeps_ascii = False
    return Charset(encodings, keeps_ascii)


DEFAULT_CHARSET = Charset((default_encoding,), True)


def empty_value(vr: str) -> Any:
    """Return what an element without a value is: `""` for text, an empty list for a sequence, else None."""
    return "" if vr in _EMPTY_TEXT else [] if vr == "SQ" else None


@lru_cache(maxsize=16384)
def dictionary_vr(tag: int) -> str | None:
    """Look a tag's VR up in the standard's dictionary; None where it is not there."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        if tag >> 16 & 1:
            return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else None  # private creators are text
        return "UL" if tag & 0xFFFF == 0 else None  # group lengths


@lru_cache(maxsize=4096)
def private_vr(tag: int, creator: str) -> str | None:
    """Look a private tag's VR up in pydicom's dictionary of private elements; None where it is not there."""
    try:
        return private_dictionary_VR(tag, creator)
    except KeyError:
        return None


def decode_value(vr: str, raw: bytes, big_endian: bool, charset: Charset) -> Any:
    """Convert the bytes of one element; sequences are not converted here.

    Args:
        vr: value representation.
        raw: the value's bytes, at least one.
        big_endian: byte order of binary numbers.
        charset: for the VRs that SpecificCharacterSet rules.

    Returns:
        str, int, float or bytes; a list of them where there are several; `""` for a blank number.

    Raises:
        ValueError: a number that is none, an unknown VR.
    """
    plain = _PLAIN.get(vr)
    if plain is not None:
        return plain(raw)
    text = _TEXT.get(vr)
    if text is not None:
        return text(charset.decode(raw.rstrip(b"\0 ")) if vr == "PN" else charset.decode(raw))
    number = _NUMBERS.get(vr)
    if number is None:
        raise ValueError(f"unknown value representation {vr!r}")
    code, size = number
    count, rest = divmod(len(raw), size)
    if rest:
        raise ValueError(f"{len(raw)} bytes are no whole number of {size}-byte {vr} values")
    values = unpack(f"{'>' if big_endian else '<'}{count}{code}", raw)
    return values[0] if count == 1 else list(values) if count else ""


def _split(text: str) -> Any:
    return text.split("\\") if "\\" in text else text


def _string(raw: bytes) -> Any:
    return _split(raw.decode("latin-1").rstrip(" \0"))


def _application(raw: bytes) -> Any:
    value = _split(raw.decode("latin-1"))
    return [part.strip() for part in value] if isinstance(value, list) else value.strip()


def _resource(raw: bytes) -> str:
    return raw.decode("latin-1").rstrip()


def _texts(text: str) -> Any:
    return [part.rstrip("\0 ") for part in text.split("\\")] if "\\" in text else text.rstrip("\0 ")


def _long_text(text: str) -> str:
    return text.rstrip("\0 ")


def _names(text: str) -> Any:
    if "\\" in text:
        return [name.rstrip("=") for name in text.split("\\")]
    return text.rstrip("=")


def _decimal(raw: bytes) -> Any:
    try:
        # The common cases first; float() drops the blanks around a number.
        return [float(part) for part in raw.split(b"\\")] if b"\\" in raw else float(raw)
    except ValueError:
        return _each(raw.decode("latin-1").strip().rstrip(" \0"), float)


def _integer(raw: bytes) -> Any:
    try:
        return [int(part) for part in raw.split(b"\\")] if b"\\" in raw else int(raw)
    except ValueError:
        return _each(raw.decode("latin-1").rstrip(" \0"), _whole)


def _each(text: str, convert: Callable[[str], Any]) -> Any:
    parts = text.split("\\")
    values = [convert(part) if part and not part.isspace() else part for part in parts]
    return values if len(values) > 1 else values[0]


def _whole(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{text!r} is no integer")
    return int(value) if value == int(value) else value  # "1.0" is met, "1.5" too


def _tags(raw: bytes, order: str) -> Any:
    if len(raw) < 4:
        raise ValueError(f"{len(raw)} bytes are no tag")
    halves = unpack(f"{order}{len(raw) // 4 * 2}H", raw[: len(raw) // 4 * 4])
    tags = [group << 16 | element for group, element in zip(halves[::2], halves[1::2], strict=True)]
    return tags if len(tags) > 1 else tags[0]


def decode_tags(raw: bytes, big_endian: bool) -> Any:
    """Convert AT: tags as integers.

    Raises:
        ValueError: fewer than four bytes.
    """
    return _tags(raw, ">" if big_endian else "<")


_PLAIN: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("AS", "CS", "DA", "DT", "TM", "UI"), _string),
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OW", "OV", "UN", "OB or OW", "US or SS", "US or OW", "US or SS or OW"), bytes),
    "AE": _application,
    "UR": _resource,
    "DS": _decimal,
    "IS": _integer,
}
_TEXT: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("LO", "SH", "UC"), _texts),
    **dict.fromkeys(("LT", "ST", "UT"), _long_text),
    "PN": _names,
}
_NUMBERS = {"US": ("H", 2), "SS": ("h", 2), "UL": ("L", 4), "SL": ("l", 4), "UV": ("Q", 8), "SV": ("q", 8), "FL": ("f", 4), "FD": ("d", 8)}


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode(), "little")


def _short(raw: bytes) -> Any:
    return raw[0] | raw[1] << 8 if len(raw) == 2 else decode_value("US", raw, False, DEFAULT_CHARSET)


_FAST: dict[int, Callable[[bytes], Any]] = {
    **{_code(vr): _PLAIN[vr] for vr in ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")},
    _code("US"): _short,
}


@lru_cache(maxsize=64)
def fast_decoders(charset: Charset) -> dict[int, Callable[[bytes], Any]]:
    """Return the decoders of common VRs with a two-byte length in explicit little-endian datasets, by the VR's letters read as a little-endian number.

    They agree with `decode_value`; going through a dictionary once is what makes them fast.
    """

    def texts(raw: bytes) -> Any:
        return _texts(charset.decode(raw))

    def long_text(raw: bytes) -> str:
        return _long_text(charset.decode(raw))

    def names(raw: bytes) -> Any:
        return _names(charset.decode(raw.rstrip(b"\0 ")))

    text = {_code("LO"): texts, _code("SH"): texts, _code("LT"): long_text, _code("ST"): long_text, _code("PN"): names}
    return _FAST | text
