"""The healthy thorax: what lies where, beside what, and how dense it is."""

import itertools
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medio.keyed import keyed_generator
from medphantom.anatomy import Anatomy, draw_anatomy
from medphantom.labels import CLASSES, LOBE_CLASSES
from medphantom.organs.airways import central_airways
from medphantom.organs.distances import organ_distance
from medphantom.organs.lungs import LOBES
from medphantom.organs.skeleton import RIBS, SHOULDER_MM, rib_numbers
from medphantom.scene import Scene, render
from medphantom.shapes import Grid
from medphantom.thorax import make_scene
from medphantom.vessels import grow_trees

GRID = Grid.centred((100, 84, 98), (4.0, 4.0, 4.0))
COUNT = 4


@cache
def scene(index: int) -> Scene:
    anatomy = draw_anatomy(keyed_generator((21, 0, str(index), 0), "anatomy"), sex="FM"[index % 2])
    return make_scene(21, index, anatomy, GRID)


def middle(index: int, name: str) -> np.ndarray:
    """(x, y, z) mm of the centroid of what full labels call so."""
    z, y, x = np.nonzero(scene(index).labels() == CLASSES.index(name))
    return np.array([GRID.x[x].mean(), GRID.y[y].mean(), GRID.z[z].mean()])


@pytest.mark.parametrize("index", range(COUNT))
def test_tissues_are_as_dense_as_their_order_says(index):
    labels, hu, looked_at = scene(index).labels(), render(scene(index)), scene(index)
    trunk, depth = looked_at.distance("trunk"), looked_at.anatomy.body.fat
    fat = (labels == CLASSES.index("fat")) & (trunk < -4) & (trunk > 4 - depth)
    mean = {name: hu[labels == CLASSES.index(name)].mean() for name in ("lung", "liver", "spleen", "kidney", "heart", "spine", "rib")}
    order = [
        -1000,
        mean["lung"],
        hu[fat].mean() if fat.any() else -100,
        mean["kidney"],
        mean["spleen"],
        mean["liver"],
        mean["spine"],
        mean["rib"],
    ]
    assert all(lighter < denser for lighter, denser in itertools.pairwise(order)), order
    # Far from any surface only the tissue's own unevenness is left.
    deep = looked_at.distance("liver") < -12
    assert hu[deep].mean() == pytest.approx(58, abs=3)


@pytest.mark.parametrize("index", range(COUNT))
def test_the_lobes_part_the_lungs_three_to_the_right_and_two_to_the_left(index):
    lobes = scene(index).lobes()
    assert np.array_equal(lobes > 0, scene(index).distance("lung") < 0)
    x = np.broadcast_to(GRID.axes()[0], GRID.shape)
    volume = {name: (lobes == LOBE_CLASSES.index(name)).sum() for name in LOBES}
    total = sum(volume.values())
    for name in LOBES:
        inside = lobes == LOBE_CLASSES.index(name)
        # one piece of lung, the signed distance says the same, and real lobes make up 7 to 35 % of the lungs
        pieces, _ = ndimage.label(inside)
        assert np.bincount(pieces.ravel())[1:].max() > 0.97 * inside.sum()
        assert np.array_equal(inside, scene(index).distance(f"lung_{name}") < 0)
        assert 0.06 < volume[name] / total < 0.36
        assert ((x[inside] < 0) == name.startswith("right")).all()
    assert volume["right_middle"] == min(volume.values())


@pytest.mark.parametrize("index", range(COUNT))
def test_the_fissures_put_upper_lobes_above_lower_ones_and_the_middle_one_in_front(index):
    lobes = scene(index).lobes()

    def center(name):
        z, y, _ = np.nonzero(lobes == LOBE_CLASSES.index(name))
        return GRID.y[y].mean(), GRID.z[z].mean()

    for side in ("right", "left"):
        assert center(f"{side}_upper")[1] > center(f"{side}_lower")[1] + 40
        assert center(f"{side}_upper")[0] < center(f"{side}_lower")[0]  # y runs to posterior
    assert center("right_middle")[0] < center("right_lower")[0] - 30
    assert center("right_middle")[1] < center("right_upper")[1] - 30


@pytest.mark.parametrize("index", range(COUNT))
def test_organs_lie_on_their_sides(index):
    liver, spleen, stomach, aorta = (middle(index, name) for name in ("liver", "spleen", "stomach", "aorta"))
    assert liver[0] < -20
    assert spleen[0] > 40
    assert stomach[0] > 20
    assert spleen[1] > stomach[1]  # behind it
    # The part of the aorta that descends lies behind the middle of the chest, in front of the spine and to its left.
    descends = (scene(index).labels() == CLASSES.index("aorta")) & (GRID.y[None, :, None] > scene(index).anatomy.chest.center_y + 15)
    x = np.broadcast_to(GRID.axes()[0], GRID.shape)
    assert x[descends].mean() > 8
    assert abs(middle(index, "spine")[0]) < 1
    assert middle(index, "vena_cava")[0] < aorta[0]


