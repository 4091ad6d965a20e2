"""MR contrasts: the signal equation against simulated magnetisation, and what is bright on which picture."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medphantom.anatomy import draw_anatomy
from medphantom.materials import AIR, CORTICAL_BONE, FAT, FLUID, LIVER, MUSCLE, SPLEEN, Material
from medphantom.mr import CONTRASTS, FLAIR, STIR, T1W, T2W, MRContrast, nulling_ti_ms
from medphantom.scene import render
from medphantom.shapes import Grid
from medphantom.thorax import make_scene


def simulated(contrast: MRContrast, material: Material) -> float:
    """Follow the longitudinal magnetisation through twelve repetitions; what the 90 degree pulse finds decays until the echo."""
    along = 1.0

    def relax(value: float, ms: float) -> float:
        return 1 - (1 - value) * math.exp(-ms / material.t1_ms)

    found = along
    for _ in range(12):
        if contrast.ti_ms is None:
            found, along = along, 0.0
            along = relax(along, contrast.tr_ms)
        else:
            found = relax(-along, contrast.ti_ms)
            along = relax(0.0, contrast.tr_ms - contrast.ti_ms)
    return material.pd * abs(found) * math.exp(-contrast.te_ms / material.t2_ms)


@settings(max_examples=60, deadline=None)
@given(
    tr=st.floats(200, 10000),
    te=st.floats(1, 150),
    inversion=st.one_of(st.none(), st.floats(0.05, 0.9)),
    t1=st.floats(150, 4500),
    t2=st.floats(1, 2000),
    pd=st.floats(0, 1),
)
def test_the_signal_is_what_the_magnetisation_comes_to(tr, te, inversion, t1, t2, pd):
    contrast = MRContrast(name="any", tr_ms=tr, te_ms=te, ti_ms=None if inversion is None else inversion * tr)
    material = Material(name="any", hu=0, pd=pd, t1_ms=t1, t2_ms=t2)
    assert contrast.signal(material) == pytest.approx(simulated(contrast, material), abs=1e-9)


def test_fat_is_brightest_on_t1_fluid_on_t2_and_dark_on_flair_and_fat_dark_on_stir():
    t1, t2, flair, stir = ({m.name: c.signal(m) for m in (FAT, MUSCLE, FLUID, LIVER, SPLEEN)} for c in CONTRASTS)
    assert max(t1, key=t1.__getitem__) == "fat"
    assert min(t1, key=t1.__getitem__) == "fluid"
    assert t1["liver"] > t1["spleen"] > t1["fluid"]
    assert max(t2, key=t2.__getitem__) == "fluid"
    assert t2["spleen"] > t2["liver"]
    assert flair["fluid"] < 1e-6 < 0.1 * flair["muscle"]
    assert stir["fat"] < 1e-6
    assert stir["fluid"] > stir["muscle"]
    for contrast in CONTRASTS:
        assert contrast.signal(AIR) == 0
        assert contrast.signal(CORTICAL_BONE) < 0.02


def test_a_nulled_tissue_gives_no_signal_at_any_repetition():
    for tr in (1500, 4000, 9000):
        contrast = MRContrast(name="null", tr_ms=tr, te_ms=10, ti_ms=nulling_ti_ms(600, tr))
        assert contrast.signal(Material(name="m", hu=0, pd=1, t1_ms=600, t2_ms=80)) < 1e-12
    # long repetition: the well-known T1 ln 2
    assert nulling_ti_ms(343, 1e6) == pytest.approx(343 * math.log(2))


def test_pictures_of_one_patient_show_the_tissues_by_their_contrast():
    anatomy = draw_anatomy(np.random.default_rng(1), sex="M")
    across = Grid.centred((2, 150, 170), (2.0, 2.0, 2.0))
    grid = Grid(np.arange(-120, -60, 2, dtype=np.float32), across.y, across.x, across.spacing_mm)
    scene = make_scene(1, 1, anatomy, grid)
    trunk, fat = scene.distance("trunk"), anatomy.body.fat
    masks = {
        "fat": (trunk < -4) & (trunk > 3 - fat) & (scene.distance("clavicle") > 8),
        "fluid": (scene.distance("canal") < -1) & (scene.distance("cord") > 1) & (scene.distance("spine") > 1),
        "liver": scene.distance("liver") < -6,
        "lung": (scene.distance("lung") < -6) & (scene.distance("vessel") > 6) & (scene.distance("airway") > 6),
    }
    means = {c.name: {name: float(render(scene, c)[mask].mean()) for name, mask in masks.items()} for c in (T1W, T2W, FLAIR, STIR)}
    assert all(mask.sum() > 100 for mask in masks.values())
    assert max(means["T1w"], key=means["T1w"].__getitem__) == "fat"
    assert max(means["T2w"], key=means["T2w"].__getitem__) == "fluid"
    assert means["FLAIR"]["fluid"] < 0.5 * means["FLAIR"]["liver"]
    assert means["STIR"]["fat"] < 0.25 * means["STIR"]["liver"]
    for name in means:
        assert means[name]["lung"] < 0.5 * means[name]["liver"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tr_ms": 500, "te_ms": 600}, "0 <= te_ms < tr_ms"),
        ({"tr_ms": 500, "te_ms": 10, "ti_ms": 700}, "ti_ms must lie between 0 and tr_ms"),
    ],
)
def test_impossible_timing_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        MRContrast(name="wrong", **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"pd": 2}, "proton density"), ({"t1_ms": 0}, "must be positive"), ({"hu": -2000}, "hu must lie")]
)
def test_impossible_tissue_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Material(**{"name": "wrong", "hu": 0, "pd": 1, "t1_ms": 500, "t2_ms": 50, **wrong})
