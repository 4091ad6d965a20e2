"""Consolidation, effusion, pneumothorax, oedema, atelectasis: where they lie, how much they take, what they do to the lung's density."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from medio.keyed import keyed_generator
from medphantom.findings.atelectasis import PlateAtelectasis, draw_atelectasis, make_lobar_atelectasis
from medphantom.findings.consolidation import make_consolidation
from medphantom.findings.device import Pacemaker
from medphantom.findings.edema import Edema
from medphantom.findings.effusion import Effusion, make_effusion
from medphantom.findings.finding import FindingError
from medphantom.findings.pneumothorax import Pneumothorax, make_pneumothorax
from medphantom.findings.spots import Sample
from medphantom.labels import CLASSES
from medphantom.mr import FLAIR, T2W
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene, render
from medphantom.shapes import Grid

VOXEL_ML = 3.5**3 / 1000


def label(name):
    return CLASSES.index(name)


@pytest.fixture(scope="module")
def sample(anatomy):
    return Sample.of_lungs(anatomy)


@pytest.mark.parametrize("posture", ["supine", "upright"])
@pytest.mark.parametrize("volume", [120.0, 800.0])
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_effusion_has_its_volume_on_its_side(anatomy, look, posture, volume, side):
    seen = look([make_effusion(anatomy, side=side, volume_ml=volume, posture=posture)])
    truth = seen.truths[0]
    assert truth.volume_ml == pytest.approx(volume, rel=0.05)
    counted = (seen.labels == label("effusion")).sum() * VOXEL_ML
    assert counted == pytest.approx(volume, rel=0.07)  # whole voxels
    assert np.array_equal(seen.labels == label("effusion"), truth.on_grid())
    assert (np.flatnonzero(truth.on_grid().any(axis=(0, 1))) > 55.5).all() == (side == "left")
    # away from its surface it is fluid: 8 HU with a texture of 3 HU
    core = ndimage.binary_erosion(truth.on_grid(), iterations=1)
    assert seen.hu[core].mean() == pytest.approx(8, abs=2)


def test_an_effusion_pools_where_gravity_pulls_and_air_where_it_does_not(anatomy, look):
    for make, size, name, lower in (
        (make_effusion, {"volume_ml": 500.0}, "effusion", True),
        (make_pneumothorax, {"share": 0.2}, "pneumothorax", False),
    ):
        for posture, axis, sign in (("supine", 1, 1), ("upright", 0, -1)):
            seen = look([make(anatomy, side="right", posture=posture, **size)])
            filled = np.moveaxis(seen.labels == label(name), axis, 0)
            lung = np.moveaxis((seen.scene.distance("lung_right") < 0) & (seen.scene.distance("pleura") < -25), axis, 0)
            # Deep in the lung, away from the meniscus at the wall, a level parts it: rows are either full or empty.
            share = np.array([filled[i][lung[i]].mean() if lung[i].any() else np.nan for i in range(len(filled))])
            share = share[~np.isnan(share)]
            assert ((share < 0.02) | (share > 0.98)).mean() > 0.9
            downwards = sign * np.diff(share)
            assert (downwards >= -1e-6).all() if lower else (downwards <= 1e-6).all()


def test_more_fluid_stands_higher_and_no_more_than_nine_tenths_fit(anatomy, sample):
    levels = [make_effusion(anatomy, side="left", volume_ml=v, sample=sample).level_mm for v in (50, 200, 800)]
    assert levels[0] > levels[1] > levels[2]  # nearer to the front
    hemithorax = sample.volume_ml(sample.at.distance("lung_left") < 0)
    assert make_effusion(anatomy, side="left", volume_ml=1e5, sample=sample).volume_ml == pytest.approx(0.9 * hemithorax, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_pneumothorax_is_air_in_the_pleural_space_of_the_stated_share(anatomy, look, healthy, share):
    seen = look([make_pneumothorax(anatomy, side="left", share=share)])
    truth = seen.truths[0]
    hemithorax = healthy.scene.cover(healthy.scene.distance("lung_left")).sum() * VOXEL_ML
    assert truth.volume_ml == pytest.approx(share * hemithorax, rel=0.04)
    inside = truth.on_grid()
    core = ndimage.binary_erosion(inside, np.ones((3, 3, 3)))
    assert core.sum() > 300
    assert np.allclose(seen.hu[core], -1000, atol=1)
    assert (healthy.labels[inside] != label("heart")).all()
    assert (healthy.scene.distance("lung_left")[inside] < 0).all()
    # it reaches the wall, and the pleura is seen as a line denser than the lung behind it
    assert (healthy.scene.distance("pleura")[inside] > -4).any()
    line = ndimage.binary_dilation(inside) & ~inside & (healthy.scene.distance("lung_left") < -4)
    assert (seen.hu[line] - healthy.hu[line]).mean() > 40


@pytest.mark.parametrize("lobe", LOBES)
def test_a_consolidated_lobe_is_dense_and_the_others_are_as_before(anatomy, look, healthy, lobe):
    seen = look([make_consolidation(anatomy, lobe=lobe, share=1.0, focus_mm=(0.0, 0.0, 0.0))])
    truth, lobes = seen.truths[0], healthy.scene.lobes()
    value = 1 + LOBES.index(lobe)
    assert truth.lobe == lobe
    assert truth.side == lobe.split("_")[0]
    assert np.array_equal(truth.on_grid(), lobes == value)
    assert seen.hu[lobes == value].mean() > 0 > -700 > healthy.hu[lobes == value].mean()
    others = (lobes != value) & (lobes > 0) & (seen.scene.distance(f"lung_{lobe}") > 3.5)
    assert np.array_equal(seen.hu[others], healthy.hu[others])


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_part_of_a_lobe_is_consolidated_around_its_focus(anatomy, look, healthy, share):
    focus = (-65.0, 25.0, -30.0)
    parts = {"share": share, "focus_mm": focus, "form": 4}
    seen = look([make_consolidation(anatomy, lobe="right_lower", **parts)])
    truth, lobe = seen.truths[0], healthy.scene.lobes() == 1 + LOBES.index("right_lower")
    assert truth.mask.sum() / lobe.sum() == pytest.approx(share, abs=0.03)
    assert lobe[truth.on_grid()].all()
    x, y, z = seen.scene.coordinates()
    far = np.broadcast_to(np.sqrt((x - focus[0]) ** 2 + (y - focus[1]) ** 2 + (z - focus[2]) ** 2), lobe.shape)
    assert far[truth.on_grid()].mean() < far[lobe & ~truth.on_grid()].mean()
    aerated = look([make_consolidation(anatomy, lobe="right_lower", air_bronchograms=True, **parts)])
    holes = seen.hu - aerated.hu
    assert holes[truth.on_grid()].max() > 300
    assert np.abs(holes[~ndimage.binary_dilation(truth.on_grid(), iterations=3)]).max() == 0
    assert np.array_equal(aerated.truths[0].mask, truth.mask)  # bronchi with air belong to it


def test_edema_makes_the_lungs_denser_the_more_severe_it_is(look, healthy):
    lung = healthy.scene.distance("lung") < -4
    gains = [(look([Edema(severity=s, form=7)]).hu - healthy.hu) for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    means = [gain[lung].mean() for gain in gains]
    assert means[0] == pytest.approx(0, abs=1e-3)
    assert all(later > earlier + 15 for earlier, later in itertools.pairwise(means))
    assert (gains[2][lung] >= -1e-3).all()
    y = np.broadcast_to(healthy.scene.coordinates()[1], lung.shape)
    assert gains[2][lung & (y > 20)].mean() > gains[2][lung & (y < -40)].mean()  # it hangs to the back
    assert np.abs(gains[4][healthy.scene.distance("lung") > 4]).max() == 0


def test_septal_lines_need_a_severity_and_lie_near_the_surface(look, healthy):
    lung = healthy.scene.distance("lung")
    mild, severe = (look([Edema(severity=s, form=7)]).hu for s in (0.25, 0.9))

    def roughness(hu, chosen):
        return np.abs(hu - ndimage.median_filter(hu, size=(5, 1, 1)))[chosen].mean()

    y = np.broadcast_to(healthy.scene.coordinates()[1], lung.shape)
    rim, core = (lung < -4) & (lung > -12), (lung < -24) & (y < -25)  # in front, where other fluid hides no line
    assert core.sum() > 200
    assert roughness(severe, rim) > 2 * roughness(mild, rim)
    assert roughness(severe, core) < 1.5 * roughness(mild, core)


@pytest.mark.parametrize("lobe", LOBES)
def test_a_collapsed_lobe_loses_its_volume_and_is_dense(anatomy, look, healthy, lobe):
    collapse = make_lobar_atelectasis(anatomy, lobe=lobe, loss=0.5)
    assert collapse.loss == pytest.approx(0.5, abs=0.02)
    seen = look([collapse])
    value = 1 + LOBES.index(lobe)
    before, after = ((one.scene.lobes() == value) for one in (healthy, seen))
    assert after.sum() / before.sum() == pytest.approx(1 - collapse.loss, abs=0.03)
    assert np.array_equal(seen.truths[0].on_grid(), after)
    assert seen.hu[after].mean() > -60
    assert np.array_equal(seen.labels == label("atelectasis"), after)


def test_a_collapsed_lower_lobe_draws_up_its_half_of_the_diaphragm_alone(anatomy):
    for side, other in (("right", "left"), ("left", "right")):
        domes = make_lobar_atelectasis(anatomy, lobe=f"{side}_lower", loss=0.5).reshape(anatomy).diaphragm
        assert getattr(domes, f"{side}_z") > getattr(anatomy.diaphragm, f"{side}_z") + 3
        assert getattr(domes, f"{other}_z") == getattr(anatomy.diaphragm, f"{other}_z")


def test_a_plate_is_thin_flat_and_low(anatomy, sample):
    rng = keyed_generator((8, 0, "plate", 0), "atelectasis")
    plates = [draw for _ in range(12) if isinstance(draw := draw_atelectasis(rng, anatomy, sample), PlateAtelectasis)]
    assert len(plates) >= 5
    for plate in plates[:4]:
        truth = plate.paint(Scene(anatomy, Grid.centred((140, 84, 98), (1.5, 3.5, 3.5))))
        extent = np.ptp(np.argwhere(truth.mask), axis=0) * (1.5, 3.5, 3.5)
        assert extent[2] > 3 * 2 * plate.semi_axes_mm[2]
        assert truth.lobe.endswith("lower")
        assert truth.volume_ml < 20


def test_mr_sees_fluid_bright_on_t2_and_dark_on_flair_and_air_and_metal_dark(anatomy, look):
    seen = look([make_effusion(anatomy, side="right", volume_ml=600.0), make_pneumothorax(anatomy, side="left", share=0.3), Pacemaker()])
    fluid, air = (ndimage.binary_erosion(t.on_grid()) for t in seen.truths[:2])
    metal = seen.truths[2].on_grid() & (seen.hu > 2900)
    liver = (seen.scene.distance("liver") < -8) & (seen.labels == label("liver"))
    t2, flair = (render(seen.scene, contrast) for contrast in (T2W, FLAIR))
    assert t2[fluid].mean() > 3 * t2[liver].mean()
    assert flair[fluid].mean() < 0.3 * flair[liver].mean()
    assert metal.sum() > 10
    for void in (air, metal):
        assert np.median(t2[void]) < 0.05 * t2[fluid].mean()


def test_there_is_no_seam_of_air_between_fluid_and_wall(anatomy, look, healthy):
    seen = look([make_effusion(anatomy, side="right", volume_ml=1000.0)])
    fluid = seen.truths[0].on_grid()
    lung = healthy.scene.distance("lung")
    rim = ndimage.binary_dilation(fluid) & (np.abs(lung) < 1.75) & ndimage.binary_dilation(fluid, iterations=1)
    rim &= ~ndimage.binary_dilation((lung < 0) & ~fluid)  # not where the level meets the wall
    assert np.percentile(seen.hu[rim], 2) > -150
    assert np.percentile(healthy.hu[rim], 2) < -600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: make_effusion(a, side="both", volume_ml=100), "side must be 'left' or 'right'"),
        (lambda a: make_effusion(a, side="left", volume_ml=100, posture="prone"), "posture must be 'supine' or 'upright'"),
        (lambda a: Effusion(side="left", volume_ml=-1, level_mm=0), "volume_ml must lie between 0 and 6000"),
        (lambda a: make_pneumothorax(a, side="left", share=0.95), "share must lie between 0 and 0.9"),
        (lambda a: Pneumothorax(side="up", share=0.1, level_mm=0), "side must be"),
        (lambda a: make_consolidation(a, lobe="left_middle", share=0.5, focus_mm=(0, 0, 0)), "there is no lobe 'left_middle'"),
        (lambda a: make_lobar_atelectasis(a, lobe="right_upper", loss=0.9), "loss must lie between 0 and 0.8"),
        (lambda a: Edema(severity=1.2), "severity must lie between 0 and 1"),
    ],
)
def test_an_impossible_finding_is_refused_with_the_mend(anatomy, make, message):
    with pytest.raises(FindingError, match=message):
        make(anatomy)
