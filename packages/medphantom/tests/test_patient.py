"""The truths of a synthetic patient: what is where, how large, and that a seed says it all."""

import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import medio
from medphantom import Patient, ScanError, make_patient
from medphantom.organs.distances import organ_distance

LUNG, HEART, SPINE, RIB, VESSEL, NODULE = range(1, 7)
SEED = 11
patients: Callable[[int], Patient] = cache(lambda index: make_patient(SEED, index))
COUNT = 12


def positions(patient: Patient, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """LPS mm of the chosen voxels, (n, 3)."""
    affine = patient.ct.affine
    assert affine is not None
    return np.argwhere(chosen) @ affine[:3, :3].T + affine[:3, 3]


def digest(patient: Patient) -> str:
    parts = (patient.ct.array, patient.labels, patient.radiograph.array, patient.ct.affine)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts) + repr((patient.nodules, patient.report)).encode()).hexdigest()


@pytest.mark.parametrize("index", range(COUNT))
def test_the_heart_lies_to_the_left_in_front_of_the_spine_and_below_the_lungs_apex(index):
    patient = patients(index)
    lung, heart, spine = (positions(patient, patient.labels == value) for value in (LUNG, HEART, SPINE))
    # LPS: +x is the patient's left, +y posterior, +z superior
    assert heart[:, 0].mean() > spine[:, 0].mean() + 5
    assert spine[:, 1].mean() > heart[:, 1].mean() + 40
    assert lung[:, 2].max() > heart[:, 2].max() + 40


