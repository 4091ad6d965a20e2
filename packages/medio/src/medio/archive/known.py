"""Rows of an earlier scan, found again by file: what has not changed is not read again."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medio.archive.columns import DIRECTORY_CLASS, SCHEMA
from medio.archive.members import MEMBER_PATTERN
from medio.errors import CorruptFileError

Integers = npt.NDArray[np.int64]


class KnownRows:
    """The rows of earlier scans, by the file on disk that they come from.

    A file's rows count as known while its size and its time of change (in nanoseconds) are what they were. DICOMDIRs are never known: whether the files that they
    name are there must be looked at again.

    Args:
        tables: as `scan` returns them, the newest last; one with other columns (of another version) is passed over.
    """

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        usable = [table for table in tables if table.schema.equals(SCHEMA) and len(table)]
        self._ends = np.cumsum([len(table) for table in usable])  # where each table ends in the joined one
        self.table = pa.concat_tables(usable).combine_chunks() if usable else SCHEMA.empty_table()
        sizes = pc.coalesce(self.table["archive_size"], self.table["size"])
        firm = pc.and_(pc.is_valid(self.table["mtime_ns"]), pc.is_valid(sizes))
        firm = pc.and_(firm, pc.fill_null(pc.not_equal(self.table["sop_class_uid"], DIRECTORY_CLASS), True))
        rows = np.flatnonzero(firm.to_numpy())
        member = pc.is_valid(self.table["archive_size"])
        files = pc.if_else(member, pc.replace_substring_regex(self.table["path"], MEMBER_PATTERN, "\\1"), self.table["path"])
        encoded = files.combine_chunks().take(rows).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        self._files: pa.Array = encoded.dictionary
        order = np.argsort(codes, kind="stable")
        self._rows: Integers = rows[order]
        self._starts: Integers = np.searchsorted(codes[order], np.arange(len(self._files) + 1))
        last = self._rows[self._starts[1:] - 1] if len(rows) else np.empty(0, np.int64)
        self._sizes: Integers = sizes.combine_chunks().take(last).to_numpy(zero_copy_only=False).astype(np.int64)
        self._times: Integers = self.table["mtime_ns"].combine_chunks().take(last).to_numpy(zero_copy_only=False).astype(np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def find(self, paths: list[str]) -> tuple[Integers, Integers, Integers]:
        """Look files up.

        Args:
            paths: n of them.

        Returns:
            (n,) places for `rows`, -1 where a file is not known; (n,) their sizes in bytes and (n,) times of change in ns.
        """
        if not len(self._files):
            nothing = np.full(len(paths), -1, np.int64)
            return nothing, nothing, nothing
        found = (
            pc.fill_null(pc.index_in(pa.array(paths, pa.string()), value_set=self._files), -1)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64)
        )
        return found, np.where(found >= 0, self._sizes[found], -1), np.where(found >= 0, self._times[found], -1)

    def rows(self, place: int) -> Integers:
        """Return which rows of `table` a known file has: the ones of the newest scan that had it."""
        rows = self._rows[self._starts[place] : self._starts[place + 1]]
        origin = np.searchsorted(self._ends, rows, side="right")
        kept: Integers = rows[origin == origin[-1]]
        return kept


def load_index(index: Path | str | pa.Table) -> pa.Table:
    """Return an earlier index: a table as it is, a Parquet file read; one that is not there yet has no rows.

    Raises:
        CorruptFileError: a file that is no Parquet.
    """
    if isinstance(index, pa.Table):
        return index
    if not Path(index).exists():
        return SCHEMA.empty_table()
    try:
        return pq.read_table(index)
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(str(index), f"is no Parquet index ({error}); remove it or pass previous=None") from error
