"""Sizes measured on distances, against closed forms and SimpleITK."""

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from medphantom.findings.measuring import measure, planar_axes
from medphantom.findings.truth import Truth
from medphantom.scene import ALL, Scene
from medphantom.shapes import Grid, ellipsoid_distance


def turned_ellipse(half_long: float, half_short: float, angle: float, spacing: tuple[float, float]) -> np.ndarray:
    y, x = (np.arange(-60, 61) * s for s in spacing)
    x, y = x[None, :] + 0.3, y[:, None] - 0.2
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (np.hypot(u / half_long, v / half_short) - 1).astype(np.float32)[None]


@settings(max_examples=40)
@given(
    half_long=st.floats(8, 25),
    ratio=st.floats(0.4, 0.95),
    angle=st.floats(0, math.pi),
    spacing=st.tuples(st.floats(0.6, 1.5), st.floats(0.6, 1.5)),
)
def test_an_ellipses_axes_are_found_at_any_angle_and_spacing(half_long, ratio, angle, spacing):
    long, short = planar_axes(turned_ellipse(half_long, ratio * half_long, angle, spacing), spacing)
    # The outline is known where it crosses the lines between voxels. At a tip of radius r the nearest line lies s/2 away at most, which
    # hides s^2 / (8 r) of it; r = b^2/a at the long axis' ends. Never is it longer by more than the lines' curvature.
    hidden = max(spacing) ** 2 / (4 * ratio**2 * half_long)
    assert 2 * half_long - 0.1 - hidden < long < 2 * half_long + 0.1
    # Where the ellipse is nearly round the long axis' direction is loose, and the short axis feels it.
    assert short == pytest.approx(2 * ratio * half_long, rel=0.02, abs=0.15)


def test_the_longest_plane_is_chosen_and_an_empty_field_has_no_axes():
    stack = np.concatenate([turned_ellipse(9, 5, 0.3, (1, 1)), turned_ellipse(14, 4, 1.2, (1, 1)), turned_ellipse(3, 3, 0, (1, 1))])
    long, short = planar_axes(stack, (1, 1))
    assert (long, short) == (pytest.approx(28, abs=0.25), pytest.approx(8, abs=0.15))
    assert planar_axes(np.ones((2, 5, 5), np.float32), (1, 1)) is None


def test_box_volume_centroid_agree_with_simpleitk_on_the_whole_grid(anatomy):
    grid = Grid.centred((40, 50, 60), (2.5, 2.0, 1.5))
    scene = Scene(anatomy, grid)
    region = scene.region((-30, -40, -30), (30, 30, 30))
    distance = ellipsoid_distance(*scene.coordinates(region), (4.0, -6.0, 3.0), (14.0, 11.0, 17.0))
    truth = measure(scene, region, distance, kind="nodule", tracking_id="n", diameters=True)
    image = SimpleITK.GetImageFromArray(truth.on_grid().astype(np.uint8))
    image.SetSpacing((1.5, 2.0, 2.5))
    image.SetOrigin([float(axis[0]) + t for axis, t in zip((grid.x, grid.y, grid.z), anatomy.table_mm, strict=True)])
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    x0, y0, z0, w, h, d = shape.GetBoundingBox(1)
    assert truth.box == (z0, y0, x0, z0 + d, y0 + h, x0 + w)
    assert truth.center_mm == pytest.approx(shape.GetCentroid(1), abs=1e-4)
    # Shares at the surface make the volume finer than a count of voxels: 1 % against the closed form, 4 % against the count.
    assert truth.volume_ml == pytest.approx(4 / 3 * math.pi * 14 * 11 * 17 / 1000, rel=0.01)
    assert truth.volume_ml == pytest.approx(shape.GetPhysicalSize(1) / 1000, rel=0.04)
    assert truth.diameter_mm == pytest.approx(28, abs=0.3)
    assert truth.short_axis_mm == pytest.approx(22, abs=0.3)


def test_what_lies_beside_the_grid_is_not_seen(anatomy):
    scene = Scene(anatomy, Grid.centred((6, 6, 6), (2.0, 2.0, 2.0)))
    truth = measure(scene, ALL, np.full((6, 6, 6), 5, np.float32), kind="effusion", tracking_id="e", diameters=True)
    assert not truth.seen
    assert truth.box is truth.diameter_mm is None
    assert truth.volume_ml == 0
    assert not truth.on_grid().any()


def test_a_mask_that_does_not_fit_its_region_is_refused():
    with pytest.raises(ValueError, match="not that of its region"):
        Truth(
            kind="nodule",
            tracking_id="n",
            side="left",
            lobe=None,
            shape=(9, 9, 9),
            region=(slice(0, 2),) * 3,
            mask=np.zeros((1, 2, 2), bool),
            box=None,
            diameter_mm=None,
            short_axis_mm=None,
            volume_ml=0,
            center_mm=(0, 0, 0),
        )
