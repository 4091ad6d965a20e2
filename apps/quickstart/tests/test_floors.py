"""The floors are what they say: pixels that separate give AUROC 1, a view gives the rate of its films."""

from pathlib import Path

import numpy as np
import pytest

from med_quickstart.floors import pixel_floor, view_floor
from medio import ShardDataset, ShardSample, build_shards


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 films: the upper half bright where the finding is; the finding in 3 of 4 AP films and 1 of 4 PA films of training."""
    root = tmp_path_factory.mktemp("films")

    def recipe(n: int) -> ShardSample:
        view, seen = ("AP", n % 4 != 3) if n % 2 else ("PA", n % 8 == 0)
        pixels = np.random.default_rng(n).normal(100, 5, (1, 64, 64))
        pixels[:, :32] += 60 * seen
        split = "train" if n < 32 else "val" if n < 40 else "test"
        return ShardSample(
            sample_id=f"{n}",
            patient_id=f"{n}",
            arrays={"image": pixels.astype(np.float32)},
            spacing=(1.0, 1.0),
            split=split,
            labels={"Mass": float(seen)},
            meta={"view": view},
        )

    build_shards(list(range(48)), recipe, root, fingerprint="films")
    return root


def data(root: Path, split: str) -> ShardDataset:
    return ShardDataset(root, split=split, labels=["Mass"])


def test_the_pixel_floor_sees_what_pixels_show(films):
    held = data(films, "test")
    p = pixel_floor(data(films, "train"), data(films, "val"), held)[:, 0]
    truth = np.array([held[i]["label"][0] for i in range(len(held))])
    assert p[truth == 1].min() > p[truth == 0].max()


def test_the_view_floor_is_the_rate_of_each_view(films):
    train, held = data(films, "train"), data(films, "test")
    p = view_floor(train, held)
    assert p is not None
    labels = {view: [] for view in ("AP", "PA")}
    for i in range(len(train)):
        labels[train[i]["meta"]["view"]].append(train[i]["label"][0])
    overall = np.mean([*labels["AP"], *labels["PA"]])
    for i in range(len(held)):
        seen = labels[held[i]["meta"]["view"]]
        # one film of prior at the overall rate beside those counted
        assert p[i, 0] == pytest.approx((sum(seen) + overall) / (len(seen) + 1))


def test_a_view_that_nobody_noted_gives_no_floor(tmp_path):
    def recipe(n: int) -> ShardSample:
        return ShardSample(
            sample_id=f"{n}",
            patient_id=f"{n}",
            arrays={"image": np.zeros((1, 32, 32), np.float32)},
            spacing=(1.0, 1.0),
            split=("train", "test")[n % 2],
            labels={"Mass": float(n % 3 == 0)},
        )

    build_shards(list(range(8)), recipe, tmp_path, fingerprint="x")
    assert view_floor(data(tmp_path, "train"), data(tmp_path, "test")) is None
