"""A small dataset of shards for the loader's tests, and a way to compare batches."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medio.shards.build import build_shards
from medio.shards.sample import ShardSample


def make(item: int) -> ShardSample:
    image = np.random.default_rng(item).integers(0, 100, (1, 10 + item, 12, 9)).astype(np.int16)
    return ShardSample(
        sample_id=f"s{item}",
        patient_id=f"p{item}",
        arrays={"image": image, "mask": (image[0] > 50).astype(np.uint8), "points": np.array([[item, 2.0, 3.0]])},
        spacing=(1, 1, 1),
        affine=np.eye(4),
        site="north" if item < 4 else "south",
        labels={"a": float(item % 2)} if item != 2 else {"b": 0.0},
        report=f"report {item}",
    )


@pytest.fixture(autouse=True)
def importable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers import the module of a test by the name that pytest gave it, which begins at the root of the checkout."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(request.config.rootpath)])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five samples of shapes (1, 10 + i, 12, 9) in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    build_shards(range(5), make, folder, per_shard=2)
    return folder


def assert_same(a: Any, b: Any) -> None:
    """Compare two batches to the bit, in nested dicts and lists."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif hasattr(a, "dtype"):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)
    else:
        assert a == b


@pytest.fixture(scope="session")
def same() -> Any:
    return assert_same
