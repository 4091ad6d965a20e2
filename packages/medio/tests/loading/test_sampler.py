import copy
import pickle
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medio.loading.sampler import Sampler

counts = st.integers(1, 23)


def dataset(count: int, patients: list[str] | None = None) -> SimpleNamespace:
    return SimpleNamespace(sample_ids=[f"s{i}" for i in range(count)], patients=patients or [f"p{i}" for i in range(count)])


def options(kind: str, count: int) -> dict[str, Any]:
    """Weights 0, 1, 2, …; three buckets in turn; or patients apart."""
    return {
        "plain": {},
        "weights": {"weights": [float(i + (count == 1)) for i in range(count)]},
        "buckets": {"buckets": [i % 3 for i in range(count)]},
        "both": {"weights": [1.0 + i for i in range(count)], "buckets": [i % 3 for i in range(count)]},
        "apart": {"one_per_patient": True},
    }[kind]


kinds = st.sampled_from(["plain", "weights", "buckets", "both", "apart"])


@given(kinds, st.integers(12, 30), st.integers(1, 2), st.sampled_from([1, 2, 3, 6]), st.integers(0, 9), st.integers(0, 99))
def test_the_global_order_does_not_depend_on_world_size(kind: str, count: int, unit: int, world: int, n: int, seed: int) -> None:
    extra = options(kind, count)
    alone = Sampler(dataset(count), 6 * unit, seed, **extra).batch_at(n)
    together = [Sampler(dataset(count), 6 * unit // world, seed, rank=r, world_size=world, **extra).batch_at(n) for r in range(world)]
    assert [d for batch in together for d in batch] == alone


@given(kinds, counts, st.integers(1, 7), st.integers(0, 20), st.integers(0, 99))
def test_resuming_gives_what_an_uninterrupted_run_gives(kind: str, count: int, batch_size: int, position: int, seed: int) -> None:
    batch_size = min(batch_size, count)
    whole, resumed = (Sampler(dataset(count), batch_size, seed, **options(kind, count)) for _ in range(2))
    run = iter(whole)
    for _ in range(position):
        next(run)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.position == position
    after = iter(resumed)
    assert [next(run) for _ in range(3)] == [next(after) for _ in range(3)]


@given(counts, st.integers(1, 7), st.integers(0, 99), st.booleans(), st.booleans())
def test_every_epoch_holds_every_sample_once_and_nothing_is_dropped(
    count: int, batch_size: int, seed: int, shuffle: bool, bucketed: bool
) -> None:
    sampler = Sampler(dataset(count), batch_size, seed, shuffle=shuffle, **options("buckets" if bucketed else "plain", count))
    draws = [d for n in range(3 * sampler.batches_per_epoch) for d in sampler.batch_at(n)]
    for epoch in range(3):
        own = [d for d in draws if d.key[1] == epoch]
        assert sorted(d.index for d in own) == list(range(count))
    assert all(d.key == (seed, d.key[1], f"s{d.index}", 0) for d in draws)


@given(kinds, counts, st.integers(1, 7), st.integers(0, 40))
def test_epoch_of_is_the_epoch_of_a_batchs_first_draw(kind: str, count: int, batch_size: int, n: int) -> None:
    sampler = Sampler(dataset(count), min(batch_size, count), 3, **options(kind, count))
    assert sampler.epoch_of(n) == sampler.batch_at(n)[0].key[1]


def test_orders_differ_between_epochs_and_seeds() -> None:
    first, second = (Sampler(dataset(20), 20, 0).batch_at(n) for n in (0, 1))
    other = Sampler(dataset(20), 20, 1).batch_at(0)
    assert len({tuple(d.index for d in batch) for batch in (first, second, other)}) == 3


def test_batches_count_by_the_global_batch() -> None:
    # 10 samples, 2 ranks of 2: 4 a batch, so 3 batches until all were seen
    assert Sampler(dataset(10), 2, 0, world_size=2).batches_per_epoch == 3


def test_weighted_draws_come_as_often_as_stated() -> None:
    weights = [0.0, 1.0, 2.0, 5.0]
    sampler = Sampler(dataset(4), 4, 7, weights=weights)
    drawn = Counter(d.index for n in range(2500) for d in sampler.batch_at(n))
    assert drawn[0] == 0
    for index, weight in enumerate(weights):
        # 10,000 independent draws: within 4 standard deviations of the binomial
        p = weight / sum(weights)
        assert abs(drawn[index] - 10_000 * p) <= 4 * np.sqrt(10_000 * p * (1 - p))


@given(st.integers(2, 30), st.integers(0, 20))
def test_a_sample_drawn_again_in_an_epoch_has_another_key(count: int, seed: int) -> None:
    sampler = Sampler(dataset(count), count, seed, weights=[1.0] + [0.1] * (count - 1))
    keys = [d.key for n in range(2) for d in sampler.batch_at(n)]
    assert len(set(keys)) == len(keys)
    repeats = Counter(key[1:3] for key in keys)
    assert all(sorted(k[3] for k in keys if k[1:3] == which) == list(range(times)) for which, times in repeats.items())


@given(st.integers(0, 99), st.integers(20, 120), st.integers(1, 8), st.integers(1, 5))
def test_a_batch_holds_one_bucket_but_for_the_remainders(seed: int, count: int, batch_size: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    buckets = rng.integers(0, kinds, count)
    sampler = Sampler(dataset(count), batch_size, seed, buckets=buckets)
    for epoch in range(2):
        whole = [n for n in range(3 * sampler.batches_per_epoch) if {d.key[1] for d in sampler.batch_at(n)} == {epoch}]
        mixed = sum(len({buckets[d.index] for d in sampler.batch_at(n)}) > 1 for n in whole)
        # Remainders are below a batch in each bucket; one bucket more may give up a batch for the border of two epochs.
        assert mixed <= kinds


def test_buckets_leave_a_fifth_of_the_padding() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, 1000)
    ranks = lengths.argsort().argsort() * 16 // 1000  # sixteen buckets of equal size

    def padding(**extra: Any) -> int:
        sampler = Sampler(dataset(1000), 8, 1, **extra)
        batches = [[lengths[d.index] for d in sampler.batch_at(n)] for n in range(125)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(buckets=ranks) < padding() / 5


@given(st.integers(0, 99), st.lists(st.integers(1, 9), min_size=4, max_size=20), st.sampled_from([1, 2, 4]))
def test_no_patient_comes_twice_in_a_global_batch(seed: int, films: list[int], world: int) -> None:
    patients = [f"p{i}" for i, n in enumerate(films) for _ in range(n)]
    sampler = Sampler(dataset(len(patients), patients), 4 // world, seed, world_size=world, one_per_patient=True)
    ranks = [
        Sampler(dataset(len(patients), patients), 4 // world, seed, rank=r, world_size=world, one_per_patient=True) for r in range(world)
    ]
    seen: Counter[tuple[int, int]] = Counter()
    for n in range(2 * sampler.batches_per_epoch):
        batch = [d for rank in ranks for d in rank.batch_at(n)]
        assert len({patients[d.index] for d in batch}) == 4
        seen.update((d.key[1], d.index) for d in batch)
    assert max(seen.values()) == 1
    # As many batches as can be: one more would need more draws than the patients have to give.
    batches = sampler.batches_per_epoch
    assert sum(min(n, batches) for n in films) >= 4 * batches
    assert sum(min(n, batches + 1) for n in films) < 4 * (batches + 1)


def test_what_sits_out_changes_with_the_epoch() -> None:
    # Two batches of 4 would need 8 films of at most two a patient; there are 2 + 4.
    patients = ["a"] * 9 + ["b", "c", "d", "e"]
    sampler = Sampler(dataset(13, patients), 4, 0, one_per_patient=True)
    assert sampler.batches_per_epoch == 1
    seen = {d.index for n in range(200) for d in sampler.batch_at(n)}
    assert seen == set(range(13))


@given(kinds, st.integers(12, 30), st.integers(0, 5), st.integers(0, 3))
def test_a_stand_in_is_another_sample_that_keeps_the_batchs_rules(kind: str, count: int, n: int, place: int) -> None:
    patients = [f"p{i // 2}" for i in range(count)]
    extra = options(kind, count)
    sampler = Sampler(dataset(count, patients), 4, 5, **extra)
    broken = sampler.batch_at(n)[place]
    chosen = [sampler.stand_in(n, place, attempt) for attempt in range(3)]
    assert chosen == [copy.deepcopy(sampler).stand_in(n, place, attempt) for attempt in range(3)]
    assert len({d.index for d in chosen} | {broken.index}) == 4
    for attempt, draw in enumerate(chosen):
        assert draw.key == (5, broken.key[1], f"s{draw.index}", -1 - attempt)
        if "weights" in extra:
            assert extra["weights"][draw.index] > 0
        if "buckets" in extra:
            assert extra["buckets"][draw.index] == extra["buckets"][broken.index]
        if "one_per_patient" in extra:
            others = {patients[d.index] for d in sampler.batch_at(n) if d != broken}
            assert patients[draw.index] not in others


def test_no_stand_in_is_left_beyond_the_last_sample() -> None:
    sampler = Sampler(dataset(3), 1, 0)
    assert len({sampler.stand_in(0, 0, attempt).index for attempt in range(2)}) == 2
    with pytest.raises(ValueError, match=r"no sample is left to stand in for s\d after 2 others"):
        sampler.stand_in(0, 0, 2)


def test_a_bare_position_is_enough_and_another_runs_state_is_refused() -> None:
    sampler = Sampler(dataset(5), 2, seed=1)
    sampler.load_state_dict({"position": 4})
    assert next(iter(sampler)) == Sampler(dataset(5), 2, seed=1).batch_at(4)
    with pytest.raises(ValueError, match="saved with seed=1, this sampler has 2"):
        Sampler(dataset(5), 2, seed=2).load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="samples=5"):
        Sampler(dataset(6), 2, seed=1).load_state_dict(sampler.state_dict())
    for name, extra in (("weights", {"weights": [1, 2, 3, 4, 5]}), ("buckets", {"buckets": [0, 0, 0, 1, 1]})):
        with pytest.raises(ValueError, match=f"saved with {name}="):
            Sampler(dataset(5), 2, seed=1, **extra).load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="saved with patients_apart="):
        Sampler(dataset(5), 2, seed=1, one_per_patient=True).load_state_dict(sampler.state_dict())


def test_a_pickled_sampler_draws_the_same_and_leaves_its_orders_behind() -> None:
    sampler = Sampler(dataset(1000), 10, 1, weights=np.ones(1000))
    before = len(pickle.dumps(sampler))
    batch = sampler.batch_at(3)
    assert len(pickle.dumps(sampler)) == before
    assert pickle.loads(pickle.dumps(sampler)).batch_at(3) == batch


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"weights": [1.0]}, "one number for each of 4 samples"),
        ({"weights": [1.0, -1.0, 1.0, 1.0]}, "finite and not negative"),
        ({"weights": [0.0] * 4}, "some above 0"),
        ({"weights": [1.0] * 4, "shuffle": False}, "leave shuffle=True"),
        ({"buckets": [0, 1, 2]}, "buckets must be one whole number >= 0 for each of 4"),
        ({"buckets": [0.5] * 4}, "got float64"),
        ({"one_per_patient": True, "buckets": [0] * 4}, "leave weights and buckets out"),
        ({"one_per_patient": True, "batch_size": 5}, "global batch of 5 cannot hold at most one sample of each of 4 patients"),
    ],
)
def test_options_that_make_no_sense_are_refused(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampler(dataset(4), **({"batch_size": 2, "seed": 0} | extra))


def test_an_empty_dataset_and_one_without_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="without samples"):
        Sampler(dataset(0), 2, 0)
    with pytest.raises(ValueError, match="needs a dataset with `patients`"):
        Sampler(SimpleNamespace(sample_ids=["a", "b"]), 1, 0, one_per_patient=True)