@pytest.mark.parametrize("index", range(COUNT))
def test_the_lungs_narrow_towards_their_apex_and_not_towards_their_base(index):
    lung = np.isin(patients(index).labels, (LUNG, VESSEL, NODULE))
    rows = np.flatnonzero(lung.any(axis=(1, 2)))
    width = [np.ptp(np.flatnonzero(lung[z].any(axis=0))) for z in rows]
    top = width[-len(width) // 4 :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(top))
    assert width[-1] < 0.75 * max(width)
    assert np.argmax(width) < len(width) / 2


@pytest.mark.parametrize("index", range(COUNT))
def test_there_are_two_lungs_full_of_air_and_bones_are_dense(index):
    patient = patients(index)
    lung = np.isin(patient.labels, (LUNG, VESSEL, NODULE))
    pieces, _ = ndimage.label(lung)
    sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    assert sizes[:2].sum() > 0.99 * lung.sum()
    assert sizes[1] > 0.3 * lung.sum()
    mean = {value: patient.ct.array[patient.labels == value].mean() for value in range(1, 6)}
    assert -900 < mean[LUNG] < -780
    assert 25 < mean[HEART] < 60
    assert mean[SPINE] > 180
    assert mean[RIB] > 300
    assert mean[VESSEL] > mean[LUNG] + 350  # a voxel or two wide: their edges and thick slices mix them with lung
    # an edge of the volume is air around the patient: -1000 HU; clipping noise of at most 26 HU at -1024 raises it by at most 2.6 HU
    assert patient.ct.array[:, :8, :8].mean() == pytest.approx(-1000, abs=5)


@pytest.mark.parametrize("index", range(COUNT))
def test_cardiomegaly_can_be_measured_on_the_labels(index):
    patient = patients(index)
    heart = positions(patient, patient.labels == HEART)[:, 0]
    lung = np.isin(patient.labels, (LUNG, VESSEL, NODULE))
    inner = max(np.ptp(np.flatnonzero(plane.any(axis=0))) for plane in lung if plane.any()) * patient.ct.spacing[2]
    ratio = np.ptp(heart) / inner
    # each edge is off by half a voxel at most, i.e. the quotient by (1 + ratio) * 3.5 mm of about 240 mm, and the lung's wall is 1 mm inside the chest's
    assert ratio == pytest.approx(patient.anatomy.cardiothoracic_ratio, abs=0.035)
    assert patient.findings["cardiomegaly"] == (patient.anatomy.cardiothoracic_ratio > 0.5)


@settings(max_examples=12, deadline=None)
@given(
    index=st.integers(0, 40),
    spacing=st.tuples(*[st.floats(2.5, 9, allow_nan=False)] * 3),
    shape=st.tuples(*[st.integers(2, 70)] * 3),
)
def test_nodule_labels_are_the_listed_ellipsoids_on_any_grid(index, spacing, shape):
    patient = make_patient(SEED, index, spacing_mm=spacing, shape=shape)
    where = positions(patient, np.ones(shape, bool))
    inside, on_edge = np.zeros(len(where), bool), np.zeros(len(where), bool)
    for nodule in patient.nodules:
        level = np.linalg.norm((where - nodule.center_mm) / nodule.semi_axes_mm, axis=1)
        inside |= level < 1
        on_edge |= np.abs(level - 1) < 1e-3  # drawn in float32
    labelled = (patient.labels == NODULE).ravel()
    assert np.array_equal(labelled[~on_edge], inside[~on_edge])
    assert patient.findings["nodule"] == bool(patient.nodules)
    assert patient.ct.array.shape == patient.labels.shape == shape
    assert patient.ct.spacing == spacing
    assert medio.axis_letters(patient.ct.affine) == "SPL"
    assert patient.radiograph.array.shape == (shape[0], shape[2])


def test_a_nodules_voxels_add_up_to_its_volume():
    h, ratios, weights = 2.5, [], []
    for index in range(8):
        patient = make_patient(SEED + 1, index, spacing_mm=(h, h, h), shape=(112, 134, 156))
        pieces, _ = ndimage.label(patient.labels == NODULE)
        for nodule in patient.nodules:
            counted = ((positions(patient, pieces > 0) - nodule.center_mm) ** 2).sum(axis=1) < (nodule.diameter_mm / 2 + h) ** 2
            volume = counted.sum() * h**3 / 1000
            a, b, c = nodule.semi_axes_mm
            assert nodule.volume_ml == pytest.approx(4 / 3 * math.pi * a * b * c / 1000)
            # The surface cuts about 1.5 S / h^2 voxels; each is counted or not, an error of standard deviation 0.29 of a voxel. Four of these:
            surface = 4 * math.pi * (nodule.diameter_mm / 2) ** 2
            assert abs(volume - nodule.volume_ml) < 4 * 0.29 * h**3 / 1000 * math.sqrt(1.5 * surface / h**2)
            ratios.append(volume / nodule.volume_ml)
            weights.append(nodule.volume_ml)
    assert len(ratios) >= 5
    assert np.average(ratios, weights=weights) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("index", range(4))
def test_nodules_and_vessels_lie_inside_the_lungs(index):
    # at 2.5 mm the neighbour of a nodule's voxel is nearer than the 3 mm of lung that every nodule keeps around it
    patient = make_patient(SEED + 1, index, spacing_mm=(2.5, 2.5, 2.5), shape=(112, 134, 156))
    around = ndimage.binary_dilation(patient.labels == NODULE) & (patient.labels != NODULE)
    assert np.isin(patient.labels[around], (LUNG, VESSEL)).all()
    x, y, z = (positions(patient, patient.labels == VESSEL) - patient.anatomy.table_mm).T.astype(np.float32)
    assert len(x) > 500
    assert (organ_distance(patient.anatomy, "lung", x, y, z) < 1e-2).all()


def test_patients_vary_and_some_have_no_nodule():
    cohort = [patients(index) for index in range(COUNT)]
    counts = {len(patient.nodules) for patient in cohort}
    assert 0 in counts
    assert len(counts) >= 3
    assert {patient.findings["cardiomegaly"] for patient in cohort} == {False, True}
    assert len({patient.site.vendor for patient in cohort}) == 3
    assert {patient.sex for patient in cohort} == {"F", "M"}
    volumes = [np.isin(patient.labels, (LUNG, VESSEL)).sum() for patient in cohort]
    assert np.std(volumes) / np.mean(volumes) > 0.05


@pytest.mark.parametrize("index", range(COUNT))
def test_the_noise_is_the_sites(index):
    patient = patients(index)
    core = ndimage.binary_erosion(patient.labels == HEART, iterations=3)
    pairs = core[1:] & core[:-1]
    difference = (patient.ct.array[1:].astype(float) - patient.ct.array[:-1])[pairs]
    # Neighbours along z share nearly all tissue; texture (9 HU over 11 mm) adds little. They share noise only where slices overlap: a slice
    # that reaches a share e into either neighbour averages 1 and twice e, so two of them have the correlation 2 e / (1 + 2 e^2).
    e = max(patient.site.slice_thickness_mm / 3.5 - 1, 0) / 2
    own = math.sqrt(2 * (1 - 2 * e / (1 + 2 * e**2)))
    assert difference.std() / own == pytest.approx(patient.site.noise_hu, rel=0.15)


@pytest.mark.parametrize("index", range(COUNT))
def test_the_report_says_the_findings_and_that_it_is_synthetic(index):
    patient = patients(index)
    assert patient.report.startswith("SYNTHETIC PHANTOM REPORT")
    assert ("No pulmonary nodule." in patient.report) == (not patient.findings["nodule"])
    assert ("The heart is enlarged" in patient.report) == patient.findings["cardiomegaly"]
    for nodule in patient.nodules:
        side = "left" if nodule.center_mm[0] > patient.anatomy.table_mm[0] else "right"
        assert f"nodule of {nodule.diameter_mm:.0f} mm in the {side} lung" in patient.report
    assert not [nodule for nodule in patient.nodules if not 7 <= nodule.diameter_mm <= 32]


@pytest.mark.parametrize("index", range(COUNT))
def test_the_age_follows_from_the_birth_date(index):
    person = patients(index).person
    born, seen = int(person.birth_date), int(person.study_date)
    assert (seen - born) // 10000 == person.age  # YYYYMMDD as numbers: the quotient counts the birthdays passed


def test_a_seed_gives_the_same_bytes_in_another_process_with_other_threads():
    recipe = (
        "import hashlib; from medphantom import make_patient; p = make_patient(3, 2);"
        "said = hashlib.sha256(p.ct.array.tobytes() + p.labels.tobytes() + p.radiograph.array.tobytes() + p.report.encode()).hexdigest()"
    )
    here: dict[str, str] = {}
    exec(recipe, here)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    there = subprocess.run([sys.executable, "-c", f"{recipe}; print(said)"], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here["said"]


def test_other_seeds_and_indices_give_other_patients():
    made = [make_patient(seed, index) for seed, index in ((3, 2), (3, 3), (4, 2))]
    assert len({digest(patient) for patient in made}) == 3
    assert len({patient.patient_id for patient in made}) == 3
    assert len({patient.anatomy for patient in made}) == 3


def test_the_anatomy_does_not_depend_on_the_grid_that_looks_at_it():
    coarse, fine = patients(1), make_patient(SEED, 1, spacing_mm=(2.8, 2.8, 3.5), shape=(100, 120, 112))
    assert coarse.anatomy == fine.anatomy
    assert coarse.person == fine.person
    assert coarse.nodules == fine.nodules
    litres = [np.isin(p.labels, (LUNG, VESSEL, NODULE)).sum() * np.prod(p.ct.spacing) / 1e6 for p in (coarse, fine)]
    assert litres[0] == pytest.approx(litres[1], rel=0.01)


def test_a_nodule_that_the_field_of_view_cuts_is_neither_drawn_nor_listed():
    index = next(i for i in range(COUNT) if patients(i).nodules)
    patient = make_patient(SEED, index, shape=(4, 4, 4))  # 10.5 mm in the middle of the mediastinum
    assert patient.nodules == ()
    assert not (patient.labels == NODULE).any()
    assert patient.findings["nodule"] is False
    assert "No pulmonary nodule." in patient.report


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"index": -1}, "index must be 0 or more"),
        ({"index": 5, "spacing_mm": (3, 0, 3)}, r"index 5\): spacing_mm must be three positive lengths"),
        ({"index": 5, "spacing_mm": (3, float("nan"), 3)}, "spacing_mm must be three positive lengths"),
        ({"index": 5, "shape": (1, 9, 9)}, "shape must be three counts"),
        ({"index": 5, "shape": (9, 9)}, "shape must be three counts"),
    ],
)
def test_an_impossible_scan_is_refused_with_the_mend(wrong, message):
    with pytest.raises(ScanError, match=message):
        make_patient(1, **wrong)
