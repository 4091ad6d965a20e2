"""Batches in order, made in this process: between the caller's steps, or by threads into a ring of memory."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from medio.errors import LoaderError
from medio.loading.collation import finish, lay_out, take_up, write
from medio.loading.making import Maker, SkippedSample
from medio.loading.sampler import Draw
from medio.loading.slots import Slots


class Finished(NamedTuple):
    """A batch as it is handed out, and what it cost."""

    batch: Any
    nbytes: int
    samples: int
    skipped: Sequence[SkippedSample]
    read_s: float
    write_s: float


class Batches(Protocol):
    """Batches in order, without end."""

    @property
    def ring_bytes(self) -> int:
        """Memory held for batches."""
        ...

    def __next__(self) -> Finished:
        """Wait for the next batch."""
        ...

    def close(self) -> None:
        """Stop, and let go of processes, threads and memory; may be called again, and from another thread to end a wait."""
        ...


class SerialBatches:
    """Batches made when they are asked for."""

    ring_bytes = 0

    def __init__(self, maker: Maker, first: int) -> None:
        self._maker = maker
        self._next = first

    def __next__(self) -> Finished:
        """Make the next batch, in memory of its own."""
        draws = self._maker.sampler.batch_at(self._next)
        made = self._maker.make(self._next, draws)
        began = perf_counter()
        batch = finish(made.tree)
        self._next += 1
        return Finished(batch, lay_out(made.tree)[2], len(draws), made.skipped, made.read_s, perf_counter() - began)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class _Written(NamedTuple):
    slot: int
    tree: Any
    nbytes: int
    skipped: Sequence[SkippedSample]
    read_s: float
    write_s: float


class ThreadBatches:
    """Batches made by threads of this process, into a ring of memory.

    Args:
        maker: makes them; its dataset is read from several threads at once.
        first: number of the first batch.
        workers: threads.
        prefetch: batches ahead of the caller, per thread.
        timeout: seconds to wait for one batch; None waits for ever.
    """

    def __init__(self, maker: Maker, first: int, workers: int, prefetch: int, timeout: float | None) -> None:
        self._maker = maker
        self._next = first
        self._ahead = workers * prefetch
        self._timeout = timeout
        self._slots = Slots()
        self._jobs: SimpleQueue[tuple[int, list[Draw], Future[_Written]] | None] = SimpleQueue()
        self._pending: deque[tuple[int, list[Draw], Future[_Written]]] = deque()
        self._workers = workers
        self._closed = False
        for number in range(workers):
            threading.Thread(target=_work, args=(self._jobs, maker, self._slots), name=f"medio-loader-{number}", daemon=True).start()

    @property
    def ring_bytes(self) -> int:
        """Memory of the ring."""
        return self._slots.nbytes

    def __next__(self) -> Finished:
        """Wait for the next batch."""
        while len(self._pending) < self._ahead:
            job = (self._next, self._maker.sampler.batch_at(self._next), Future[_Written]())
            self._pending.append(job)
            self._jobs.put(job)
            self._next += 1
        number, draws, future = self._pending.popleft()
        try:
            done = future.result(self._timeout)
        except CancelledError:
            raise LoaderError(f"batch {number}", "the loader was closed") from None
        except FutureTimeoutError:
            if future.done():
                raise  # the dataset's own
            raise late(number, draws, self._timeout, "a thread") from None
        batch = take_up(done.tree, self._slots.lease(done.slot))
        self._slots.shed(self._ahead)
        return Finished(batch, done.nbytes, len(draws), done.skipped, done.read_s, done.write_s)

    def close(self) -> None:
        """Stop after the batches that are being read; what waits is cancelled."""
        if self._closed:
            return
        self._closed = True
        for _, _, future in list(self._pending):
            future.cancel()
        for _ in range(self._workers):
            self._jobs.put(None)


def late(number: int, draws: Sequence[Draw], timeout: float | None, who: str) -> LoaderError:
    """Say that a batch did not come in time."""
    return LoaderError(
        f"batch {number} ({ids_of(draws)})",
        f"did not come from {who} within {timeout:g} s; look at the storage it is read from, or raise timeout=",
    )


def ids_of(draws: Sequence[Draw]) -> str:
    """Name the samples of a batch."""
    ids = [draw.key[2] for draw in draws]
    return ", ".join(ids[:16]) + (f" and {len(ids) - 16} more" if len(ids) > 16 else "")


def _work(jobs: "SimpleQueue[tuple[int, list[Draw], Future[_Written]] | None]", maker: Maker, slots: Slots) -> None:
    while (job := jobs.get()) is not None:
        number, draws, future = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            made = maker.make(number, draws)
            began = perf_counter()
            tree, writes, size = lay_out(made.tree)
            slot = slots.take()
            try:
                write(writes, slots.provide(slot, size))
            except BaseException:
                slots.give_back(slot)
                raise
            future.set_result(_Written(slot, tree, size, made.skipped, made.read_s, perf_counter() - began))
        except BaseException as error:  # noqa: BLE001 - it is raised where the batch is asked for
            future.set_exception(error)
        # A waiting thread must not keep the last batch's samples alive.
        del job, future, draws
