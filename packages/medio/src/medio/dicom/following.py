"""The headers of a series: all but the first are checked against the one before them, which costs a fifth of a walk.

Two slices of one series mostly hold the same elements, a few of them longer or shorter. Where every tag, VR and length of a file is found where it lies in its
predecessor, or further along by what the elements before it are longer, a walk over it would find just these places; so the places are proven, not assumed.
Anything else is walked.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medio.dicom.elements import LONG_VRS, SHORT_VRS, UNDEFINED, element_at, encoding_of
from medio.dicom.header import Header, header_of
from medio.dicom.locating import META_HEAD, ROWS_KEY, SYNTAX_KEY, Located
from medio.dicom.sources import PathSource

_META, _CHARSET = encoding_of(False), 0x00050008
_VRS = SHORT_VRS | LONG_VRS
_META_START, _META_VALUE = 132, 144  # of (0002,0000), and where the group begins whose length it says
_SLACK, _MOST_MOVES = 1024, 8
_TRIES = 4  # files that may be unlike their predecessors, over those that are like, before the search for likeness ends
_LARGEST = 1 << 18  # bytes of a header that is kept to compare others with


class Trail:
    """Where the elements of one file lie, to find those of files like it.

    Args:
        located: a walked file of which `may_lead` is true.
    """

    def __init__(self, located: Located) -> None:
        self._located, self._buffer = located, located.buffer
        meta = sorted((place, key) for key, place in located.meta.items())
        data = sorted((place, key) for key, place in located.elements.items())
        self._meta_keys, self._keys = [key for _, key in meta], [key for _, key in data]
        self._places = [place for place, _ in (*meta, *data)] + [located.end]
        heads = [self._head(place, behind, number < len(meta)) for number, (place, behind) in enumerate(pairwise(self._places))]
        self._heads = heads  # bytes of each head; 0 where the whole element must be the same
        lengths = [head or behind - place for head, (place, behind) in zip(heads, pairwise(self._places), strict=True)]
        lengths.append(4 if located.encoding.implicit else 6)
        self._owner = np.repeat(np.arange(len(lengths)), lengths)
        # The bytes of each span, one after another: its place, and how far into it.
        self._index = np.arange(len(self._owner)) + np.repeat(np.array(self._places) - np.cumsum([0, *lengths[:-1]]), lengths)
        self._expected = np.frombuffer(self._buffer, np.uint8)[self._index]
        self._bytes = self._expected.tobytes()
        self._syntax = self.whole(SYNTAX_KEY)
        self.reach = located.end + _SLACK

    def _head(self, place: int, behind: int, in_meta: bool) -> int:
        encoding = _META if in_meta else self._located.encoding
        element = element_at(self._buffer, place, encoding)
        return 0 if element.length == UNDEFINED or element.start + element.length != behind else element.start - place

    def whole(self, key: int) -> bytes:
        """Return the bytes of an element, its head with them."""
        number = self._meta_keys.index(key) if key in self._meta_keys else len(self._meta_keys) + self._keys.index(key)
        return self._buffer[self._places[number] : self._places[number + 1]]

    def follow(self, source: PathSource) -> Located | None:
        """Find the parts of a file that is like this one; None where it is not."""
        buffer = source.read_at(0, self.reach)
        places = self._places_in(buffer)
        if places is None:
            return None
        old, count = self._located, len(self._meta_keys)
        # The length of the file meta, and its syntax, are what else a walk goes by.
        if int.from_bytes(buffer[_META_VALUE - 4 : _META_VALUE], "little") != places[count] - _META_VALUE:
            return None
        same = places is self._places
        meta = old.meta if same else dict(zip(self._meta_keys, places, strict=False))
        elements = old.elements if same else dict(zip(self._keys, places[count:], strict=False))
        if not buffer.startswith(self._syntax, meta[SYNTAX_KEY]):
            return None
        end = places[-1]
        pixel = element_at(buffer, end, old.encoding)
        return Located(
            source, buffer, old.encoding, elements, {}, meta, buffer, old.meta_encoding, old.named_syntax, old.assumed, pixel, end
        )

    def _places_in(self, buffer: bytes) -> list[int] | None:
        if buffer[128 : _META_START + 8] != self._buffer[128 : _META_START + 8] or len(buffer) < self._places[-1] + 12:
            return None
        held = np.frombuffer(buffer, np.uint8)
        if held.take(self._index, mode="clip").tobytes() == self._bytes:
            return self._places
        places, done, shift = np.array(self._places), 0, 0
        first_of_data, pixel = len(self._meta_keys), len(self._places) - 1
        for _ in range(_MOST_MOVES):
            same = held.take(self._index[done:] + shift, mode="clip") == self._expected[done:]
            if same.all():
                return places.tolist() if places[-1] + 12 <= len(buffer) else None
            number = int(self._owner[done + int(same.argmin())])
            # One element of another length. The first of each part decides how all are read, so it must be the same.
            if number in (0, first_of_data, pixel) or not (head := self._heads[number]):
                return None
            place = int(places[number])
            behind = self._behind(buffer, place, number, head)
            if behind is None or behind + 12 > len(buffer):
                return None
            shift = behind - self._places[number + 1]
            places[number + 1 :] = self._places[number + 1 :]
            places[number + 1 :] += shift
            done = int(np.searchsorted(self._owner, number + 1))
        return None

    def _behind(self, buffer: bytes, place: int, number: int, head: int) -> int | None:
        """Return where an element ends that is the leader's but for its length; None where it is another."""
        encoding = _META if number < len(self._meta_keys) else self._located.encoding
        named = 4 if encoding.implicit else 6 if head == 8 else 8
        if not buffer.startswith(self._buffer[self._places[number] : self._places[number] + named], place):
            return None
        length = element_at(buffer, place, encoding).length
        return None if length == UNDEFINED else place + head + length


