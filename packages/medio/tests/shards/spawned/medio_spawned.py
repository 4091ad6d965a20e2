"""Recipes and readers of the tests that run in other processes: importable there by name, as test modules are not."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from medio.shards.cache import Cache
from medio.shards.dataset import ShardDataset
from medio.shards.sample import ShardSample


def image(item: int) -> np.ndarray:
    """Noise: 48 kB stay about 35 kB."""
    return np.random.default_rng(item).integers(-1000, 1000, (1, 20, 30, 40)).astype(np.int16)


def make(item: int) -> ShardSample:
    return ShardSample(sample_id=f"s{item}", patient_id=f"p{item}", arrays={"image": image(item)}, spacing=(1, 1, 1), affine=np.eye(4))


def read(dataset: ShardDataset, index: int) -> np.ndarray:
    whole: np.ndarray = dataset[index]["image"]
    return whole


def read_all(url: str, options: dict[str, Any], folder: Path, limit: int, seed: int) -> int:
    """Read every sample four times in an order of its own; returns the most bytes that the cache was seen to take."""
    cache = Cache(folder, limit)
    dataset = ShardDataset(url, storage_options=options, cache=cache)
    peak = 0
    for index in np.random.default_rng(seed).permutation(np.repeat(np.arange(len(dataset)), 4)):
        np.testing.assert_array_equal(dataset[int(index)]["image"], image(int(index)))
        peak = max(peak, cache.used_bytes())
    return peak


class Dying:
    """A recipe whose process is killed at an item: always, or only the first time, told by a file."""

    def __init__(self, at: int, marker: Path | None = None) -> None:
        self.at = at
        self.marker = marker

    def __call__(self, item: int) -> ShardSample:
        if item == self.at and (self.marker is None or not self.marker.exists()):
            if self.marker is not None:
                self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return make(item)


class Waiting:
    """A recipe that tells its process, then waits at an item until a file appears or its process is killed."""

    def __init__(self, at: int, begun: Path, go: Path) -> None:
        self.at = at
        self.begun = begun
        self.go = go

    def __call__(self, item: int) -> ShardSample:
        if item == self.at and not self.go.exists():
            partial = self.begun.with_suffix(".partial")
            partial.write_text(str(os.getpid()))
            partial.replace(self.begun)
            deadline = time.monotonic() + 60
            while not self.go.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        return make(item)


def large(item: int) -> ShardSample:
    """A volume of 64 MiB that compresses to nothing."""
    volume = np.full((1, 128, 512, 512), item, np.int16)
    return ShardSample(sample_id=f"s{item}", patient_id=f"p{item}", arrays={"image": volume}, spacing=(1, 1, 1), affine=np.eye(4))
