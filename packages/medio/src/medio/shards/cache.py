"""A local cache of remote shards with a limit of bytes: safe among processes, and after kills."""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from medio.errors import MedioError
from medio.shards.staging import clear_leftovers, staging_name
from medio.shards.storage import RemoteFolder


@dataclass(frozen=True)
class Cache:
    """Where remote shards are staged before they are read.

    Any number of processes and datasets may share one. A file appears by an atomic rename, under a name that holds the hash of its content; what was used
    least recently is removed to make room, and fetched again by whoever still needs it.

    Attributes:
        folder: of the cache; made if absent.
        limit_bytes: that all staged shards together may take; at least the largest shard, better what all workers read from at a time.
    """

    folder: Path
    limit_bytes: int = 16 << 30

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.limit_bytes < 1:
            raise ValueError(f"limit_bytes must be positive, got {self.limit_bytes}")

    def dataset(self, remote: RemoteFolder) -> Path:
        """Return the folder of a dataset in the cache; made if absent."""
        folder = self.folder / hashlib.sha256(remote.url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def stage(self, remote: RemoteFolder, name: str, token: str) -> Path:
        """Return a local copy of a remote shard, fetching it where it is not there.

        Args:
            remote: the dataset.
            name: of the file.
            token: of its content: another content is another file.

        Raises:
            MissingFileError: where the file does not exist.
            MedioError: where it is larger than the limit.
        """
        folder = self.dataset(remote)
        stem, _, suffix = name.rpartition(".")
        target = folder / f"{stem}.{token}.{suffix}"
        with contextlib.suppress(FileNotFoundError):
            os.utime(target)  # the time of the last use orders what is removed
            return target
        size = remote.size(name)
        if size > self.limit_bytes:
            raise MedioError(remote.path(name), f"takes {size} bytes, the cache may hold {self.limit_bytes}; raise limit_bytes")
        partial = folder / staging_name(name)
        try:
            with partial.open("wb") as file:
                file.truncate(size)  # counts from now on, for this and every other process
            self._make_room(folder)
            remote.fetch(name, partial)
            if partial.stat().st_size != size:
                raise MedioError(
                    remote.path(name), f"gave {partial.stat().st_size} of {size} bytes; it changed meanwhile, open the dataset again"
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def used_bytes(self) -> int:
        """Bytes that staged shards take, those in the making included."""
        return sum(size for _, size, _ in self._files())

    def _make_room(self, folder: Path) -> None:
        clear_leftovers(folder)
        files = sorted(self._files())
        over = sum(size for _, size, _ in files) - self.limit_bytes
        for _, size, path in files:
            if over <= 0:
                return
            if path.suffix == ".b2z":
                path.unlink(missing_ok=True)  # a reader of it fetches it again
                over -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of staged shards, those in the making included."""
        found = []
        for path in [*self.folder.glob("*/*.b2z"), *self.folder.glob("*/.*.tmp")]:
            with contextlib.suppress(OSError):  # removed meanwhile by another process
                status = path.stat()
                if path.is_file():
                    found.append((status.st_mtime_ns, status.st_size, path))
        return found
