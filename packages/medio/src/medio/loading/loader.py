"""From samples to batches of tensors; needs the extra `medio[torch]`."""

import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, Literal, get_args

from medio.loading.batches import Batches, Finished, SerialBatches, ThreadBatches
from medio.loading.collation import Ragged, Sample, need_torch
from medio.loading.devices import pin
from medio.loading.making import LoadableDataset, Maker, OnError, SkippedSample
from medio.loading.processes import ProcessBatches
from medio.loading.sampler import Sampler
from medio.loading.stats import LoaderStats
from medio.loading.torch_queue import QueueBatches

Transport = Literal["auto", "ring", "threads", "queue"]


def make_loader(
    dataset: LoadableDataset,
    sampler: Sampler,
    *,
    workers: int = 0,
    start: int | None = None,
    transport: Transport = "auto",
    prefetch: int = 2,
    pin_memory: bool = False,
    collate: Callable[[Sequence[Sample]], Any] | None = None,
    ragged: Ragged = "error",
    on_error: OnError = "raise",
    timeout: float | None = 600.0,
    start_method: Literal["fork", "spawn"] | None = None,
) -> "Loader":
    """Make a loader over a sampler's batches, without end.

    Every iteration begins at batch `start` and leaves `sampler.position` alone: a loader asks ahead, so only the trainer knows what was used. The batches
    are the same for any transport and any number of workers.

    A batch is the caller's for as long as any of its tensors lives; only then is its memory written again. One who keeps batches makes the ring grow, and
    never sees a batch change. (Tensors up to 64 kB are copies: collecting labels keeps no images.)

    Transports:
        ring: processes that write into shared memory and send messages of some hundred bytes. The memory has no name: nothing can be left behind, and the
            size of /dev/shm does not matter. Linux (and other POSIX systems, through a temporary file).
        threads: threads of this process, into a ring as well; for readers that free the GIL. The dataset is read from several threads at once.
        queue: torch's `DataLoader`, each tensor through its queue and /dev/shm.
        auto: the ring where there is one, else the queue.

    Args:
        dataset: gives the samples; its `transform` runs in the worker.
        sampler: says which, with which keys.
        workers: processes or threads; 0 reads in the caller's own, between its steps.
        start: number of the first batch; None takes the sampler's position at this call.
        transport: see above.
        prefetch: batches ahead, per worker.
        pin_memory: hand out tensors in pinned memory, copied by a thread one batch ahead, for `to_device` without waiting; needs CUDA.
        collate: list of samples to anything; None takes `medio.collate`. Runs in the worker.
        ragged: what `medio.collate` does with differing shapes: `error`, `pad` or `list`.
        on_error: `raise`, or `skip` to put another sample, chosen by key, in a broken one's place; `quarantined` and a warning tell which.
        timeout: seconds to wait for one batch before it is an error; None waits for ever.
        start_method: of processes; None takes the system's (`fork` on Linux shares the dataset's memory with the workers). `spawn` pickles the dataset and
            wants the caller under `if __name__ == "__main__":`.

    Returns:
        The loader; its batches are as `collate` makes them.

    Raises:
        ImportError: without torch; names the extra.
        ValueError: for numbers or names that make no sense.
        SampleError: from its iteration, when a sample cannot be read or transformed; names the sample, and the traceback in the worker is a note of it.
        LoaderError: from its iteration, when a worker dies, a batch does not come in time, or shared memory is too small.
    """
    torch = need_torch()
    if pin_memory and not torch.cuda.is_available():
        raise ValueError("pin_memory=True needs a CUDA device and there is none; leave it out")
    if workers < 0 or prefetch < 1 or (timeout is not None and timeout <= 0):
        raise ValueError(f"need workers >= 0, prefetch >= 1 and timeout > 0 or None, got {workers}, {prefetch} and {timeout}")
    for name, value, known in (("transport", transport, Transport), ("ragged", ragged, Ragged), ("on_error", on_error, OnError)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
    if transport == "auto":
        transport = "ring" if sys.platform == "linux" else "queue"
    if transport == "ring" and os.name != "posix":
        raise ValueError("the ring passes open files between processes, which this system cannot; use transport='threads' or 'queue'")
    first = sampler.position if start is None else start
    maker = Maker(dataset, sampler, collate, ragged, on_error)

    def begin() -> Batches:
        if workers == 0:
            return SerialBatches(maker, first)
        if transport == "threads":
            return ThreadBatches(maker, first, workers, prefetch, timeout)
        kind = ProcessBatches if transport == "ring" else QueueBatches
        return kind(maker, first, workers, prefetch, timeout, start_method)

    return Loader(dataset, sampler, begin, workers=workers, pin_memory=pin_memory)


class Loader:
    """Batches of a dataset, without end; see `make_loader`.

    Each iteration has workers of its own; they end with it: when the iterator is closed or gone, at an error, or when the loader is closed. Use the loader as a
    context manager to say where that is.

    Attributes:
        dataset: gives the samples.
        sampler: says which.
        stats: counters over all iterations; `print(loader.stats.summary())` tells whether the trainer waits for data.
        quarantined: broken samples whose places others took (`on_error="skip"`), in the order in which their batches were handed out.
    """

    def __init__(self, dataset: LoadableDataset, sampler: Sampler, begin: Callable[[], Batches], *, workers: int, pin_memory: bool) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.stats = LoaderStats(workers=workers)
        self.quarantined: list[SkippedSample] = []
        self._begin = begin
        self._pin_memory = pin_memory
        self._running: weakref.WeakSet[BatchIterator] = weakref.WeakSet()

    def __iter__(self) -> "BatchIterator":
        """Begin at the first batch, with workers of its own."""
        batches = self._begin()
        iterator = BatchIterator(PinnedAhead(batches) if self._pin_memory else batches, self.stats, self.quarantined)
        self._running.add(iterator)
        return iterator

    def close(self) -> None:
        """End every iteration and its workers."""
        for iterator in list(self._running):
            iterator.close()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class BatchIterator(Iterator[Any]):
    """One iteration over a loader's batches; over when it is closed or has raised."""

    def __init__(self, batches: Batches, stats: LoaderStats, quarantined: list[SkippedSample]) -> None:
        self.batches = batches
        self._stats = stats
        self._quarantined = quarantined
        self._named = {skipped.sample_id for skipped in quarantined}
        self._end = weakref.finalize(self, batches.close)

    def __next__(self) -> Any:
        if not self._end.alive:
            raise StopIteration
        began = perf_counter()
        try:
            got = next(self.batches)
        except BaseException:
            # Also Ctrl-C: a message may have been read in half, so there is no going on.
            self.close()
            raise
        self._account(got, began)
        return got.batch

    def close(self) -> None:
        """End the workers."""
        self._end()

    def _account(self, got: Finished, began: float) -> None:
        stats = self._stats
        stats.handed_out(began, got.samples)
        stats.bytes += got.nbytes
        stats.read_s += got.read_s
        stats.write_s += got.write_s
        stats.ring_bytes = self.batches.ring_bytes
        for skipped in got.skipped:
            if skipped.sample_id not in self._named:
                self._named.add(skipped.sample_id)
                message = (
                    f"{skipped.sample_id} cannot be read ({skipped.reason}); {skipped.stand_in} took its place in batch {skipped.batch}"
                )
                warnings.warn(message, stacklevel=3)
            self._quarantined.append(skipped)
            stats.skipped += 1


class PinnedAhead:
    """Batches copied to pinned memory by a thread, one ahead of the caller."""

    def __init__(self, batches: Batches, copy: Callable[[Any], Any] = pin) -> None:
        self._batches = batches
        self._copy = copy
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medio-pin", initializer=_on_device_of_caller())
        self._next: Future[Finished] | None = None

    @property
    def ring_bytes(self) -> int:
        """Memory of the ring below."""
        return self._batches.ring_bytes

    def __next__(self) -> Finished:
        """Wait for the next batch, and ask for the one after."""
        waited = self._next or self._thread.submit(self._pinned)
        got = waited.result()
        self._next = self._thread.submit(self._pinned)
        return got

    def close(self) -> None:
        """Stop the thread and what it reads from."""
        self._batches.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _pinned(self) -> Finished:
        got = next(self._batches)
        return got._replace(batch=self._copy(got.batch))


def _on_device_of_caller() -> Callable[[], None]:
    """Give what puts a thread on the caller's GPU: it would else make a context on the first one, in every rank."""
    cuda = need_torch().cuda
    if not cuda.is_available():
        return lambda: None
    device = cuda.current_device()
    return lambda: cuda.set_device(device)
