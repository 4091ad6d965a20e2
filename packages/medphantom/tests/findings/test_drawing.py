"""Whole patients: what is drawn occurs as often as asked, goes together, and is the same for the same key."""

import itertools

import numpy as np
import pytest

from medio.keyed import keyed_generator
from medphantom.anatomy import draw_anatomy
from medphantom.findings.drawing import KINDS, draw_findings, filled, in_order, paint_findings, reshape
from medphantom.findings.finding import Filling, FindingError
from medphantom.findings.nodule import Nodule
from medphantom.organs.distances import place
from medphantom.scene import Scene
from medphantom.shapes import Grid

ALWAYS = dict.fromkeys(KINDS, 1.0)


def rng(number):
    return keyed_generator((number, 0, "drawing", 0), "findings")


def patient(number):
    return draw_anatomy(keyed_generator((number, 0, "drawing", 0), "anatomy"), sex="FM"[number % 2], enlarged_heart=False)


def test_each_kind_occurs_as_often_as_its_prevalence(anatomy):
    wanted = dict(zip(KINDS, itertools.cycle([0.1, 0.3, 0.5]), strict=False))
    n = 120
    counts = dict.fromkeys(KINDS, 0)
    for number in range(n):
        for kind in {finding.kind for finding in draw_findings(rng(number), anatomy, wanted)}:
            counts[kind] += 1
    for kind, share in wanted.items():
        # four standard deviations of a binomial
        assert counts[kind] / n == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5), kind


def test_the_same_key_draws_the_same_and_nothing_is_drawn_without_prevalence(anatomy):
    assert draw_findings(rng(1), anatomy, ALWAYS) == draw_findings(rng(1), anatomy, ALWAYS)
    assert draw_findings(rng(1), anatomy, ALWAYS) != draw_findings(rng(2), anatomy, ALWAYS)
    assert draw_findings(rng(1), anatomy, {}) == ()


def test_whether_a_patient_has_one_finding_does_not_change_another(anatomy):
    both = {f.kind: f for f in draw_findings(rng(5), anatomy, {"effusion": 1.0, "rib_fracture": 1.0, "pacemaker": 1.0})}
    one = draw_findings(rng(5), anatomy, {"rib_fracture": 1.0})
    assert one == (both["rib_fracture"],)


@pytest.mark.parametrize("number", range(6))
def test_a_patient_with_everything_is_plausible(number):
    anatomy = patient(number)
    findings = draw_findings(rng(number), anatomy, ALWAYS)
    assert {f.kind for f in findings} >= set(KINDS) - {"nodule"}
    assert len({f.tracking_id for f in findings}) == len(findings)
    assert findings == in_order(findings)
    kinds = {f.kind: f for f in findings}
    assert kinds["effusion"].side != kinds["pneumothorax"].side
    assert kinds["pacemaker"].side != kinds["port"].side
    assert kinds["atelectasis"].lobe != kinds["consolidation"].lobe
    shaped = reshape(anatomy, findings)
    assert shaped.cardiothoracic_ratio == pytest.approx(kinds["cardiomegaly"].ratio)
    # nodules keep clear of what fills the lung
    taken = filled(findings)
    for nodule in (f for f in findings if isinstance(f, Nodule)):
        center = np.subtract(nodule.center_mm, shaped.table_mm)
        x, y, z = (center + np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * nodule.semi_axes_mm).T.astype(np.float32)
        assert (taken(place(shaped, x, y, z)) > 0).all()
    truths = paint_findings(Scene(shaped, Grid.centred((56, 68, 80), (5.0, 5.0, 5.0))), findings)
    assert [t.tracking_id for t in truths] == [f.tracking_id for f in findings]
    lung = Scene(shaped, Grid.centred((56, 68, 80), (5.0, 5.0, 5.0))).distance("lung")
    for truth, finding in zip(truths, findings, strict=True):
        if isinstance(finding, Filling):
            assert truth.seen
            assert (lung[truth.on_grid()] < 0).all()


def test_a_field_of_view_beside_everything_or_in_one_corner_sees_what_lies_there():
    anatomy = patient(2)
    findings = draw_findings(rng(2), anatomy, ALWAYS)
    shaped = reshape(anatomy, findings)
    whole = Grid.centred((70, 84, 98), (4.0, 4.0, 4.0))
    everything = paint_findings(Scene(shaped, whole), findings)
    corner = Grid(whole.z[30:], whole.y[:40], whole.x[:50], whole.spacing_mm)
    for truth, cut in zip(everything, paint_findings(Scene(shaped, corner), findings), strict=True):
        assert np.array_equal(cut.on_grid(), truth.on_grid()[30:, :40, :50]), truth.kind
    beside = Grid(whole.z + 900, whole.y, whole.x, whole.spacing_mm)
    scene = Scene(shaped, beside)
    assert not any(truth.seen for truth in paint_findings(scene, [f for f in findings if f.kind != "tracheal_tube"]))
    assert not scene.labels().any()


def test_an_enlarged_heart_is_a_finding_unless_its_prevalence_says_otherwise():
    enlarged = draw_anatomy(keyed_generator((7, 0, "drawing", 0), "anatomy"), sex="M", enlarged_heart=True)
    assert [f.kind for f in draw_findings(rng(1), enlarged, {})] == ["cardiomegaly"]
    assert draw_findings(rng(1), enlarged, {"cardiomegaly": 0.0}) == ()
    assert reshape(enlarged, ()).cardiothoracic_ratio <= 0.5
    assert reshape(enlarged, draw_findings(rng(1), enlarged, {})).cardiothoracic_ratio == pytest.approx(enlarged.cardiothoracic_ratio)


@pytest.mark.parametrize(
    ("prevalence", "message"), [({"noduel": 0.5}, "there is no finding 'noduel'"), ({"nodule": 1.5}, "must lie between 0 and 1, got 1.5")]
)
def test_an_impossible_prevalence_is_refused(anatomy, prevalence, message):
    with pytest.raises(FindingError, match=message):
        draw_findings(rng(1), anatomy, prevalence)
