"""The rows of a dataset in Arrow buffers: a million samples cost no Python objects, and processes share one copy."""

import contextlib
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from medio.errors import MissingFileError
from medio.shards.index import SCHEMA, index_paths, read_index

# Smaller tables travel inside the pickle.
_SHARE_FROM = 1 << 20


class Column(Sequence[str]):
    """A column of texts: a sequence that makes each text when it is asked for. Compares equal to any sequence of the same texts."""

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Column": ...
    def __getitem__(self, at: int | slice) -> "str | Column":
        """Return one text, or a part of the column."""
        if isinstance(at, slice):
            return Column(self._values[at])
        return str(self._values[range(len(self))[at]].as_py())

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), 4096):
            yield from self._values.slice(first, 4096).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Column):
            return bool(self._values.equals(other._values))
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(repr(text) for text in self[:3])
        return f"({shown}{', …' if len(self) > 3 else ''})"


class Rows:
    """The samples of a dataset, one row each.

    Forked processes share the buffers with their parent. For spawned ones the first pickling writes the rows to an Arrow file, once, and moves this
    process onto it as well: every process maps the same file, and only its pages that are read take memory, once for all.

    Args:
        table: one row a sample.

    Attributes:
        table: the same, in one chunk.
    """

    def __init__(self, table: pa.Table) -> None:
        self._set(table.combine_chunks())
        self._file: Path | None = None

    def __len__(self) -> int:
        return len(self.table)

    def row(self, index: int) -> dict[str, Any]:
        """Return the row of a sample, 0 to len - 1."""
        return {name: column[index].as_py() for name, column in self._columns.items()}

    def texts(self, name: str) -> Column:
        """Return a column of texts."""
        return Column(self._columns[name])

    def __getstate__(self) -> dict[str, Any]:
        if self.table.nbytes < _SHARE_FROM:
            return {"table": self.table}
        if self._file is None or not self._file.exists():
            self._share()
        return {"file": self._file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The file belongs to the process that wrote it; FileNotFoundError where that has ended, for the dataset to read its indexes again.
        file = state.get("file")
        self._set(state["table"] if file is None else _mapped(file))
        self._file = file

    def _set(self, table: pa.Table) -> None:
        self.table = table
        self._columns = {name: _only_chunk(table[name]) for name in table.column_names}

    def _share(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="medio-rows-", suffix=".arrow")
        file = Path(name)
        weakref.finalize(self, _remove, file, os.getpid())
        with os.fdopen(descriptor, "wb") as sink, pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        self._set(_mapped(file))
        self._file = file


def read_rows(
    root: Path, split: Sequence[str] | None, *, checksums: bool, where: str
) -> tuple[pa.Table, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Read the rows of a dataset from its indexes.

    Args:
        root: local folder of the indexes.
        split: keep only these splits; None keeps all.
        checksums: keep the hashes of the arrays.
        where: the dataset, for messages.

    Returns:
        One row a sample, with its `shard`; (item, reason) of what was quarantined; the names of all labels, sorted.

    Raises:
        MissingFileError: where nothing is left.
    """
    columns = [name for name in SCHEMA.names if name != "foreground"]
    tables = []
    for path in index_paths(root):
        table = read_index(path, columns).replace_schema_metadata(None)
        tables.append(table.append_column("shard", pa.array([path.stem] * len(table), pa.string())))
    rows = pa.concat_tables(tables)
    bad = rows.filter(pc.is_valid(rows["error"])).select(["item", "error"])
    quarantined = tuple((row["item"], row["error"]) for row in bad.to_pylist())
    rows = rows.filter(pc.is_null(rows["error"])).drop_columns(["item", "error"])
    if not len(rows):
        raise MissingFileError(where, f"every item was quarantined, the first because: {quarantined[0][1]}")
    if split is not None:
        known = sorted(pc.unique(rows["split"]).to_pylist())
        rows = rows.filter(pc.is_in(rows["split"], pa.array(list(split), pa.string())))
        if not len(rows):
            raise MissingFileError(where, f"no sample is in split {list(split)}; the dataset has {known}")
    rows = rows.combine_chunks()
    labels = sorted(pc.unique(_only_chunk(rows["labels"]).keys).to_pylist())
    if not checksums:
        rows = rows.set_column(rows.column_names.index("arrays"), "arrays", _without_hashes(_only_chunk(rows["arrays"])))
    return rows, quarantined, tuple(labels)


def _without_hashes(arrays: pa.ListArray) -> pa.ListArray:
    entries = arrays.flatten()
    names = ["name", "dtype", "shape"]
    offsets = pc.subtract(arrays.offsets, arrays.offsets[0])
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([entries.field(name) for name in names], names))


def _mapped(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    )


def _remove(file: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a forked child that ends first
        with contextlib.suppress(OSError):
            file.unlink()
