"""Prove that a dataset of shards is what its indexes say: every array opens and hashes to what was stored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import blosc2
import numpy as np

from medio.errors import MedioError
from medio.shards.build import Quarantined
from medio.shards.index import content_hash, index_metadata, index_paths, local_root, read_index
from medio.shards.sample import array_hash, array_key


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


def verify_shards(root: Path | str, *, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Read every array of a dataset and compare it with the hash in its index, and every index with its own.

    Args:
        root: the dataset's folder.
        progress: called with (shards done, shards in all).

    Raises:
        MissingFileError: where there is no dataset.
        UnsupportedError: for a URL.
    """
    paths = index_paths(local_root(root))
    arrays = 0
    problems: list[Quarantined] = []
    for done, path in enumerate(paths, start=1):
        try:
            arrays += _verify_shard(path, problems)
        except MedioError as error:
            problems.append(Quarantined(error.path, error.reason))
        if progress is not None:
            progress(done, len(paths))
    return VerifyReport(len(paths), arrays, tuple(problems))


def _verify_shard(index: Path, problems: list[Quarantined]) -> int:
    table = read_index(index)
    if index_metadata(index).get("content") != content_hash(table):
        problems.append(Quarantined(str(index), "its rows were changed after it was written; delete it and build again"))
    data = index.with_suffix(".b2z")
    try:
        store = blosc2.DictStore(str(data), mode="r", dparams=blosc2.DParams(nthreads=1))
    except Exception as error:
        raise MedioError(data, f"cannot be opened ({error}); delete it and its .parquet and build again") from error
    count = 0
    for row in table.select(["row", "sample_id", "arrays"]).to_pylist():
        for array in row["arrays"] or ():
            count += 1
            name = f"{data}: {row['sample_id']}/{array['name']}"
            try:
                empty = 0 in array["shape"]
                found = np.empty(array["shape"], array["dtype"]) if empty else store[array_key(row["row"], array["name"])][...]
            except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
                problems.append(Quarantined(name, f"cannot be read ({error}); delete the file and its .parquet and build again"))
                continue
            if array_hash(found) != array["sha256"]:
                problems.append(Quarantined(name, "differs from what was stored; delete the file and its .parquet and build again"))
    return count
