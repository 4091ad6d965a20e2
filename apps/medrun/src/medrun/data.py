"""What the engine trains on, and the normalisation of stored samples."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch

from medio.loading.loader import make_loader
from medio.loading.sampler import Draw, Sampler
from medmodels.contracts import Batch
from medmodels.preprocessing import Preprocessing


class TrainingDataset(Protocol):
    """What the engine needs of a dataset; `medio.ShardDataset` is one."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """Ids in the order of the dataset."""
        ...

    def __len__(self) -> int:
        """Give the number of samples."""
        ...

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """Give one sample, cut and altered by nothing but the draw's key."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """Endless batches of a dataset.

    Attributes:
        dataset: gives the samples.
        batch_size: samples an optimiser step, over all ranks and accumulated parts: the run does not depend on how many processes share it.
        seed: of the order and of every keyed draw.
        workers: loading processes a rank; 0 reads between steps. The batches are the same for any number.
        augment: applied to each batch on the training device, e.g. `medaug.Compose(...).batch`; None changes nothing.
        weights: one number a sample, how often it comes, e.g. from `medio.balance`; None brings each once an epoch.
        on_error: `raise` for a sample that cannot be read, or `skip`: another, chosen by key, takes its place, and a warning names both.
        pin_memory: batches lie in pinned memory, for copies to a GPU without waiting; needs CUDA.
    """

    dataset: TrainingDataset
    batch_size: int
    seed: int = 0
    workers: int = 0
    augment: Callable[[Batch], Batch] | None = None
    weights: tuple[float, ...] | None = None
    on_error: Literal["raise", "skip"] = "raise"
    pin_memory: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise ValueError(f"need batch_size >= 1 and workers >= 0, got {self.batch_size} and {self.workers}")
        if not len(self.dataset):
            raise ValueError("the training dataset is empty; check its folder and split")

    def batches(self, *, rank: int = 0, world_size: int = 1, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of one rank from batch `start` on, without end.

        Raises:
            ValueError: when the batch does not split evenly over the ranks.
        """
        if self.batch_size % world_size:
            raise ValueError(f"batch_size {self.batch_size} does not split over {world_size} processes; make it a multiple of {world_size}")
        sampler = Sampler(self.dataset, self.batch_size // world_size, self.seed, rank=rank, world_size=world_size, weights=self.weights)
        loader = make_loader(
            cast(Any, self.dataset), sampler, workers=self.workers, start=start, on_error=self.on_error, pin_memory=self.pin_memory
        )
        return iter(loader)

    def epoch(self, step: int) -> int:
        """Epoch of the first sample of batch `step`."""
        return step * self.batch_size // len(self.dataset)

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to see the same batches."""
        augment = getattr(self.augment, "__self__", self.augment)
        text = repr(augment)
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "samples": len(self.dataset),
            "sample_ids": hashlib.sha256("\n".join(self.dataset.sample_ids).encode()).hexdigest()[:16],
            "weights": None if self.weights is None else hashlib.sha256(np.array(self.weights).tobytes()).hexdigest()[:16],
            "on_error": self.on_error,
            "dataset_version": str(getattr(self.dataset, "version", "")),
            # A function's repr holds its address, which says nothing about what it does.
            "augment": text if " at 0x" not in text else getattr(augment, "__qualname__", type(augment).__qualname__),
        }


@dataclass(frozen=True)
class Normalize:
    """Transform of a `ShardDataset`: the stored image to the network's input, by the statistics of the whole image.

    Takes `statistics` out of the sample, so that nothing is normalised twice.
    """

    preprocessing: Preprocessing

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Normalise `image` (C, *S) of one sample to float32.

        Raises:
            ValueError: for a sample without `statistics`; names it.
        """
        if "statistics" not in sample:
            name = sample["key"][2] if "key" in sample else "a sample"
            raise ValueError(f"{name} has no statistics of its whole image; it was normalised before, or did not come from a ShardDataset")
        image = torch.from_numpy(np.ascontiguousarray(sample["image"]))
        normal = self.preprocessing.intensity.apply(image, sample["statistics"])
        return {name: value for name, value in sample.items() if name != "statistics"} | {"image": normal.numpy()}


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch's tensors, nested ones too."""
    return {name: _moved(value, device) for name, value in batch.items()}


def part(batch: Batch, start: int, stop: int) -> Batch:
    """Take samples start..stop of a batch."""
    return {
        name: part(value, start, stop) if isinstance(value, dict) else value if value is None else value[start:stop]
        for name, value in batch.items()
    }


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return to_device(value, device)
    if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        return [v.to(device, non_blocking=True) for v in value]
    return value
