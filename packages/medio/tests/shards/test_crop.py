"""Crops come as often from a place as is stated, and by key."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from medio.shards.crop import Crop, Landmarks
from medio.shards.foreground import foreground_rows, places_of

DRAWS = 1200
SHAPE = (40, 50, 60)


def lesions() -> np.ndarray:
    """Class 1: a large, a middle and a one-voxel component; class 2: one component; far enough from the border for crops of 9."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:20, 8:20, 8:20] = 1
    mask[25:28, 30:33, 40:43] = 1
    mask[30, 20, 50] = 1
    mask[10:30, 38:44, 12:20] = 2
    return mask


MASK = lesions()
PLACES = Landmarks(classes=places_of(foreground_rows(MASK, "s")))


def centres(crop: Crop, landmarks: Landmarks = PLACES, draws: int = DRAWS) -> np.ndarray:
    offsets = np.array([crop.offset(SHAPE, landmarks, (seed, 0, "s", 0), (1.0, 1.0, 1.0)) for seed in range(draws)])
    return offsets + np.array(crop.voxels((1.0, 1.0, 1.0))) // 2


def classes_at(places: np.ndarray) -> np.ndarray:
    return MASK[tuple(places.T)]


def fits(counts: Any, shares: Any) -> bool:
    expected = np.array(shares, dtype=float) / np.sum(shares) * np.sum(counts)
    return bool(chisquare(counts, expected).pvalue > 1e-3)


def test_classes_come_evenly_whatever_their_size() -> None:
    found = classes_at(centres(Crop((9, 9, 9), foreground=1.0)))
    assert fits(np.bincount(found, minlength=3)[1:], [1, 1])
    assert (found > 0).all()


@pytest.mark.parametrize("weights", [{1: 0.2, 2: 0.8}, {1: 3.0, 2: 1.0}, {2: 1.0}, {1: 1.0, 2: 0.0, 7: 5.0}])
def test_classes_come_by_their_weights_among_those_present(weights: dict[int, float]) -> None:
    found = np.bincount(classes_at(centres(Crop((9, 9, 9), foreground=1.0, class_weights=weights))), minlength=3)
    shares = [weights.get(1, 0.0), weights.get(2, 0.0)]
    assert found[0] == 0
    assert [n > 0 for n in found[1:]] == [share > 0 for share in shares]
    if min(shares):
        assert fits(found[1:], shares)


def test_a_lesion_of_one_voxel_comes_as_often_as_one_of_1728() -> None:
    places = centres(Crop((9, 9, 9), foreground=1.0, class_weights={1: 1.0}, lesions="component"))
    large, middle, single = (places[:, 2] < 21), (places[:, 2] >= 38) & (places[:, 2] < 45), (places == [30, 20, 50]).all(axis=1)
    counts = [large.sum(), middle.sum(), single.sum()]
    assert sum(counts) == DRAWS
    assert fits(counts, [1, 1, 1])
    evenly = centres(Crop((9, 9, 9), foreground=1.0, class_weights={1: 1.0}))
    assert (evenly[:, 2] < 21).mean() > 0.9  # by voxel the large one, 1728 of 1756, takes nearly all


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_foreground_comes_with_its_stated_probability(share: float) -> None:
    # Crops of one voxel: foreground 2716 of 120000 voxels comes by chance too.
    by_chance = (MASK > 0).mean()
    found = (classes_at(centres(Crop((1, 1, 1), foreground=share))) > 0).sum()
    expected = share + (1 - share) * by_chance
    deviation = np.sqrt(DRAWS * expected * (1 - expected))
    assert abs(found - DRAWS * expected) <= 3.3 * deviation


def test_without_foreground_wish_or_without_foreground_places_are_uniform() -> None:
    for crop, landmarks in ((Crop((34, 50, 60), foreground=0.0), PLACES), (Crop((34, 50, 60), foreground=1.0), Landmarks())):
        offsets = np.array([crop.offset(SHAPE, landmarks, (seed, 0, "s", 0)) for seed in range(DRAWS)])
        assert fits(np.bincount(offsets[:, 0], minlength=7), [1] * 7)
        assert not offsets[:, 1:].any()