def may_lead(located: Located) -> bool:
    """Whether a file is plain enough for others to be compared with it: known VRs, a true length of its file meta, one stretch of bytes up to its pixels."""
    buffer, meta = located.buffer, located.meta
    if located.pixel is None or located.deflated or located.far or located.truncated or ROWS_KEY not in located.elements:
        return False
    if buffer[128 : _META_START + 8] != b"DICM" + META_HEAD or SYNTAX_KEY not in meta or located.end > _LARGEST:
        return False
    if not located.named_syntax or located.meta_encoding is not _META or located.end + 12 > len(buffer) or 0 in located.elements:
        return False
    first = min(located.elements.values())
    said = int.from_bytes(buffer[_META_VALUE - 4 : _META_VALUE], "little")
    if min(meta.values()) != _META_START or first != _META_VALUE + said or max(meta.values()) >= first or located.end <= first:
        return False
    written = [*meta.values(), *([] if located.encoding.implicit else located.elements.values())]
    return all(buffer[place + 4] | buffer[place + 5] << 8 in _VRS for place in written)


class Followed(NamedTuple):
    """A header that was compared with the leader's, which has the same elements.

    Attributes:
        header: of the file.
        shared: values of the compared elements whose bytes are the same.
        differs: the other compared elements that the file holds.
    """

    header: Header
    shared: dict[int, Any]
    differs: frozenset[int]


class Follower:
    """Reads the headers of one series, each in the light of one before.

    Args:
        keys: elements, from `keys_of`, whose values are shared where their bytes are the same.
    """

    def __init__(self, keys: tuple[int, ...]) -> None:
        self._keys = (_CHARSET, *keys)
        self._trail: Trail | None = None
        self._known: list[tuple[int, bytes, Any]] = []
        self._senseless: set[int] = set()
        self._tries = _TRIES

    def learn(self, header: Header) -> bool:
        """Compare the files to come with this one, which was walked; tell whether that is possible."""
        self._tries -= 1
        located = header.located
        if self._tries < 0 or located is None or not may_lead(located):
            self._trail = None
            return False
        self._trail = Trail(located)
        said = zip(self._keys, header.pick(self._keys), strict=True)
        self._known = [(key, self._trail.whole(key), value) for key, value in said if value is not None]
        self._senseless = {key for key in self._keys if key in located.elements} - {key for key, _, _ in self._known}
        return True

    def read(self, path: Path) -> Followed | None:
        """Read one header; None where it must be walked, and may be learnt from.

        Raises:
            MissingFileError: the file cannot be opened.
            CorruptFileError: it is no regular file.
        """
        if self._trail is None:
            return None
        source = PathSource(path)
        try:
            located = self._trail.follow(source)
        finally:
            source.close()
        if located is None:
            return None
        self._tries = min(self._tries + 1, _TRIES)
        holds, at = located.buffer.startswith, located.elements
        shared: dict[int, Any] = {}
        differs = set(self._senseless)
        for key, raw, value in self._known:
            if holds(raw, at[key]):
                shared[key] = value
            elif key == _CHARSET:  # the first: texts are read by the character set
                return Followed(header_of(located, source), {}, frozenset(self._keys))
            else:
                differs.add(key)
        return Followed(header_of(located, source), shared, frozenset(differs))
