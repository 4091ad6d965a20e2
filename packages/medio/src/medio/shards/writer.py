"""Writing one shard: its arrays into a zip, proven, and its index last."""

import errno
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import blosc2
import numpy as np

from medio.errors import CorruptFileError, MedioError
from medio.shards.codecs import Codec
from medio.shards.index import shard_name, write_index
from medio.shards.reader import ShardReader
from medio.shards.sample import ShardSample, array_hash, index_row_of, member_name, storable
from medio.shards.staging import clear_leftovers, remove, staging_name
from medio.shards.storage import LocalFolder, RemoteFolder

T = TypeVar("T")

# Faults of the machine, not of the item: quarantining everything on a full disk would lose a dataset silently.
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EFBIG}


@dataclass(frozen=True)
class ShardJob(Generic[T]):
    """One shard to build; travels to the process that builds it.

    Attributes:
        folder: of the dataset.
        number: of the shard.
        items: of the shard.
        recipe: makes a sample of an item.
        fingerprint: of items and recipe, kept in the index.
        codec: how arrays are compressed.
        diary: file that says which row is in the making, for the parent to read should this process die; None keeps none.
        refused: rows not to try, with the reason.
    """

    folder: LocalFolder | RemoteFolder
    number: int
    items: Sequence[T]
    recipe: Callable[[T], ShardSample]
    fingerprint: str
    codec: Codec
    diary: Path | None = None
    refused: Mapping[int, str] = field(default_factory=dict)

    @property
    def index(self) -> str:
        """Name of the index."""
        return f"{shard_name(self.number)}.parquet"

    @property
    def data(self) -> str:
        """Name of the arrays' zip."""
        return f"{shard_name(self.number)}.b2z"


class WriteError(OSError):
    """The shard could not be written: the machine's fault, not the item's."""


def write_shard(job: ShardJob[Any]) -> int:
    """Build one shard aside, put its arrays in place, then its index.

    Returns:
        The number of items.

    Raises:
        OSError: where the disk is full or unwritable.
        CorruptFileError: where what was written does not read back.
    """
    # On the dataset's own disk, so that a rename puts the files in place; for a URL on this machine's.
    local = job.folder.root if isinstance(job.folder, LocalFolder) else Path(tempfile.gettempdir())
    name = shard_name(job.number) if isinstance(job.folder, LocalFolder) else f"medio-{shard_name(job.number)}"
    clear_leftovers(local, name)
    staging = local / staging_name(name)
    staging.mkdir()
    try:
        rows = _write_arrays(job, staging / job.data)
        _verify(staging / job.data, rows)
        write_index(staging / job.index, rows, job.fingerprint)
        job.folder.remove(job.index)  # never an old index beside new arrays
        job.folder.put(staging / job.data, job.data)
        job.folder.put(staging / job.index, job.index)
    finally:
        remove(staging)
    return len(job.items)


def _write_arrays(job: ShardJob[Any], path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    with _empty_store(path) as file:
        for row, item in enumerate(job.items):
            if job.diary is not None:
                job.diary.write_text(str(row))
            rows.append(_quarantined(row, item, job.refused[row]) if row in job.refused else _store_item(file, row, item, job, taken))
    if job.diary is not None:
        job.diary.unlink(missing_ok=True)
    return rows


def _empty_store(path: Path) -> zipfile.ZipFile:
    """Make the zip of an empty `blosc2.DictStore`, open for more members.

    Arrays are then added as frames made in memory: through the store itself each would be written twice.
    """
    with blosc2.DictStore(str(path), mode="w", tmpdir=str(path.with_suffix(".store"))):
        pass
    remove(path.with_suffix(".store"))
    return zipfile.ZipFile(path, "a", zipfile.ZIP_STORED)


def _store_item(file: zipfile.ZipFile, row: int, item: Any, job: ShardJob[Any], taken: set[str]) -> dict[str, Any]:
    """Make and store one sample; its volumes live no longer than this call, so that the next one finds the memory free.

    The row of the index is made before anything is written, so that a bad sample leaves nothing behind.
    """
    try:
        sample = job.recipe(item)
        if sample.sample_id in taken:
            raise ValueError(f"sample_id {sample.sample_id!r} is already in this shard; ids must be unique")
        arrays = {name: storable(sample.arrays[name]) for name in sorted(sample.arrays)}
        index_row = index_row_of(row, sample, arrays)
    except (MedioError, ValueError, OSError) as error:
        if getattr(error, "errno", None) in _MACHINE_FAULTS:
            raise
        return _quarantined(row, item, " ".join(str(error).split()) or type(error).__name__)
    taken.add(sample.sample_id)
    for name, array in arrays.items():
        if array.size:  # an empty one is told by its shape alone
            try:
                file.writestr(member_name(row, name), job.codec.compress(array, len(sample.spacing)))
            except (OSError, RuntimeError) as error:
                reason = f"cannot write {sample.sample_id}/{name}: {error}; is the disk full? Make room and run the build again"
                raise WriteError(getattr(error, "errno", None) or errno.EIO, reason) from error
    return index_row


def _quarantined(row: int, item: Any, reason: str) -> dict[str, Any]:
    return {"row": row, "item": describe(item), "error": reason}


def describe(item: Any) -> str:
    """Say what a recipe was given, in at most 300 characters."""
    return str(item) if isinstance(item, str | Path) else repr(item)[:300]


def _verify(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Read back what was written before an index says that it is there: a full disk can cut a file short without a word."""
    reader = ShardReader(path)
    for row in rows:
        for array in row.get("arrays") or ():
            if 0 in array["shape"]:
                continue
            found = np.empty(array["shape"], array["dtype"])
            reader.read_into(row["row"], array["name"], (0,) * found.ndim, found.shape, found, shape=array["shape"])
            if array_hash(found) != array["sha256"]:
                reason = f"{member_name(row['row'], array['name'])} does not read back as written; check the disk and run the build again"
                raise CorruptFileError(path, reason)