def test_full_jitter_puts_the_voxel_anywhere_in_the_crop_evenly_and_no_jitter_in_its_middle() -> None:
    point = Landmarks(points=np.array([[20.0, 25.0, 30.0]]))
    for size in (8, 9):
        middle = Crop((size,) * 3, foreground=1.0, around="points")
        assert {tuple(p) for p in centres(middle, point, 5)} == {(20, 25, 30)}
        spread = Crop((size,) * 3, foreground=1.0, around="points", jitter=1.0)
        inside = np.array([20, 25, 30]) - (centres(spread, point) - size // 2)
        assert all(fits(np.bincount(inside[:, axis], minlength=size), [1] * size) for axis in range(3))
    half = Crop((8, 8, 8), foreground=1.0, around="points", jitter=0.5)
    inside = np.array([20, 25, 30]) - (centres(half, point) - 4)
    assert (inside.min(), inside.max()) == (2, 5)  # the middle half of 0..7


def test_boxes_come_evenly_and_so_do_places_in_them() -> None:
    boxes = np.array([[5.0, 5, 5, 7, 7, 7], [20, 10, 10, 30, 40, 50]])
    places = centres(Crop((3, 3, 3), foreground=1.0, around="boxes"), Landmarks(boxes=boxes))
    small = places[:, 0] < 10
    assert fits([small.sum(), (~small).sum()], [1, 1])
    assert ((places[small] >= 5) & (places[small] < 7)).all()
    assert fits(np.bincount(places[~small][:, 0] - 20, minlength=10), [1] * 10)
    none = centres(Crop((3, 3, 3), foreground=1.0, around="boxes"), Landmarks(boxes=np.empty((0, 6))), 50)
    assert none.std(axis=0).min() > 5  # no box: anywhere


@settings(max_examples=60)
@given(
    st.tuples(*[st.integers(1, 70)] * 3),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from(["voxel", "component"]),
)
def test_a_crop_is_a_function_of_its_key_and_keeps_inside(
    size: tuple[int, int, int], seed: int, foreground: float, jitter: float, lesions: Any
) -> None:
    crop = Crop(size, foreground, jitter=jitter, lesions=lesions)
    offset = crop.offset(SHAPE, PLACES, (seed, 1, "s", 0))
    assert offset == Crop(size, foreground, jitter=jitter, lesions=lesions).offset(SHAPE, PLACES, (seed, 1, "s", 0))
    for o, s, n in zip(offset, size, SHAPE, strict=True):
        assert 0 <= o <= n - s if s <= n else o == -((s - n) // 2)


def test_seed_epoch_sample_and_view_each_move_a_crop() -> None:
    crop = Crop((5, 5, 5))
    keys = [(0, 0, "s", 0), (1, 0, "s", 0), (0, 1, "s", 0), (0, 0, "t", 0), (0, 0, "s", 1)]
    assert len({crop.offset(SHAPE, PLACES, key) for key in keys}) == 5


def test_a_size_in_mm_follows_the_spacing() -> None:
    crop = Crop(size_mm=(50.0, 30.0, 30.0))
    assert crop.voxels((2.5, 1.0, 0.7)) == (20, 30, 43)  # 30 / 0.7 = 42.9
    assert crop.voxels((200.0, 1.0, 1.0)) == (1, 30, 30)
    with pytest.raises(ValueError, match="needs the image's spacing"):
        crop.offset(SHAPE, None, (0, 0, "s", 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (0, 1, 1)}, "positive numbers of voxels"),
        ({}, "positive numbers of voxels"),
        ({"size": (4, 4), "size_mm": (1, 1)}, "not both"),
        ({"size_mm": (1, -1)}, "positive numbers of mm"),
        ({"size": (4, 4), "foreground": 1.5}, "probability"),
        ({"size": (4, 4), "jitter": 2}, "jitter"),
        ({"size": (4, 4), "lesions": "lesion"}, "'voxel' or 'component'"),
        ({"size": (4, 4), "around": "box"}, "'mask', 'boxes' or 'points'"),
        ({"size": (4, 4), "class_weights": {1: -1}}, "class_weights"),
        ({"size": (4, 4), "class_weights": {}}, "class_weights"),
    ],
)
def test_a_crop_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Crop(**options)
