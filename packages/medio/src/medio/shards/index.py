"""The index of a shard: one Parquet row a sample, written last, so that a shard exists when its index exists."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medio.errors import CorruptFileError, MissingFileError, UnsupportedError

FORMAT = "medio-shards-1"
STATISTICS = ("min", "max", "mean", "std", "p0_5", "p99_5")

SCHEMA = pa.schema(
    [
        ("row", pa.int32()),  # place in the shard; arrays lie under /<row>/<name>
        ("sample_id", pa.string()),  # null in a quarantined row, as is all that follows but item and error
        ("patient_id", pa.string()),
        ("split", pa.string()),
        ("study_date", pa.string()),
        ("site", pa.string()),
        ("vendor", pa.string()),
        ("modality", pa.string()),
        ("unit", pa.string()),
        ("spacing", pa.list_(pa.float64())),
        ("affine", pa.list_(pa.float64())),  # 16 values, row-major; null for films
        ("labels", pa.map_(pa.string(), pa.float64())),
        ("report", pa.string()),
        ("meta", pa.map_(pa.string(), pa.string())),
        ("statistics", pa.struct([(name, pa.float64()) for name in STATISTICS])),
        (
            "arrays",
            pa.list_(
                pa.struct([("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("sha256", pa.string())]),
            ),
        ),
        (
            "foreground",  # per class of the mask: its voxels, bounding box (lowest index, then one past the highest), and a keyed sample of places
            pa.list_(
                pa.struct(
                    [
                        ("class", pa.int64()),
                        ("count", pa.int64()),
                        ("box", pa.list_(pa.int64())),
                        ("voxels", pa.list_(pa.uint32())),  # flat indices, z slowest
                    ]
                )
            ),
        ),
        ("item", pa.string()),  # quarantined rows only: what the recipe was given
        ("error", pa.string()),  # quarantined rows only: why it gave no sample
    ]
)


def shard_name(number: int) -> str:
    """Name of a shard's files without suffix: `000042`."""
    return f"{number:06d}"


def local_root(root: Path | str) -> Path:
    """Return the folder of a dataset.

    Raises:
        UnsupportedError: for a URL; this version reads and writes local folders only.
    """
    if "://" in str(root):
        raise UnsupportedError(str(root), "shards are read and written on local paths only; copy or mount the folder and give its path")
    return Path(root)


def index_paths(root: Path) -> list[Path]:
    """Return the indexes of a dataset in the order of their shards.

    Raises:
        MissingFileError: for a folder that does not exist or holds no shard.
    """
    if not root.is_dir():
        raise MissingFileError(root, "no such folder; give the folder that build_shards wrote")
    paths = sorted(p for p in root.glob("*.parquet") if p.stem.isdigit())
    if not paths:
        raise MissingFileError(root, "the folder holds no shard (NNNNNN.parquet); build it with build_shards first")
    return paths


def write_index(path: Path, rows: Sequence[Mapping[str, Any]], fingerprint: str, staging: Path) -> None:
    """Write an index atomically: under `staging` on the same disk, fsync, rename, fsync of the folder."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
    metadata = {"medio.format": FORMAT, "medio.fingerprint": fingerprint, "medio.content": content_hash(table)}
    temporary = staging / path.name
    with temporary.open("wb") as file:
        pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def read_index(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read an index, or some of its columns, without threads (safe in a forked worker).

    Raises:
        CorruptFileError: for a file that is no index of this format.
    """
    try:
        with path.open("rb") as file:
            table = pq.read_table(file, columns=list(columns) if columns else None, use_threads=False, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(path, f"cannot be read as a shard's index ({error}); delete it and build again") from error
    if (table.schema.metadata or {}).get(b"medio.format", b"").decode() != FORMAT:
        raise CorruptFileError(path, f"is not an index of format {FORMAT}; build the shards again with this version of medio")
    return table


def index_metadata(path: Path) -> dict[str, str]:
    """Return `format`, `fingerprint` and `content` of an index from its footer; empty where the file is not an index."""
    try:
        with path.open("rb") as file:
            metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError):
        return {}
    return {k.decode().removeprefix("medio."): v.decode() for k, v in metadata.items() if k.startswith(b"medio.")}


def content_hash(table: pa.Table) -> str:
    """SHA-256 of the samples of an index: the same content gives the same hash on every machine and in every rebuild.

    Quarantined rows are left out: their text holds paths, and they are no part of what a model sees.
    """
    digest = hashlib.sha256(FORMAT.encode())
    for row in table.to_pylist():
        if row["error"] is None:
            digest.update(json.dumps(row, sort_keys=True).encode())
            digest.update(b"\n")
    return digest.hexdigest()


def dataset_version(root: Path) -> str:
    """Version of a dataset: SHA-256 over its indexes' names and content."""
    digest = hashlib.sha256()
    for path in index_paths(root):
        content = index_metadata(path).get("content")
        if content is None:
            raise CorruptFileError(path, f"is not an index of format {FORMAT}; delete it and build again")
        digest.update(f"{path.stem}:{content}\n".encode())
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
