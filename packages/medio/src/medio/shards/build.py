"""Shards: many samples in one Blosc2 zip with a Parquet index beside it; the index is written last, so a killed build loses nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medio.errors import MedioError
from medio.quarantine import Quarantined
from medio.shards.codecs import codec_of
from medio.shards.fingerprint import fingerprint as hash_of
from medio.shards.index import FORMAT, index_metadata, index_paths, local_indexes, read_index, shard_name, version_of
from medio.shards.running import run_jobs
from medio.shards.sample import ShardSample
from medio.shards.storage import LocalFolder, RemoteFolder, open_folder
from medio.shards.writer import ShardJob

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")


@dataclass(frozen=True)
class BuildReport:
    """What `build_shards` left behind.

    Attributes:
        root: the dataset's folder; its URL where it was given one.
        version: SHA-256 of the content; equal for equal samples.
        samples: samples in the dataset.
        shards: shards in the dataset.
        reused: shards that were already there.
        quarantined: items that gave no sample; they stay in the index as rows with `error`.
    """

    root: Path | str
    version: str
    samples: int
    shards: int
    reused: int
    quarantined: tuple[Quarantined, ...]


def build_shards(
    items: Sequence[T],
    recipe: Callable[[T], ShardSample],
    root: Path | str,
    *,
    per_shard: int = 16,
    executor: "Executor | Client | str | None" = None,
    workers: int | None = None,
    codec: str = "fast",
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> BuildReport:
    """Build a dataset of shards from items; run again after a kill, it builds only what is missing.

    Afterwards `root` holds exactly these items: shard n holds items [n·per_shard, (n+1)·per_shard), shards beyond the last are removed, and a shard
    whose items, recipe, codec or `fingerprint` changed is built anew. A longer list only adds shards (and rebuilds the last one if it was not full).

    Args:
        items: what the recipe takes, e.g. paths; plain values, paths, arrays or dataclasses. A `Path` counts as changed when its size or time changed.
        recipe: makes a sample of an item. `MedioError`, `OSError` and `ValueError` quarantine the item; anything else ends the build.
        root: local folder, made if absent, or a URL that fsspec writes to.
        per_shard: items a shard.
        executor: where shards are built: a `concurrent.futures.Executor`, or a Dask cluster by its client, its client's `get_executor()` or its scheduler's
            address `"tcp://…"` (items and recipe must then be picklable). A Dask task whose worker is killed is run by another.
        workers: build in this many spawned processes instead (a script must then guard its main part by `if __name__ == "__main__":`). When one dies the
            build goes on; an item that kills its process twice is quarantined. None or 1 builds one shard after the other in this process.
        codec: `fast`, `small` or `films`; all are lossless.
        fingerprint: anything else the samples depend on, e.g. a version of your recipe's helpers.
        progress: called with (items done, items in all).
        storage_options: of the URL's file system, e.g. `{"endpoint_url": …}`.

    Returns:
        What was built; `version` is the same for the same samples, undisturbed or resumed.

    Raises:
        ValueError: for no items, or per_shard below 1.
        MedioError: when two samples share an id, one patient is in two splits, or a worker process died and could not be replaced.
        OSError: when the disk is full or unwritable; what is finished stays, run again to go on.
    """
    if not items:
        raise ValueError(f"build_shards got no items for {root}; check the folder or table they come from")
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, got {per_shard}")
    chosen = codec_of(codec)
    folder = open_folder(root, storage_options)
    where = folder.root if isinstance(folder, LocalFolder) else str(root)
    if isinstance(folder, LocalFolder):
        folder = LocalFolder(folder.root.absolute())  # the process that builds a shard may stand elsewhere
        folder.root.mkdir(parents=True, exist_ok=True)
    recipe_hash = hash_of(FORMAT, str(chosen), recipe, fingerprint)
    count, total = -(-len(items) // per_shard), len(items)
    built = _built(folder)
    done = reused = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    def jobs() -> Iterator[ShardJob[T]]:
        nonlocal reused
        for number in range(count):
            part = items[number * per_shard : (number + 1) * per_shard]
            job = ShardJob(folder, number, part, recipe, hash_of(recipe_hash, list(part)), chosen)
            if built.get(shard_name(number)) == job.fingerprint:
                reused += 1
                advance(len(part))
            else:
                yield job

    advance(0)
    for more in run_jobs(jobs(), executor, workers):
        advance(more)
    _remove_beyond(folder, count)
    with local_indexes(folder) as indexes:
        version, samples, quarantined = _check(indexes, str(root))
    return BuildReport(where, version, samples, count, reused, quarantined)


def _built(folder: LocalFolder | RemoteFolder) -> dict[str, str]:
    """Fingerprint of each whole shard that is there, by name."""
    names = set(folder.names())
    if not any(name.endswith(".parquet") for name in names):
        return {}
    with local_indexes(folder) as indexes:
        return {
            path.stem: index_metadata(path).get("fingerprint", "")
            for path in index_paths(indexes)
            if path.with_suffix(".b2z").name in names
        }


def _remove_beyond(folder: LocalFolder | RemoteFolder, count: int) -> None:
    for name in sorted(folder.names()):
        stem, _, suffix = name.rpartition(".")
        # Indexes come first in no order that matters: a zip without index is no shard.
        if suffix in ("parquet", "b2z") and stem.isdigit() and int(stem) >= count:
            folder.remove(f"{stem}.parquet")
            folder.remove(name)


def _check(root: Path, where: str) -> tuple[str, int, tuple[Quarantined, ...]]:
    """Take the version and count the samples; hold the whole dataset to what no shard can see alone."""
    quarantined: list[Quarantined] = []
    contents: dict[str, str | None] = {}
    shard_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for path in index_paths(root):
        table = read_index(path, ["sample_id", "patient_id", "split", "item", "error"])
        contents[path.stem] = (table.schema.metadata or {}).get(b"medio.content", b"").decode() or None
        for row in table.to_pylist():
            if row["error"] is not None:
                quarantined.append(Quarantined(row["item"], row["error"]))
                continue
            other = shard_of.setdefault(row["sample_id"], path.name)
            if other != path.name:
                raise MedioError(where, f"sample_id {row['sample_id']!r} is in {other} and in {path.name}; make ids unique and build again")
            split = split_of.setdefault(row["patient_id"], row["split"])
            if split != row["split"]:
                reason = f"patient {row['patient_id']!r} is in splits {split!r} and {row['split']!r}; split by patient and build again"
                raise MedioError(where, reason)
    return version_of(contents, where), len(shard_of), tuple(quarantined)
