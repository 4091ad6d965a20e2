"""Linear maps along an axis against numpy's FFT and scipy's filters."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.axis import (
    _map_axis_torch,
    blur_,
    cosine_modes,
    gaussian_radius,
    gaussian_taps,
    linear_matrix,
    map_axis,
    mean_matrix,
    weigh_frequencies_,
    wide_blur,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([(5, 70), (70, 5), (6, 20, 17), (1, 3, 130)]), st.integers(0, 2), st.integers(1, 40), st.integers(0, 99))
def test_a_map_along_an_axis_is_a_matrix_product(shape, axis, rows, seed):
    axis %= len(shape)
    x = noise(2, 1, *shape)
    rng = np.random.default_rng(seed)
    matrices = rng.normal(size=(2, rows, shape[axis])) * (rng.random((2, rows, shape[axis])) < 0.7)
    matrices[0, 0] = 0
    expected = np.moveaxis(np.einsum("bij,bj...->bi...", matrices, np.moveaxis(x.double().numpy(), axis + 2, 1)), 1, axis + 2)
    np.testing.assert_allclose(map_axis(x, axis, matrices).numpy(), expected, atol=2e-5)
    torch.testing.assert_close(_map_axis_torch(x, axis + 2, matrices), map_axis(x, axis, matrices), atol=2e-5, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 33, 64])
@pytest.mark.parametrize("axis", [0, 1])
def test_weighed_frequencies_are_those_of_the_fft(length, axis):
    shape = [2, 2, 21, 21]
    shape[axis + 2] = length
    x = noise(*shape)
    weights = np.random.default_rng(0).normal(size=(2, length))
    along = weights.reshape([2, 1, *((length, 1) if axis == 0 else (1, length))])
    expected = np.fft.ifft(along * np.fft.fft(x.double().numpy(), axis=axis + 2), axis=axis + 2).real
    np.testing.assert_allclose(weigh_frequencies_(x.clone(), axis, weights).numpy(), expected, atol=1e-5)


def test_a_blur_is_scipys():
    x = noise(2, 1, 40, 50)
    sigma = np.array([[1.0, 3.0], [2.5, 1.7]])
    out = blur_(x.clone(), sigma, (0, 1))
    for row in range(2):
        # scipy cuts at int(4 sigma + 0.5), we at ceil(4 sigma): a difference below 1e-4
        expected = ndi.gaussian_filter(x[row, 0].double().numpy(), sigma[row], mode="reflect", truncate=4)
        np.testing.assert_allclose(out[row, 0].numpy(), expected, atol=2e-4)


def test_a_wide_blur_is_scipys():
    x = noise(2, 1, 90, 120)
    sigma = np.array([[8.0, 20.0], [30.0, 60.0]])
    out = wide_blur(x, sigma, (0, 1))
    for row in range(2):
        expected = ndi.gaussian_filter(x[row, 0].double().numpy(), sigma[row], mode="reflect", truncate=6)
        np.testing.assert_allclose(out[row, 0].numpy(), expected, atol=5e-6)


@given(st.floats(0, 6))
@settings(max_examples=40, deadline=None)
def test_taps_have_the_spectrum_of_their_gaussian(sigma):
    s = np.array([sigma])
    radius = gaussian_radius(s)
    taps = gaussian_taps(s, radius)[0]
    frequency = np.linspace(0, 0.5, 30)
    spectrum = (taps * np.cos(2 * np.pi * frequency[:, None] * np.arange(-radius, radius + 1))).sum(1)
    np.testing.assert_allclose(spectrum, np.exp(-2 * (np.pi * sigma * frequency) ** 2), atol=0.02)
    assert taps.sum() == pytest.approx(1, abs=1e-12)


def test_modes_are_orthonormal_and_means_keep_the_mean():
    np.testing.assert_allclose(cosine_modes(17, 9) @ cosine_modes(17, 9).T, np.eye(9), atol=1e-12)
    matrix = mean_matrix(23, 7)
    np.testing.assert_allclose(matrix.sum(1), 1)
    np.testing.assert_allclose(matrix.mean(0), 1 / 23)
    np.testing.assert_allclose(linear_matrix(7, 23).sum(1), 1)
