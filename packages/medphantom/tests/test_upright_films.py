"""Films of a patient who stands: fluid at the base and air at the apex, while the CT and the films in bed show the patient lying."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from medphantom import Patient, make_course, make_effusion, make_patient, make_pneumothorax
from medphantom.findings.edema import Edema
from medphantom.findings.finding import Finding
from medphantom.findings.nodule import Nodule
from medphantom.progression import Fate
from medphantom.projection import BEDSIDE, LATERAL, PARALLEL, STANDING, View
from medphantom.radiograph import VALUES_PER_NEPER
from medphantom.records import views_of
from medphantom.scene import Scene
from medphantom.shapes import Grid
from medphantom.sites import SITES
from medphantom.study import paint_postures

SCAN = {"spacing_mm": (5.0, 5.0, 5.0), "shape": (56, 68, 80)}
GRID = Grid.centred(SCAN["shape"], SCAN["spacing_mm"])
# Films that are line integrals: no scatter, a linear response and hardly any noise.
PLAIN = replace(SITES[0], film_scatter=0.0, film_curve=1.0, film_photons=1e9)
VIEWS = (BEDSIDE, STANDING, LATERAL)


@cache
def patient(*findings: Finding, views: tuple[View, ...] = VIEWS) -> Patient:
    return make_patient(9, 0, **SCAN, findings=findings, views=views, site=PLAIN)


@cache
def fluid() -> Finding:
    return make_effusion(patient().anatomy, side="right", volume_ml=600.0)


@cache
def air() -> Finding:
    return make_pneumothorax(patient().anatomy, side="left", share=0.25)


def lung(side: str) -> np.ndarray:
    mask = np.isin(patient().labels, [patient().classes.index(name) for name in ("lung", "vessel")])
    middle = mask.shape[2] // 2
    mask[:, :, slice(middle, None) if side == "right" else slice(0, middle)] = False  # axis 2 runs to the left
    return mask


def heights(view: View, *findings: Finding, side: str) -> tuple[np.ndarray, np.ndarray]:
    """What the findings add to a film (nepers) within a hemithorax: summed over each row, and the height of the row: 0 the base, 1 the apex."""
    films = [patient(*some).radiographs[view.position].array / VALUES_PER_NEPER for some in (findings, ())]
    r0, c0, r1, c1 = view.box(GRID, lung(side))
    added = (films[0] - films[1])[r0:r1, c0:c1]
    return added.sum(axis=1), 1 - (np.arange(r1 - r0) + 0.5) / (r1 - r0)


def test_fluid_lies_in_the_lowest_part_of_the_chest_of_who_stands_and_over_its_height_in_bed():
    standing, height = heights(STANDING, fluid(), side="right")
    assert standing[height < 0.4].sum() > 0.98 * standing.sum()
    lying, height = heights(BEDSIDE, fluid(), side="right")
    assert lying[height < 0.4].sum() < 0.55 * lying.sum()
    for low in (0.0, 0.25, 0.5):
        assert lying[(height > low) & (height < low + 0.25)].sum() > 0.15 * lying.sum()
    assert standing.sum() == pytest.approx(lying.sum(), rel=0.15)  # as much of it, up to magnification


def test_the_box_of_fluid_reaches_from_its_level_to_the_base_on_pa_and_lateral_films():
    boxes = {position: by_name["effusion-1"] for position, by_name in patient(fluid()).film_boxes.items()}
    for view in (STANDING, LATERAL):
        top, left, bottom, right = view.box(GRID, lung("right"))
        r0, c0, r1, c1 = boxes[view.position]
        assert abs(r1 - bottom) <= 1
        assert r0 > top + (bottom - top) / 2
        assert c1 - c0 > 0.85 * (right - left)  # from wall to wall: not only at the back
    top, _, bottom, _ = BEDSIDE.box(GRID, lung("right"))
    assert boxes["AP"][2] - boxes["AP"][0] > 0.9 * (bottom - top)


def test_air_rises_to_the_apex_of_who_stands():
    added, height = heights(STANDING, air(), side="left")
    added_in_bed, height_in_bed = heights(BEDSIDE, air(), side="left")
    lost, lost_in_bed = -added, -added_in_bed
    assert lost[height > 0.5].sum() > 0.98 * lost.sum() > 0
    assert lost_in_bed[height_in_bed > 0.5].sum() < 0.5 * lost_in_bed.sum()
    assert lost[height > 0.9].sum() > 5 * lost_in_bed[height_in_bed > 0.9].sum() > 0
    top, _, bottom, _ = STANDING.box(GRID, lung("left"))
    r0, _, r1, _ = patient(air()).film_boxes["PA"]["pneumothorax-1"]
    assert abs(r0 - top) <= 1
    assert r1 < (top + bottom) / 2


def test_ct_truths_and_films_in_bed_are_the_same_whatever_else_is_taken():
    plain, all_films = patient(fluid(), air(), views=(PARALLEL,)), patient(fluid(), air())
    assert np.array_equal(plain.ct.array, all_films.ct.array)
    assert np.array_equal(plain.labels, all_films.labels)
    assert [truth.tracking_id for truth in plain.truths] == [truth.tracking_id for truth in all_films.truths]
    for one, other in zip(plain.truths, all_films.truths, strict=True):
        assert one.region == other.region
        assert np.array_equal(one.mask, other.mask)
    alone = patient(fluid(), air(), views=(BEDSIDE,))
    assert np.array_equal(alone.radiograph.array, all_films.radiographs["AP"].array)
    assert alone.film_boxes["AP"] == all_films.film_boxes["AP"]
    assert plain.film_boxes["PA"] == {truth.tracking_id: PARALLEL.box(GRID, truth.mask, truth.region) for truth in plain.truths}


def test_the_same_arguments_give_the_same_upright_films():
    first, again = patient(fluid(), air()), patient.__wrapped__(fluid(), air())
    for position, film in first.radiographs.items():
        assert np.array_equal(film.array, again.radiographs[position].array)
    assert first.film_boxes == again.film_boxes


@pytest.mark.parametrize(("volume_ml", "share"), [(250.0, 0.15), (1100.0, 0.5)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_standing_up_changes_no_amount_and_no_name(side, volume_ml, share):
    anatomy = patient().anatomy
    other = "left" if side == "right" else "right"
    findings = (
        replace(make_effusion(anatomy, side=side, volume_ml=volume_ml), tracking_id="effusion-7"),
        make_pneumothorax(anatomy, side=other, share=share),
    )
    scene = Scene(anatomy, Grid.centred((80, 96, 112), (3.5, 3.5, 3.5)))
    lying, standing = (paint_postures(scene, findings, (LATERAL,))[posture].truths for posture in ("supine", "upright"))
    assert [t.tracking_id for t in standing] == [t.tracking_id for t in lying] == ["effusion-7", "pneumothorax-1"]
    for before, after in zip(lying, standing, strict=True):
        assert after.volume_ml == pytest.approx(before.volume_ml, rel=0.05)
        assert after.parameters["posture"] == "upright"


def test_a_patient_in_whom_nothing_moves_is_painted_once_and_looks_the_same_standing():
    nodule = Nodule(center_mm=tuple(patient().anatomy.table_mm + np.array([-75.0, 10.0, 20.0])), semi_axes_mm=(9.0, 8.0, 9.0), hu=40.0)
    anatomy = patient().anatomy
    upright = make_effusion(anatomy, side="left", volume_ml=300.0, posture="upright")
    for findings, views in (((), VIEWS), ((nodule,), VIEWS), ((upright,), VIEWS), ((fluid(),), (BEDSIDE, PARALLEL))):
        scene = Scene(anatomy, GRID)
        painted = paint_postures(scene, findings, views)
        assert painted["upright"] is painted["supine"]
        assert painted["supine"].scene is scene
    lying = replace(STANDING, posture="supine")
    film = patient(nodule, views=(lying,))
    assert np.array_equal(film.radiograph.array, patient(nodule, views=(STANDING,)).radiograph.array)


def test_oedema_alone_hangs_to_the_base_of_who_stands():
    edema = Edema(severity=0.8)
    shares = {}
    for view in (STANDING, replace(STANDING, posture="supine")):
        films = [make_patient(9, 0, **SCAN, findings=some, views=(view,), site=PLAIN).radiograph.array for some in ((edema,), ())]
        r0, c0, r1, c1 = view.box(GRID, lung("right"))
        added = (films[0].astype(float) - films[1])[r0:r1, c0:c1]
        shares[view.posture] = added[2 * len(added) // 3 :].sum() / added.sum()
    assert shares["upright"] > 1.2 * shares["supine"]


def test_follow_up_films_are_upright_too_and_leave_the_warped_ct_alone():
    stays = Fate(tracking_id="effusion-1", change="stable")
    course, plain = (
        make_course(9, 0, visits=2, **SCAN, findings=(fluid(),), fates=(stays,), views=views, site=PLAIN) for views in (VIEWS, (PARALLEL,))
    )
    assert course.visits[0].film_boxes == patient(fluid()).film_boxes
    assert np.array_equal(course.visits[0].radiographs["PA"].array, patient(fluid()).radiographs["PA"].array)
    second = course.visits[1]
    assert not second.deformation.is_identity
    assert np.array_equal(second.ct.array, plain.visits[1].ct.array)
    (truth,), (other,) = second.truths, plain.visits[1].truths
    assert np.array_equal(truth.on_grid(), other.on_grid())
    r0, _, r1, _ = second.film_boxes["PA"]["effusion-1"]
    low, _, high, _ = second.film_boxes["AP"]["effusion-1"]
    assert r1 - r0 < 0.5 * (high - low)
    assert r1 == pytest.approx(course.visits[0].film_boxes["PA"]["effusion-1"][2], abs=5)  # the base, up to a breath of 14 mm and the table
    film = second.radiographs["PA"].array.astype(float)
    healthy = make_course(9, 0, visits=2, **SCAN, findings=(), fates=(), views=VIEWS, site=PLAIN).visits[1].radiographs["PA"].array
    added = (film - healthy)[:, : film.shape[1] // 2].clip(min=0).sum(axis=1)
    assert added[r0 - 2 : r1 + 2].sum() > 0.97 * added.sum()


def test_a_finding_of_which_no_voxel_is_seen_is_no_truth_of_patient_or_course():
    far = Nodule(center_mm=(0.0, 0.0, 900.0), semi_axes_mm=(6.0, 6.0, 6.0), hu=40.0)
    made = patient(far, fluid(), views=(STANDING,))
    assert [truth.kind for truth in made.truths] == ["effusion"]
    assert set(made.film_boxes["PA"]) == {"effusion-1"}
    assert made.findings["nodule"] is False
    fates = tuple(Fate(tracking_id=finding.tracking_id, change="stable") for finding in (far, fluid()))
    course = make_course(9, 0, visits=2, **SCAN, findings=(far, fluid()), fates=fates, site=PLAIN)
    assert [[truth.kind for truth in visit.truths] for visit in course.visits] == [["effusion"], ["effusion"]]


def test_who_can_stand_is_filmed_upright_and_who_cannot_is_not():
    assert PARALLEL.posture == BEDSIDE.posture == "supine"
    rng = np.random.default_rng(0)
    assert [(v.position, v.posture) for v in views_of(replace(SITES[0], ap_share=1.0), rng)] == [("AP", "supine")]
    assert [(v.position, v.posture) for v in views_of(replace(SITES[0], ap_share=0.0), rng)] == [("PA", "upright"), ("LAT", "upright")]
    with pytest.raises(ValueError, match="posture must be 'supine' or 'upright', got 'prone'"):
        View(posture="prone")  # type: ignore[arg-type]
