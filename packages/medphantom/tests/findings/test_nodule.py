"""Nodules: margins, densities, calcium, sizes, parts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from medio.keyed import keyed_generator
from medphantom.findings.finding import FindingError
from medphantom.findings.nodule import MARGINS, Nodule
from medphantom.findings.nodule_drawing import draw_varied_nodules, fits
from medphantom.findings.spots import Sample
from medphantom.labels import CLASSES
from medphantom.organs.distances import place
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene
from medphantom.shapes import Grid

CENTER = (-62.0, 10.0, -5.0)


def nodule(anatomy, **changed):
    plain = Nodule(center_mm=tuple(np.add(CENTER, anatomy.table_mm)), semi_axes_mm=(11.0, 10.0, 9.0), hu=30.0)
    return replace(plain, **changed)


@pytest.fixture(scope="module")
def fine(anatomy):
    """A grid of 0.8 mm around the nodule: the distances of a nodule on it."""
    near = [np.arange(-22, 22, 0.8, dtype=np.float32) + np.float32(c) for c in CENTER]
    x, y, z = near[0][None, None, :], near[1][None, :, None], near[2][:, None, None]
    return lambda made: made.distance(place(anatomy, x, y, z))


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("form", [1, 2, 3])
def test_any_margin_keeps_the_ellipsoids_volume(anatomy, fine, margin, form):
    made = nodule(anatomy, margin=margin, form=form)
    counted = (fine(made) < 0).sum() * 0.8**3 / 1000
    assert made.volume_ml == pytest.approx(4 / 3 * math.pi * 11 * 10 * 9 / 1000)
    # counting error of 0.8 mm voxels on 1400 mm2 of surface is below 0.5 %; that of the sphere's 4000 directions is as small
    assert counted == pytest.approx(made.volume_ml, rel=0.015)


@pytest.mark.parametrize("form", [1, 2, 3])
def test_spiculated_and_lobulated_surfaces_are_larger_than_smooth_ones_at_the_same_volume(anatomy, fine, form):
    area = {}
    for margin in MARGINS:
        vertices, faces, *_ = marching_cubes(fine(nodule(anatomy, margin=margin, form=form)), 0, spacing=(0.8,) * 3)
        area[margin] = mesh_surface_area(vertices, faces)
    assert area["smooth"] == pytest.approx(4 * math.pi * 10**2, rel=0.02)
    assert area["lobulated"] > 1.03 * area["smooth"]
    assert area["spiculated"] > 1.12 * area["smooth"]


@pytest.mark.parametrize("margin", ["lobulated", "spiculated"])
def test_distances_near_a_bumpy_surface_are_millimetres(anatomy, fine, margin):
    distance = fine(nodule(anatomy, margin=margin, form=5))
    exact = ndimage.distance_transform_edt(distance > 0, sampling=0.8) - ndimage.distance_transform_edt(distance <= 0, sampling=0.8)
    near = np.abs(exact) < 1.7
    # the transform counts from voxel centres: half a voxel either way is its own error
    assert np.percentile(np.abs(distance - exact)[near], 90) < 0.8


def test_no_bump_goes_farther_than_the_reach_says(anatomy, fine):
    for form in range(8):
        made = nodule(anatomy, margin="spiculated", form=form, semi_axes_mm=(10.0, 10.0, 10.0))
        where = np.argwhere(fine(made) < 0) * 0.8 - 22
        assert np.linalg.norm(where, axis=1).max() <= 10 * made.reach + 0.8


def test_calcium_makes_a_nodule_denser_and_ground_glass_less_dense_than_a_soft_one(anatomy, look):
    grid_view = {"spacing": 1.5, "shape": (40, 60, 120)}
    looks = {
        "soft": {},
        "central": {"calcification": "central"},
        "diffuse": {"calcification": "diffuse"},
        "popcorn": {"calcification": "popcorn"},
        "ground-glass": {"hu": -550.0},
        "part-solid": {"hu": -550.0, "density": "part-solid"},
    }
    mean = {}
    for name, changed in looks.items():
        seen = look([nodule(anatomy, **changed)], **grid_view)
        inside = seen.truths[0].on_grid()
        mean[name] = seen.hu[inside].mean()
        assert seen.truths[0].parameters["calcification"] == changed.get("calcification", "none")
    assert mean["soft"] == pytest.approx(30, abs=60)  # less what the surface's voxels share with the lung
    assert mean["central"] > mean["soft"] + 30
    assert mean["popcorn"] > mean["soft"] + 30
    assert mean["diffuse"] > mean["soft"] + 120
    assert mean["ground-glass"] < mean["part-solid"] < mean["soft"]
    assert mean["ground-glass"] < -500


@pytest.mark.parametrize("margin", MARGINS)
def test_the_truths_mask_is_what_is_labelled(anatomy, look, margin):
    seen = look([nodule(anatomy, margin=margin, form=2)], spacing=2.5)
    truth = seen.truths[0]
    assert np.array_equal(seen.labels == CLASSES.index("nodule"), truth.on_grid())
    assert truth.side == "right"
    assert truth.center_mm == pytest.approx(nodule(anatomy).center_mm, abs=2.0)
    assert truth.volume_ml == pytest.approx(nodule(anatomy).volume_ml, rel=0.04)


def test_a_smooth_nodules_axes_are_the_ellipsoids_and_spicules_do_not_count(anatomy):
    scene = Scene(anatomy, Grid.centred((100, 100, 150), (1.0, 1.0, 1.0)))
    smooth = nodule(anatomy).paint(scene)
    assert smooth.diameter_mm == pytest.approx(22, abs=0.3)
    assert smooth.short_axis_mm == pytest.approx(20, abs=0.3)
    spiculated = nodule(anatomy, margin="spiculated", form=1)
    # its body's radius is that between the spicules, a little less than the ellipsoid's
    assert 19 < spiculated.paint(scene).diameter_mm < 22


@settings(max_examples=20)
@given(factor=st.floats(0.1, 8))
def test_scaling_multiplies_the_volume(factor):
    made = Nodule(center_mm=(0, 0, 0), semi_axes_mm=(11.0, 10.0, 9.0), hu=0)
    assert made.scaled(factor).volume_ml == pytest.approx(factor * made.volume_ml, rel=1e-3)


@settings(max_examples=20)
@given(axes=st.tuples(*[st.floats(6, 16)] * 3))
def test_halves_lie_apart_within_the_whole_and_name_it(axes):
    whole = Nodule(center_mm=(0.0, 0.0, 0.0), semi_axes_mm=axes, hu=0, tracking_id="nodule-3")
    parts = whole.halves()
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 3, indexing="ij"), -1).reshape(-1, 3) * axes
    inside = [np.linalg.norm((grid - part.center_mm) / part.semi_axes_mm, axis=1) < 1 for part in parts]
    assert not (inside[0] & inside[1]).any()
    assert (np.linalg.norm(grid[inside[0] | inside[1]] / np.array(axes), axis=1) < 1).all()
    assert all(part.parents == ("nodule-3",) for part in parts)
    assert sum(part.volume_ml for part in parts) == pytest.approx(2 * 0.196 * whole.volume_ml, rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_drawn_nodules_lie_in_their_lobe_clear_of_the_wall_and_of_each_other(anatomy, seed):
    rng = keyed_generator((seed, 0, "n", 0), "nodules")
    made = draw_varied_nodules(rng, anatomy, Sample.of_lungs(anatomy), count=4)
    assert len(made) >= 2
    assert len({one.tracking_id for one in made}) == len(made)
    for one in made:
        assert fits(one, anatomy)
        x, y, z = np.subtract(one.center_mm, anatomy.table_mm)[:, None].astype(np.float32)
        at = place(anatomy, x, y, z)
        assert [lobe for lobe in LOBES if at.distance(f"lung_{lobe}")[0] < 0] == [one.lobe]
        for other in made:
            if other is not one:
                gap = math.dist(one.center_mm, other.center_mm)
                assert gap > max(one.semi_axes_mm) * one.reach + max(other.semi_axes_mm) * other.reach


def test_a_nodule_across_the_wall_does_not_fit(anatomy):
    assert not fits(nodule(anatomy, center_mm=tuple(np.add((-anatomy.chest.half_width, 0, 0), anatomy.table_mm))), anatomy)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"margin": "fuzzy"}, "margin must be one of smooth"),
        ({"calcification": "eggshell"}, "calcification must be one of"),
        ({"density": "liquid"}, "density must be one of"),
        ({"lobe": "left_middle"}, "there is no lobe 'left_middle'"),
        ({"semi_axes_mm": (1.0, 0.0, 1.0)}, "semi_axes_mm must be positive"),
    ],
)
def test_an_impossible_nodule_is_refused(wrong, message):
    with pytest.raises(FindingError, match=message):
        Nodule(**{"center_mm": (0, 0, 0), "semi_axes_mm": (5.0, 5.0, 5.0), "hu": 0.0, **wrong})
