"""Where header bytes come from: a path, an open file, bytes, or the inflated part of any of them."""

import io
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from medio.errors import CorruptFileError, MissingFileError

HEADER_LIMIT = 1 << 29
"""Bytes of one file that are held at most while its header is read."""
_BLOCK = 1 << 18
_PACKED = 1 << 15  # deflated bytes at a time: what is not inflated yet is copied at every step
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a named pipe must not block


def _seek_and_read(handle: int, count: int, position: int) -> bytes:
    os.lseek(handle, position, os.SEEK_SET)
    return os.read(handle, count)


_pread: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)  # Windows has none


class Source(Protocol):
    """Bytes by position.

    Attributes:
        name: what errors call it.
        size: bytes in all; None where only reading tells.
    """

    name: str
    size: int | None

    def read_at(self, position: int, count: int) -> bytes:
        """Return up to `count` bytes from `position`; fewer only at the end."""

    def close(self) -> None:
        """Free what holds the file open; reading opens it again."""


class PathSource:
    """A regular file by its path."""

    def __init__(self, path: Path | str, name: str | None = None) -> None:
        self.path = path
        self.name = name if name is not None else str(path)
        self._handle: int | None = self._open()
        status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise CorruptFileError(self.name, "is no regular file; exclude it")
        self.size: int | None = status.st_size

    def _open(self) -> int:
        try:
            return os.open(self.path, _OPEN)
        except OSError as error:
            raise MissingFileError(self.name, f"cannot be opened ({error.strerror})") from error

    def read_at(self, position: int, count: int) -> bytes:
        """Read; see `Source`."""
        count = min(count, max((self.size or 0) - position, 0))  # a read allocates what it asks for
        handle = self._open() if self._handle is None else self._handle
        try:
            data = _pread(handle, count, position)
            while len(data) < count and (more := _pread(handle, count - len(data), position + len(data))):
                data += more
        except OSError as error:
            raise MissingFileError(self.name, f"cannot be read ({error.strerror})") from error
        finally:
            if self._handle is None:
                os.close(handle)  # opened for this one late value
        return data

    def close(self) -> None:
        """Close; see `Source`."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class BytesSource:
    """A file in memory."""

    def __init__(self, data: bytes, name: str | None = None) -> None:
        self.data = data
        self.name = name if name is not None else f"<{len(data)} bytes>"
        self.size: int | None = len(data)

    def read_at(self, position: int, count: int) -> bytes:
        """Read; see `Source`."""
        return self.data[position : position + count]

    def close(self) -> None:
        """Do nothing: bytes hold nothing open."""


class FileSource:
    """An open binary file that can seek, e.g. a member of a zip; the caller closes it."""

    def __init__(self, file: BinaryIO, name: str | None = None) -> None:
        self.file = file
        given = getattr(file, "name", None)
        self.name = name if name is not None else str(given if given is not None else "<open file>")
        self.size: int | None = None

    def read_at(self, position: int, count: int) -> bytes:
        """Read; see `Source`."""
        try:
            if self.file.tell() != position:
                self.file.seek(position)
            data = self.file.read(min(count, _BLOCK))
            while len(data) < count and (more := self.file.read(min(count - len(data), max(_BLOCK, len(data))))):
                data += more
        except Exception as error:  # a closed file, a broken archive: each kind raises errors of its own
            raise CorruptFileError(self.name, f"cannot be read ({error}); fetch it again or exclude it") from error
        return data

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


class InflatedSource:
    """The inflated dataset of a deflated file (PS3.5 A.5), inflated only as far as it is asked for.

    Args:
        source: the file.
        start: where its deflated bytes begin.
    """

    def __init__(self, source: Source, start: int) -> None:
        self._source = source
        self._next = start
        self._inflate: Any = zlib.decompressobj(-zlib.MAX_WBITS)
        self._data = bytearray()
        self.name = source.name
        self.size: int | None = None

    def read_at(self, position: int, count: int) -> bytes:
        """Inflate up to there; see `Source`.

        Raises:
            CorruptFileError: bytes that do not inflate, or that inflate to more than `HEADER_LIMIT`.
        """
        wanted = position + count
        while len(self._data) < wanted and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._source.read_at(self._next, _PACKED)
                self._next += len(packed)
            if not packed:
                break
            if len(self._data) > HEADER_LIMIT:
                raise CorruptFileError(self.name, f"inflates to more than {HEADER_LIMIT} bytes before its pixels; exclude it")
            try:
                self._data += self._inflate.decompress(packed, min(_BLOCK, wanted - len(self._data)))
            except zlib.error as error:
                raise CorruptFileError(self.name, f"does not inflate ({error}); fetch it again or exclude it") from error
        return bytes(self._data[position:wanted])

    def close(self) -> None:
        """Close the file below."""
        self._source.close()


class Clamped(io.RawIOBase):
    """A source as a file for pydicom, whose `read` never asks for more than a file holds: senseless lengths cost no memory.

    Args:
        source: what to read.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0
        self.name = source.name

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from here, in blocks, so that a declared length allocates nothing by itself."""
        left = HEADER_LIMIT if size is None or size < 0 else min(size, HEADER_LIMIT)
        parts = []
        while left > 0 and (part := self._source.read_at(self._position, min(left, _BLOCK))):
            parts.append(part)
            left -= len(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; relative to the start or to here."""
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


def open_source(source: "Path | str | bytes | memoryview | BinaryIO", name: str | None = None) -> Source:
    """Wrap what `read_header` takes.

    Raises:
        MissingFileError: a path that cannot be opened.
        CorruptFileError: a path that is no regular file.
    """
    if isinstance(source, str | os.PathLike):
        return PathSource(source, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesSource(bytes(source), name)
    return FileSource(source, name)
