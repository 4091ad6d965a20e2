"""Values by values: gamma, contrast, brightness, scales and curves against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.exposure import adjust_gamma

from medaug.draws import Draws
from medaug.intensity.brightness import Brightness
from medaug.intensity.contrast import Contrast
from medaug.intensity.gamma import Gamma, raise_to
from medaug.intensity.histogram import HistogramWarp, warp
from medaug.intensity.local import LocalBrightness, LocalGamma, raise_locally
from medaug.intensity.normalise import Clip, Rescale, Window, ZScore, percentiles
from medaug.kernels import serving
from medaug.kernels.pointwise import statistics

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]


def hu(shape: tuple[int, ...] = (2, 2, 11, 13, 17)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 300 - 200


def test_gamma_is_skimages_on_the_unit_scale():
    x = hu()
    changed = Gamma(range=(1.7, 1.7)).change(x.clone(), Draws(KEYS), None)
    for row in range(2):
        exact = x[row].double().numpy()
        low, extent = exact.min(), np.ptp(exact)
        expected = adjust_gamma((exact - low) / extent, 1.7) * extent + low
        np.testing.assert_allclose(changed[row], expected, atol=1e-6 * extent)


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_with_statistics_is_nnunets(invert):
    transform = pytest.importorskip(
        "batchgeneratorsv2.transforms.intensity.gamma", reason="batchgeneratorsv2 is in the group `bench`"
    ).GammaTransform((0.8, 0.8), float(invert), False, 1.0, 1.0)
    x = hu()
    changed = Gamma(range=(0.8, 0.8), invert=invert, retain_stats=True, per_channel=True).change(x.clone(), Draws(KEYS), None)
    for row in range(2):
        torch.testing.assert_close(changed[row], transform(image=x[row].clone())["image"], atol=2e-3, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3.0), st.booleans(), st.integers(1, 70))
def test_gamma_may_keep_mean_and_deviation(gamma, invert, n):
    x = hu((1, n + 1))
    before = x.double().mean().item(), x.double().std().item()
    raise_to(x, np.array([gamma]), invert, True)
    assert x.double().mean().item() == pytest.approx(before[0], abs=1e-2)
    assert x.double().std().item() == pytest.approx(before[1], rel=1e-3)


def test_gamma_keeps_order_and_extremes_and_its_inverse_undoes_it():
    x = hu((1, 500)).sort().values
    y = x.clone()
    raise_to(y, np.array([2.0]))
    assert (y.diff() >= 0).all()
    assert y[0, 0] == x[0, 0]
    torch.testing.assert_close(y[0, -1], x[0, -1], atol=1e-3, rtol=0)
    raise_to(y, np.array([0.5]))
    torch.testing.assert_close(y, x, atol=0.3, rtol=0)  # next to the minimum the square loses half the digits of 24 bits


def test_inverted_gamma_is_gamma_of_the_negative():
    x, y = hu((3, 200)), -hu((3, 200))
    exponents = np.array([0.7, 1.0, 1.6])
    raise_to(x, exponents, invert=True)
    raise_to(y, exponents)
    torch.testing.assert_close(x, -y, atol=1e-3, rtol=0)


@pytest.mark.parametrize("per_channel", [False, True])
def test_contrast_moves_values_about_their_mean(per_channel):
    x = hu() * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    changed = Contrast(factor=1.6, keep_range=False, per_channel=per_channel).change(x.clone(), Draws(KEYS), None)
    axes = (2, 3, 4) if per_channel else (1, 2, 3, 4)
    exact = x.double().numpy()
    mean = exact.mean(axes, keepdims=True)
    np.testing.assert_allclose(changed, (exact - mean) * 1.6 + mean, atol=1e-3)
    held = Contrast(factor=1.6, per_channel=per_channel).change(x.clone(), Draws(KEYS), None)
    low, high = exact.min(axes, keepdims=True), exact.max(axes, keepdims=True)
    np.testing.assert_allclose(held, np.clip((exact - mean) * 1.6 + mean, low, high), atol=1e-3)


def test_brightness_is_a_factor_then_a_shift():
    x = hu()
    changed = Brightness(factor=(0.5, 2.0), shift=(-50.0, 50.0), per_channel=True).change(x.clone(), Draws(KEYS), None)
    factor, shift = (Draws(KEYS).uniform(name, *bounds, (2,)) for name, bounds in (("factor", (0.5, 2.0)), ("shift", (-50.0, 50.0))))
    expected = x.double() * torch.from_numpy(factor).view(2, 2, 1, 1, 1) + torch.from_numpy(shift).view(2, 2, 1, 1, 1)
    torch.testing.assert_close(changed.double(), expected, atol=1e-3, rtol=0)


def test_window_maps_its_edges_to_zero_and_one():
    x = torch.tensor([[[-1000.0, -160.0, 40.0, 90.0, 240.0, 3000.0]]])
    # centre 40, width 400: -160 to 240; 90 lies at 250 / 400
    changed = Window(center=40, width=400).change(x, Draws(KEYS[:1]), None)
    torch.testing.assert_close(changed, torch.tensor([[[0.0, 0.0, 0.5, 0.625, 1.0, 1.0]]]), atol=1e-6, rtol=0)


def test_clip_holds_values():
    assert torch.equal(Clip(low=-50, high=75).change(hu(), Draws(KEYS), None), hu().clamp(-50, 75))


def test_zscore_has_mean_zero_and_deviation_one_and_a_constant_becomes_zero():
    x = hu() + 1000
    changed = ZScore().change(x.clone(), Draws(KEYS), None).double().flatten(2)
    np.testing.assert_allclose(changed.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(changed.std(2), 1, atol=1e-5)
    fixed = ZScore(mean=100.0, std=50.0).change(x.clone(), Draws(KEYS), None)
    torch.testing.assert_close(fixed, (x - 100) / 50, atol=1e-4, rtol=0)
    assert (ZScore().change(torch.full((2, 1, 5, 5), 7.0), Draws(KEYS), None) == 0).all()


def test_rescale_puts_extremes_where_it_says():
    changed = Rescale(low=-1, high=3).change(hu(), Draws(KEYS), None).flatten(1)
    np.testing.assert_allclose(changed.amin(1), -1, atol=1e-6)
    np.testing.assert_allclose(changed.amax(1), 3, atol=1e-5)
    assert (Rescale(low=0.25).change(torch.full((2, 1, 5, 5), 7.0), Draws(KEYS), None) == 0.25).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3000, 3000, width=32), min_size=1, max_size=60), st.floats(0, 100))
def test_percentiles_are_numpys(values, percent):
    x = torch.tensor([values, values[::-1]])
    found = percentiles(x, (percent, 100 - percent))
    expected = np.percentile(x.double().numpy(), (percent, 100 - percent), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_percentiles_by_tensors_are_those_by_loops(monkeypatch):
    x = hu((3, 997)).round()
    looped = percentiles(x, (0.5, 30.0, 99.5))
    monkeypatch.setattr(serving, "loops", lambda device: False)
    np.testing.assert_array_equal(percentiles(x, (0.5, 30.0, 99.5)), looped)


def test_rescale_by_percentiles_leaves_specks_out():
    x = hu((2, 1, 30, 30)).clamp(-500, 500)
    x[0, 0, 3, 4], x[1, 0, 5, 6] = 9000.0, -9000.0
    changed = Rescale(percentiles=(1, 99)).change(x.clone(), Draws(KEYS), None)
    for row in range(2):
        low, high = np.percentile(x[row].double().numpy(), (1, 99))
        np.testing.assert_allclose(changed[row], np.clip((x[row].double().numpy() - low) / (high - low), 0, 1), atol=2e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.floats(-2000, 2000), st.floats(0.1, 1000))
def test_statistics_are_numpys(n, mean, std):
    x = (np.random.default_rng(n).normal(size=(2, n)) * std + mean).astype(np.float32)
    exact = x.astype(np.float64)
    expected = np.stack([exact.min(1), exact.max(1), exact.mean(1), exact.std(1, ddof=1) if n > 1 else np.zeros(2)], axis=1)
    np.testing.assert_allclose(statistics(x), expected, rtol=1e-9, atol=1e-6)


def test_a_warp_is_numpys_interpolation_through_its_knots():
    x = hu((2, 3001))
    curve = np.array([[0, 0.05, 0.3, 0.9, 1.0], [0, 0.4, 0.5, 0.6, 1.0]])
    low, extent = x.amin(1).double().numpy(), (x.amax(1) - x.amin(1)).double().numpy()
    expected = [
        np.interp(x[row].double().numpy(), np.linspace(low[row], low[row] + extent[row], 5), low[row] + extent[row] * curve[row])
        for row in range(2)
    ]
    warp(x, curve)
    np.testing.assert_allclose(x, expected, atol=2e-3)


def test_histogram_warp_keeps_order_and_range_and_strength_zero_keeps_all():
    x = hu((2, 1, 4000)).sort().values
    changed = HistogramWarp(strength=1.5).change(x.clone(), Draws(KEYS), None)
    assert (changed.diff() >= -1e-3).all()
    torch.testing.assert_close(changed[..., [0, -1]], x[..., [0, -1]], atol=1e-3, rtol=0)
    assert (changed - x).abs().max() > 10
    torch.testing.assert_close(HistogramWarp(strength=0.0).change(x.clone(), Draws(KEYS), None), x, atol=1e-3, rtol=0)


def test_local_gamma_with_an_even_field_is_gamma():
    x = hu()
    expected = x.clone()
    raise_to(expected.view(4, -1), np.repeat([2.0**0.45, 2.0**-0.8], 2))
    raise_locally(x, torch.tensor([0.9, -1.6]).view(2, 1, 1, 1).expand(2, 11, 13, 17).contiguous(), np.array([0.5, 0.5]))
    torch.testing.assert_close(x, expected, atol=2e-3, rtol=0)


def test_local_gamma_follows_its_field_in_mm_and_keeps_the_range():
    x = torch.linspace(0, 1, 40).expand(2, 1, 40, 40).contiguous()
    spacing = np.array([[1.0, 1.0], [0.5, 0.5]])
    changed = LocalGamma(strength=0.6, sigma_mm=8.0).change(x.clone(), Draws(KEYS), spacing)
    field = Draws(KEYS).smooth_field("field", (40, 40), 8.0 / spacing)
    torch.testing.assert_close(changed[:, 0], x[:, 0] ** torch.exp2(0.6 * field), atol=1e-5, rtol=0)
    assert changed.amin() >= 0
    assert changed.amax() <= 1


def test_local_brightness_adds_a_smooth_field_of_its_deviation():
    keys = [(0, 0, str(i), 0) for i in range(300)]
    changed = LocalBrightness(std=0.5, sigma_mm=3.0).change(torch.zeros(300, 2, 20, 20), Draws(keys), np.ones((300, 2)))
    # 300 fields of about 6 independent patches each: a standard error of 0.5 / sqrt(2 * 1800) = 0.008
    assert changed.std().item() == pytest.approx(0.5, abs=0.04)
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert changed.diff(dim=-1).std() < 0.3 * changed.std()
