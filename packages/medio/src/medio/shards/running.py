"""Where shards are built: in this process, on any executor, on a Dask cluster, or in processes of our own that may die."""

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medio.errors import MedioError
from medio.shards.index import shard_name
from medio.shards.writer import ShardJob, describe, write_shard

_DEATHS = 3  # of a shard without a row to blame, after which the build gives up
_DEATHS_OF_A_ROW = 2  # after which the row is quarantined: once may be another's fault
_UNKNOWN_WORKERS = 8


@dataclass(frozen=True)
class Lanes:
    """An executor and how many jobs it runs at a time.

    Attributes:
        submit: takes a function and a job.
        width: jobs that run at a time; a few more wait, so that no worker idles and a million futures are never made.
    """

    submit: Callable[[Callable[[ShardJob[Any]], int], ShardJob[Any]], "Future[int]"]
    width: int


def run_jobs(jobs: Iterable[ShardJob[Any]], executor: Any, workers: int | None) -> Iterator[int]:
    """Build shards and yield how many items each had, as they are done.

    Args:
        jobs: what to build; taken one by one as places become free.
        executor: see `build_shards`.
        workers: see `build_shards`.

    Raises:
        MedioError: where a worker process died and the shard could not be built by another.
        ValueError, TypeError: for both or a wrong executor.
    """
    if executor is not None and workers is not None:
        raise ValueError("give workers for processes of the build's own, or an executor, not both")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if executor is not None:
        with _lanes(executor) as lanes:
            yield from _on_executor(jobs, lanes)
    elif workers is None or workers == 1:
        yield from map(write_shard, jobs)
    else:
        yield from _in_own_processes(jobs, workers)


def _on_executor(jobs: Iterable[ShardJob[Any]], lanes: Lanes) -> Iterator[int]:
    waiting: dict[Future[int], ShardJob[Any]] = {}
    try:
        for job in jobs:
            try:
                waiting[lanes.submit(write_shard, job)] = job
            except BrokenProcessPool as error:
                raise _died(job) from error
            if len(waiting) >= lanes.width + 2:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _finished(waiting: dict["Future[int]", ShardJob[Any]]) -> Iterator[int]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        job = waiting.pop(future)
        try:
            yield future.result()
        except Exception as error:
            if not _is_death(error):
                raise
            raise _died(job) from error


def _died(job: ShardJob[Any]) -> MedioError:
    reason = (
        "a worker process died (killed, out of memory, or crashed in a decoder); finished shards are kept: run the build again, "
        "with workers=N instead of an executor to find and set aside an item that kills its worker"
    )
    return MedioError(job.folder.path(job.data), reason)


def _is_death(error: Exception) -> bool:
    # Dask's name is compared, not its class: it need not be installed. It gives up after `distributed.scheduler.allowed-failures` deaths.
    return isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"


@contextlib.contextmanager
def _lanes(executor: Any) -> Iterator[Lanes]:
    """Take an executor as given: of `concurrent.futures`, a Dask client, or a scheduler's address."""
    if isinstance(executor, str):
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError('a Dask cluster needs distributed: pip install "medio[dask]"') from error
        connect: Any = Client  # untyped
        with connect(executor, set_as_default=False) as client:
            yield _dask_lanes(client)
    elif hasattr(executor, "get_executor"):
        yield _dask_lanes(executor)
    elif isinstance(executor, Executor) or hasattr(executor, "submit"):
        client = getattr(executor, "_client", None)  # of what Dask's get_executor returns
        width = _dask_width(client) if hasattr(client, "nthreads") else getattr(executor, "_max_workers", _UNKNOWN_WORKERS)
        yield Lanes(executor.submit, int(width))
    else:
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, a Dask client or its scheduler's address, got {type(executor).__name__}"
        )


def _dask_lanes(client: Any) -> Lanes:
    # Not pure: a build is run for its files, so a key that was seen before must not answer from memory.
    return Lanes(client.get_executor(pure=False).submit, _dask_width(client))


def _dask_width(client: Any) -> int:
    return max(1, sum(int(count) for count in client.nthreads().values()))


def _in_own_processes(jobs: Iterable[ShardJob[Any]], workers: int) -> Iterator[int]:
    """Build in spawned processes; when one dies, go on in fresh ones, and set aside an item whose processes die each time."""
    with tempfile.TemporaryDirectory(prefix="medio-build-") as folder:
        source = (replace(job, diary=Path(folder) / shard_name(job.number)) for job in jobs)
        left = True
        while left:
            suspects: list[ShardJob[Any]] = []
            with _pool(workers) as pool:
                waiting: dict[Future[int], ShardJob[Any]] = {}
                try:
                    for job in source:
                        try:
                            waiting[pool.submit(write_shard, job)] = job
                        except BrokenProcessPool:
                            suspects.append(job)
                            break
                        if len(waiting) >= workers + 2:
                            yield from _finished_or_suspect(waiting, suspects)
                        if suspects:
                            break
                    while waiting:
                        yield from _finished_or_suspect(waiting, suspects)
                finally:
                    for future in waiting:
                        future.cancel()
            left = bool(suspects)
            yield from _one_by_one(suspects)


def _finished_or_suspect(waiting: dict["Future[int]", ShardJob[Any]], suspects: list[ShardJob[Any]]) -> Iterator[int]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        job = waiting.pop(future)
        try:
            yield future.result()
        except BrokenProcessPool:
            suspects.append(job)


def _one_by_one(suspects: Iterable[ShardJob[Any]]) -> Iterator[int]:
    """Build shards one at a time, for which of those under way killed a pool is not known; without the rows that kill their process again."""
    with contextlib.ExitStack() as stack:
        pool: ProcessPoolExecutor | None = None
        for job in suspects:
            deaths: dict[int | None, int] = {}
            while True:
                pool = pool or stack.enter_context(_pool(1))
                try:
                    yield pool.submit(write_shard, job).result()
                    break
                except BrokenProcessPool as error:
                    pool = None
                    job = _after_death(job, deaths, error)


def _after_death(job: ShardJob[Any], deaths: dict[int | None, int], error: BrokenProcessPool) -> ShardJob[Any]:
    """Count a death of the process that built a shard; returns the job to try next.

    Raises:
        MedioError: where no row is to blame and trying again does not help.
    """
    row = _row_in_the_making(job)
    deaths[row] = deaths.get(row, 0) + 1
    if row is None and deaths[row] >= _DEATHS:
        reason = (
            f"the process that builds it died {_DEATHS} times: killed, out of memory, or unable to import the recipe (a script guards its "
            f'main part by `if __name__ == "__main__":`); its first item is {describe(job.items[0])}'
        )
        raise MedioError(job.folder.path(job.data), reason) from error
    if row is None or deaths[row] < _DEATHS_OF_A_ROW:
        return job
    reason = f"the process that read it died {deaths[row]} times: killed, out of memory, or crashed in a decoder; check the file"
    return replace(job, refused={**job.refused, row: reason})


def _row_in_the_making(job: ShardJob[Any]) -> int | None:
    try:
        return int(job.diary.read_text()) if job.diary is not None else None
    except (OSError, ValueError):
        return None


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: Arrow's threads of this process would not survive a fork.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
