"""Where an open dataset's files lie on this machine: in its own folder, or staged from a URL."""

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from medio.errors import MedioError
from medio.shards.cache import Cache
from medio.shards.index import dataset_version, fetch_indexes, index_metadata
from medio.shards.staging import clear_leftovers, remove, staging_name
from medio.shards.storage import RemoteFolder, open_folder


class Place(Protocol):
    """Gives local paths of a dataset's files."""

    root: Path  # holds the indexes

    def shard(self, name: str) -> Path:
        """Local path of a shard's arrays."""
        ...

    def is_current(self, path: Path) -> bool:
        """Whether a path that was given before still leads to the file; counts as a use of it."""
        ...

    def is_lost(self, path: Path) -> bool:
        """Whether a file that could not be read can be had again."""
        ...

    def restore(self) -> None:
        """See that `root` is there after a journey to another process."""
        ...


class LocalPlace:
    """A dataset in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def shard(self, name: str) -> Path:
        """See `Place`."""
        return self.root / f"{name}.b2z"

    def is_current(self, path: Path) -> bool:
        """See `Place`."""
        return True

    def is_lost(self, path: Path) -> bool:
        """See `Place`."""
        return False

    def restore(self) -> None:
        """See `Place`."""


class RemotePlace:
    """A dataset behind a URL: its indexes are copied when it is opened, a shard is staged when it is first read."""

    def __init__(self, remote: RemoteFolder, cache: Cache | None) -> None:
        self.remote = remote
        if cache is None:
            folder = Path(tempfile.mkdtemp(prefix="medio-cache-"))
            cache = Cache(folder)
            weakref.finalize(self, _remove_own, folder, os.getpid())
        self.cache = cache
        self.root = self._fetch()

    def shard(self, name: str) -> Path:
        """See `Place`."""
        token = index_metadata(self.root / f"{name}.parquet").get("content", "")[:16]
        return self.cache.stage(self.remote, f"{name}.b2z", token)

    def is_current(self, path: Path) -> bool:
        """See `Place`."""
        try:
            os.utime(path)
        except OSError:
            return False
        return True

    def is_lost(self, path: Path) -> bool:
        """See `Place`: it was removed to make room, or the copy is damaged, which is then removed."""
        path.unlink(missing_ok=True)
        return True

    def restore(self) -> None:
        """See `Place`: a temporary cache ends with the process that made it."""
        if not self.root.is_dir():
            self.root = self._fetch()

    def _fetch(self) -> Path:
        """Copy the indexes into a folder that is named by their content and appears at once."""
        folder = self.cache.dataset(self.remote)
        clear_leftovers(folder)
        partial = folder / staging_name("indexes")
        partial.mkdir()
        try:
            fetch_indexes(self.remote, partial)
            target = folder / f"indexes-{dataset_version(partial)[:16]}"
            with contextlib.suppress(OSError):  # there already, perhaps from another process this moment: the same content
                partial.rename(target)
            return target
        finally:
            remove(partial)


def open_place(root: Path | str, storage_options: Mapping[str, Any] | None, cache: Cache | None) -> Place:
    """Open a dataset's folder or URL.

    Raises:
        ValueError: for a cache or storage options of a local path.
        MissingFileError: where a URL holds no dataset.
        MedioError: where a shard's arrays are missing.
    """
    folder = open_folder(root, storage_options)
    names = set(folder.names())
    for name in sorted(names):
        if name.endswith(".parquet") and name.removesuffix(".parquet").isdigit() and name.replace(".parquet", ".b2z") not in names:
            raise MedioError(
                folder.path(name.replace(".parquet", ".b2z")), "is missing while its index exists; delete the .parquet and build again"
            )
    if isinstance(folder, RemoteFolder):
        return RemotePlace(folder, cache)
    if cache is not None:
        raise ValueError(f"a cache stages the shards of a URL, {folder} is a local path; leave it out")
    return LocalPlace(folder.root)


def _remove_own(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a forked child that ends first
        shutil.rmtree(folder, ignore_errors=True)
