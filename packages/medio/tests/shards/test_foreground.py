"""What the index keeps of a mask and of an image, against other ways to count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from medio.shards.foreground import foreground_rows, places_of
from medio.shards.image_statistics import image_statistics


def test_foreground_gives_count_box_and_places_of_each_class() -> None:
    mask = np.zeros((20, 30, 40), np.uint8)
    mask[5:15, 10:20, 8:38] = 2  # 10 * 10 * 30 = 3000 voxels
    mask[0, 0, 1] = 1
    one, two = foreground_rows(mask, "s")
    assert one == {"class": 1, "count": 1, "box": [0, 0, 1, 1, 1, 2], "voxels": [1], "components": []}
    assert (two["count"], two["box"], len(two["voxels"])) == (3000, [5, 10, 8, 15, 20, 38], 512)
    assert (mask.ravel()[two["voxels"]] == 2).all()
    assert foreground_rows(mask, "s") == [one, two]
    assert foreground_rows(mask, "other")[1]["voxels"] != two["voxels"]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([(9, 11, 13), (17, 40)]), st.sampled_from([np.uint8, np.uint16, np.int64, bool]))
def test_places_and_components_are_those_that_another_labelling_finds(seed: int, shape: tuple[int, ...], kind: type) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random(shape) < 0.08).astype(int) + 2 * (ndimage.gaussian_filter(rng.random(shape), 1.5) > 0.55)
    mask = mask.astype(kind).astype(np.uint8) if kind is bool else mask.astype(kind)
    found = places_of(foreground_rows(mask, "s"))
    assert [places.value for places in found] == sorted(set(np.unique(mask)) - {0})
    for places in found:
        own = np.flatnonzero(mask == places.value)
        assert np.isin(places.voxels, own).all()
        assert len(places.voxels) == min(len(own), 512)
        reference = label(mask == places.value, connectivity=mask.ndim).ravel()
        numbers = [set(reference[component]) for component in places.components]
        assert all(len(number) == 1 for number in numbers)
        assert len(set.union(*numbers)) == len(numbers) == reference.max()


def test_labels_beyond_16_bits_are_found_and_many_components_are_sampled() -> None:
    mask = np.zeros((60, 60, 60), np.int64)
    mask[::3, ::3, ::3] = 10**9  # 20^3 = 8000 lone voxels
    (places,) = places_of(foreground_rows(mask, "s"))
    assert places.value == 10**9
    assert len(places.components) == 256
    assert {len(component) for component in places.components} == {1}
    assert len({int(component[0]) for component in places.components}) == 256


def test_statistics_are_of_the_whole_image_in_float64() -> None:
    # 0..200: percentile 0.5 lies at index 1, 99.5 at index 199; mean 100; variance of a uniform grid (n^2 - 1) / 12 with n = 201
    found = image_statistics(np.arange(201, dtype=np.int16).reshape(1, 3, 67))
    assert found == pytest.approx({"min": 0, "max": 200, "mean": 100, "std": np.sqrt((201**2 - 1) / 12), "p0_5": 1, "p99_5": 199})


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5000), st.sampled_from(["u1", "i1", "u2", "i2", "i4", "f4"]))
def test_statistics_are_numpys_for_every_type(seed: int, count: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.normal(20, 40, count) if kind != "u2" else rng.integers(0, 65536, count)).astype(kind)
    low, high = np.percentile(image, (0.5, 99.5))
    wide = image.astype(np.float64)
    expected = {"min": wide.min(), "max": wide.max(), "mean": wide.mean(), "std": wide.std(), "p0_5": low, "p99_5": high}
    assert image_statistics(image) == pytest.approx(expected, rel=1e-6, abs=1e-9)
