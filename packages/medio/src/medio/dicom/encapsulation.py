"""Compressed frames in a file: items, offset tables, fragments.

Source: DICOM PS3.5 annex A.4.
"""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from medio.dicom.codestream import Buffer
from medio.errors import CorruptFileError

WHOLE = 64 << 20
"""Bytes up to which the pixels of a file are read at once; beyond, fragment by fragment."""
_ITEM = struct.Struct("<HHI")
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP", b"\xff\x0a", b"\x00\x00\x00\x0cJXL")
"""How a JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream begins."""


class Stretch:
    """The bytes of an open file from one place to another, held in memory where they are few."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._start = file, start
        self.size = max(stop - start, 0)
        self._held = memoryview(self._fetch(0, self.size)) if self.size <= WHOLE else None

    def read(self, place: int, length: int) -> Buffer:
        """Return up to `length` bytes from `place`, counted from the start of the stretch."""
        length = min(length, self.size - place)
        if self._held is not None:
            return self._held[place : place + length]
        return self._fetch(place, length)

    def _fetch(self, place: int, length: int) -> bytes:
        self._file.seek(self._start + place)
        return self._file.read(max(length, 0))


class Fragment(NamedTuple):
    """Where the value of an item lies in its stretch."""

    start: int
    length: int


class Encapsulated:
    """The frames of encapsulated PixelData, by number.

    Args:
        path: named in errors.
        stretch: from the first item (the basic offset table) on.
        count: declared frames.
        extended: the values of ExtendedOffsetTable and ExtendedOffsetTableLengths, where present.
        single: every frame is one fragment (RLE).

    Raises:
        CorruptFileError: items that make no sense, or fewer frames than declared.
    """

    def __init__(
        self, path: Path, stretch: Stretch, count: int, *, extended: tuple[bytes, bytes] | None = None, single: bool = False
    ) -> None:
        self._path, self._stretch = path, stretch
        self._table, self._fragments, self._fault = self._items()
        self._count = count
        self._frames = self._grouped(extended, single)
        if len(self._frames) < count:
            why = self._fault or "it is truncated"
            held = f"{len(self._frames)} of {count} frames"
            raise CorruptFileError(path, f"holds {held} ({why}); fetch it again or exclude it")

    def frame(self, index: int) -> Buffer:
        """Return the codestream of a frame.

        Raises:
            CorruptFileError: the file ends within it.
        """
        parts = []
        for fragment in self._frames[index]:
            part = self._stretch.read(*fragment)
            if len(part) < fragment.length:
                missing = fragment.length - len(part)
                raise CorruptFileError(
                    self._path, f"ends {missing} bytes before frame {index + 1} of {self._count} does; fetch it again or exclude it"
                )
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _items(self) -> tuple[bytes, list[Fragment], str]:
        """Walk the items: the basic offset table, the fragments, and what ended the walk other than the delimiter or the end of the file."""
        stretch, place = self._stretch, 0
        table, fragments, fault = None, [], ""
        while place + 8 <= stretch.size:
            group, element, length = _ITEM.unpack(stretch.read(place, 8))
            if (group, element) == (0xFFFE, 0xE0DD):
                break
            if (group, element) != (0xFFFE, 0xE000):
                # A fragment of odd length, its padding not counted: the next item is one byte on.
                if bytes(stretch.read(place + 1, 4)) in (b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"):
                    place += 1
                    continue
                fault = f"({group:04X},{element:04X}) stands where an item should"
                break
            if length == 0xFFFFFFFF:
                fault = "an item without a length"
                break
            place += 8
            if table is None:
                table = bytes(stretch.read(place, length))
            else:
                fragments.append(Fragment(place, length))
            place += length
        return table or b"", fragments, fault

    def _grouped(self, extended: tuple[bytes, bytes] | None, single: bool) -> list[Sequence[Fragment]]:
        fragments, count = self._fragments, self._count
        if count == 1 and not single:
            return [fragments] if fragments else []
        offsets: Sequence[int] = ()
        if extended and len(extended[0]) >= 8 * count:
            offsets = struct.unpack_from(f"<{count}Q", extended[0])
        elif len(self._table) >= 4 * count:
            offsets = struct.unpack_from(f"<{count}I", self._table)
        if not single and len(fragments) != count and offsets:
            by_table = self._by_offsets(offsets)
            if by_table:
                return by_table
        if single or len(fragments) <= count:
            return [[fragment] for fragment in fragments]
        # No table that can be trusted: a frame begins where a codestream does.
        begins = [i for i, f in enumerate(fragments) if bytes(self._stretch.read(f.start, 7)).startswith(_STARTS)]
        if not begins or begins[0] != 0:
            return [[fragment] for fragment in fragments]
        return [fragments[a:b] for a, b in pairwise([*begins, len(fragments)])]

    def _by_offsets(self, offsets: Sequence[int]) -> list[Sequence[Fragment]] | None:
        """Group fragments by a table of where frames begin; None where it does not point at items."""
        first = 8 + len(self._table)
        places = [fragment.start - 8 - first for fragment in self._fragments]
        begins = [bisect_left(places, offset) for offset in offsets]
        sound = all(b < len(places) and places[b] == o for b, o in zip(begins, offsets, strict=True))
        if not sound or begins[0] != 0 or any(a >= b for a, b in pairwise(begins)):
            return None
        return [self._fragments[a:b] for a, b in pairwise([*begins, len(places)])]
