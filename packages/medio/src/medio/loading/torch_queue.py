"""Batches through torch's own `DataLoader`: every tensor by itself through a queue. The slowest transport, for systems without the ring's."""

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

from medio.errors import LoaderError
from medio.loading.batches import Finished, ids_of
from medio.loading.collation import finish, lay_out, need_torch
from medio.loading.making import Failure, Maker
from medio.loading.processes import settle
from medio.loading.sampler import Draw, Sampler
from medio.loading.slots import check_shared_folder


class QueueBatches:
    """Batches made by the workers of a `DataLoader`.

    Args:
        maker: makes them, in the workers.
        first: number of the first batch.
        workers: processes.
        prefetch: batches ahead of the caller, per process.
        timeout: seconds to wait for one batch; None waits for ever.
        start_method: `fork`, `spawn` or None for the system's default.

    Raises:
        LoaderError: when shared memory is too small for the batches ahead.
    """

    ring_bytes = 0

    def __init__(self, maker: Maker, first: int, workers: int, prefetch: int, timeout: float | None, start_method: str | None) -> None:
        need_torch()
        from torch.utils.data import DataLoader

        self._sampler = maker.sampler
        self._next = first
        check_shared_folder(workers * prefetch * _batch_bytes(maker, first))
        loader: DataLoader[Any] = DataLoader(
            _Made(maker),  # type: ignore[arg-type]  # a map-style dataset by duck typing: this class must exist without torch
            sampler=_Jobs(maker.sampler, first),
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            timeout=timeout or 0,
            prefetch_factor=prefetch,
            multiprocessing_context=start_method,
            worker_init_fn=_settle,
        )
        self._batches: Iterator[Any] | None = iter(loader)

    def __next__(self) -> Finished:
        """Wait for the next batch."""
        if self._batches is None:
            raise LoaderError("loader", "it was closed")
        try:
            got = next(self._batches)
        except RuntimeError as error:
            # torch says what happened to its worker, and not to which samples.
            name = f"batch {self._next} ({ids_of(self._sampler.batch_at(self._next))})"
            raise LoaderError(name, f"did not come: {error}; see dmesg for want of memory, or use transport='ring'") from error
        if isinstance(got, Failure):
            raise got.error("a worker of the DataLoader")
        self._next += 1
        return Finished(*got)

    def close(self) -> None:
        """End the workers: the iterator of a DataLoader does so when it is gone."""
        self._batches = None


class _Made:
    """Whole batches as a map-style dataset; errors are values, for torch would rebuild them from their text and lose their type."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def __getitem__(self, job: tuple[int, list[Draw]]) -> Any:
        number, draws = job
        try:
            made = self.maker.make(number, draws)
        except Exception as error:  # noqa: BLE001 - it is raised where the batch is asked for
            return Failure.of(error)
        began = perf_counter()
        batch, size = finish(made.tree), lay_out(made.tree)[2]
        return tuple(Finished(batch, size, len(draws), made.skipped, made.read_s, perf_counter() - began))


class _Jobs:
    """Numbers and draws of a sampler's batches from one on; iterating does not move the sampler."""

    def __init__(self, sampler: Sampler, first: int) -> None:
        self.sampler = sampler
        self.first = first

    def __iter__(self) -> Iterator[tuple[int, Sequence[Draw]]]:
        number = self.first
        while True:
            yield number, self.sampler.batch_at(number)
            number += 1


def _batch_bytes(maker: Maker, first: int) -> int:
    """Size of the first batch, from its first sample."""
    draw = maker.sampler.batch_at(first)[0]
    try:
        return lay_out(maker.make(first, [draw]).tree)[2] * maker.sampler.batch_size
    except Exception:  # noqa: BLE001 - the worker that meets the broken sample reports it, in its order
        return 0


def _as_it_is(batch: Any) -> Any:
    return batch


def _settle(worker: int) -> None:
    settle()
