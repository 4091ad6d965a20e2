"""The audit table: what was done to which attribute of which file, kept across runs that are killed and run again."""

import os
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from medio.atomic import replacing
from medio.deidentification.stamp import AuditEntry

AUDIT = "audit.parquet"
_PARTS = ".audit"
_SCHEMA = pa.schema([("file", pa.string()), ("tag", pa.string()), ("keyword", pa.string()), ("action", pa.string())])


class AuditTable:
    """Collects entries in parts that survive a kill, and joins them to `audit.parquet` when the run ends.

    Args:
        out: the folder of a de-identification; only one run at a time writes there.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._rows: list[dict[str, str]] = []
        self._covered: set[str] = set()
        for path in self._sources():
            self._covered |= set(pq.read_table(path, columns=["file"])["file"].unique().to_pylist())

    def __enter__(self) -> "AuditTable":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # After an error what is known stays in the parts; the next run joins it.
        if kind is None:
            self._join()

    def covers(self, target: Path) -> bool:
        """Tell whether a file's entries are there."""
        return self._name(target) in self._covered

    def add(self, target: Path, entries: list[AuditEntry]) -> None:
        """Add what was done to one file."""
        name = self._name(target)
        self._covered.add(name)
        self._rows += [{"file": name, "tag": e.tag, "keyword": e.keyword, "action": e.action} for e in entries]

    def flush(self) -> None:
        """Write what was added as one part, so that a kill after this loses none of it."""
        if self._rows:
            number = 1 + max((int(part.name[:8]) for part in self._parts()), default=0)
            with replacing(self._out / _PARTS / f"{number:08d}.parquet") as partial:
                pq.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA), partial)
            self._rows = []

    def _join(self) -> None:
        self.flush()
        with replacing(self._out / AUDIT) as partial:
            with pq.ParquetWriter(partial, _SCHEMA) as writer:
                written: set[str] = set()
                for path in self._sources():
                    # A file that was made again stands in two sources, with the same entries.
                    here: set[str] = set()
                    source = pq.ParquetFile(path)
                    for group in range(source.num_row_groups):
                        rows = source.read_row_group(group)
                        names = rows["file"].to_pylist()
                        here |= set(names)
                        writer.write_table(rows.filter(pa.array([name not in written for name in names], pa.bool_())))
                    written |= here
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        for part in self._parts():
            part.unlink()
        if (self._out / _PARTS).is_dir():
            (self._out / _PARTS).rmdir()

    def _sources(self) -> list[Path]:
        whole = self._out / AUDIT
        return [*([whole] if whole.is_file() else []), *self._parts()]

    def _parts(self) -> list[Path]:
        return sorted((self._out / _PARTS).glob("[0-9]*.parquet"))

    def _name(self, target: Path) -> str:
        return target.relative_to(self._out).as_posix()
