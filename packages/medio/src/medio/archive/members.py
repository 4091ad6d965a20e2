"""Files inside zip and tar archives: listed, and opened one by one."""

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from medio.errors import CorruptFileError, MissingFileError

MARK = "!/"
"""Between an archive's path and its member's in `scan`'s column `path`."""
MAX_RATIO = 300
"""How many times its packed size a member (of a tar: the archive) may grow beyond `FREE_BYTES`; headers of real images stay far below."""
FREE_BYTES = 1 << 30

MEMBER_PATTERN = r"(?is)^(.*?\.(?:zip|tar|tgz|tbz2|txz|tar\.(?:gz|bz2|xz)))!/(.*)$"
"""Matches the path of a member: the archive, and the name in it."""

_ZIP = (".zip",)
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
)
"""What damaged, encrypted or unsupported archives raise."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes:
        name: its path in the archive.
        size: its bytes, unpacked, as the archive says.
        file: open and able to seek, until the next member; None where it is not to be read.
        problem: why not.
    """

    name: str
    size: int
    file: BinaryIO | None
    problem: str = ""


def is_archive(name: str) -> bool:
    """Whether a file's name says that it is a zip or tar archive."""
    return name.lower().endswith(_ZIP + _TAR)


def split_member(path: Path | str) -> tuple[str, str] | None:
    """Split `archive.zip!/member` into the archive and the member; None for any other path."""
    found = re.match(MEMBER_PATTERN, str(path))
    return None if found is None else (found[1], found[2])


@contextmanager
def open_member(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for reading by its path as `scan` gives it: a plain file, or the member of a zip or tar archive.

    Args:
        path: e.g. `archive/2019.zip!/ct/0001.dcm`.

    Yields:
        the file, able to seek.

    Raises:
        MissingFileError: no such file or member.
        CorruptFileError: an archive that cannot be read.

    Example:
        >>> with open_member("archive/2019.zip!/ct/0001.dcm") as file:  # doctest: +SKIP
        ...     dataset = pydicom.dcmread(file)
    """
    parts = split_member(path)
    if parts is None:
        try:
            opened: IO[bytes] = Path(path).open("rb")  # noqa: SIM115  # entered below, outside the try
        except OSError as error:
            raise MissingFileError(str(path), f"cannot be opened ({error.strerror})") from error
        with opened:
            yield cast(BinaryIO, opened)
        return
    archive, name = parts
    with _opened(archive) as container:
        try:
            file = container.open(name) if isinstance(container, zipfile.ZipFile) else _from_tar(container, name)
        except KeyError:
            raise MissingFileError(str(path), f"{archive} holds no such member") from None
        except _BROKEN as error:
            raise CorruptFileError(str(path), f"cannot be unpacked ({error}); fetch the archive again or exclude it") from error
        if file is None:
            raise MissingFileError(str(path), "is no regular file of the archive")
        with file:
            yield cast(BinaryIO, file)


def members(archive: str) -> Iterator[Member]:
    """Go through the regular files of an archive; hidden ones (also macOS's `__MACOSX`) are passed over.

    Args:
        archive: path of a zip or tar archive.

    Yields:
        each member, opened; its file is closed when the next one is asked for.

    Raises:
        CorruptFileError: an archive that cannot be read, from where on it cannot.
        MissingFileError: it cannot be opened.
    """
    with _opened(archive) as container:
        try:
            yield from _zipped(container) if isinstance(container, zipfile.ZipFile) else _tarred(container, Path(archive).stat().st_size)
        except _BROKEN as error:
            reason = str(error) or type(error).__name__
            raise CorruptFileError(
                archive, f"the archive cannot be read further ({reason}); fetch it again or unpack it by hand"
            ) from error


def _zipped(container: zipfile.ZipFile) -> Iterator[Member]:
    for info in sorted(container.infolist(), key=lambda i: i.filename.split("/")):
        if info.is_dir() or _hidden(info.filename):
            continue
        if _is_bomb(info.file_size, info.compress_size):
            yield Member(info.filename, info.file_size, None, _bomb(info.file_size, info.compress_size))
            continue
        try:
            with container.open(info) as file:
                yield Member(info.filename, info.file_size, cast(BinaryIO, file))  # zipfile itself reads no more than it states
        except _BROKEN as error:
            reason = str(error) or type(error).__name__
            yield Member(info.filename, info.file_size, None, f"cannot be unpacked ({reason}); fetch the archive again or exclude it")


def _tarred(container: tarfile.TarFile, packed: int) -> Iterator[Member]:
    while (info := container.next()) is not None:
        container.members = []  # type: ignore[attr-defined]  # else it keeps a record of every member
        unpacked = info.offset_data + info.size
        if _is_bomb(unpacked, packed):
            yield Member(info.name, info.size, None, _bomb(unpacked, packed))
            return
        name = info.name.removeprefix("./")
        file = container.extractfile(info) if info.isreg() and not _hidden(name) else None
        if file is not None:
            with file:
                yield Member(name, info.size, cast(BinaryIO, file))


def _from_tar(container: tarfile.TarFile, name: str) -> IO[bytes] | None:
    try:
        return container.extractfile(name)
    except KeyError:
        return container.extractfile(f"./{name}")  # as `tar -c .` names them


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _is_bomb(size: int, packed: int) -> bool:
    return size > FREE_BYTES + MAX_RATIO * packed


def _bomb(size: int, packed: int) -> str:
    return f"{packed} bytes would unpack to {size}, more than {MAX_RATIO} times as many; exclude it, or unpack it by hand if you trust it"


@contextmanager
def _opened(archive: str) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    try:
        container: Any = zipfile.ZipFile(archive) if archive.lower().endswith(_ZIP) else tarfile.open(archive, "r:*")  # noqa: SIM115  # entered below
    except FileNotFoundError as error:
        raise MissingFileError(archive, f"cannot be opened ({error.strerror})") from error
    except _BROKEN as error:
        raise CorruptFileError(archive, f"cannot be opened as an archive ({error}); fetch it again or exclude it") from error
    with container:
        yield container
