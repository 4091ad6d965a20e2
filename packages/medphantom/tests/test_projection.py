"""Films' geometry: closed forms of slabs and balls, rays followed one by one, magnification, boxes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medphantom import line_integrals
from medphantom.anatomy import draw_anatomy
from medphantom.projection import BEDSIDE, LATERAL, PARALLEL, STANDING, WATER_PER_MM, View, attenuation, with_pixels
from medphantom.scene import Scene
from medphantom.shapes import Grid, ellipsoid_distance, occupancy

GRID = Grid.centred((60, 70, 80), (4.0, 4.0, 4.0))


def ball(center, radius, grid=GRID):
    distance = ellipsoid_distance(*grid.axes(), center, (radius,) * 3)
    return occupancy(distance, grid.softness_mm), distance < 0


def test_parallel_rays_add_up_what_line_integrals_say():
    hu = np.random.default_rng(0).uniform(-1100, 400, GRID.shape).astype(np.float32)
    assert PARALLEL.project(attenuation(hu), GRID) == pytest.approx(line_integrals(hu, 4.0)[::-1], rel=1e-5)


def test_a_slab_is_as_thick_as_the_ray_is_aslant():
    slab = np.zeros(GRID.shape, np.float32)
    slab[:, 20:45] = WATER_PER_MM
    view = View(source_mm=900, pixel_mm=(5, 5))
    film = view.project(slab, GRID)
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in film.shape)
    off = np.hypot(rows[:, None], columns) * 5
    expected = 25 * 4.0 * WATER_PER_MM * np.sqrt(1 + (off / 900) ** 2)
    # near the edge of the film rays leave the grid through its sides; 3/5 of it is crossed from front to back by all
    middle = (slice(len(rows) // 5, -len(rows) // 5), slice(len(columns) // 5, -len(columns) // 5))
    assert film[middle] == pytest.approx(expected[middle], rel=1e-3)


@pytest.mark.parametrize(
    "view", [View(source_mm=700), View(position="AP", source_mm=900, pixel_mm=(2.0, 3.0)), View(position="LAT", source_mm=1000)]
)
def test_each_pixel_is_the_integral_along_its_own_ray(view):
    density = np.zeros(GRID.shape)
    density[5:-5, 5:-5, 5:-5] = np.random.default_rng(1).uniform(0, 1, tuple(n - 10 for n in GRID.shape))
    density = ndimage.gaussian_filter(density, 2.0, mode="constant").astype(np.float32)
    film = view.project(density, GRID)
    rng = np.random.default_rng(2)
    rows = rng.integers(film.shape[0] // 4, 3 * film.shape[0] // 4, 40)
    columns = rng.integers(film.shape[1] // 4, 3 * film.shape[1] // 4, 40)
    high, wide = view.pixels(GRID)
    up, side = ((film.shape[0] - 1) / 2 - rows) * high, (columns - (film.shape[1] - 1) / 2) * wide
    toward = {"PA": -1.0, "AP": 1.0, "LAT": 1.0}[view.position]
    t = np.linspace(0, 1, 6000)[:, None]  # from the focus to the pixel
    depth = toward * (view.middle_mm - view.source_mm * (1 - t)) * np.ones(40)
    across, along_z = side * t, up * t
    y, x = (across, depth) if view.position == "LAT" else (depth, across)
    index = [(c - axis[0]) / 4.0 for c, axis in ((along_z, GRID.z), (y, GRID.y), (x, GRID.x))]
    samples = ndimage.map_coordinates(density, index, order=1, cval=0.0)
    step = np.sqrt(view.source_mm**2 + up**2 + side**2) / (len(t) - 1)
    assert film[rows, columns] == pytest.approx(samples.sum(axis=0) * step, rel=0.005)


@settings(max_examples=20, deadline=None)
@given(
    view=st.sampled_from([PARALLEL, STANDING, BEDSIDE, LATERAL, View(position="AP", source_mm=700, pixel_mm=(2.5, 2.5))]),
    center=st.tuples(st.floats(-70, 70), st.floats(-60, 60), st.floats(-60, 60)),
    radius=st.floats(9, 25),
)
def test_a_finding_casts_its_shadow_into_its_box_and_its_middle_where_points_say(view, center, radius):
    share, mask = ball(center, radius)
    shadow = view.project(share, GRID)
    r0, c0, r1, c1 = view.box(GRID, mask)
    # all that is crossed for more than 3/5 of the longest way, i.e. within 4/5 of the radius, lies in the box, which is larger than the shadow
    # by no more than a voxel and a pixel at each end
    dark = np.argwhere(shadow > 0.6 * shadow.max())
    assert (dark.min(axis=0) >= (r0, c0)).all()
    assert (dark.max(axis=0) < (r1, c1)).all()
    pixels = view.pixels(GRID)
    for size, pixel in zip((r1 - r0, c1 - c0), pixels, strict=True):
        assert size * pixel <= 2 * (radius + 4) * view.magnification(60) + 3 * pixel
    row, column = view.points(GRID, np.array([center]))[0]
    weights = shadow / shadow.sum()
    seen = (weights.sum(axis=1) @ np.arange(shadow.shape[0]), weights.sum(axis=0) @ np.arange(shadow.shape[1]))
    assert seen == pytest.approx((row, column), abs=0.4)


def test_a_balls_shadow_is_magnified_by_its_distance_from_the_focus():
    grid = Grid.centred((80, 120, 80), (2.0, 2.0, 2.0))
    radius, y = 30.0, 60.0
    _, mask = ball((0, y, 0), radius, grid)
    for position, toward in (("PA", -y), ("AP", y)):
        view = View(position=position, source_mm=1000, pixel_mm=(0.5, 0.5))
        _, c0, _, c1 = view.box(grid, mask)
        focus = 1000 - 170 + toward  # from the focus to the ball's middle
        # the rays that touch a ball: half of its shadow is source * r / sqrt(d^2 - r^2)
        assert (c1 - c0) * 0.5 == pytest.approx(2 * 1000 * radius / math.sqrt(focus**2 - radius**2), abs=2 * 2.0 * 1000 / focus)


@pytest.mark.parametrize("seed", range(3))
def test_the_heart_looks_larger_from_the_front_by_the_stated_magnification(seed):
    anatomy = draw_anatomy(np.random.default_rng(seed), sex="M")
    grid = Grid.centred((90, 96, 110), (3.0, 3.0, 3.0))
    heart = Scene(anatomy, grid).distance("heart") < 0
    y = float(np.broadcast_to(grid.axes()[1], grid.shape)[heart].mean())
    widths = {}
    for view in (with_pixels(STANDING, (0.5, 0.5)), with_pixels(BEDSIDE, (0.5, 0.5))):
        _, c0, _, c1 = view.box(grid, heart)
        widths[view.position] = (c1 - c0) * 0.5
    # the heart lies in front of the middle: near the detector on PA, far from it on AP
    assert y < 0
    expected = (1100 / (1100 - 170 + y)) / (1800 / (1800 - 170 - y))
    assert expected > 1.08
    assert widths["AP"] / widths["PA"] == pytest.approx(expected, rel=0.015)


def test_a_lateral_film_has_the_back_at_the_right_and_the_far_side_larger():
    boxes = {}
    for name, center in (("front", (0, -60, 20)), ("back", (0, 60, 20)), ("left", (60, 0, 20)), ("right", (-60, 0, 20))):
        boxes[name] = LATERAL.box(GRID, ball(center, 15)[1])
    assert boxes["back"][1] > boxes["front"][3]
    assert boxes["right"][3] - boxes["right"][1] >= boxes["left"][3] - boxes["left"][1]
    assert LATERAL.magnification(-60) / LATERAL.magnification(60) == pytest.approx((1800 - 215 + 60) / (1800 - 215 - 60))
    rows = LATERAL.shape(GRID)[0]
    assert boxes["front"][2] < rows / 2 + 4  # z > 0 lies in the upper half: rows count from the head


def test_finer_pixels_hold_the_same_shadow():
    share, _ = ball((10, 5, -12), 24)
    coarse, fine = (view.project(share, GRID).astype(float) for view in (PARALLEL, with_pixels(PARALLEL, (1.0, 1.0))))
    assert fine.shape == (240, 320)
    assert fine.sum() * 1.0 == pytest.approx(coarse.sum() * 16.0, rel=0.002)
    assert fine.sum() == pytest.approx(4 / 3 * math.pi * 24**3, rel=0.01)


def test_what_falls_beside_the_film_has_no_box():
    _, mask = ball((0, 0, 0), 12)
    assert PARALLEL.box(GRID, np.zeros_like(mask)) is None
    beside = Grid(GRID.z, GRID.y, GRID.x + np.float32(500), GRID.spacing_mm)
    assert PARALLEL.box(beside, mask) is None
    region = (slice(20, 40), slice(20, 50), slice(30, 50))
    assert PARALLEL.box(GRID, mask[region], region) == PARALLEL.box(GRID, mask)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"position": "LL"}, "position must be one of PA, AP, LAT"),
        ({"source_mm": 300.0}, "more than twice detector_mm 170"),
        ({"detector_mm": 0.0}, "positive distance"),
        ({"pixel_mm": (1.0, 0.0)}, "two positive lengths"),
    ],
)
def test_an_impossible_view_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        View(**wrong)
