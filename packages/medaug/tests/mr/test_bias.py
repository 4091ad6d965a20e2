"""The bias field against TorchIO's, and the tissue curve's properties."""

import numpy as np
import pytest
import torch
import torchio
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug import AugmentationError
from medaug.draws import Draws
from medaug.mr.bias import BiasField, bias_field
from medaug.mr.contrast import TissueContrast, _look_up_torch, tissue_curves

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]


def test_the_field_is_torchios_at_its_coefficients():
    # 20 terms of order 3 in three axes; TorchIO walks them in the same order
    coefficients = np.random.default_rng(0).uniform(-0.5, 0.5, 20)
    expected = torchio.transforms.BiasField.generate_bias_field(torch.zeros(1, 14, 19, 23), 3, coefficients.tolist())
    ours = bias_field((14, 19, 23), coefficients[None], 3)[0, 0]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-6)


def test_a_plane_field_has_the_closed_form():
    # order 1 in two axes: the terms are 1, x (last axis), y (first axis) with both in [-1, 1]
    field = bias_field((5, 9), np.array([[0.1, 0.3, -0.2]]), 1)[0, 0]
    assert field[0, 0].item() == pytest.approx(np.exp(0.1 - 0.3 + 0.2), rel=1e-6)
    assert field[4, 0].item() == pytest.approx(np.exp(0.1 - 0.3 - 0.2), rel=1e-6)
    assert field[2, 4].item() == pytest.approx(np.exp(0.1), rel=1e-6)


def test_no_strength_is_no_field():
    image = torch.rand(2, 2, 6, 7, 8)
    assert torch.equal(BiasField(strength=0.0).change(image.clone(), Draws(KEYS), None), image)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.5), st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.booleans())
def test_a_curve_has_fixed_ends_stays_inside_and_keeps_the_order_when_asked(strength, terms, monotone):
    curve = tissue_curves(np.array([strength]), np.array([terms]), monotone=monotone)[0]
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1, abs=1e-6)
    assert curve.min() >= 0
    assert curve.max() <= 1
    assert np.abs(curve - np.linspace(0, 1, len(curve))).max() <= strength + 1e-6
    if monotone:
        assert (np.diff(curve) >= 0).all()


def test_contrast_of_one_curve_is_that_of_numpys_interpolation():
    image = torch.rand(2, 1, 12, 14) * 300 - 50
    transform = TissueContrast(strength=0.2, monotone=False)
    draws = Draws(KEYS)
    out = transform.change(image.clone(), draws, None)
    curves = tissue_curves(np.array([0.2, 0.2]), draws.uniform("terms", -1, 1, (3,)), monotone=False)
    for row in range(2):
        low, high = image[row].min().item(), image[row].max().item()
        unit = np.interp((image[row].numpy() - low) / (high - low), np.linspace(0, 1, curves.shape[1]), curves[row])
        np.testing.assert_allclose(out[row].numpy(), low + unit * (high - low), atol=2e-3)


def test_both_ways_of_looking_up_agree():
    image = torch.rand(2, 1, 12, 14)
    image[:, 0, 0, 0], image[:, 0, 0, 1] = 0, 1
    draws = Draws(KEYS)
    out = TissueContrast(strength=0.3).change(image.clone(), draws, None)
    curves = tissue_curves(np.array([0.3, 0.3]), draws.uniform("terms", -1, 1, (3,)), monotone=True)
    torch.testing.assert_close(_look_up_torch(image, curves), out, atol=1e-6, rtol=0)


def test_a_constant_image_has_no_contrast_to_change():
    image = torch.full((1, 1, 5, 5), 7.0)
    assert torch.equal(TissueContrast().change(image.clone(), Draws(KEYS[:1]), None), image)


@pytest.mark.parametrize("make", [lambda: BiasField(order=0), lambda: BiasField(strength=-1), lambda: TissueContrast(strength=0.6)])
def test_senseless_options_of_fields_and_curves_are_refused(make):
    with pytest.raises(AugmentationError):
        make()
