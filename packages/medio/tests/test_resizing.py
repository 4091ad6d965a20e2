"""Resizing keeps the physical extent and does not alias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio import Image, index_to_world, resize


def film(array: np.ndarray, spacing=(0.2, 0.1)) -> Image:
    return Image(array, None, spacing)


def test_an_image_of_that_size_comes_back_itself():
    image = film(np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert resize(image, (3, 4)) is image


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(2, 40), st.integers(2, 40))
def test_the_extent_in_mm_stays_and_a_constant_stays_constant(h, w, new_h, new_w):
    image = resize(film(np.full((h, w), 7, dtype=np.uint16)), (new_h, new_w))
    assert image.array.dtype == np.uint16
    assert (image.array == 7).all()
    assert np.allclose(np.multiply(image.spacing, (new_h, new_w)), (0.2 * h, 0.1 * w))


def test_a_ramp_is_sampled_at_pixel_centres():
    # f(x) = x at the centres 0.5, 1.5, …: halving the size puts centres at 1, 3, 5, … of the old extent, whose values are 0.5, 2.5, 4.5, … in index units
    ramp = np.tile(np.arange(16.0), (16, 1))
    halved = resize(film(ramp), (16, 8)).array
    assert np.allclose(halved[8, 2:-2], np.arange(0.5, 16, 2)[2:-2])


def test_fine_stripes_turn_grey_instead_of_aliasing():
    stripes = np.tile(np.array([0.0, 255.0]), (64, 32))
    small = resize(film(stripes), (16, 16)).array
    assert np.abs(small[2:-2, 2:-2] - 127.5).max() < 15


def test_it_agrees_with_scikit_image():
    transform = pytest.importorskip("skimage.transform", reason="scikit-image, the peer of this test, is not installed")
    rng = np.random.default_rng(0)
    array = rng.random((50, 64))
    ours = resize(film(array), (32, 32)).array
    theirs = transform.resize(array, (32, 32), order=1, anti_aliasing=True, mode="edge")
    assert np.abs(ours - theirs).max() < 2e-2  # the smoothing kernels are truncated at different radii


def test_a_volume_keeps_its_place_in_the_patient():
    affine = np.array([[0, 0, 2.0, -10], [0, 3.0, 0, 5], [4.0, 0, 0, 7], [0, 0, 0, 1]])
    image = Image(np.zeros((4, 6, 8), dtype=np.int16), affine, (4.0, 3.0, 2.0))
    halved = resize(image, (2, 3, 4))
    # Outer corners: index -0.5 on the near side, size - 0.5 on the far side.
    for near_or_far in (0, 1):
        before = index_to_world(image.affine, np.array([-0.5 + near_or_far * n for n in (4, 6, 8)]))
        after = index_to_world(halved.affine, np.array([-0.5 + near_or_far * n for n in (2, 3, 4)]))
        assert np.allclose(before, after)


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 positive sizes"):
        resize(film(np.zeros((4, 4))), (2, 2, 2))


def test_a_mask_takes_the_nearest_pixel_and_makes_no_label():
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[5:20, 8:30] = 7
    small = resize(film(mask), (15, 20), order=0)
    assert set(np.unique(small.array)) == {0, 7}
    # new centres at old 0.5, 2.5, …; half way counts upwards, so pixel 2i + 1 is taken
    assert np.array_equal(small.array, mask[1::2, 1::2])


def test_threads_change_nothing():
    affine = np.array([[0, 0, 2.0, -10], [0, 3.0, 0, 5], [4.0, 0, 0, 7], [0, 0, 0, 1]])
    image = Image(np.random.default_rng(0).integers(0, 4000, (40, 30, 20)).astype(np.int16), affine, (4.0, 3.0, 2.0))
    assert np.array_equal(resize(image, (17, 33, 11)).array, resize(image, (17, 33, 11), threads=3).array)
