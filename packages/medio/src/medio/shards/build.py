"""Shards: many samples in one Blosc2 zip with a Parquet index beside it; the index is written last, so a killed build loses nothing."""

import contextlib
import errno
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import blosc2

from medio.errors import CorruptFileError, MedioError
from medio.shards.fingerprint import fingerprint as hash_of
from medio.shards.index import (
    FORMAT,
    dataset_version,
    index_metadata,
    index_paths,
    local_root,
    read_index,
    shard_name,
    sync_folder,
    write_index,
)
from medio.shards.sample import Array, ShardSample, array_hash, array_key, index_row_of, storable

T = TypeVar("T")

# Chosen by measurement on CT (DESIGN section 7): 2.55x smaller, a 96^3 crop in 2.7 ms.
_CHUNK = {2: 512, 3: 64}
_BLOCK = {2: 128, 3: 32}
_COMPRESSION = "lz4hc-5-bitshuffle"
# Faults of the machine, not of the item: quarantining everything on a full disk would lose a dataset silently.
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS}


@dataclass(frozen=True)
class Quarantined:
    """An input that gave no output, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What `build_shards` left behind.

    Attributes:
        root: the dataset's folder.
        version: SHA-256 of the content; equal for equal samples.
        samples: samples in the dataset.
        shards: shards in the dataset.
        reused: shards that were already there.
        quarantined: items that gave no sample; they stay in the index as rows with `error`.
    """

    root: Path
    version: str
    samples: int
    shards: int
    reused: int
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True)
class _Job(Generic[T]):
    root: Path
    number: int
    items: Sequence[T]
    recipe: Callable[[T], ShardSample]
    fingerprint: str


