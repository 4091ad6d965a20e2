"""The index of a shard: one Parquet row a sample, written last, so that a shard exists when its index exists."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medio.errors import CorruptFileError, MissingFileError
from medio.shards.storage import LocalFolder, RemoteFolder

FORMAT = "medio-shards-2"
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
        ("prior_sample_id", pa.string()),  # the same patient's sample before this one
        ("days_since_prior", pa.float64()),
        ("meta", pa.map_(pa.string(), pa.string())),
        ("statistics", pa.struct([(name, pa.float64()) for name in STATISTICS])),
        (
            "arrays",
            pa.list_(
                pa.struct([("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("sha256", pa.string())]),
            ),
        ),
        (
            # Per class of the mask: its voxels, bounding box (lowest index, then one past the highest), and a keyed sample of places. Components are
            # listed where a class falls into several.
            "foreground",
            pa.list_(
                pa.struct(
                    [
                        ("class", pa.int64()),
                        ("count", pa.int64()),
                        ("box", pa.list_(pa.int64())),
                        ("voxels", pa.list_(pa.uint32())),  # flat indices, z slowest
                        ("components", pa.list_(pa.struct([("count", pa.int64()), ("voxels", pa.list_(pa.uint32()))]))),
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


def index_names(folder: LocalFolder | RemoteFolder) -> list[str]:
    """Return the names of the indexes in a folder in the order of their shards; empty where there is none."""
    return sorted(name for name in folder.names() if name.endswith(".parquet") and name.removesuffix(".parquet").isdigit())


def index_paths(root: Path) -> list[Path]:
    """Return the indexes of a local dataset in the order of their shards.

    Raises:
        MissingFileError: for a folder that does not exist or holds no shard.
    """
    if not root.is_dir():
        raise MissingFileError(root, "no such folder; give the folder that build_shards wrote")
    names = index_names(LocalFolder(root))
    if not names:
        raise MissingFileError(root, "the folder holds no shard (NNNNNN.parquet); build it with build_shards first")
    return [root / name for name in names]


def fetch_indexes(folder: RemoteFolder, target: Path) -> None:
    """Copy the indexes of a remote dataset into a local folder.

    Raises:
        MissingFileError: where there is none.
    """
    names = index_names(folder)
    if not names:
        raise MissingFileError(str(folder), "holds no shard (NNNNNN.parquet); check the URL, or build it with build_shards first")
    for name, content in folder.contents(names):
        (target / name).write_bytes(content)


@contextlib.contextmanager
def local_indexes(folder: LocalFolder | RemoteFolder) -> Iterator[Path]:
    """Give a local folder that holds the indexes of a dataset: its own, or a temporary copy.

    Raises:
        MissingFileError: where there is no dataset.
    """
    if isinstance(folder, LocalFolder):
        yield folder.root
        return
    with tempfile.TemporaryDirectory(prefix="medio-indexes-") as copies:
        fetch_indexes(folder, Path(copies))
        yield Path(copies)


def write_index(path: Path, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> None:
    """Write an index to a staging path; it counts once it is put beside its arrays."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
    metadata = {"medio.format": FORMAT, "medio.fingerprint": fingerprint, "medio.content": content_hash(table)}
    with path.open("wb") as file:
        pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def read_index(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read an index, or some of its columns, without threads (safe in a forked worker).

    Raises:
        CorruptFileError: for a file that is no index of this format.
    """
    try:
        # `pq.read_table` would go through Arrow's datasets, which take three times as long for so small a file.
        with path.open("rb") as file, pq.ParquetFile(file, pre_buffer=False) as index:
            table = index.read(columns=list(columns) if columns else None, use_threads=False)
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
    return version_of({path.stem: index_metadata(path).get("content") for path in index_paths(root)}, str(root))


def version_of(contents: Mapping[str, str | None], where: str) -> str:
    """Version of a dataset from the content hash of each of its shards by name."""
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        if content is None:
            raise CorruptFileError(f"{where}/{name}.parquet", f"is not an index of format {FORMAT}; delete it and build again")
        digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()
