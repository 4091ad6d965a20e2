"""Polygons to pixels: the centre rule, holes, keyholes; and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.draw import polygon2mask

from medio.derived.polygons import fill_polygons, outline_mask

_VERTEX = st.tuples(st.floats(-3, 14), st.floats(-3, 15))


@given(st.lists(_VERTEX, min_size=3, max_size=9))
def test_any_polygon_covers_the_centres_that_skimage_covers(points: list[tuple[float, float]]) -> None:
    # shifted off the pixel centres, where conventions about points on an edge differ
    polygon = np.round(np.array(points), 2) + np.array([0.00237, 0.00413])
    assert np.array_equal(fill_polygons([polygon], (11, 12)), polygon2mask((11, 12), polygon))


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_mask_is_its_own_outline_filled(mask: np.ndarray) -> None:
    assert np.array_equal(fill_polygons(outline_mask(mask), mask.shape), mask)


def test_a_circle_has_its_area() -> None:
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = np.stack([100 + 80.3 * np.cos(angle), 110 + 80.3 * np.sin(angle)], axis=1)
    # the centres in a disc of radius r are its area to within a share of its circumference (Gauss's circle problem)
    assert fill_polygons([circle], (200, 220)).sum() == pytest.approx(np.pi * 80.3**2, rel=2e-3)


def test_an_outline_within_another_is_a_hole() -> None:
    outer = np.array([[-0.5, -0.5], [-0.5, 9.5], [9.5, 9.5], [9.5, -0.5]])
    inner = np.array([[2.5, 2.5], [2.5, 5.5], [5.5, 5.5], [5.5, 2.5]])
    mask = fill_polygons([outer, inner], (10, 10))
    assert mask.sum() == 100 - 9
    assert not mask[3:6, 3:6].any()


@pytest.mark.parametrize("bend", [0.0, 0.3, 1 / 3])
def test_a_keyhole_leaves_the_hole_and_its_channel_costs_no_pixel(bend: float) -> None:
    # out around the square, in along a slanted channel, around the hole, and back along the very same channel
    outer = [(-0.5, -0.5), (-0.5, 9.5), (9.5, 9.5), (9.5, -0.5)]
    inner = [(2.5 + bend, 2.5), (5.5, 2.5), (5.5, 5.5), (2.5, 5.5)]
    keyhole = np.array([*outer, outer[0], *inner, inner[0]])
    mask = fill_polygons([keyhole], (10, 10))
    expected = fill_polygons([np.array(outer), np.array(inner)], (10, 10))
    assert np.array_equal(mask, expected)
    assert 88 <= mask.sum() <= 94


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none() -> None:
    # the edge runs through pixel centres
    left = np.array([[-1.0, -1.0], [-1.0, 4.0], [10.0, 4.0], [10.0, -1.0]])
    right = np.array([[-1.0, 4.0], [-1.0, 10.0], [10.0, 10.0], [10.0, 4.0]])
    a, b = fill_polygons([left], (9, 9)), fill_polygons([right], (9, 9))
    assert not (a & b).any()
    assert (a | b).all()


def test_nothing_fills_nothing_and_what_lies_outside_is_cut() -> None:
    assert not fill_polygons([], (4, 4)).any()
    assert fill_polygons([np.array([[-9.0, -9], [-9, 99], [99, 99], [99, -9]])], (4, 4)).all()
    assert not fill_polygons([np.array([[50.0, 50], [50, 60], [60, 60]])], (4, 4)).any()
    assert not fill_polygons([np.array([[1.0, -60], [1, -50], [3, -60]])], (4, 4)).any()