def build_shards(
    items: Sequence[T],
    recipe: Callable[[T], ShardSample],
    root: Path | str,
    *,
    per_shard: int = 16,
    executor: Executor | None = None,
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> BuildReport:
    """Build a dataset of shards from items; run again after a kill, it builds only what is missing.

    Afterwards `root` holds exactly these items: shard n holds items [n·per_shard, (n+1)·per_shard), shards beyond the last are removed, and a shard
    whose items, recipe or `fingerprint` changed is built anew. A longer list only adds shards (and rebuilds the last one if it was not full).

    Args:
        items: what the recipe takes, e.g. paths; plain values, paths, arrays or dataclasses. A `Path` counts as changed when its size or time changed.
        recipe: makes a sample of an item. `MedioError`, `OSError` and `ValueError` quarantine the item; anything else ends the build.
        root: local folder, made if absent.
        per_shard: items a shard.
        executor: where shards are built: a `ProcessPoolExecutor`, a Dask client's `get_executor()`, … (items and recipe must then be picklable);
            None builds them one after the other in this process.
        fingerprint: anything else the samples depend on, e.g. a version of your recipe's helpers.
        progress: called with (items done, items in all).

    Returns:
        What was built; `version` is the same for the same samples, undisturbed or resumed.

    Raises:
        ValueError: for no items, or per_shard below 1.
        MedioError: when two samples share an id, or one patient is in two splits.
        OSError: when the disk is full or unwritable; what is finished stays, run again to go on.
    """
    if not items:
        raise ValueError(f"build_shards got no items for {root}; check the folder or table they come from")
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, got {per_shard}")
    folder = local_root(root)
    folder.mkdir(parents=True, exist_ok=True)
    recipe_hash = hash_of(FORMAT, _COMPRESSION, recipe, fingerprint)
    jobs: list[_Job[T]] = []
    done, reused, total = 0, 0, len(items)
    count = -(-total // per_shard)
    for number in range(count):
        part = items[number * per_shard : (number + 1) * per_shard]
        job = _Job(folder, number, part, recipe, hash_of(recipe_hash, list(part)))
        if _is_built(job):
            reused += 1
            done += len(part)
        else:
            jobs.append(job)
    if progress is not None:
        progress(done, total)
    for built in _run(jobs, executor):
        done += built
        if progress is not None:
            progress(done, total)
    _remove_beyond(folder, count)
    quarantined, samples = _check(folder)
    return BuildReport(folder, dataset_version(folder), samples, count, reused, quarantined)


def _run(jobs: Sequence[_Job[Any]], executor: Executor | None) -> Iterator[int]:
    if executor is None:
        yield from map(_build_shard, jobs)
        return
    futures: list[Future[int]] = [executor.submit(_build_shard, job) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _is_built(job: _Job[Any]) -> bool:
    index = job.root / f"{shard_name(job.number)}.parquet"
    return index.with_suffix(".b2z").is_file() and index_metadata(index).get("fingerprint") == job.fingerprint


def _build_shard(job: _Job[Any]) -> int:
    """Build one shard in a staging folder, rename its zip, write its index; returns the number of items."""
    name = shard_name(job.number)
    index, data = job.root / f"{name}.parquet", job.root / f"{name}.b2z"
    _clear_leftovers(job.root, name)
    staging = job.root / f".{name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    staging.mkdir()
    try:
        store = blosc2.DictStore(str(staging / f"{name}.b2z"), mode="w", tmpdir=str(staging / "arrays"))
        rows: list[dict[str, Any]] = []
        try:
            for row, item in enumerate(job.items):
                try:
                    sample = job.recipe(item)
                    rows.append(_store_sample(store, row, sample, {r.get("sample_id") for r in rows}))
                except (MedioError, ValueError, OSError) as error:
                    if isinstance(error, _WriteError) or getattr(error, "errno", None) in _MACHINE_FAULTS:
                        raise
                    reason = " ".join(str(error).split()) or type(error).__name__
                    rows.append({"row": row, "item": _describe(item), "error": reason})
            store.close()
        except BaseException:
            store.discard()
            raise
        _verify(staging / data.name, rows)
        with (staging / data.name).open("rb") as file:
            os.fsync(file.fileno())
        index.unlink(missing_ok=True)  # never an old index beside new arrays
        (staging / data.name).replace(data)
        sync_folder(job.root)
        write_index(index, rows, job.fingerprint, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(job.items)


class _WriteError(OSError):
    """The shard could not be written: the machine's fault, not the item's."""


def _store_sample(store: Any, row: int, sample: ShardSample, taken: set[str | None]) -> dict[str, Any]:
    """Write a sample's arrays; returns its row of the index, made first so that a bad sample leaves nothing behind."""
    if sample.sample_id in taken:
        raise ValueError(f"sample_id {sample.sample_id!r} is already in this shard; ids must be unique")
    arrays = {name: storable(sample.arrays[name]) for name in sorted(sample.arrays)}
    index_row = index_row_of(row, sample, arrays)
    for name, array in arrays.items():
        if array.size:  # an empty one is told by its shape alone
            try:
                store[array_key(row, name)] = _compress(array, len(sample.spacing))
            except (OSError, RuntimeError) as error:
                reason = f"cannot write {sample.sample_id}/{name}: {error}; is the disk full? Make room and run the build again"
                raise _WriteError(getattr(error, "errno", None) or errno.EIO, reason) from error
    return index_row


def _compress(array: Array, dims: int) -> Any:
    spatial = array.shape[-dims:] if array.ndim >= dims else array.shape
    lead = (1,) * (array.ndim - len(spatial))
    chunks = tuple(min(n, _CHUNK[dims]) for n in spatial)
    blocks = tuple(min(n, _BLOCK[dims]) for n in chunks)
    # One thread: executors already use the cores, and the bytes do not depend on how many there are.
    settings = blosc2.CParams(codec=blosc2.Codec.LZ4HC, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1)
    return blosc2.asarray(array, chunks=lead + chunks, blocks=lead + blocks, cparams=settings)


def _verify(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Read back what was written before an index says that it is there: a full disk can cut a file short without a word."""
    store = blosc2.DictStore(str(path), mode="r")
    for row in rows:
        for array in row.get("arrays") or ():
            key = array_key(row["row"], array["name"])
            if 0 not in array["shape"] and array_hash(store[key][...]) != array["sha256"]:
                raise CorruptFileError(path, f"{key} does not read back as written; check the disk and run the build again")


def _clear_leftovers(root: Path, name: str) -> None:
    """Remove what killed builds left of this shard: the staging of a dead process of this machine, or one older than a day."""
    for path in root.glob(f".{name}.*.tmp"):
        host, pid = path.name.removeprefix(f".{name}.").rsplit(".", 3)[:2]
        dead = host == socket.gethostname() and not _alive(int(pid))
        with contextlib.suppress(OSError):
            if dead or time.time() - path.stat().st_mtime > 86400:
                shutil.rmtree(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove_beyond(root: Path, count: int) -> None:
    for index in index_paths(root):
        if int(index.stem) >= count:
            index.unlink()
            index.with_suffix(".b2z").unlink(missing_ok=True)


def _check(root: Path) -> tuple[tuple[Quarantined, ...], int]:
    """Count the samples; hold the whole dataset to what no shard can see alone."""
    quarantined: list[Quarantined] = []
    shard_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for path in index_paths(root):
        for row in read_index(path, ["sample_id", "patient_id", "split", "item", "error"]).to_pylist():
            if row["error"] is not None:
                quarantined.append(Quarantined(row["item"], row["error"]))
                continue
            other = shard_of.setdefault(row["sample_id"], path.name)
            if other != path.name:
                raise MedioError(root, f"sample_id {row['sample_id']!r} is in {other} and in {path.name}; make ids unique and build again")
            split = split_of.setdefault(row["patient_id"], row["split"])
            if split != row["split"]:
                reason = f"patient {row['patient_id']!r} is in splits {split!r} and {row['split']!r}; split by patient and build again"
                raise MedioError(root, reason)
    return tuple(quarantined), len(shard_of)


def _describe(item: Any) -> str:
    return str(item) if isinstance(item, str | Path) else repr(item)[:300]