@pytest.mark.parametrize("index", range(COUNT))
def test_the_belly_lies_below_the_diaphragm_and_the_liver_reaches_up_to_it(index):
    above = scene(index).distance("diaphragm")
    for name in ("liver", "spleen", "stomach", "kidney"):
        assert (above[scene(index).labels() == CLASSES.index(name)] < 0).all()
    liver = above[scene(index).labels() == CLASSES.index("liver")]
    assert liver.max() > -8
    # gas rises to the front of a patient who lies on the back
    gas, fluid = scene(index).distance("stomach_gas") < 0, scene(index).distance("stomach") < -3
    y = np.broadcast_to(GRID.axes()[1], GRID.shape)
    assert gas.any()
    assert y[gas].max() <= y[fluid & ~gas].min() + 4.0


@pytest.mark.parametrize("index", range(COUNT))
def test_no_two_organs_fill_the_same_place(index):
    names = ("lung", "liver", "spleen", "stomach", "kidney", "scapula", "clavicle")
    inside = [(scene(index).distance(name) < 0).astype(int) for name in names]
    for vessel in ("heart", "aorta"):  # the aorta rises from within the heart
        assert (sum(inside) + (scene(index).distance(vessel) < 0)).max() == 1
    body = scene(index).distance("body") < 0
    for name in (*names, "rib", "aorta"):
        assert (body | ~(scene(index).distance(name) < 0)).all()


@pytest.mark.parametrize("index", range(COUNT))
def test_the_airways_fork_from_the_main_bronchi_into_every_lobe_and_narrow(index):
    anatomy = scene(index).anatomy
    airways = grow_trees(np.random.default_rng(index), anatomy).airways
    bronchi = {piece[1]: piece[2][1] for piece in central_airways(anatomy)[1:]}
    ends = {**bronchi, **{tube.end_mm: tube.radii_mm[1] for tube in airways}}
    for tube in airways:
        assert tube.start_mm in ends
        assert tube.radii_mm[0] <= ends[tube.start_mm] + 1e-9
    points = np.array([tube.end_mm for tube in airways], np.float32).T
    for lobe in LOBES:
        assert (organ_distance(anatomy, f"lung_{lobe}", *points) < 0).sum() >= 8


@pytest.mark.parametrize("index", range(COUNT))
def test_vessels_reach_every_lobe_and_thin_out(index):
    vessels = grow_trees(np.random.default_rng(index), scene(index).anatomy).vessels
    assert len(vessels) > 300
    reached = scene(index).lobes()[scene(index).distance("vessel") < 0]
    assert set(range(1, 6)) <= set(reached.tolist())
    assert all(0.7 <= tube.radii_mm[1] < tube.radii_mm[0] <= 6 for tube in vessels)


@pytest.mark.parametrize("index", range(COUNT))
def test_ribs_are_numbered_from_above_and_each_is_one_bone_on_a_side(index):
    anatomy = scene(index).anatomy
    grid = Grid.centred((130, 110, 124), (2.5, 2.5, 2.5))
    looked = Scene(anatomy, grid)
    bones = (looked.distance("rib") < 0) & (looked.distance("sternum") > 0)
    x, y, z = np.broadcast_arrays(*grid.axes())
    numbers = np.where(bones, rib_numbers(anatomy, y, z), 0)
    assert set(np.unique(numbers)) <= set(range(RIBS + 1))
    heights = []
    for number in range(2, 9):
        one = (numbers == number) & (x < 0)
        pieces, _ = ndimage.label(one, np.ones((3, 3, 3)))
        assert np.bincount(pieces.ravel())[1:].max() > 0.95 * one.sum()
        heights.append(z[one].mean())
    assert all(upper > lower for upper, lower in itertools.pairwise(heights))


@pytest.mark.parametrize("index", range(COUNT))
def test_every_organ_is_painted_wherever_it_lies(index):
    # Organs are painted in boxes that must hold them: a voxel deep inside one has its class, unless one that is painted later covers it.
    labels = scene(index).labels()
    for name in ("lung", "heart", "spine", "rib", "aorta", "liver", "spleen", "stomach", "kidney", "clavicle", "scapula"):
        inside = scene(index).distance(name) < -0.5
        assert (labels[inside] > 0).all()
        if name in ("rib", "clavicle", "scapula", "liver"):
            others = np.isin(labels[inside], [CLASSES.index(other) for other in (name, "spine", "rib")])
            assert others.all()
    z = np.broadcast_to(GRID.axes()[2], GRID.shape)
    shoulder = (scene(index).distance("clavicle") < 0) | (scene(index).distance("scapula") < 0)
    assert SHOULDER_MM[0] < z[shoulder].min() < z[shoulder].max() < SHOULDER_MM[1]


def test_women_have_breasts_and_an_enlarged_heart_can_be_asked_for():
    def drawn(sex: str, enlarged: bool | None) -> Anatomy:
        return draw_anatomy(np.random.default_rng(8), sex=sex, enlarged_heart=enlarged)

    for sex in "FM":
        front = drawn(sex, None).body.half_depth + 4
        assert (organ_distance(drawn(sex, None), "body", *(np.array([c], np.float32) for c in (55, -front, -8)))[0] < 0) == (sex == "F")
        assert drawn(sex, True).cardiothoracic_ratio > 0.5 > drawn(sex, False).cardiothoracic_ratio
        # Whatever is asked for, everything but the heart stays as drawn.
        assert drawn(sex, True).belly == drawn(sex, False).belly
        assert drawn(sex, True).table_mm == drawn(sex, None).table_mm
