"""PALETTE COLOR: from indices to RGB.

Source: DICOM PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2 (segmented tables).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.instances import Instance
from medio.errors import CorruptFileError

_ENTRIES = 1 << 16
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Three tables of one length.

    Attributes:
        first: the index that the first entry belongs to; lower ones get it too, as those above the last get the last.
        table: (entries, 3) uint8 or uint16.
    """

    first: int
    table: npt.NDArray[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an entry."""
        return self.table.dtype

    def apply(self, indices: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Write the colours of (H, W) indices to (H, W, 3) `out`."""
        places = indices.astype(np.int64) - self.first
        np.clip(places, 0, len(self.table) - 1, out=places)
        np.take(self.table, places, axis=0, out=out)


def read_palette(instance: Instance) -> Palette:
    """Read the palette of a file.

    Raises:
        CorruptFileError: a table that is missing or does not fit its descriptor.
    """
    get = instance.header.get
    columns, first = [], 0
    try:
        for colour in _COLOURS:
            entries, first, depth = (int(v) for v in get(f"{colour}PaletteColorLookupTableDescriptor"))
            entries = entries & 0xFFFF or _ENTRIES
            big = instance.syntax == "1.2.840.10008.1.2.2"
            data = get(f"{colour}PaletteColorLookupTableData")
            if data:
                columns.append(_plain(bytes(data), entries, big))
            else:
                columns.append(_segmented(bytes(get(f"Segmented{colour}PaletteColorLookupTableData")), entries, depth, big))
        table = np.stack(columns, axis=1)
    except (TypeError, ValueError, IndexError) as error:
        raise CorruptFileError(
            instance.path, f"PALETTE COLOR without a palette that makes sense ({error}); fetch it again or exclude it"
        ) from error
    signed = bool(get("PixelRepresentation"))
    # The first index is signed or not as the pixels are, whatever its VR says.
    first = first & 0xFFFF
    return Palette(first - _ENTRIES if signed and first >= _ENTRIES // 2 else first, np.ascontiguousarray(table))


def _plain(data: bytes, entries: int, big: bool) -> npt.NDArray[Any]:
    # Entries of 8 bit may be stored in 16; the length tells.
    if len(data) >= 2 * entries:
        return np.frombuffer(data, ">u2" if big else "<u2", entries).astype(np.uint16)
    if len(data) >= entries:
        if big and len(data) % 2 == 0:
            return np.frombuffer(data, ">u2").astype("<u2").view(np.uint8)[:entries].copy()
        return np.frombuffer(data, np.uint8, entries).copy()
    raise ValueError(f"{len(data)} bytes for {entries} entries")


def _segmented(data: bytes, entries: int, depth: int, big: bool) -> npt.NDArray[Any]:
    """Expand discrete (0), linear (1) and indirect (2) segments."""
    narrow = depth == 8
    words = np.frombuffer(data, np.uint8 if narrow else (">u2" if big else "<u2")).tolist()
    out: list[int] = []
    place = 0
    while len(out) < entries and place + 1 < len(words):
        if words[place] == 2:
            # Its offset is in bytes, and its length a number of segments.
            low = words[place + 2 : place + (6 if narrow else 4)]
            low = [low[1], low[0], low[3], low[2]] if narrow and big else low
            start = sum(word << (8 if narrow else 16) * i for i, word in enumerate(low)) // (1 if narrow else 2)
            for _ in range(words[place + 1]):
                start = _expand(words, start, out)
            place += 2 + len(low)
        else:
            place = _expand(words, place, out)
    if len(out) < entries:
        raise ValueError(f"segments of {len(out)} entries, not {entries}")
    return np.array(out[:entries], np.uint8 if narrow else np.uint16)


def _expand(words: list[int], place: int, out: list[int]) -> int:
    """Append one discrete or linear segment and return where the next begins."""
    kind, length = words[place], words[place + 1]
    if kind == 0:
        out += words[place + 2 : place + 2 + length]
        return place + 2 + length
    if kind != 1 or not out:
        raise ValueError(f"a segment of type {kind} at entry {len(out)}")
    end = words[place + 2]
    out += np.round(np.linspace(out[-1] + (end - out[-1]) / max(length, 1), end, length)).astype(int).tolist()
    return place + 3
