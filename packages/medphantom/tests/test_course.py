"""Courses: what fates say is measured on the masks, lesions keep their identity, and the displacement between visits is the true one."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medio.keyed import keyed_generator
from medphantom import make_patient
from medphantom.anatomy import draw_anatomy
from medphantom.course import Course, make_course
from medphantom.errors import ScanError
from medphantom.findings.drawing import KINDS, draw_findings, reshape
from medphantom.findings.effusion import make_effusion
from medphantom.findings.fracture import RibFracture
from medphantom.findings.nodule import Nodule
from medphantom.findings.nodule_drawing import draw_varied_nodules, fits
from medphantom.findings.spots import Sample
from medphantom.progression import CHANGES, Fate, draw_fates, states

SEED, INDEX = 21, 4
FINE = {"spacing_mm": (3.0, 3.0, 3.0), "shape": (90, 84, 112)}


def healthy():
    stream = keyed_generator((SEED, 0, f"phantom-{INDEX}", 0), "person")
    sex = "F" if stream.random() < 0.5 else "M"
    return draw_anatomy(keyed_generator((SEED, 0, f"phantom-{INDEX}", 0), "anatomy"), sex=sex, enlarged_heart=False)


@pytest.fixture(scope="module")
def anatomy():
    return healthy()


@pytest.fixture(scope="module")
def nodules(anatomy):
    """Three nodules apart from each other, the largest first."""
    rng = keyed_generator((SEED, 0, "course", 0), "nodules")
    drawn = draw_varied_nodules(rng, anatomy, Sample.of_lungs(anatomy), count=6)
    plain = sorted((replace(n, margin="smooth", calcification="none") for n in drawn), key=lambda n: -n.diameter_mm)[:3]
    assert plain[0].diameter_mm > 14
    return tuple(replace(n, tracking_id=f"nodule-{i}") for i, n in enumerate(plain, start=1))


@pytest.fixture(scope="module")
def moved(anatomy) -> Course:
    """Two visits without a lesion, far apart in breath and pose."""
    return make_course(SEED, INDEX, visits=2, findings=(), fates=(), motion=1.2, **FINE)


def volumes(course, name):
    return [sum(t.volume_ml for t in visit.truths if t.tracking_id == name) for visit in course.visits]


def test_warping_the_second_visits_labels_by_the_field_gives_the_first_visits(moved):
    first, second = moved.visits
    back = second.inverse_displacement_mm()
    assert np.linalg.norm(back, axis=-1).max() > 8  # they do differ
    where = np.indices(back.shape[:3]) + np.moveaxis(back[..., ::-1] / 3.0, -1, 0)  # (x, y, z) mm to (z, y, x) voxels
    inside = np.logical_and.reduce([(w > 0) & (w < n - 1) for w, n in zip(where, back.shape[:3], strict=True)])
    warped = ndimage.map_coordinates(second.labels, where, order=0, mode="nearest")
    # Where the nearest voxel is taken, a border may be off by that voxel: all else must agree.
    borders = ndimage.maximum_filter(first.labels, 3) != ndimage.minimum_filter(first.labels, 3)
    assert (warped == first.labels)[inside & ~borders].mean() > 0.9995
    for value in range(1, 5):  # lung, heart, spine, rib; vessels are thinner than the interpolation
        a, b = (first.labels == value) & inside, (warped == value) & inside
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > (0.95 if value < 3 else 0.8)
        unmoved = second.labels == value
        assert (a & b).sum() > 1.02 * (a & unmoved).sum()  # and they did not agree before


def test_the_field_of_the_other_way_takes_the_second_visit_to_the_first(moved):
    first, second = moved.visits
    field = second.displacement_mm()
    where = np.indices(field.shape[:3]) + np.moveaxis(field[..., ::-1] / 3.0, -1, 0)
    inside = np.logical_and.reduce([(w > 0) & (w < n - 1) for w, n in zip(where, field.shape[:3], strict=True)])
    warped = ndimage.map_coordinates(first.ct.array.astype(np.float32), where, order=1, mode="nearest")
    still = first.ct.array.astype(np.float32)
    body = inside & (second.ct.array > -400)
    # noise and interpolation remain; what lies elsewhere is gone
    assert np.abs(warped - second.ct.array)[body].mean() < 0.45 * np.abs(still - second.ct.array)[body].mean()


def test_landmarks_move_as_the_field_says_to_a_tenth_of_a_millimetre(nodules):
    fates = [Fate(tracking_id=n.tracking_id, change="stable") for n in nodules]
    course = make_course(SEED, INDEX, visits=2, findings=nodules, fates=fates, motion=1.3)
    first = course.visits[0]
    origin = np.array(first.ct.affine[:3, 3])
    assert {"carina", "apex_left", "apex_right", *(n.tracking_id for n in nodules)} == set(first.landmarks_mm)
    for visit in course.visits[1:]:
        field = visit.displacement_mm()
        for name, point in visit.landmarks_mm.items():
            index = ((np.array(point) - origin) / 3.5)[::-1]
            shift = [ndimage.map_coordinates(field[..., axis], index[:, None], order=3)[0] for axis in range(3)]
            assert np.array(point) + shift == pytest.approx(first.landmarks_mm[name], abs=0.1), name
        assert visit.deformation.jacobian(visit.grid).min() > 0
        # the masks lie where the landmarks say, to half a voxel
        for truth in visit.truths:
            assert math.dist(truth.center_mm, visit.landmarks_mm[truth.tracking_id]) < 1.75


def test_growth_and_shrinkage_are_measured_on_the_masks(nodules):
    grown, shrunk, stable = nodules[2], nodules[0], nodules[1]
    fates = (
        Fate(tracking_id=grown.tracking_id, change="growing", doubling_days=150.0),
        Fate(tracking_id=shrunk.tracking_id, change="shrinking", doubling_days=-120.0),
        Fate(tracking_id=stable.tracking_id, change="stable"),
    )
    course = make_course(
        SEED, INDEX, visits=3, interval_days=100, findings=nodules, fates=fates, spacing_mm=(2.0, 2.0, 2.0), shape=(105, 84, 105)
    )
    for fate, nodule in zip(fates, (grown, shrunk, stable), strict=True):
        measured = volumes(course, nodule.tracking_id)
        assert measured[0] == pytest.approx(nodule.volume_ml, rel=0.05)
        for visit, volume in zip(course.visits, measured, strict=True):
            factor = 1.0 if fate.doubling_days is None else 2 ** (visit.day / fate.doubling_days)
            # whatever the breath: the tissue is stretched, the nodule is not
            assert volume / measured[0] == pytest.approx(factor, rel=0.03 if fate.change == "stable" else 0.1)
            truth = next(t for t in visit.truths if t.tracking_id == nodule.tracking_id)
            assert truth.parameters["volume_ml"] == pytest.approx(nodule.volume_ml * factor, rel=1e-3)
    days = [visit.day for visit in course.visits]
    assert days[0] == 0
    assert all(abs(day - 100 * i) <= 12 for i, day in enumerate(days))


def test_lesions_come_go_split_and_merge_with_their_names(nodules):
    first, second, third = nodules
    fates = (
        Fate(tracking_id=first.tracking_id, change="split", visit=1),
        Fate(tracking_id=second.tracking_id, change="merged", visit=2),
        Fate(tracking_id=third.tracking_id, change="resolved", visit=2),
    )
    course = make_course(SEED, INDEX, visits=3, findings=nodules, fates=fates, motion=0.0, spacing_mm=(2.0, 2.0, 2.0), shape=(105, 84, 105))
    names = [{t.tracking_id: t for t in visit.truths} for visit in course.visits]
    a, b = f"{first.tracking_id}a", f"{first.tracking_id}b"
    c, d = f"{second.tracking_id}a", f"{second.tracking_id}b"
    assert set(names[0]) == {first.tracking_id, c, d, third.tracking_id}
    assert set(names[1]) == {a, b, c, d, third.tracking_id}
    assert set(names[2]) == {a, b, second.tracking_id}
    assert names[1][a].parents == names[1][b].parents == (first.tracking_id,)
    assert set(names[2][second.tracking_id].parents) == {c, d}
    # the parts of what split lie apart, within it; those of what merged lie apart, within what they became
    whole = names[0][first.tracking_id].on_grid()
    parts = [names[1][part].on_grid() for part in (a, b)]
    assert not (parts[0] & parts[1]).any()
    assert (whole[parts[0] | parts[1]]).all()
    merged = names[2][second.tracking_id].on_grid()
    assert merged[names[1][c].on_grid() | names[1][d].on_grid()].all()
    assert not (names[1][c].on_grid() & names[1][d].on_grid()).any()
    assert [visit.response is None for visit in course.visits] == [True, False, False]
    assert course.visits[1].response.new_lesions == ()
    assert course.visits[2].response.new_lesions == ()


def test_response_follows_from_the_masks(nodules):
    largest = nodules[0]
    shrinking = [Fate(tracking_id=n.tracking_id, change="shrinking", doubling_days=-40.0) for n in nodules]
    course = make_course(SEED, INDEX, visits=2, findings=nodules, fates=shrinking, spacing_mm=(4.0, 4.0, 4.0), shape=(70, 84, 98))
    assert course.targets[0] == largest.tracking_id
    assert course.visits[1].response.category == "PR"  # a fourth of the volume or less: 0.63 of the diameter or less
    newly = (*shrinking[:2], Fate(tracking_id=nodules[2].tracking_id, change="new", visit=1))
    course = make_course(SEED, INDEX, visits=2, findings=nodules, fates=newly, spacing_mm=(4.0, 4.0, 4.0), shape=(70, 84, 98))
    assert nodules[2].tracking_id not in {t.tracking_id for t in course.visits[0].truths}
    assert course.visits[1].response.category == "PD"
    assert course.visits[1].response.new_lesions == (nodules[2].tracking_id,)


def test_fluid_follows_its_fate_and_bones_stay(anatomy):
    effusion = make_effusion(anatomy, side="right", volume_ml=600.0)
    rib = RibFracture(side="left", rib=5, y_mm=0.0, gap_mm=4.0, step_mm=3.0)
    fates = (Fate(tracking_id="effusion-1", change="shrinking", doubling_days=-50.0), Fate(tracking_id="rib_fracture-1", change="stable"))
    course = make_course(
        SEED,
        INDEX,
        visits=3,
        interval_days=60,
        findings=(effusion, rib),
        fates=fates,
        motion=0.0,
        spacing_mm=(4.0, 4.0, 4.0),
        shape=(70, 84, 98),
    )
    for visit, volume in zip(course.visits, volumes(course, "effusion-1"), strict=True):
        assert volume == pytest.approx(600 * 2 ** (-visit.day / 50), rel=0.07)
    assert len(set(volumes(course, "rib_fracture-1"))) == 1


def test_the_first_visit_is_the_patient_and_every_visit_is_its_own_scan():
    small = {"spacing_mm": (5.0, 5.0, 5.0), "shape": (56, 68, 80)}
    course = make_course(7, 1, visits=3, **small)
    patient = make_patient(7, 1, **small)
    assert np.array_equal(course.visits[0].ct.array, patient.ct.array)
    assert np.array_equal(course.visits[0].labels, patient.labels)
    assert np.array_equal(course.visits[0].radiographs["PA"].array, patient.radiograph.array)
    for visit in course.visits[1:]:
        assert visit.ct.affine == pytest.approx(patient.ct.affine)
        dates = [np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (patient.study_date, visit.ct.meta["study_date"])]
        assert (dates[1] - dates[0]).astype(int) == visit.day
    outside = [visit.ct.array[-3:, :3, :3].ravel() for visit in course.visits]  # air beside the neck: noise alone
    assert not np.array_equal(outside[0], outside[1])
    assert not np.array_equal(outside[1], outside[2])
    again = make_course(7, 1, visits=3, **small)
    assert all(np.array_equal(a.ct.array, b.ct.array) for a, b in zip(course.visits, again.visits, strict=True))
    assert course.fates == again.fates
    assert [v.day for v in course.visits] == [v.day for v in again.visits]


def test_drawn_fates_are_of_every_kind_and_what_grows_keeps_within_the_lung():
    days = (0, 90, 180)
    seen = set()
    for number in range(30):
        plain = draw_anatomy(keyed_generator((number, 0, "fates", 0), "anatomy"), sex="F", enlarged_heart=False)
        findings = draw_findings(keyed_generator((number, 0, "fates", 0), "findings"), plain, dict.fromkeys(KINDS, 0.6))
        anatomy = reshape(plain, findings)
        everything, fates = draw_fates(keyed_generator((number, 0, "fates", 0), "fates"), anatomy, findings, days)
        assert everything[: len(findings)] == findings
        assert [f.tracking_id for f in everything] == [f.tracking_id for f in fates]
        seen |= {fate.change for fate in fates}
        for state in states(everything, fates, days, anatomy):
            assert len({f.tracking_id for f in state}) == len(state)
            nodules = [f for f in state if isinstance(f, Nodule)]
            assert all(fits(nodule, anatomy) for nodule in nodules)
    assert seen == set(CHANGES)


def test_a_nodule_at_the_wall_does_not_grow_through_it_while_one_with_room_may_grow(anatomy):
    inner = next(n for n in draw_varied_nodules(keyed_generator((5, 0, "w", 0), "n"), anatomy, Sample.of_lungs(anatomy), count=4))
    small = replace(inner, semi_axes_mm=(3.5, 3.5, 3.5), margin="smooth")
    steps = [replace(small, center_mm=(small.center_mm[0] + d, *small.center_mm[1:])) for d in np.arange(0, 150, 0.5)]
    at_wall = next(a for a, b in itertools.pairwise(steps) if fits(a, anatomy) and not fits(b, anatomy))
    grown = {"small": 0, "at wall": 0}
    for name, nodule in (("small", small), ("at wall", at_wall)):
        for number in range(40):
            _, (fate, *_) = draw_fates(keyed_generator((number, 0, "wall", 0), "fates"), anatomy, [nodule], (0, 180))
            grown[name] += fate.change == "growing"
            assert fits(nodule.scaled(max(fate.factor(180), 1.0)), anatomy)
    assert grown["small"] > 3 > 0 == grown["at wall"]


def test_states_without_fates_stay(anatomy, nodules):
    assert states(nodules, (), (0, 10), anatomy) == (nodules, nodules)


@pytest.mark.parametrize(
    ("fate", "message"),
    [
        ({"change": "gone"}, "change must be one of stable"),
        ({"change": "growing", "doubling_days": 0.0}, "must not be 0"),
        ({"change": "split"}, "needs the number of a visit, from 1"),
        ({"change": "growing", "visit": 1}, "has no visit of its own"),
    ],
)
def test_an_impossible_fate_is_refused(fate, message):
    with pytest.raises(ScanError, match=message):
        Fate(tracking_id="nodule-1", **fate)


def test_fates_that_do_not_fit_their_findings_are_refused(anatomy):
    fluid = make_effusion(anatomy, side="left", volume_ml=300.0)
    with pytest.raises(ScanError, match="there is no finding 'nodule-9'"):
        states([fluid], [Fate(tracking_id="nodule-9", change="stable")], (0, 1), anatomy)
    with pytest.raises(ScanError, match="only nodules can"):
        states([fluid], [Fate(tracking_id="effusion-1", change="split", visit=1)], (0, 1), anatomy)
    with pytest.raises(ScanError, match="give the findings too"):
        make_course(1, 1, fates=())
    with pytest.raises(ScanError, match="must be 1 or more, got 0 and 90"):
        make_course(1, 1, visits=0)
