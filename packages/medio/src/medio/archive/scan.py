"""What an archive holds: one row a file.

Query the table with pyarrow, or the Parquet file with DuckDB:

    import pyarrow.compute as pc
    index = medio.scan("archive", workers=8, out="index.parquet")
    thin = index.filter((pc.field("modality") == "CT") & (pc.field("slice_thickness") <= 1.5) & pc.field("error").is_null())

    import duckdb
    duckdb.sql('''
        select manufacturer, convolution_kernel, count(distinct series_instance_uid) as series, count(distinct patient_id) as patients
        from 'index.parquet' where modality = 'CT' and error is null
        group by all order by series desc
    ''')
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medio.archive.columns import SCHEMA, Row, error_row
from medio.archive.known import Integers, KnownRows, load_index
from medio.archive.parts import Parts
from medio.archive.reading import file_rows
from medio.archive.walk import Chunk, walk
from medio.atomic import replacing
from medio.errors import MedioError

__all__ = ["SCHEMA", "scan"]

_CHUNK = 128


@dataclass(frozen=True, slots=True)
class _Job:
    chunk: Chunk
    sizes: Integers | None  # of the known files, bytes
    times: Integers | None  # of the known files, ns


@dataclass(frozen=True, slots=True)
class _Done:
    fresh: pa.RecordBatch
    counts: list[int]  # of each file its fresh rows, -1 where it has not changed


def scan(
    root: Path | str,
    *,
    workers: int | None = None,
    previous: Path | str | pa.Table | None = None,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Read the header of every file under a folder, also in zip and tar archives.

    Args:
        root: the folder; hidden files and folders are passed over, links to folders are followed where they lead out of it.
        workers: processes; none but this one by default. With more, call it under `if __name__ == "__main__":` as any process pool.
        previous: an earlier index of the same folder, a table or a Parquet file (which may be absent still): files whose size and time of change are what they were
            are taken from it, only new and changed ones are read, vanished ones are dropped.
        out: Parquet file to write, whole or not at all. While the scan runs, what it has read is kept in the hidden folder `.<name>.parts` beside it: a scan that
            was killed goes on from there when it is called again.
        progress: called with (files done, files in all).

    Returns:
        A table of `SCHEMA`, one row a file, ordered by path. A file that is not DICOM, is broken, or holds fewer bytes of uncompressed pixels than it declares
        is a row whose `error` says so; so is a file that a DICOMDIR names and that is not there, behind the DICOMDIR.

    Raises:
        MissingFileError: no such folder.
        CorruptFileError: `previous` is no index.
        MedioError: a worker process died.
    """
    chunks = list(walk(root, _CHUNK))
    parts = Parts(Path(out)) if out is not None else None
    earlier = [] if previous is None else [load_index(previous)]
    known = KnownRows([*earlier, *(parts.load() if parts is not None else [])])
    total, done = sum(chunk.count for chunk in chunks), 0
    tables = []
    for chunk, places, result in _results(root, chunks, known, workers or 1):
        table = _merged(result, places, known)
        tables.append(table)
        if parts is not None:
            parts.add(result.fresh)
        done += chunk.count
        if progress is not None:
            progress(done, total)
    index = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    if out is not None and parts is not None:
        with replacing(Path(out)) as partial:
            pq.write_table(index, partial, compression="zstd")
        parts.remove()
    return index


def _results(root: Path | str, chunks: list[Chunk], known: KnownRows, workers: int) -> Iterator[tuple[Chunk, Integers | None, _Done]]:
    """Read chunks in their order, at most four a process ahead: neither jobs nor results pile up."""
    if workers <= 1 or len(chunks) < 2:
        for chunk in chunks:
            job, places = _job(chunk, known)
            yield chunk, places, _read(job)
        return
    waiting: deque[tuple[Chunk, Integers | None, Future[_Done]]] = deque()
    # Spawned, not forked: the caller may hold threads (torch, Arrow) that a fork would freeze.
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        try:
            for chunk in chunks:
                job, places = _job(chunk, known)
                waiting.append((chunk, places, pool.submit(_read, job)))
                if len(waiting) >= 4 * workers:
                    first, found, future = waiting.popleft()
                    yield first, found, future.result()
            while waiting:
                first, found, future = waiting.popleft()
                yield first, found, future.result()
        except BrokenProcessPool as error:
            raise MedioError(
                str(root), "a worker process died (out of memory?); scan again with fewer workers, with out= it goes on"
            ) from error


def _job(chunk: Chunk, known: KnownRows) -> tuple[_Job, Integers | None]:
    if not len(known):
        return _Job(chunk, None, None), None
    places, sizes, times = known.find(list(chunk.paths()))
    return _Job(chunk, sizes, times), places


def _read(job: _Job) -> _Done:
    """Read one chunk, in whichever process."""
    rows: list[Row] = [error_row(folder, problem) for folder, problem in job.chunk.problems]
    counts = []
    for position, path in enumerate(job.chunk.paths()):
        try:
            status = os.stat(path)  # noqa: PTH116  # a Path of every file would cost more than this
        except OSError as error:
            rows.append(error_row(path, f"cannot be opened ({error.strerror})"))
            counts.append(1)
            continue
        if (
            job.sizes is not None
            and job.times is not None
            and (status.st_size, status.st_mtime_ns) == (job.sizes[position], job.times[position])
        ):
            counts.append(-1)
            continue
        try:
            found = file_rows(path, status)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end a scan of millions; the row tells it
            found = [
                error_row(path, f"could not be indexed ({type(error).__name__}: {error}); please report the file", size=status.st_size)
            ]
        rows += found
        counts.append(len(found))
    return _Done(as_batch(rows), counts)


def as_batch(rows: list[Row]) -> pa.RecordBatch:
    """Turn rows into columns; text that is no valid Unicode (names of files) is escaped."""
    columns = zip(*rows, strict=True) if rows else [[] for _ in SCHEMA]
    return pa.RecordBatch.from_arrays([_array(values, field) for values, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array([v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for v in values], field.type)
    except OverflowError:
        return pa.array([v if v is None or -(2**63) <= v < 2**63 else None for v in values], field.type)


def _merged(result: _Done, places: Integers | None, known: KnownRows) -> pa.Table:
    """Put fresh rows and rows of files that have not changed in the order of the files."""
    fresh = pa.Table.from_batches([result.fresh])
    if places is None or -1 not in result.counts:
        return fresh
    order: list[Integers] = []
    old: list[Integers] = []
    taken, offset = 0, len(fresh)
    extra = len(fresh) - sum(count for count in result.counts if count > 0)  # folders that cannot be listed
    order.append(np.arange(extra))
    taken = extra
    for place, count in zip(places, result.counts, strict=True):
        if count >= 0:
            order.append(np.arange(taken, taken + count))
            taken += count
        else:
            rows = known.rows(int(place))
            old.append(rows)
            order.append(np.arange(offset, offset + len(rows)))
            offset += len(rows)
    return pa.concat_tables([fresh, known.table.take(np.concatenate(old))]).take(np.concatenate(order))
