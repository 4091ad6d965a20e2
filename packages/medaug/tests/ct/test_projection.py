"""Projections against closed forms and scikit-image, and what hardening and metal make of them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage.transform import iradon

from medaug.ct.hardening import hardening
from medaug.ct.metal import MetalStreaks, metal_streaks
from medaug.ct.projection import (
    WATER_PER_MM,
    _backproject_torch,
    _project_torch,
    attenuation,
    backproject,
    coarse,
    detector,
    fine,
    project,
    reconstruct,
)
from medaug.draws import Draws

SIZE, PIXEL = 128, 2.0
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
RADIUS = np.hypot(ROWS - (SIZE - 1) / 2, COLUMNS - (SIZE - 1) / 2) * PIXEL


def cylinder(radius_mm: float = 100.0, hu: float = 0.0) -> torch.Tensor:
    """Water in air, with soft rims by the share of a pixel: (1, 1, 1, H, W) HU."""
    share = np.clip((radius_mm - RADIUS) / PIXEL + 0.5, 0, 1)
    return torch.from_numpy(share * (hu + 1000) - 1000).float()[None, None, None]


def square_pixels(count: int = 1) -> np.ndarray:
    return np.full((count, 2), PIXEL)


def test_a_cylinder_projects_to_its_chords():
    rays = project(attenuation(cylinder()).flatten(0, 2), square_pixels(), 45)[0].numpy()
    bins, pitch = detector((SIZE, SIZE), square_pixels())
    t = (np.arange(bins) - (bins - 1) / 2) * pitch[0]
    chord = 2 * np.sqrt(np.maximum(100.0**2 - t**2, 0)) * WATER_PER_MM
    inner = np.abs(t) < 95
    # 3.86 at the centre; a pixel of 2 mm sees the rim within 0.02
    np.testing.assert_allclose(rays[:, inner], np.broadcast_to(chord[inner], rays[:, inner].shape), atol=0.025)
    assert np.abs(rays[:, np.abs(t) > 103]).max() < 1e-6


def test_the_projections_of_oblong_pixels_hold_the_mass_of_the_slice():
    slices = torch.rand(1, 40, 60, generator=torch.Generator().manual_seed(0))
    slices[:, :4] = slices[:, -4:] = slices[:, :, :4] = slices[:, :, -4:] = 0
    pixel = np.array([[2.0, 0.7]])
    rays = project(slices, pixel, 36)[0].double().sum(1).numpy() * detector((40, 60), pixel)[1][0]
    np.testing.assert_allclose(rays, slices.double().sum().item() * 2.0 * 0.7, rtol=0.02)


def test_reconstruction_gives_back_the_water():
    rays = project(attenuation(cylinder()).flatten(0, 2), square_pixels(), 180)
    water = reconstruct(rays, (SIZE, SIZE), square_pixels())[0].numpy() / WATER_PER_MM
    assert water[RADIUS < 90].mean() == pytest.approx(1, abs=0.002)
    assert np.abs(water[RADIUS < 90] - 1).max() < 0.06
    assert np.abs(water[(RADIUS > 110) & (RADIUS < 125)]).max() < 0.03


def test_reconstruction_agrees_with_scikit_image():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(sum(np.exp(-((ROWS - a) ** 2 + (COLUMNS - b) ** 2) / 60) for a, b in rng.uniform(45, 83, (4, 2)))).float()[
        None
    ]
    one = np.ones((1, 2))
    rays = project(image, one, 120)
    ours = reconstruct(rays, (SIZE, SIZE), one)[0].numpy()
    # both reconstruct what was projected; interpolation between rays blurs by less than 2 % of the height
    np.testing.assert_allclose(ours, image[0].numpy(), atol=0.02)
    # scikit-image's t is x cos - y sin, its unit is the bin, its grid is that of the bins about the same centre
    bins, pitch = detector((SIZE, SIZE), one)
    theirs = iradon(rays[0].double().numpy().T, theta=-np.arange(120) * 1.5, output_size=bins, circle=True) / pitch[0]
    place = (np.arange(bins) - bins // 2) * pitch[0] + (SIZE - 1) / 2
    inner = (place > 10) & (place < SIZE - 11)
    grid = np.meshgrid(place[inner], place[inner], indexing="ij")
    np.testing.assert_allclose(map_coordinates(ours, grid, order=3), theirs[np.ix_(inner, inner)], atol=0.01)


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (2.0, 0.7)])
def test_both_ways_of_projecting_agree(pixel):
    slices = torch.rand(2, 30, 37)
    sizes = np.array([pixel, (1.1, 0.9)])
    bins, pitch = detector((30, 37), sizes)
    rays = project(slices, sizes, 11)
    torch.testing.assert_close(rays, _project_torch(slices, sizes, bins, pitch, 11), atol=1e-4, rtol=0)
    torch.testing.assert_close(backproject(rays, (30, 37), sizes), _backproject_torch(rays, (30, 37), sizes, pitch), atol=1e-4, rtol=0)


def test_coarse_and_fine_keep_a_mean_and_a_slope():
    ramp = torch.arange(100.0).expand(1, 1, 5, 40, 100).contiguous()
    small, pixel = coarse(ramp, np.array([[1.0, 1.0]]), 25, 5)
    assert small.shape == (1, 1, 5, 25, 25)
    np.testing.assert_allclose(pixel, [[1.6, 4.0]])
    assert small.mean().item() == pytest.approx(ramp.mean().item(), rel=1e-5)
    back = fine(small, (5, 40, 100))
    torch.testing.assert_close(back[..., 3:-3], ramp[..., 3:-3], atol=1e-3, rtol=0)


def test_a_hardened_cylinder_of_water_cups_by_the_closed_form():
    # p = 2 mu sqrt(R² - t²) loses w p²; the Radon transform of sqrt(R² - r²) is (pi/2)(R² - t²), so the error is -(8 w mu²/pi) sqrt(R² - r²)
    change = hardening(cylinder(), square_pixels(), np.array([0.01]), np.array([0.0]))[0, 0, 0].numpy()
    closed = -8 * 0.01 * WATER_PER_MM / np.pi * np.sqrt(np.maximum(100.0**2 - RADIUS**2, 0)) * 1000
    assert closed.min() == pytest.approx(-49.1, abs=0.1)
    np.testing.assert_allclose(change[RADIUS < 80], closed[RADIUS < 80], atol=2.0)
    assert np.abs(change[RADIUS > 112]).max() < 1.5
    assert RADIUS.flat[change.argmin()] < 30


def test_two_bones_darken_what_lies_between_them():
    head = cylinder(90.0)
    for row in (-45, 45):
        head[0, 0, 0][torch.from_numpy(np.hypot((ROWS - 63.5) * 2 - row, (COLUMNS - 63.5) * 2) < 15)] = 1000.0
    change = hardening(head, square_pixels(), np.array([0.0]), np.array([0.02]))[0, 0, 0].numpy()
    between, beside = change[62:66, 62:66].mean(), change[62:66, 90:94].mean()
    assert between < beside - 3
    # the loss is linear in the coefficient
    double = hardening(head, square_pixels(), np.array([0.0]), np.array([0.04]))[0, 0, 0].numpy()
    np.testing.assert_allclose(double, 2 * change, atol=0.05)
    # no bone, no error
    assert np.abs(hardening(cylinder(), square_pixels(), np.array([0.0]), np.array([0.02])).numpy()).max() < 1e-3


def test_streaks_spring_from_metal_and_metal_alone():
    slices = cylinder()[:, 0, 0]
    bins = detector((SIZE, SIZE), square_pixels())[0]
    quiet = torch.zeros(1, 180, bins)
    centre = np.array([[[0.0, -40.0], [0.0, 40.0]]])
    none = metal_streaks(slices, square_pixels(), centre, np.zeros((1, 2)), np.array([0.5]), quiet + 1)
    assert none.abs().max().item() == 0
    streaks = metal_streaks(slices, square_pixels(), centre, np.full((1, 2), 5.0), np.array([0.5]), quiet)[0].numpy()
    middle = SIZE // 2
    # dark band on the line between two inserts; bright inserts
    assert streaks[middle, middle] < -50
    assert streaks[middle, middle] < streaks[middle + 25, middle] - 30
    assert streaks[middle, middle + 20] > 1000


def test_metal_is_in_tissue_at_the_top_and_only_slices_within_its_length_change():
    volume = cylinder().repeat(1, 1, 20, 1, 1)
    transform = MetalStreaks(count=(1, 1), radius_mm=6.0, length_mm=9.0)
    out = transform.change(volume.clone(), Draws([(0, 0, "a", 0)]), np.array([[3.0, PIXEL, PIXEL]]))[0, 0]
    changed = (out != volume[0, 0]).flatten(1).any(1).numpy()
    # 9 mm are 3 slices of 3 mm
    assert changed.sum() in (2, 3)
    assert np.ptp(np.flatnonzero(changed)) == changed.sum() - 1
    metal = (out >= 3000).any(0).numpy()
    # pi 6² mm² = 113 mm² = 28 pixels of 4 mm²; its rim of one pixel is blurred up to the top, about 40
    assert 20 <= metal.sum() <= 45
    assert (RADIUS[metal] < 102).all()
