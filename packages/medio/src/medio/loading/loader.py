"""From samples to batches of tensors; needs the extra `medio[torch]`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medio.errors import SampleError
from medio.loading.sampler import Draw, Sampler
from medio.shards.dataset import ShardDataset

if TYPE_CHECKING:
    import torch

Sample = Mapping[str, Any]

_LISTS = ("key", "meta", "statistics", "boxes", "points")


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Make a batch of samples.

    Args:
        samples: as `ShardDataset` gives them, arrays or tensors.

    Returns:
        A dict: `image` (B, C, *S), float32 where it was a float and in its stored integer type otherwise (int16 is a quarter of the traffic of a
        worker's queue; normalise in the dataset's transform to get floats); `mask` (B, *S) int64; `label` (B, K) float32, NaN kept; `spacing`
        (B, dims) float32; `affine` (B, 4, 4) float64; lists of `key`, `meta`, `statistics`, `boxes` and `points` (tensors (n, 2·dims) and (n, dims)),
        `report` (str, empty where a sample has none); `prior` a nested batch.

    Raises:
        ValueError: when shapes differ or a key is missing in some samples; names them.
        ImportError: without torch; names the extra.
    """
    torch = _torch()
    if not samples:
        raise ValueError("collate got no samples")
    ids = [str(s["key"][2]) if "key" in s else f"#{i}" for i, s in enumerate(samples)]
    batch: dict[str, Any] = {}
    for name in dict.fromkeys(name for s in samples for name in s):
        if name == "report":
            batch[name] = [s.get(name) or "" for s in samples]
            continue
        lacking = [i for i, s in zip(ids, samples, strict=True) if name not in s]
        if lacking:
            raise ValueError(f"samples {lacking[:8]} of the batch have no {name!r} and others do; choose keys or a split where all agree")
        values = [s[name] for s in samples]
        if name in ("boxes", "points"):
            batch[name] = [torch.as_tensor(v) for v in values]
        elif name == "prior":
            batch[name] = _prior(values, ids)
        elif isinstance(values[0], np.ndarray | torch.Tensor) and name not in _LISTS:
            batch[name] = _stack(name, values, ids)
        else:
            batch[name] = values
    return batch


def make_loader(
    dataset: ShardDataset, sampler: Sampler, *, workers: int = 0, start: int | None = None
) -> "torch.utils.data.DataLoader[Any]":
    """Make a `torch.utils.data.DataLoader` over a sampler's batches, without end.

    Every iteration begins at batch `start` and leaves `sampler.position` alone: a loader asks ahead, so only the trainer knows what was used.

    Args:
        dataset: gives the samples.
        sampler: says which, with which keys.
        workers: processes; 0 reads in this one. The batches are the same for any number.
        start: number of the first batch; None takes the sampler's position at this call.

    Returns:
        The loader; its batches are as `collate` makes them.

    Raises:
        ImportError: without torch; names the extra.
        SampleError: from its iteration, when a sample cannot be read, transformed or collated; names the sample, from any worker.
    """
    _torch()
    from torch.utils.data import DataLoader

    class BatchLoader(DataLoader[Any]):
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                if isinstance(batch, _Failure):
                    raise batch.error
                yield batch

    return BatchLoader(
        _Samples(dataset),  # type: ignore[arg-type]  # a map-style dataset by duck typing: this class must exist without torch
        batch_sampler=_Batches(sampler, sampler.position if start is None else start),
        num_workers=workers,
        collate_fn=_collate_or_failure,
        worker_init_fn=_quiet_worker,
    )


class _Failure:
    """An error on its way from a worker: torch would rebuild it from its text and lose its type."""

    def __init__(self, error: SampleError | ValueError) -> None:
        self.error = error


class _Samples:
    """The dataset as a loader sees it: errors are values."""

    def __init__(self, dataset: ShardDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, draw: Draw) -> Any:
        try:
            return self.dataset[draw]
        except SampleError as error:
            return _Failure(SampleError(error.path, error.reason))


class _Batches:
    """A sampler's batches from one on; iterating does not move the sampler."""

    def __init__(self, sampler: Sampler, start: int) -> None:
        self.sampler = sampler
        self.start = start

    def __iter__(self) -> Iterator[list[Draw]]:
        n = self.start
        while True:
            yield self.sampler.batch_at(n)
            n += 1


def _collate_or_failure(samples: Sequence[Any]) -> Any:
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    try:
        return collate(samples)
    except ValueError as error:
        return _Failure(ValueError(str(error)))


def _quiet_worker(worker: int) -> None:
    _torch().set_num_threads(1)


def _stack(name: str, values: Sequence[Any], ids: Sequence[str]) -> "torch.Tensor":
    import torch

    shapes = [tuple(v.shape) for v in values]
    if len(set(shapes)) > 1:
        listed = ", ".join(f"{i} {s}" for i, s in list(zip(ids, shapes, strict=True))[:8])
        raise ValueError(f"{name} differs in shape within a batch: {listed}; cut them alike with Crop(size=...) or use batch_size=1")
    stacked: torch.Tensor = torch.from_numpy(np.stack(values)) if isinstance(values[0], np.ndarray) else torch.stack(list(values))
    if name == "mask":
        return stacked.long()
    if name == "affine":
        return stacked.double()
    return stacked.float() if name in ("label", "spacing") or stacked.is_floating_point() else stacked


def _prior(values: Sequence[Any], ids: Sequence[str]) -> dict[str, Any] | None:
    if all(value is None for value in values):
        return None
    lacking = [i for i, value in zip(ids, values, strict=True) if value is None]
    if lacking:
        raise ValueError(f"samples {lacking[:8]} of the batch have no prior and others do; batch them apart")
    return collate(values)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError('batches of tensors need torch: pip install "medio[torch]"') from error
    return torch
