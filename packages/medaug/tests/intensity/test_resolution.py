"""Coarse grids and thick slices: against torch's interpolation, and against integrals on a fine grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from medaug.draws import Draws
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.slice_thickness import SliceThickness, thick_table
from medaug.kernels import tables

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]


@pytest.mark.parametrize(("shape", "factor"), [((13, 22, 31), 0.61), ((17, 23, 9), 0.5), ((37, 41), 0.83), ((64, 31), 0.27)])
def test_low_resolution_is_nearest_down_and_linear_up(shape, factor):
    x = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(0))
    changed = LowResolution(factor=factor).change(x.clone(), Draws(KEYS), None)
    # as in nnU-Net's batchgeneratorsv2: the nearest voxel of each coarse point, then (bi-, tri-)linear, half-voxel convention
    coarse = interpolate(x, [round(n * factor) for n in shape], mode="nearest-exact")
    expected = interpolate(coarse, shape, mode="bilinear" if len(shape) == 2 else "trilinear", align_corners=False)
    # torch keeps places along an axis in float32: 1e-6 of a voxel, on differences of up to 8 between voxels
    torch.testing.assert_close(changed, expected, atol=3e-5, rtol=0)


def test_factor_one_is_the_identity_and_other_axes_stay():
    x = torch.randn(2, 1, 8, 9, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(LowResolution(factor=1.0).change(x.clone(), Draws(KEYS), None), x)
    changed = LowResolution(factor=0.5, axes=(0,)).change(x.clone(), Draws(KEYS), None)
    # along axis 0 every coarse point is one of the voxels, so an image that is constant along it stays what it is
    flat = x[:, :, :1].expand_as(x).contiguous()
    assert torch.equal(LowResolution(factor=0.5, axes=(0,)).change(flat.clone(), Draws(KEYS), None), flat)
    assert not torch.equal(changed, x)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_coarse_points_lie_in_the_grid_with_weights_of_sum_one(n, points):
    index, weights = tables.coarse(n, np.array([min(points, n)]))
    assert index.max() < n
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


def thick_by_integrals(line: np.ndarray, thickness: float, start: float, fine: int) -> np.ndarray:
    """Means over boxes of a step function on a fine grid, then numpy's linear interpolation."""
    n = len(line)
    at = (np.arange(n * fine) + 0.5) / fine
    begin = min(start * thickness, n / 2) - thickness / 2
    middles, means = [], []
    while begin + thickness / 2 <= n:
        inside = (at >= begin) & (at < begin + thickness)
        middles.append(begin + thickness / 2)
        means.append(np.repeat(line, fine)[inside].mean())
        begin += thickness
    return np.interp(np.arange(n) + 0.5, middles, means)


@pytest.mark.parametrize(("n", "thickness", "start"), [(40, 5.0, 0.5), (33, 2.5, 0.1), (20, 1.25, 0.9), (12, 7.3, 0.33), (6, 30.0, 0.0)])
def test_thick_slices_are_means_over_their_boxes(n, thickness, start):
    line = np.random.default_rng(0).normal(size=n)
    index, weights = thick_table(n, np.array([thickness]), np.array([start]))
    found = (line[index[0]] * weights[0]).sum(0)
    # 2000 points a voxel: an edge of a box is off by at most 1/2000 voxel of a thickness
    np.testing.assert_allclose(found, thick_by_integrals(line, thickness, start, 2000), atol=4e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.floats(1, 200), st.floats(0, 0.999))
def test_weights_of_thick_slices_are_shares(n, thickness, start):
    index, weights = thick_table(n, np.array([thickness]), np.array([start]))
    assert index.max() < n
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_slice_thickness_is_in_mm_and_acts_across_the_slices_alone():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 60, 40, 40, generator=generator)
    spacing = np.array([[1.0, 0.5, 0.5], [5.0, 0.5, 0.5]])
    changed = SliceThickness(thickness_mm=4.0).change(x.clone(), Draws(KEYS), spacing)
    # 4 mm over slices of 1 mm: white noise of 4 slices averages to 1/4 of its variance, and interpolation at random places to 2/3 of that
    assert changed[0].var().item() == pytest.approx(1 / 6, abs=0.02)
    # in the plane noise stays white
    assert abs((changed[0, 0, :, :, 1:] * changed[0, 0, :, :, :-1]).mean().item()) < 0.005
    # slices of 5 mm are thicker than 4 mm already
    assert torch.equal(changed[1], x[1])


def test_slices_of_the_last_axis_are_as_those_of_the_first():
    x = torch.randn(2, 1, 30, 12, 30, generator=torch.Generator().manual_seed(0))
    spacing = np.ones((2, 3))
    first = SliceThickness(thickness_mm=3.3).change(x.clone(), Draws(KEYS), spacing)
    last = SliceThickness(thickness_mm=3.3, axis=-1).change(x.transpose(2, 4).contiguous(), Draws(KEYS), spacing)
    torch.testing.assert_close(last.transpose(2, 4), first, atol=1e-6, rtol=0)
