"""Scenes: layers cover each other, regions agree with the whole, warps move what is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medphantom.anatomy import draw_anatomy
from medphantom.errors import PhantomError
from medphantom.labels import CLASSES
from medphantom.materials import BLOOD, FAT, Material
from medphantom.mr import T1W
from medphantom.organs.distances import ORGANS, organ_distance
from medphantom.scene import Scene, render
from medphantom.shapes import Grid
from medphantom.texture import Lattice
from medphantom.thorax import make_scene

ANATOMY = draw_anatomy(np.random.default_rng(3), sex="M")
GRID = Grid.centred((40, 44, 52), (7.0, 7.5, 7.0))
INERT = Material(name="x", hu=100, pd=1, t1_ms=500, t2_ms=50)


def test_later_layers_cover_earlier_ones_in_proportion_to_their_share():
    scene = Scene(ANATOMY, Grid.centred((2, 2, 2), (1.0, 1.0, 1.0)))
    scene.paint(np.ones((2, 2, 2), np.float32), INERT, label="lung")
    scene.paint(np.full((1, 2, 2), 0.75, np.float32), INERT, (slice(0, 1), slice(None), slice(None)), "heart", hu=0.0)
    # above: 1/4 of 100 HU and 3/4 of 0 HU
    assert render(scene)[:, 0, 0].tolist() == [25, 100]
    assert scene.labels()[:, 0, 0].tolist() == [2, 1]
    # both have the same MR properties, whatever their HU
    assert render(scene, T1W) == pytest.approx(T1W.signal(INERT))


def test_half_a_voxel_is_not_enough_for_a_class():
    scene = Scene(ANATOMY, Grid.centred((2, 2, 2), (1.0, 1.0, 1.0)))
    scene.paint(np.full((2, 2, 2), 0.5, np.float32), INERT, label="lung")
    assert not scene.labels().any()


def test_basic_labels_let_an_airway_be_lung_and_fluid_be_background():
    scene = Scene(ANATOMY, Grid.centred((2, 2, 3), (1.0, 1.0, 1.0)))
    scene.paint(np.ones((2, 2, 3), np.float32), INERT, label="lung")
    for x, label in ((0, "airway"), (1, "effusion")):
        scene.paint(np.ones((2, 2, 1), np.float32), INERT, (slice(None), slice(None), slice(x, x + 1)), label)
    assert scene.labels("basic")[0, 0].tolist() == [1, 0, 1]
    assert scene.labels("full")[0, 0].tolist() == [CLASSES.index("airway"), CLASSES.index("effusion"), 1]


@pytest.mark.parametrize("name", sorted(ORGANS))
def test_a_regions_distances_are_those_of_the_whole_and_of_its_points(name):
    region = (slice(5, 21), slice(3, 30), slice(10, 40))
    part = Scene(ANATOMY, GRID).distance(name, region)
    whole = Scene(ANATOMY, GRID).distance(name)
    assert whole.shape == GRID.shape
    assert np.array_equal(part, whole[region])
    points = np.broadcast_arrays(*GRID.axes(region))
    assert organ_distance(ANATOMY, name, *points) == pytest.approx(part, abs=1e-3)


def test_what_a_large_region_remembers_serves_a_smaller_one_within_it():
    scene, large, small = Scene(ANATOMY, GRID), (slice(0, 40), slice(2, 44), slice(5, 52)), (slice(10, 14), slice(20, 31), slice(22, 40))
    for name in ("lung", "abdomen", "diaphragm", "spine"):  # the diaphragm's height does not depend on z before it is compared
        scene.distance(name, large)
    for name in ("lung", "heart", "abdomen", "diaphragm", "spine", "liver"):
        part = scene.distance(name, small)
        assert part.shape == scene.shape(small) == (4, 11, 18)
        assert np.array_equal(part, Scene(ANATOMY, GRID).distance(name, small))


@settings(max_examples=25, deadline=None)
@given(
    amplitude=st.tuples(*[st.floats(-12, 12)] * 3),
    low=st.tuples(*[st.floats(-120, 60)] * 3),
    size=st.tuples(*[st.floats(5, 90)] * 3),
)
def test_a_warped_scene_asks_the_anatomy_where_the_tissue_came_from(amplitude, low, size):
    a, b, c = (np.float32(value) for value in amplitude)

    def warp(x, y, z):
        return x + a * np.sin(z / 60), y + b * np.cos(x / 70), z + c * np.sin(y / 80)

    scene = Scene(ANATOMY, GRID, warp=warp)
    x, y, z = warp(*np.broadcast_arrays(*GRID.axes()))
    inside = np.ones(GRID.shape, bool)
    for axis, start, extent in zip((x, y, z), low, size, strict=True):
        inside &= (axis > start) & (axis < start + extent)
    found = np.zeros(GRID.shape, bool)
    region = scene.region(low, np.add(low, size))
    found[region] = True
    assert not (inside & ~found).any()
    # at the tissue's own coordinates the anatomy says the same
    assert scene.distance("lung", region) == pytest.approx(organ_distance(ANATOMY, "lung", x[region], y[region], z[region]), abs=1e-3)


def test_a_warp_by_whole_voxels_moves_the_whole_picture():
    shift = 3 * 7.0  # the patient lies 3 voxels further to the left (x) than the anatomy's frame
    still = make_scene(1, 0, ANATOMY, GRID)
    moved = make_scene(1, 0, ANATOMY, GRID, warp=lambda x, y, z: (x - np.float32(shift), y, z))
    for contrast in ("ct", T1W):
        assert render(moved, contrast)[:, :, 3:] == pytest.approx(render(still, contrast)[:, :, :-3], abs=0.2)
    assert (moved.labels()[:, :, 3:] == still.labels()[:, :, :-3]).mean() > 0.9999
    assert (moved.lobes()[:, :, 3:] == still.lobes()[:, :, :-3]).mean() > 0.9999


def test_a_scene_is_the_same_on_axes_and_on_moved_points_that_do_not_move():
    still, warped = (make_scene(1, 0, ANATOMY, GRID, warp=warp) for warp in (None, lambda x, y, z: (x, y, z)))
    assert render(warped) == pytest.approx(render(still), abs=0.2)
    assert np.array_equal(warped.labels(), still.labels())


def test_texture_is_that_of_the_lattice_points_and_linear_between_them():
    lattice = Lattice.draw(np.random.default_rng(0))
    at = (np.arange(48) - 23.5) * 11.0
    x, y, z = (np.array([at[i]], np.float32) for i in (20, 21, 22))
    assert lattice.at(x, y, z)[0] == pytest.approx(lattice.values[22, 21, 20], abs=1e-4)
    between = lattice.at(x + np.float32(5.5), y, z)[0]
    assert between == pytest.approx((lattice.values[22, 21, 20] + lattice.values[22, 21, 21]) / 2, abs=1e-4)


def test_what_cannot_be_painted_is_refused_with_the_mend():
    scene = Scene(ANATOMY, GRID)
    with pytest.raises(PhantomError, match="evaluate it on the region's coordinates"):
        scene.paint(np.ones((1, 2, 3), np.float32), FAT)
    with pytest.raises(PhantomError, match="no class 'tooth'"):
        scene.paint(np.ones(GRID.shape, np.float32), BLOOD, label="tooth")
    with pytest.raises(PhantomError, match="no organ 'gill'; ask for one of body"):
        scene.distance("gill")
