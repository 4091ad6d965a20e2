"""Distances and shares of voxels against geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medphantom.shapes import Grid, blend, capsule_distance, ellipsoid_distance, intersection, occupancy, union

lengths = st.floats(2, 40)


@given(lengths, lengths, lengths, st.integers(0, 1000))
def test_an_ellipsoids_surface_is_at_distance_zero_and_its_middle_deep_inside(a, b, c, seed):
    direction = np.random.default_rng(seed).normal(size=(3, 20))
    x, y, z = (direction / np.linalg.norm(direction, axis=0) * np.array([[a], [b], [c]]) + np.array([[1], [2], [3]])).astype(np.float32)
    assert ellipsoid_distance(x, y, z, (1, 2, 3), (a, b, c)) == pytest.approx(np.zeros(20), abs=1e-3)
    middle = np.array([1, 2, 3], np.float32)[:, None]
    assert ellipsoid_distance(*middle, (1, 2, 3), (a, b, c))[0] == pytest.approx(-min(a, b, c), rel=1e-6)


@given(st.floats(1, 30), st.floats(-3, 3))
def test_for_a_sphere_the_distance_is_exact(radius, off):
    point = np.array([radius + max(off, -0.5 * radius)], np.float32)
    zero = np.zeros(1, np.float32)
    assert ellipsoid_distance(point, zero, zero, (0, 0, 0), (radius,) * 3)[0] == pytest.approx(max(off, -0.5 * radius), abs=1e-4)


def test_a_capsules_radius_runs_from_end_to_end():
    start, end = np.array([0, 0, 0], np.float32), np.array([0, 0, 10], np.float32)
    z = np.array([0, 5, 10, 14], np.float32)
    # on the axis the distance is minus the radius: 4, 3, 2; 4 mm past the end it is 4 - 2
    assert capsule_distance(0 * z, 0 * z, z, start, end, (4, 2)) == pytest.approx([-4, -3, -2, 2])


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 2.0, 3.0)])
def test_the_shares_of_voxels_add_up_to_the_volume(spacing):
    grid = Grid.centred((60, 40, 30), spacing)
    share = occupancy(ellipsoid_distance(*grid.axes(), (0.3, -0.7, 1.1), (15, 12, 18)), grid.softness_mm)
    assert share.sum() * np.prod(spacing) == pytest.approx(4 / 3 * math.pi * 15 * 12 * 18, rel=0.01)


def test_a_region_holds_the_voxels_between_its_corners():
    grid = Grid.centred((5, 6, 7), (1.0, 2.0, 3.0))  # z -2..2, y -5..5, x -9..9
    region = grid.region((-3, 0, -1), (4, 9, np.inf))
    x, y, z = grid.axes(region)
    assert (x.ravel().tolist(), y.ravel().tolist(), z.ravel().tolist()) == ([-3, 0, 3], [1, 3, 5], [-1, 0, 1, 2])


def test_blending_mixes_in_proportion():
    hu = np.array([-1000, -1000, -1000], np.float32)
    blend(hu, np.array([0, 0.25, 1], np.float32), 0.0)
    assert hu.tolist() == [-1000, -750, 0]


@given(st.integers(0, 1000))
def test_boxes_found_together_are_those_found_one_by_one(seed):
    grid = Grid.centred((9, 11, 13), (2.0, 1.5, 1.0))
    corners = np.random.default_rng(seed).uniform(-12, 12, (2, 6, 3))
    low, high = corners.min(axis=0), corners.max(axis=0)
    for (z, y, x), a, b in zip(grid.bounds(low, high), low, high, strict=True):
        assert grid.region(a, b) == (slice(*z), slice(*y), slice(*x))


def test_union_and_intersection_hold_the_points_of_any_and_of_all():
    x = np.linspace(-3, 3, 61, dtype=np.float32)
    first, second = np.abs(x) - 1, np.abs(x - 1) - 1  # [-1, 1] and [0, 2]
    assert np.array_equal(union(first, second) < 0, (x > -1) & (x < 2))
    assert np.array_equal(intersection(first, second) < 0, (x > 0) & (x < 1))
