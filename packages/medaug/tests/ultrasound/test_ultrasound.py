"""Ultrasound: the statistics of speckle, and decibels where they belong."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from medaug import AugmentationError
from medaug.draws import Draws
from medaug.ultrasound.gain import DepthGain, gain_curves
from medaug.ultrasound.haze import Haze
from medaug.ultrasound.shadow import Shadow
from medaug.ultrasound.speckle import Speckle

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]
MM = np.full((1, 2), 0.5)


def test_full_speckle_is_rayleigh():
    image = torch.full((1, 1, 200, 200), 3.0)
    out = Speckle(strength=1.0, axial_mm=0.01, lateral_mm=0.01, dynamic_range_db=None).change(image, Draws(KEYS[:1]), MM)
    # grains below a pixel leave independent values; a Rayleigh of mean 3 has the scale 3 / sqrt(pi / 2) and the std 0.5227 of its mean
    values = out.flatten().double().numpy()
    assert values.mean() == pytest.approx(3, rel=0.015)
    assert values.std() / values.mean() == pytest.approx(0.5227, rel=0.02)
    assert kstest(values, "rayleigh", args=(0, 3 / np.sqrt(np.pi / 2))).pvalue > 1e-3


def test_speckle_of_a_displayed_image_has_the_std_of_log_rayleigh():
    image = torch.full((1, 1, 150, 150), 0.5)
    image[..., 0, 0], image[..., 0, 1] = 0.0, 1.0
    out = Speckle(strength=0.5, axial_mm=0.01, lateral_mm=0.01, dynamic_range_db=100.0).change(image, Draws(KEYS[:1]), MM)
    # 20 log10 of a Rayleigh has std 10 / ln 10 · pi / sqrt 6 = 5.57 dB; half of it is 0.0279 of 100 dB
    assert out[..., 1:, :].std().item() == pytest.approx(0.0279, rel=0.04)


def test_grains_are_as_large_as_asked():
    image = torch.full((1, 1, 240, 240), 1.0)
    out = Speckle(strength=1.0, axial_mm=1.0, lateral_mm=2.0, dynamic_range_db=None).change(image, Draws(KEYS[:1]), MM)
    values = (out - out.mean())[0, 0].double().numpy()

    # amplitude correlates about as the square of the field's exp(-d² / 4 sigma²): at d = sigma exp(-1/2) = 0.61, and less at the same distance along depth
    def at(lag: int, axis: int) -> float:
        return float((np.take(values, range(240 - lag), axis) * np.take(values, range(lag, 240), axis)).mean() / values.var())

    assert at(2, 0) == pytest.approx(0.61, abs=0.06)
    assert at(4, 1) == pytest.approx(0.61, abs=0.06)
    assert at(4, 0) < 0.25


def test_a_gain_in_decibels_multiplies_amplitudes_and_shifts_what_is_displayed():
    curve = gain_curves(40, np.array([6.0]), Draws(KEYS[:1]).child("x").uniform("curve", -1, 1, (4,)))[0]
    assert np.abs(curve).max() == pytest.approx(6.0)
    image = torch.rand(1, 1, 40, 30) * 0.4 + 0.3
    image[..., 0, 0], image[..., 0, 1] = 0, 1
    draws = Draws(KEYS[:1]).child("x")
    linear = DepthGain(gain_db=6.0, dynamic_range_db=None).change(image.clone(), draws, None)
    np.testing.assert_allclose(linear.numpy(), image.numpy() * 10 ** (curve[:, None] / 20), rtol=1e-5)
    shown = DepthGain(gain_db=6.0, dynamic_range_db=60.0).change(image.clone(), draws, None)
    np.testing.assert_allclose(shown[0, 0, 1:].numpy(), image[0, 0, 1:].numpy() + curve[1:, None] / 60, atol=1e-5)


def test_black_stays_black():
    image = torch.rand(1, 1, 40, 30) * 0.5 + 0.3
    image[..., :5] = 0.0
    for op in (Speckle(strength=1.0), DepthGain(), Shadow(), Haze(amount=0.5)):
        out = op.change(image.clone(), Draws(KEYS[:1]), MM)
        assert (out[..., :5] == 0).all(), op
        assert (out != image).any(), op
        assert out.amax() <= image.amax() + 1e-6, op


def test_a_shadow_lies_behind_its_obstacle_and_widens_with_the_fan():
    image = torch.full((1, 1, 200, 200), 1.0)
    image[..., 0, 0] = 0.0
    shadow = Shadow(count=(1, 1), attenuation_db=12.0, width_mm=10.0, depth=0.3, apex_mm=30.0, dynamic_range_db=60.0)
    # a sample whose shadow falls near the middle, so that all of it is in the image
    draws = next(d for d in (Draws([(0, 0, str(i), 0)]) for i in range(50)) if abs(d.uniform("side", size=(1,))[0, 0] - 0.5) < 0.05)
    out = shadow.change(image.clone(), draws, MM)[0, 0]
    # 12 of 60 dB
    assert out.flatten()[1:].min().item() == pytest.approx(0.8, abs=1e-5)
    assert (out[:59, 1:] == 1).all()
    # half of the loss at 1/8 inside the rim: 10 - 2 · 5/8 = 8.75 mm at depth 30 (60 from the apex), in proportion to the distance from the apex below
    width = ((out < 0.9).sum(1) * 0.5).numpy()
    for depth in (40.0, 60.0, 90.0):
        assert width[int(depth / 0.5)] == pytest.approx(8.75 * (depth + 30.5) / 60.5, abs=1.0)


def test_a_linear_probe_throws_straight_shadows():
    image = torch.full((1, 1, 100, 100), 1.0)
    out = Shadow(count=(1, 1), apex_mm=1e6, depth=0.2, dynamic_range_db=None).change(image, Draws(KEYS[:1]), MM)[0, 0]
    torch.testing.assert_close(out[60], out[95], atol=2e-3, rtol=0)
    assert out[60].min() < 0.5


def test_haze_falls_with_depth_by_its_reach():
    image = torch.full((1, 1, 120, 80), 0.2)
    image[..., 0, 0], image[..., 0, 1] = 0.0, 1.0
    out = Haze(amount=0.2, reach_mm=15.0).change(image.clone(), Draws(KEYS[:1]), MM)
    lift = (out - image)[0, 0, 1:, 2:].double().mean(1).numpy()
    # 30 rows are 15 mm
    np.testing.assert_allclose(lift[30:] / lift[:-30], np.exp(-1), rtol=1e-4)


@pytest.mark.parametrize("op", [Speckle(), Shadow(), Haze()])
def test_ultrasound_without_spacing_is_refused(op):
    with pytest.raises(AugmentationError, match="a: has no spacing"):
        op.change(torch.rand(1, 1, 16, 16), Draws(KEYS[:1]), None)


@pytest.mark.parametrize(
    "make",
    [lambda: Speckle(strength=-1), lambda: DepthGain(dynamic_range_db=0.0), lambda: Shadow(depth=2.0), lambda: Haze(amount=1.5)],
)
def test_senseless_options_of_ultrasound_are_refused(make):
    with pytest.raises(AugmentationError):
        make()
