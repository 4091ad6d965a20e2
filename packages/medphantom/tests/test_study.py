"""Studies: every picture of one scene, each from its own stream, and truths that agree with all of them."""

import pickle
from functools import cache

import numpy as np
import pytest

from medphantom import Patient, ScanError, make_patient
from medphantom.findings.nodule import Nodule
from medphantom.labels import BASIC_CLASSES, CLASSES, SEE_THROUGH
from medphantom.mr import FLAIR, T1W, T2W
from medphantom.projection import BEDSIDE, LATERAL, STANDING
from medphantom.shapes import Grid
from medphantom.sites import SITES

SCAN = {"spacing_mm": (5.0, 5.0, 5.0), "shape": (56, 68, 80)}


@cache
def rich() -> Patient:
    return make_patient(4, 1, **SCAN, views=(STANDING, LATERAL, BEDSIDE), contrasts=(T1W, T2W), labels="full", site=SITES[1])


def test_what_else_is_taken_does_not_change_a_picture():
    plain = make_patient(4, 1, **SCAN, site=SITES[1])
    assert np.array_equal(plain.ct.array, rich().ct.array)
    alone = make_patient(4, 1, **SCAN, contrasts=(FLAIR, T2W), site=SITES[1])
    assert np.array_equal(alone.mr["T2w"].array, rich().mr["T2w"].array)
    assert np.array_equal(alone.mr["T2w"].affine, rich().ct.affine)
    assert (rich().mr["T1w"].array != rich().mr["T2w"].array).mean() > 0.9
    film = make_patient(4, 1, **SCAN, views=(STANDING,), site=SITES[1]).radiograph
    assert np.array_equal(film.array, rich().radiographs["PA"].array)


def test_films_come_in_the_order_asked_for_and_say_their_view():
    assert list(rich().radiographs) == ["PA", "LAT", "AP"]
    assert rich().radiograph is rich().radiographs["PA"]
    for position, film in rich().radiographs.items():
        assert film.meta["view_position"] == position
        assert film.spacing == (5.0, 5.0)
    assert rich().radiographs["LAT"].array.shape[1] < rich().radiographs["PA"].array.shape[1]  # the grid is less deep than wide


def test_basic_labels_are_the_full_ones_without_the_other_classes():
    basic, full = make_patient(4, 1, **SCAN, site=SITES[1]).labels, rich().labels
    assert rich().classes == CLASSES
    named = full < len(BASIC_CLASSES)
    assert np.array_equal(basic[named], full[named])
    for value in np.unique(full[~named]):
        under = set(np.unique(basic[full == value]))
        # bronchi run in the mediastinum, in lung and across vessels
        assert under <= {0, 1, 5} if CLASSES[value] in SEE_THROUGH else under == {0}, CLASSES[value]


def test_the_usual_patients_truths_are_its_listed_nodules_and_its_heart():
    for index in range(4):
        patient = make_patient(11, index)
        kinds = [truth.kind for truth in patient.truths]
        assert kinds.count("nodule") == len(patient.nodules)
        assert ("cardiomegaly" in kinds) == patient.findings["cardiomegaly"]
        masks = np.zeros(patient.labels.shape, bool)
        for nodule, truth in zip(patient.nodules, patient.truths[len(kinds) - len(patient.nodules) :], strict=True):
            assert nodule.tracking_id == truth.tracking_id
            assert truth.center_mm == pytest.approx(nodule.center_mm, abs=2)
            masks |= truth.on_grid()
        assert np.array_equal(masks, patient.labels == BASIC_CLASSES.index("nodule"))


def test_a_film_box_holds_the_shadow_of_its_finding_on_every_view():
    nodule = Nodule(center_mm=(0, 0, 0), semi_axes_mm=(14.0, 12.0, 13.0), hu=40.0)
    healthy = make_patient(4, 2, **SCAN, findings=())
    center = np.array([-75.0, 10.0, 20.0])
    where = tuple(float(c) for c in center + healthy.anatomy.table_mm)
    views = (STANDING, LATERAL, BEDSIDE)
    patient = make_patient(4, 2, **SCAN, findings=(Nodule(center_mm=where, semi_axes_mm=nodule.semi_axes_mm, hu=40.0),), views=views)
    grid = Grid.centred(SCAN["shape"], SCAN["spacing_mm"])
    for view in views:
        r0, c0, r1, c1 = patient.film_boxes[view.position]["nodule-1"]
        row, column = view.points(grid, center[None])[0]
        assert r0 <= row < r1
        assert c0 <= column < c1
        assert (r1 - r0) * 5 == pytest.approx(26 * view.magnification(), abs=13)


def test_nobody_is_ill_of_what_never_occurs_and_everybody_of_what_always_does():
    for findings in ((), {}, {"nodule": 0.0}):
        patient = make_patient(3, 0, **SCAN, findings=findings)
        assert patient.truths == ()
        assert patient.findings == {"nodule": False, "cardiomegaly": False}
    ill = make_patient(3, 0, **SCAN, findings={"effusion": 1.0, "cardiomegaly": 1.0}, labels="full")
    assert {truth.kind for truth in ill.truths} == {"effusion", "cardiomegaly"}
    assert (ill.labels == CLASSES.index("effusion")).any()
    assert ill.findings["cardiomegaly"]


def test_the_site_changes_the_pictures_and_not_the_patient():
    north, harbour = (make_patient(4, 3, **SCAN, contrasts=(T1W,), site=site) for site in (SITES[0], SITES[2]))
    assert north.anatomy == harbour.anatomy
    assert np.array_equal(north.labels, harbour.labels)
    heart = north.labels == BASIC_CLASSES.index("heart")
    assert harbour.ct.array[heart].std() > 1.5 * north.ct.array[heart].std()
    scale = harbour.mr["T1w"].array[heart].mean() / north.mr["T1w"].array[heart].mean()
    assert scale == pytest.approx(SITES[2].mr_scale / SITES[0].mr_scale, rel=0.45)  # coils differ by up to 35 and 10 %


def test_patients_travel_between_processes():
    copy = pickle.loads(pickle.dumps(rich()))
    assert np.array_equal(copy.labels, rich().labels)
    assert copy.film_boxes == rich().film_boxes


@pytest.mark.parametrize("views", [(), (STANDING, STANDING)])
def test_missing_or_double_views_are_refused(views):
    with pytest.raises(ScanError, match="at least one position, each once"):
        make_patient(1, 0, **SCAN, views=views)
