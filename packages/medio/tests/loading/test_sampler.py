from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medio.loading.sampler import Sampler

counts = st.integers(1, 23)


def dataset(count: int) -> SimpleNamespace:
    return SimpleNamespace(sample_ids=[f"s{i}" for i in range(count)])


@given(counts, st.integers(1, 4), st.sampled_from([1, 2, 3, 6]), st.integers(0, 9), st.integers(0, 99))
def test_the_global_order_does_not_depend_on_world_size(count: int, unit: int, world: int, n: int, seed: int) -> None:
    alone = Sampler(dataset(count), 6 * unit, seed).batch_at(n)
    together = [Sampler(dataset(count), 6 * unit // world, seed, rank=r, world_size=world).batch_at(n) for r in range(world)]
    assert [d for batch in together for d in batch] == alone


@given(counts, st.integers(1, 7), st.integers(0, 20), st.integers(0, 99))
def test_resuming_gives_what_an_uninterrupted_run_gives(count: int, batch_size: int, position: int, seed: int) -> None:
    whole, resumed = Sampler(dataset(count), batch_size, seed), Sampler(dataset(count), batch_size, seed)
    run = iter(whole)
    for _ in range(position):
        next(run)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.position == position
    after = iter(resumed)
    assert [next(run) for _ in range(3)] == [next(after) for _ in range(3)]


@given(counts, st.integers(1, 7), st.integers(0, 99), st.booleans())
def test_every_epoch_holds_every_sample_once_and_nothing_is_dropped(count: int, batch_size: int, seed: int, shuffle: bool) -> None:
    sampler = Sampler(dataset(count), batch_size, seed, shuffle=shuffle)
    draws = [d for n in range(3 * sampler.batches_per_epoch) for d in sampler.batch_at(n)]
    for epoch in range(3):
        own = [d for d in draws if d.key[1] == epoch]
        assert sorted(d.index for d in own) == list(range(count))
    assert all(d.key == (seed, d.key[1], f"s{d.index}", 0) for d in draws)


def test_orders_differ_between_epochs_and_seeds() -> None:
    first, second = (Sampler(dataset(20), 20, 0).batch_at(n) for n in (0, 1))
    other = Sampler(dataset(20), 20, 1).batch_at(0)
    assert len({tuple(d.index for d in batch) for batch in (first, second, other)}) == 3


def test_batches_count_by_the_global_batch() -> None:
    # 10 samples, 2 ranks of 2: 4 a batch, so 3 batches until all were seen
    assert Sampler(dataset(10), 2, 0, world_size=2).batches_per_epoch == 3


def test_a_bare_position_is_enough_and_another_runs_state_is_refused() -> None:
    sampler = Sampler(dataset(5), 2, seed=1)
    sampler.load_state_dict({"position": 4})
    assert next(iter(sampler)) == Sampler(dataset(5), 2, seed=1).batch_at(4)
    with pytest.raises(ValueError, match="saved with seed=1, this sampler has 2"):
        Sampler(dataset(5), 2, seed=2).load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="samples=5"):
        Sampler(dataset(6), 2, seed=1).load_state_dict(sampler.state_dict())


def test_an_empty_dataset_and_a_rank_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="without samples"):
        Sampler(dataset(0), 2, 0)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        Sampler(dataset(4), 2, 0, rank=2, world_size=2)
