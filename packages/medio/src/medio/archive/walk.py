"""Every file below a folder, in order, in chunks that are cheap to hold and to send."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medio.errors import MissingFileError


@dataclass(slots=True)
class Chunk:
    """Some files, in order.

    Attributes:
        folders: of each run of files its folder and the files' names, joined by NUL bytes: a million names take 20 MB, not 100.
        problems: folders that cannot be listed, with the reason.
        count: files (and problems).
    """

    folders: list[tuple[str, bytes]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def paths(self) -> Iterator[str]:
        """Go through the files' paths."""
        for folder, names in self.folders:
            for name in names.split(b"\0"):
                yield f"{folder}{os.sep}{os.fsdecode(name)}"


def walk(root: Path | str, size: int) -> Iterator[Chunk]:
    """Walk a folder in the order of `pathlib` (names compared part by part).

    Hidden files and folders are passed over, and so is what is no regular file. A link to a file counts as a file. A link to a folder is followed where it leads
    out of `root` (what it leads to within is met anyway), each such folder once: loops end.

    Args:
        root: the folder.
        size: files in a chunk.

    Yields:
        chunks of `size` files, the last one of fewer.

    Raises:
        MissingFileError: no such folder.
    """
    if not Path(root).is_dir():
        raise MissingFileError(root, "no such folder")
    root = str(Path(root)).rstrip(os.sep)
    chunk = Chunk()
    for folder, names, problem in _folders(root):
        if problem:
            chunk.problems.append((folder, problem))
            chunk.count += 1
        position = 0
        while position < len(names):
            part = names[position : position + size - chunk.count]
            chunk.folders.append((folder, b"\0".join(part)))
            chunk.count += len(part)
            position += len(part)
            if chunk.count >= size:
                yield chunk
                chunk = Chunk()
    if chunk.count:
        yield chunk


def _folders(root: str) -> Iterator[tuple[str, list[bytes], str]]:
    """Yield runs of files of one folder; a folder with subfolders comes in several runs, so that all files are in order."""
    home = os.path.realpath(root)
    visited: set[tuple[int, int]] = set()  # real folders met through links
    pending: list[Iterator[tuple[str, bool]]] = []
    folders = [root]
    first, problem = _listed(root or os.sep, home, visited)
    if problem:
        yield root, [], problem
    pending.append(iter(first))
    while pending:
        run: list[bytes] = []
        below = None
        for name, is_folder in pending[-1]:
            if is_folder:
                below = f"{folders[-1]}{os.sep}{name}"
                break
            run.append(os.fsencode(name))
        if run:
            yield folders[-1], run, ""
        if below is None:
            pending.pop()
            folders.pop()
            continue
        entries, problem = _listed(below, home, visited)
        if problem:
            yield below, [], problem
        pending.append(iter(entries))
        folders.append(below)


def _listed(folder: str, home: str, visited: set[tuple[int, int]]) -> tuple[list[tuple[str, bool]], str]:
    """Return the names in a folder with whether each is a folder to enter, sorted, and what is wrong with the folder."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.name, True))
                elif _is(entry.is_file):
                    found.append((entry.name, False))
                elif entry.is_symlink():
                    if not _is(entry.is_dir):
                        found.append((entry.name, False))  # leads nowhere: a row will say so
                    elif _leads_out(entry, home, visited):
                        found.append((entry.name, True))
    except OSError as error:
        return [], f"cannot be listed ({error.strerror})"
    found.sort()
    return found, ""


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:
        return False  # a link to itself


def _leads_out(entry: "os.DirEntry[str]", home: str, visited: set[tuple[int, int]]) -> bool:
    target = os.path.realpath(entry.path)
    inside = os.path.commonpath([target, home]) in (home, target)  # within the root, or above it: met anyway, or never ending
    status = entry.stat()
    mark = (status.st_dev, status.st_ino)
    if inside or mark in visited:
        return False
    visited.add(mark)
    return True
