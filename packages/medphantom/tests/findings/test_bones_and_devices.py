"""Fractures change their own bone alone; devices are the densest things and lie where they belong; the heart has its ratio."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from medio.keyed import keyed_generator
from medphantom.anatomy import draw_anatomy
from medphantom.findings.cardiomegaly import Cardiomegaly, normal_heart, with_ratio
from medphantom.findings.device import CentralLine, Pacemaker, Port, TrachealTube, draw_device
from medphantom.findings.finding import FindingError
from medphantom.findings.fracture import RibFracture, VertebralFracture
from medphantom.labels import CLASSES
from medphantom.organs.distances import organ_distance
from medphantom.organs.skeleton import rib_numbers

DEVICES = (Pacemaker(), Pacemaker(side="right"), Port(), Port(side="left"), CentralLine(), CentralLine(side="left"), TrachealTube())


@pytest.fixture(scope="module")
def anatomies():
    return [
        draw_anatomy(keyed_generator((number, 0, "devices", 0), "anatomy"), sex="FM"[number % 2], enlarged_heart=number % 3 == 0)
        for number in range(30)
    ]


@pytest.mark.parametrize(("side", "rib"), [("left", 4), ("right", 7)])
def test_a_rib_fracture_changes_its_own_rib_alone(anatomy, look, side, rib):
    view = {"spacing": 2.0, "shape": (110, 100, 160)}
    whole = look(**view)
    broken = look([RibFracture(side=side, rib=rib, y_mm=0.0, gap_mm=4.0, step_mm=5.0)], **view)
    changed = np.abs(broken.hu - whole.hu) > 1
    assert changed.any()
    x, y, z = np.broadcast_arrays(*whole.scene.coordinates())
    # within the broken rib's own share of the chest's wall: half of the way to the next rib, and on its own side
    assert (rib_numbers(anatomy, y, z)[changed] == rib).all()
    assert ((x[changed] > 0) == (side == "left")).all()
    assert (np.abs(whole.scene.distance("chest")[changed] - 7.2) < 16).all()
    # of the bone a gap is gone, and a piece of it stands farther out than any rib did
    assert (whole.hu - broken.hu)[changed].max() > 400
    new_bone = (broken.hu - whole.hu) > 250
    assert new_bone.any()
    lost = (whole.hu - broken.hu) > 250
    assert np.abs(x[new_bone]).mean() > np.abs(x[lost]).mean() + 2
    truth = broken.truths[0]
    assert truth.on_grid()[changed].mean() > 0.6  # the rest are voxels that the surface cuts
    assert (broken.labels == CLASSES.index("fracture")).any()


def test_a_wedged_vertebra_loses_height_in_front_and_no_other_vertebra_does(anatomy, look):
    view = {"spacing": 1.5, "shape": (180, 160, 60)}
    whole, broken = look(**view), look([VertebralFracture(vertebra=-2, height_loss=0.5)], **view)
    changed = np.abs(broken.hu - whole.hu) > 1
    x, y, z = np.broadcast_arrays(*whole.scene.coordinates())
    pitch, soft = anatomy.skeleton.vertebra_pitch, 1.5
    assert z[changed].min() > -2 * pitch - soft
    assert z[changed].max() < -1 * pitch + soft
    assert (whole.scene.distance("vertebra")[changed] < soft).all()
    middle = anatomy.skeleton.spine_y - anatomy.skeleton.kyphosis * (1.5 * pitch) ** 2
    column = np.abs(x) < 5

    def sunk(depth):
        """Mm of a vertebra's height that bone has left, around a depth before the middle."""
        near = column & (np.abs(y - (middle + depth)) < 1.5) & (z > -2 * pitch) & (z < -pitch)
        return ((whole.hu > 150) & (broken.hu < 100) & near).sum() / (near.sum() / pitch)

    # the front loses half of the bone's 0.78 pitch, the back a third of that
    reach = 0.82 * anatomy.skeleton.vertebra_radius - 3
    assert sunk(-reach) == pytest.approx(
        0.5 * 0.78 * pitch * (1 / 3 + 2 / 3 * (1 - 3 / (1.64 * anatomy.skeleton.vertebra_radius))), abs=2.5
    )
    assert sunk(-reach) > 1.7 * sunk(reach)


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"{d.kind}-{getattr(d, 'side', '')}")
def test_a_device_is_the_brightest_thing_and_its_mask_is_what_is_painted(look, healthy, device):
    seen = look([device], spacing=3.0)
    truth = seen.truths[0]
    before = look(spacing=3.0)
    gained = seen.hu - before.hu
    inside = truth.on_grid()
    metal = isinstance(device, Pacemaker | Port)
    assert gained[inside].max() > (2500 if metal else 150)
    if metal:
        assert seen.hu[inside].max() > before.hu.max() + 1000
    assert np.abs(gained[~ndimage.binary_dilation(inside, np.ones((3, 3, 3)))]).max() < 1e-3
    labelled = seen.labels == CLASSES.index("device")
    assert not (labelled & ~inside).any()  # a thin line is fainter than a label needs, but is in the mask
    assert ndimage.label(inside, np.ones((3, 3, 3)))[1] == 1  # in one piece from end to end


