"""Blur, sharpen, median: against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.draws import Draws
from medaug.intensity.along import smooth
from medaug.intensity.blur import Blur
from medaug.intensity.median import Median
from medaug.intensity.sharpen import Sharpen

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]
SHAPES = [(9, 14, 21), (1, 30, 7), (33, 40), (3, 600)]


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(1)) * 100 - 300


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.13, 0.5, 1.0, 2.7])
def test_blur_in_voxels_is_scipys_gaussian_filter(shape, sigma):
    x = noise(shape)
    changed = Blur(sigma_voxels=sigma).change(x.clone(), Draws(KEYS), None)
    expected = ndimage.gaussian_filter(x.double().numpy(), (0, 0, *[sigma] * len(shape)), mode="nearest")
    # values of some 500: float32 sums of up to 23 terms an axis
    np.testing.assert_allclose(changed, expected, atol=5e-4)


def test_blur_in_mm_is_even_in_space_on_anisotropic_grids():
    x, spacing = noise((12, 20, 24)), np.array([[3.0, 1.0, 0.75], [1.0, 2.0, 2.0]])
    changed = Blur(sigma_mm=1.5).change(x.clone(), Draws(KEYS), spacing)
    for row in range(2):
        expected = ndimage.gaussian_filter(x[row].double().numpy(), (0, *(1.5 / spacing[row])), mode="nearest")
        np.testing.assert_allclose(changed[row], expected, atol=5e-4)


def test_each_channel_and_axis_may_have_a_width_of_its_own():
    x = noise((10, 11, 12))
    blur = Blur(sigma_voxels=(0.5, 3.0), per_axis=True, per_channel=True, p_channel=0.5)
    changed = blur.change(x.clone(), Draws(KEYS), None)
    sigma, tossed = Draws(KEYS).uniform("sigma", 0.5, 3.0, (2, 3)), Draws(KEYS).chance("channel", 0.5, (2,))
    assert 0 < tossed.sum() < 4
    for row in range(2):
        for channel in range(2):
            if tossed[row, channel]:
                expected = ndimage.gaussian_filter(x[row, channel].double().numpy(), sigma[row, channel], mode="nearest")
                np.testing.assert_allclose(changed[row, channel], expected, atol=5e-4)
            else:
                assert torch.equal(changed[row, channel], x[row, channel])


def test_widths_of_other_samples_change_no_bit():
    x = noise((40, 41))
    together, alone = x.clone(), x[:1].clone()
    smooth(together, np.array([[1.3, 1.3], [9.0, 9.0]]))
    smooth(alone, np.array([[1.3, 1.3]]))
    assert torch.equal(together[:1], alone)


def test_sharpen_adds_what_a_blur_takes():
    x = noise((9, 14, 21))
    changed = Sharpen(amount=0.7, sigma_voxels=1.2).change(x.clone(), Draws(KEYS), None)
    exact = x.double().numpy()
    expected = exact + 0.7 * (exact - ndimage.gaussian_filter(exact, (0, 0, 1.2, 1.2, 1.2), mode="nearest"))
    np.testing.assert_allclose(changed, expected, atol=1e-3)


def test_sharpen_may_keep_the_range():
    x = noise((33, 40))
    free = Sharpen(amount=1.0).change(x.clone(), Draws(KEYS), None)
    held = Sharpen(amount=1.0, keep_range=True).change(x.clone(), Draws(KEYS), None)
    low, high = x.flatten(1).amin(1).view(2, 1, 1, 1), x.flatten(1).amax(1).view(2, 1, 1, 1)
    assert (free > high).any()
    assert torch.equal(held, free.clamp(low, high))


@pytest.mark.parametrize("shape", [(7, 9, 140), (2, 5, 6), (20, 33), (1, 1, 4), (130, 5)])
def test_median_is_scipys_exactly(shape):
    x = noise(shape)
    # a single plane has no neighbours across it: 3 x 3 voxels, each of them once
    size = (1, 1, *(1 if n == 1 and len(shape) == 3 and axis == 0 else 3 for axis, n in enumerate(shape)))
    expected = ndimage.median_filter(x.numpy(), size=size, mode="nearest")
    np.testing.assert_array_equal(Median().change(x.clone(), Draws(KEYS), None), expected)
