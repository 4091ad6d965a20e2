import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medio import MedioError
from medmodels import Intensity, Preprocessing, Progress
from medrun import Normalize, TrainData, seed_everything
from medrun.data import part
from medrun.schedules import learning_rate_factor
from medrun.seeding import generator_state, restore_generators


def test_a_crop_is_normalised_by_the_statistics_of_the_whole() -> None:
    normal = Normalize(Preprocessing(spatial_dims=2, patch_size=(2, 2), intensity=Intensity(kind="zscore")))
    sample = {"image": np.array([[[100, 300]]], dtype=np.int16), "statistics": {"mean": 100.0, "std": 50.0}, "key": (0, 0, "a", 0)}
    done = normal(sample)
    # (300 - 100) / 50 = 4
    assert done["image"].tolist() == [[[0.0, 4.0]]]
    assert done["image"].dtype == np.float32
    with pytest.raises(ValueError, match="a has no statistics"):
        normal(done)


def test_two_ranks_share_the_batch_of_one(tiny: ModuleType) -> None:
    data = TrainData(dataset=tiny.TinyData(7), batch_size=4, seed=1)
    whole, first, second = (data.batches(), data.batches(rank=0, world_size=2), data.batches(rank=1, world_size=2))
    for _ in range(5):
        assert next(whole)["key"] == next(first)["key"] + next(second)["key"]
    with pytest.raises(ValueError, match="make it a multiple of 3"):
        data.batches(world_size=3)


def test_a_part_of_a_batch_has_every_key() -> None:
    batch = {"image": torch.arange(4), "report": list("abcd"), "prior": {"image": torch.arange(4)}, "none": None}
    assert part(batch, 1, 3)["report"] == ["b", "c"]
    assert part(batch, 1, 3)["prior"]["image"].tolist() == [1, 2]
    assert part(batch, 1, 3)["none"] is None


def test_a_sample_comes_as_often_as_it_weighs(tiny: ModuleType) -> None:
    data = TrainData(dataset=tiny.TinyData(4), batch_size=4, seed=1, weights=(0.0, 1.0, 0.0, 3.0))
    batches = data.batches()
    drawn = [key[2] for _ in range(250) for key in next(batches)["key"]]
    assert set(drawn) == {"s01", "s03"}
    # 1000 draws at 3/4: standard deviation 0.014
    assert drawn.count("s03") / len(drawn) == pytest.approx(0.75, abs=0.055)
    assert data.identity() != TrainData(dataset=tiny.TinyData(4), batch_size=4, seed=1).identity()


def test_a_sample_that_cannot_be_read_stops_the_run_or_is_replaced_with_a_warning(tiny: ModuleType) -> None:
    class Broken(tiny.TinyData):  # type: ignore[misc, name-defined]
        def __getitem__(self, draw: Any) -> dict[str, Any]:
            if draw.key[2] == "s02":
                raise MedioError("s02.dcm", "is cut short")
            return dict(super().__getitem__(draw))

    with pytest.raises(Exception, match="s02"):
        [next(TrainData(dataset=Broken(4), batch_size=4).batches()) for _ in range(2)]
    with pytest.warns(UserWarning, match="s02"):
        batch = next(TrainData(dataset=Broken(4), batch_size=4, on_error="skip").batches())
    assert "s02" not in [key[2] for key in batch["key"]]
    assert len(batch["key"]) == 4


def test_an_empty_dataset_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(ValueError, match="empty"):
        TrainData(dataset=tiny.TinyData(0), batch_size=1)


def test_restored_generators_draw_the_same() -> None:
    import random

    seed_everything(5)
    state = generator_state()
    draws = [(random.random(), np.random.rand(), float(torch.rand(()))) for _ in range(2)]  # noqa: NPY002
    restore_generators(state)
    assert draws[0] == (random.random(), np.random.rand(), float(torch.rand(())))  # noqa: NPY002
    assert draws[0] != draws[1]


def test_the_learning_rate_rises_to_the_peak_and_falls_to_the_end() -> None:
    # 10 steps, 2 of warm-up: 1/2, 1, then the cosine's 8 steps from 1; half-way (step 6) it is (1 + 0.1) / 2
    rates = [learning_rate_factor(Progress(i, 10), "cosine", 0.2, 0.1) for i in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.55)
    assert learning_rate_factor(Progress(9, 10), "linear", 0.2, 0.0) == pytest.approx(1 / 8)
    assert learning_rate_factor(Progress(9, 10), "constant", 0.2, 0.0) == 1.0


@given(st.integers(1, 200), st.floats(0, 0.9), st.sampled_from(["cosine", "linear", "constant"]), st.floats(0, 1))
def test_every_step_learns_and_none_beyond_the_peak(steps: int, warmup: float, schedule: str, final: float) -> None:
    for i in range(steps):
        rate = learning_rate_factor(Progress(i, steps), schedule, warmup, final)  # type: ignore[arg-type]
        assert 0 < rate <= 1 + 1e-12
        assert math.isfinite(rate)