def test_devices_lie_where_they_belong_in_every_patient(anatomies):
    for anatomy in anatomies:

        def depth(organ, points, anatomy=anatomy):
            return organ_distance(anatomy, organ, *np.asarray(points, np.float32).T)

        for device in DEVICES:
            path = np.array(device.path(anatomy))
            line = np.concatenate([a + (b - a) * np.linspace(0, 1, 50)[:, None] for a, b in itertools.pairwise(path)])
            assert (depth("lung", line) < 0).mean() < 0.05
            tip = path[-1:]
            if device.kind == "pacemaker":
                assert depth("heart", tip) < -3
                assert tip[0, 0] > anatomy.heart.center[0]  # towards the apex
            elif device.kind == "tracheal_tube":
                assert depth("trachea", tip) < 0
                assert tip[0, 2] == pytest.approx(anatomy.mediastinum.carina_z + 45)
            else:
                assert abs(tip[0, 0]) < anatomy.mediastinum.half_width
                assert tip[0, 2] < anatomy.mediastinum.carina_z
            if device.kind in ("pacemaker", "port"):
                case = path[0] + np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3), -1).reshape(-1, 3) * (20, 4, 17)
                assert (depth("body", case) < 0).all()  # under the skin
                assert (depth("rib", case) > 0).all()  # in front of the ribs
                assert (path[0, 0] > 0) == (device.side == "left")


def test_a_tube_too_deep_ends_in_the_right_main_bronchus(anatomies):
    for anatomy in anatomies:
        tip = np.array(TrachealTube(above_carina_mm=-15.0).path(anatomy)[-1])
        assert organ_distance(anatomy, "trachea", *np.float32(tip[:, None])) < 0
        assert tip[0] < -5
        assert tip[2] < anatomy.mediastinum.carina_z


@pytest.mark.parametrize("kind", ["pacemaker", "central_line", "port", "tracheal_tube"])
def test_drawn_devices_are_of_the_kind_and_vary(kind):
    rng = keyed_generator((4, 0, "device", 0), kind)
    drawn = {draw_device(rng, kind) for _ in range(12)}
    assert {device.kind for device in drawn} == {kind}
    assert len(drawn) >= 2


@pytest.mark.parametrize("ratio", [0.53, 0.62])
def test_an_enlarged_heart_has_its_ratio_on_the_labels(look, healthy, ratio):
    seen = look([Cardiomegaly(ratio=ratio)])
    heart, lung = seen.scene.distance("heart") < 0, seen.scene.distance("lung") < 0
    width = np.ptp(np.flatnonzero(heart.any(axis=(0, 1)))) + 1
    inner = max(np.ptp(np.flatnonzero(plane.any(axis=0))) for plane in lung if plane.any()) + 1
    # each end is off by half a voxel at most, of about 70
    assert width / inner == pytest.approx(ratio, abs=0.03)
    truth = seen.truths[0]
    assert np.array_equal(truth.on_grid(), heart)
    assert truth.parameters["ratio"] == ratio
    assert truth.volume_ml > 1.3 * healthy.scene.cover(healthy.scene.distance("heart")).sum() * 3.5**3 / 1000


def test_a_normal_heart_is_left_alone_and_an_enlarged_one_shrinks_below_the_threshold(anatomies):
    for anatomy in anatomies:
        heart = with_ratio(anatomy, 0.55).heart
        assert with_ratio(anatomy, 0.55).cardiothoracic_ratio == pytest.approx(0.55)
        # it lies where a heart that was drawn with this ratio does
        half_width = 0.55 * anatomy.chest.half_width
        assert heart.center == pytest.approx((0.30 * half_width, anatomy.heart.center[1], anatomy.diaphragm.right_z + 0.5 * half_width))
        normal = normal_heart(anatomy)
        assert normal.cardiothoracic_ratio <= 0.5
        assert (normal == anatomy) == (anatomy.cardiothoracic_ratio <= 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RibFracture(side="left", rib=12, y_mm=0, gap_mm=3, step_mm=2), "rib must lie between 1 and 11"),
        (lambda: RibFracture(side="left", rib=2, y_mm=0, gap_mm=0, step_mm=2), "gap_mm must lie between 1 and 8"),
        (lambda: VertebralFracture(vertebra=0, height_loss=0.9), "height_loss must lie between 0.15 and 0.7"),
        (lambda: Pacemaker(side="middle"), "side must be 'left' or 'right'"),
        (lambda: CentralLine(depth_mm=200), "depth_mm must lie between -40 and 80"),
        (lambda: TrachealTube(above_carina_mm=200), "above_carina_mm must lie between -20 and 90"),
        (lambda: Cardiomegaly(ratio=0.45), "ratio must lie between 0.5 and 0.7"),
    ],
)
def test_an_impossible_one_is_refused_with_the_mend(make, message):
    with pytest.raises(FindingError, match=message):
        make()
