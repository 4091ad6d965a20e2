"""Scanners: blur, slices, noise and its spectrum, MR noise and coils, against closed forms and scipy."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medphantom import SITES
from medphantom.acquisition import acquire_ct, acquire_mr, coil_sensitivity
from medphantom.filters import box_weights, gaussian_weights, kept_deviation, smooth, smooth_widely
from medphantom.shapes import Grid

PLAIN = replace(SITES[0], kernel_mm=0.0, slice_thickness_mm=1.0, noise_hu=20.0, mr_bias=0.0, mr_noise=0.02, mr_scale=1000.0)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    axis=st.integers(0, 2),
    weights=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_blurring_is_scipys_correlation_with_edges_that_go_on(shape, axis, weights, seed):
    field = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    expected = ndimage.correlate1d(field.astype(float), [*weights[:0:-1], *weights], axis=axis, mode="nearest")
    assert smooth(field, axis, weights) == pytest.approx(expected, abs=1e-4)


@given(st.floats(0.1, 6), st.floats(0.3, 5))
def test_kernels_add_up_to_one_and_are_as_wide_as_they_say(width, spacing):
    for weights in (gaussian_weights(width, spacing), box_weights(width, spacing)):
        assert weights[0] + 2 * sum(weights[1:]) == pytest.approx(1)
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(weights))
    gaussian = gaussian_weights(width, spacing)
    variance = 2 * sum((i * spacing) ** 2 * w for i, w in enumerate(gaussian))
    # The width at half maximum is 2.3548 standard deviations; a voxel's own width adds its twelfth, and 3 standard deviations hold nearly all.
    if width > 2 * spacing:
        assert variance == pytest.approx((width / 2.3548) ** 2 + spacing**2 / 12, rel=0.04)


def test_a_wide_blur_is_three_running_means_with_the_variance_that_was_asked_for():
    picture = np.random.default_rng(0).uniform(0, 1, (90, 110))
    ours = smooth_widely(picture, 20.0, (2.0, 2.5))
    expected = picture
    for _ in range(3):  # means over 21 and 17 pixels: (21^2 - 1) / 4 = 110 and (17^2 - 1) / 4 = 72 for the variances 10^2 and 8^2
        expected = ndimage.uniform_filter(expected, (21, 17), mode="nearest")
    assert ours == pytest.approx(expected, abs=1e-9)
    spot = np.zeros((301, 301))
    spot[150, 150] = 1
    spread = smooth_widely(spot, 30.0, (1.5, 1.0)).sum(axis=0)
    assert (spread * (np.arange(301) - 150) ** 2).sum() == pytest.approx(30.0**2, rel=0.06)


@pytest.mark.parametrize("kernel_mm", [0.0, 1.5, 4.0])
@pytest.mark.parametrize("thickness", [1.0, 2.5])
def test_the_noise_has_the_sites_deviation_whatever_the_kernel_and_the_slices(kernel_mm, thickness):
    grid = Grid.centred((40, 70, 70), (1.0, 1.0, 1.0))
    site = replace(PLAIN, kernel_mm=kernel_mm, slice_thickness_mm=thickness)
    ct = acquire_ct(np.full(grid.shape, 40, np.float32), grid, site, np.random.default_rng(1)).astype(float)
    inner = ct[4:-4, 10:-10, 10:-10]
    assert inner.std() == pytest.approx(20.0, rel=0.04)
    assert inner.mean() == pytest.approx(40, abs=1.5)


def test_the_noises_spectrum_falls_as_the_square_of_the_kernels_transfer():
    grid = Grid.centred((6, 256, 256), (1.0, 0.5, 0.5))

    def spectrum(kernel_mm):
        ct = acquire_ct(np.zeros(grid.shape, np.float32), grid, replace(PLAIN, kernel_mm=kernel_mm), np.random.default_rng(5)).astype(float)
        window = np.hanning(256)  # the picture does not go on from its right edge to its left one
        return (np.abs(np.fft.fft2(ct * window[:, None] * window)) ** 2).mean(axis=0)

    frequency = np.fft.fftfreq(256, 0.5)
    radial = np.hypot(frequency[:, None], frequency)
    soft, bare = spectrum(2.0), spectrum(0.0)
    sigma = 2.0 / (2 * math.sqrt(2 * math.log(2)))
    bands = [(0.05, 0.1), (0.2, 0.25), (0.3, 0.35)]
    ratios = [soft[(radial > low) & (radial < high)].sum() / bare[(radial > low) & (radial < high)].sum() for low, high in bands]
    # MTF of a Gaussian: exp(-2 (pi sigma f)^2), and sinc of the voxel's width along either axis; noise power goes with its square
    passed = bare * np.exp(-4 * (math.pi * sigma * radial) ** 2) * np.sinc(0.5 * frequency[:, None]) ** 2 * np.sinc(0.5 * frequency) ** 2
    expected = [passed[(radial > low) & (radial < high)].sum() / bare[(radial > low) & (radial < high)].sum() for low, high in bands]
    assert np.array(ratios) / ratios[0] == pytest.approx(np.array(expected) / expected[0], rel=0.1)
    assert ratios[0] > 1 > ratios[2]


def test_an_edge_is_as_blurred_as_the_kernel_says_and_only_in_plane():
    grid = Grid.centred((8, 12, 120), (1.0, 1.0, 0.25))
    step = np.where(grid.axes()[0] > 0, np.float32(1000), np.float32(0)) * np.ones(grid.shape, np.float32)
    sharp = replace(PLAIN, noise_hu=0.0)
    rows = acquire_ct(step, grid, replace(sharp, kernel_mm=3.0), np.random.default_rng(0))
    spread = np.diff(rows[4, 6].astype(float))
    variance = (spread * (np.arange(119) - 59) ** 2).sum() / spread.sum() * 0.25**2
    assert math.sqrt(variance) * 2.3548 == pytest.approx(3.0, rel=0.03)
    assert np.array_equal(acquire_ct(step, grid, sharp, np.random.default_rng(0)), step)
    upwards = np.moveaxis(step, 2, 0).copy()
    turned = Grid(grid.x, grid.y, grid.z, (0.25, 1.0, 1.0))
    assert np.array_equal(
        acquire_ct(upwards, turned, replace(sharp, kernel_mm=3.0, slice_thickness_mm=0.25), np.random.default_rng(0)), upwards
    )


def test_thick_slices_share_a_thin_plate():
    grid = Grid.centred((21, 4, 4), (1.0, 1.0, 1.0))
    plate = np.zeros(grid.shape, np.float32)
    plate[10] = 1000
    site = replace(PLAIN, noise_hu=0.0, slice_thickness_mm=5.0)
    profile = acquire_ct(plate, grid, site, np.random.default_rng(0))[:, 1, 1]
    assert profile.tolist() == [200 if 8 <= z <= 12 else 0 for z in range(21)]


def test_a_dose_changes_the_noise_and_nothing_else():
    grid = Grid.centred((6, 20, 20), (1.0, 1.0, 1.0))
    clean = np.random.default_rng(0).uniform(-500, 500, grid.shape).astype(np.float32)
    low, high = (acquire_ct(clean, grid, replace(PLAIN, noise_hu=s), np.random.default_rng(3)).astype(float) for s in (10.0, 40.0))
    assert (high - clean) == pytest.approx(4 * (low - clean), abs=2.6)  # both rounded to 1 HU


def test_mr_noise_is_rician():
    grid = Grid.centred((20, 60, 60), (1.0, 1.0, 1.0))
    empty = acquire_mr(np.zeros(grid.shape, np.float32), grid, PLAIN, np.random.default_rng(0)).astype(float)
    full = acquire_mr(np.full(grid.shape, 0.6, np.float32), grid, PLAIN, np.random.default_rng(0)).astype(float)
    sigma = 20.0  # 0.02 of a scale of 1000
    # without signal: Rayleigh, mean sigma sqrt(pi / 2), deviation sigma sqrt(2 - pi / 2); with much: about S + sigma^2 / 2 S, deviation sigma
    assert empty.mean() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.01)
    assert empty.std() == pytest.approx(sigma * math.sqrt(2 - math.pi / 2), rel=0.02)
    assert full.mean() == pytest.approx(600 + sigma**2 / 1200, abs=0.5)
    assert full.std() == pytest.approx(sigma, rel=0.02)


def test_the_vendors_scale_multiplies_the_picture():
    grid = Grid.centred((4, 10, 10), (1.0, 1.0, 1.0))
    clean = np.random.default_rng(0).uniform(0, 1, grid.shape).astype(np.float32)
    low, high = (acquire_mr(clean, grid, replace(PLAIN, mr_scale=s), np.random.default_rng(3)).astype(float) for s in (500.0, 2000.0))
    assert high == pytest.approx(4 * low, abs=2.6)


@pytest.mark.parametrize("seed", range(5))
def test_a_coils_sensitivity_is_smooth_and_changes_by_as_much_as_stated(seed):
    grid = Grid.centred((20, 30, 30), (10.0, 10.0, 10.0))
    field = coil_sensitivity(grid, 0.3, np.random.default_rng(seed))
    assert np.abs(field - 1).max() == pytest.approx(0.3, rel=1e-5)
    assert np.ptp(field) > 0.15
    for axis in range(3):
        # the shortest wave is 400 mm: over 10 mm it changes by at most 2 pi / 40 of its height
        assert np.abs(np.diff(field, axis=axis)).max() < 2 * math.pi / 40 * 4 * 0.3


def test_white_noise_keeps_the_share_that_weights_leave():
    noise = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    weights = (0.5, 0.15, 0.1)
    assert smooth(noise, 0, weights)[5:-5].std() == pytest.approx(kept_deviation(weights), rel=0.02)
