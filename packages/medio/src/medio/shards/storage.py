"""Where a dataset lies: a local folder, or any URL that fsspec opens. A file appears there whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medio.errors import MedioError, MissingFileError, UnsupportedError

# Stores whose put is atomic by nature: an object is there whole or not at all. Elsewhere a file is written aside and renamed.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "memory"}
_EXTRA = {"s3": "s3", "s3a": "s3"}
_AT_ONCE = 64


class Folder(Protocol):
    """A flat folder of files."""

    def names(self) -> list[str]:
        """Names of all files; empty where the folder does not exist."""
        ...

    def contents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of files, a bounded number at a time; those that are absent are left out."""
        ...

    def put(self, source: Path, name: str) -> None:
        """Move a local file here under `name`, at once and durably."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file where it exists."""
        ...

    def path(self, name: str) -> str:
        """Path or URL of a file, for messages."""
        ...


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def names(self) -> list[str]:
        """See `Folder`."""
        return [entry.name for entry in os.scandir(self.root)] if self.root.is_dir() else []

    def contents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See `Folder`."""
        for name in names:
            try:
                yield name, (self.root / name).read_bytes()
            except FileNotFoundError:
                continue

    def put(self, source: Path, name: str) -> None:
        """See `Folder`; `source` must lie on the same disk."""
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(self.root / name)
        sync_folder(self.root)

    def remove(self, name: str) -> None:
        """See `Folder`."""
        (self.root / name).unlink(missing_ok=True)

    def path(self, name: str) -> str:
        """See `Folder`."""
        return str(self.root / name)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind an fsspec URL."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        """See `Folder`."""
        fs, root = self._open()
        with self._reaching():
            fs.invalidate_cache()
            try:
                entries = fs.ls(root, detail=False)
            except FileNotFoundError:
                return []
        return [str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries]

    def contents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See `Folder`; asynchronous file systems fetch many at once."""
        fs, root = self._open()
        for first in range(0, len(names), _AT_ONCE):
            part = names[first : first + _AT_ONCE]
            paths = {f"{root}/{name}": name for name in part}
            with self._reaching():
                found = fs.cat(list(paths), on_error="return")
            for path, name in paths.items():
                content = found.get(path, found.get(f"/{path.lstrip('/')}"))
                if isinstance(content, FileNotFoundError) or content is None:
                    continue
                if isinstance(content, BaseException):
                    raise content
                yield name, content

    def put(self, source: Path, name: str) -> None:
        """See `Folder`; `source` is removed once it is there."""
        fs, root = self._open()
        with self._reaching():
            fs.makedirs(root, exist_ok=True)
            if self._protocol in _OBJECT_STORES:
                fs.put_file(str(source), f"{root}/{name}")
            else:
                aside = f"{root}/.{name}.{secrets.token_hex(4)}.partial"
                fs.put_file(str(source), aside)
                fs.mv(aside, f"{root}/{name}")
        source.unlink()

    def remove(self, name: str) -> None:
        """See `Folder`."""
        fs, root = self._open()
        with self._reaching():
            try:
                fs.rm_file(f"{root}/{name}")
            except FileNotFoundError:
                return

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local one.

        Raises:
            MissingFileError: where it does not exist.
        """
        fs, root = self._open()
        mode = "r+b" if target.exists() else "wb"
        with self._reaching(name), fs.open(f"{root}/{name}", "rb") as source, target.open(mode) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def size(self, name: str) -> int:
        """Bytes of a file.

        Raises:
            MissingFileError: where it does not exist.
        """
        fs, root = self._open()
        with self._reaching(name):
            return int(fs.size(f"{root}/{name}"))

    def path(self, name: str) -> str:
        """See `Folder`."""
        return f"{self.url}/{name}"

    @property
    def _protocol(self) -> str:
        return self.url.split("://", 1)[0]

    @contextmanager
    def _reaching(self, name: str = "") -> Iterator[None]:
        """Say where and why a file system failed: its errors seldom do."""
        try:
            yield
        except MedioError:
            raise
        except FileNotFoundError as error:
            raise MissingFileError(self.path(name), "does not exist; build the shards again") from error
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MedioError(self.path(name), f"cannot be reached ({reason}); check the URL, the network and storage_options") from error

    def _open(self) -> tuple[Any, str]:
        """The file system and the path of the folder on it; made anew in every process, which fsspec caches."""
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(self.url, **self.options)
        except ImportError as error:
            extra = (
                f'pip install "medio[{_EXTRA[self._protocol]}]"' if self._protocol in _EXTRA else f"install what fsspec asks for: {error}"
            )
            raise ImportError(f"{self.url} needs a file system that is not installed: {extra}") from error
        except ValueError as error:
            raise UnsupportedError(
                self.url, f"fsspec opens no such URL ({error}); give a local path or a URL of a file system it knows"
            ) from error
        return fs, str(root).rstrip("/")


def open_folder(root: Path | str, storage_options: Mapping[str, Any] | None = None) -> LocalFolder | RemoteFolder:
    """Return where a dataset lies.

    Args:
        root: a path, or a URL; `file://` URLs are paths.
        storage_options: what fsspec's file system takes, e.g. `{"key": …, "secret": …, "endpoint_url": …}`.

    Raises:
        ValueError: for options beside a local path.
    """
    text = str(root)
    if "://" in text and not text.startswith("file://"):
        return RemoteFolder(text.rstrip("/"), dict(storage_options or {}))
    if storage_options:
        raise ValueError(f"storage_options belong to a URL, {text} is a local path; leave them out")
    return LocalFolder(Path(text.removeprefix("file://")) if isinstance(root, str) else root)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
