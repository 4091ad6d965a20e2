"""Prove that a dataset of shards is what its indexes say: every array opens and hashes to what was stored."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medio.errors import MedioError
from medio.quarantine import Quarantined
from medio.shards.index import content_hash, index_metadata, index_paths, local_indexes, read_index
from medio.shards.reader import ShardReader
from medio.shards.sample import array_hash
from medio.shards.storage import RemoteFolder, open_folder


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_shards` found.

    Attributes:
        shards: indexes read.
        arrays: arrays read whole.
        problems: what is missing, unreadable or changed, and the mend; empty where all is well.
    """

    shards: int
    arrays: int
    problems: tuple[Quarantined, ...]


def verify_shards(
    root: Path | str, *, progress: Callable[[int, int], None] | None = None, storage_options: Mapping[str, Any] | None = None
) -> VerifyReport:
    """Read every array of a dataset and compare it with the hash in its index, and every index with its own.

    Args:
        root: the dataset's folder, or its URL; the shards of a URL are fetched one at a time.
        progress: called with (shards done, shards in all).
        storage_options: of the URL's file system.

    Raises:
        MissingFileError: where there is no dataset.
    """
    folder = open_folder(root, storage_options)
    arrays = 0
    problems: list[Quarantined] = []
    with local_indexes(folder) as indexes, tempfile.TemporaryDirectory(prefix="medio-verify-") as temporary:
        paths = index_paths(indexes)
        for done, index in enumerate(paths, start=1):
            name = f"{index.stem}.b2z"
            data = Path(temporary) / name if isinstance(folder, RemoteFolder) else index.with_suffix(".b2z")
            try:
                if isinstance(folder, RemoteFolder):
                    folder.fetch(name, data)
                arrays += _verify_shard(index, data, folder.path(name), problems)
            except MedioError as error:
                problems.append(Quarantined(folder.path(Path(error.path).name), error.reason))
            if isinstance(folder, RemoteFolder):
                data.unlink(missing_ok=True)
            if progress is not None:
                progress(done, len(paths))
    return VerifyReport(len(paths), arrays, tuple(problems))


def _verify_shard(index: Path, data: Path, where: str, problems: list[Quarantined]) -> int:
    """Read every array of a shard; returns how many."""
    table = read_index(index)
    if index_metadata(index).get("content") != content_hash(table):
        problems.append(
            Quarantined(f"{where.removesuffix('.b2z')}.parquet", "its rows were changed after it was written; delete it and build again")
        )
    reader = ShardReader(data)
    count = 0
    for row in table.select(["row", "sample_id", "arrays"]).to_pylist():
        for array in row["arrays"] or ():
            count += 1
            name = f"{where}: {row['sample_id']}/{array['name']}"
            found = np.empty(array["shape"], array["dtype"])
            try:
                if found.size:
                    reader.read_into(row["row"], array["name"], (0,) * found.ndim, found.shape, found, shape=array["shape"])
            except MedioError as error:
                problems.append(Quarantined(name, error.reason))
                continue
            if array_hash(found) != array["sha256"]:
                problems.append(Quarantined(name, "differs from what was stored; delete the file and its .parquet and build again"))
    return count
