"""What a scan has read so far, on disk: a killed scan loses little."""

import secrets
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medio.atomic import replacing

_ROWS = 4096


class Parts:
    """Part files of a running scan, each written whole or not at all.

    Args:
        out: the Parquet file that the scan will write; the parts lie in a hidden folder beside it.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out.parent / f".{out.name}.parts"
        self._token = secrets.token_hex(4)
        self._written = 0
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def load(self) -> list[pa.Table]:
        """Return what an earlier, unfinished scan has left, oldest first; files that are no Parquet are removed."""
        found = []
        for path in sorted(self.folder.glob("[!.]*.parquet"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
            try:
                found.append(pq.read_table(path))
            except (pa.ArrowException, OSError):
                path.unlink(missing_ok=True)
        return found

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows that have just been read; every few thousand become a part."""
        if batch.num_rows:
            self._batches.append(batch)
            self._rows += batch.num_rows
        if self._rows >= _ROWS:
            with replacing(self.folder / f"{self._token}-{self._written:06d}.parquet") as partial:
                pq.write_table(pa.Table.from_batches(self._batches), partial, compression="zstd")
            self._written += 1
            self._batches, self._rows = [], 0

    def remove(self) -> None:
        """Remove all parts: the index is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
