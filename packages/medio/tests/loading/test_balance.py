from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medio.loading.balance import balance, shape_buckets
from medio.loading.sampler import Sampler
from medio.shards.dataset import ShardDataset


def test_sites_come_equally_often(root: Path) -> None:
    dataset = ShardDataset(root)
    weights = balance(dataset, "site")
    # 4 samples of the north, 1 of the south: half of the weight each
    assert weights == pytest.approx([1 / 8] * 4 + [1 / 2])
    sampler = Sampler(dataset, 100, 0, weights=weights)
    south = sum(d.index == 4 for n in range(100) for d in sampler.batch_at(n))
    assert abs(south - 5000) <= 4 * np.sqrt(10_000 / 4)


@pytest.mark.parametrize(("power", "expected"), [(0.0, [1 / 5] * 5), (0.5, [1 / 6] * 4 + [1 / 3]), (1.0, [1 / 8] * 4 + [1 / 2])])
def test_power_lies_between_every_sample_and_every_group_alike(root: Path, power: float, expected: list[float]) -> None:
    # power 1/2: weights 4^-1/2 = 1/2 four times and 1, of sum 3
    assert balance(ShardDataset(root), "site", power=power) == pytest.approx(expected)


def test_unknown_labels_are_a_group_of_their_own(root: Path) -> None:
    # label a: 0, 1, unknown, 1, 0
    assert balance(ShardDataset(root), "label:a") == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6])


def test_masks_with_and_without_a_class_come_equally_often(tmp_path: Path) -> None:
    from medio.shards.build import build_shards
    from medio.shards.sample import ShardSample

    def make(item: int) -> ShardSample:
        mask = np.zeros((4, 4), np.uint8)
        mask[0, 0] = 2 * (item == 1) + (item == 2)
        return ShardSample(sample_id=f"s{item}", patient_id="p", arrays={"image": mask[None], "mask": mask}, spacing=(1, 1))

    build_shards(range(4), make, tmp_path / "shards", per_shard=3)
    dataset = ShardDataset(tmp_path / "shards")
    assert balance(dataset, "class:2") == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])
    with pytest.raises(ValueError, match="no mask holds class 3"):
        balance(dataset, "class:3")


def test_groups_of_ones_own_and_bad_names(root: Path) -> None:
    dataset = ShardDataset(root)
    assert balance(dataset, ["x", "y", "y", "y", "y"])[0] == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="got 2 groups for 5 samples"):
        balance(dataset, ["x", "y"])
    with pytest.raises(ValueError, match=r"no sample has the label 'c'; the dataset has \['a', 'b'\]"):
        balance(dataset, "label:c")
    with pytest.raises(ValueError, match=r"got 'sites'; columns: .*site"):
        balance(dataset, "sites")
    with pytest.raises(ValueError, match="power must be 0 or more"):
        balance(dataset, "site", power=-1)


def test_equal_shapes_share_a_bucket_and_larger_ones_come_later(root: Path) -> None:
    assert shape_buckets(ShardDataset(root)).tolist() == [0, 1, 2, 3, 4]
    assert shape_buckets([(4, 4), (2, 2), (4, 4), (1, 9)]).tolist() == [2, 0, 2, 1]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=60), st.integers(1, 9))
def test_buckets_follow_the_measure_and_part_no_equals(shapes: list[tuple[int, int, int]], count: int) -> None:
    measures = {"length": [s[0] for s in shapes], "size": [np.prod(s) for s in shapes], "aspect": [s[1] / s[2] for s in shapes]}
    for by, values in measures.items():
        buckets = shape_buckets(shapes, by, count)
        assert sorted(set(buckets.tolist())) == list(range(buckets.max() + 1))
        assert buckets.max() < count
        pairs = sorted(zip(values, buckets.tolist(), strict=True))
        assert [b for _, b in pairs] == sorted(b for _, b in pairs)
        assert all(len({b for v, b in pairs if v == value}) == 1 for value in values)


def test_buckets_of_distinct_sizes_are_about_equal() -> None:
    counts = Counter(shape_buckets([(n, 3) for n in range(1, 81)], "length", 8).tolist())
    assert set(counts.values()) == {10}


def test_shapes_of_films_and_volumes_do_not_mix() -> None:
    with pytest.raises(ValueError, match="batch volumes and films apart"):
        shape_buckets([(1, 2), (1, 2, 3)])
    with pytest.raises(ValueError, match="by must be shape, size, aspect, length"):
        shape_buckets([(1, 2)], "volume")
