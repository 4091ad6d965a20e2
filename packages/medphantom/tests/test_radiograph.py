"""The film: Beer-Lambert, its scale, its orientation, and what a nodule adds."""

import numpy as np
import pytest

from medphantom import line_integrals, make_patient
from medphantom.findings.nodule import Nodule
from medphantom.organs.distances import organ_distance
from medphantom.radiograph import VALUES_PER_NEPER, WATER_PER_MM, expose
from medphantom.scene import Scene, render
from medphantom.shapes import Grid
from medphantom.thorax import paint_thorax


def test_a_slab_of_water_attenuates_by_its_thickness_and_air_not_at_all():
    hu = np.full((2, 10, 3), -1000.0)
    hu[1, 2:7, 1] = 0
    hu[1, 8, 1] = 1000  # twice as dense as water
    # 5 voxels of water and one that counts twice, 4 mm each: 28 mm of water
    assert line_integrals(hu, 4.0) == pytest.approx(np.array([[0, 0, 0], [0, 28 * WATER_PER_MM, 0]]))


def test_less_than_air_does_not_make_photons():
    assert (line_integrals(np.full((1, 9, 1), -1024), 3.0) == 0).all()


def test_a_nodule_adds_its_volume_times_its_contrast_to_the_line_integrals():
    patient = make_patient(2, 0)
    grid = Grid.centred((100, 80, 100), (2.5, 2.5, 2.5))
    center = np.array([-80, 15, 25])
    nodule = Nodule(center_mm=tuple((center + patient.anatomy.table_mm).tolist()), semi_axes_mm=(12.0, 11.0, 10.0), hu=40.0)
    point = [np.array([c], np.float32) for c in center]
    assert organ_distance(patient.anatomy, "lung", *point)[0] < -14  # the place is deep in the right lung
    scene = Scene(patient.anatomy, grid)
    paint_thorax(scene)
    without = line_integrals(render(scene), 2.5)
    nodule.paint(scene)
    with_it = line_integrals(render(scene), 2.5)
    added = with_it - without
    # lung there is lung_hu + 0.3 * 15 HU; the integral of the added attenuation over the film is contrast * volume
    contrast = (40 - (patient.anatomy.lung_hu + 4.5)) / 1000 * WATER_PER_MM
    assert added.sum() * 2.5**2 == pytest.approx(contrast * nodule.volume_ml * 1000, rel=0.02)
    assert added.min() >= -1e-6
    row, column = np.unravel_index(added.argmax(), added.shape)
    assert (grid.z[row], grid.x[column]) == pytest.approx((25, -80), abs=2.5)
    # through the middle the beam crosses 2 * 11 mm of it
    assert added.max() == pytest.approx(contrast * 22, rel=0.06)
    film, bare = (expose(integrals, 1e9, np.random.default_rng(0)) for integrals in (with_it, without))
    assert film[::-1][row, column] > bare[::-1][row, column]  # denser is brighter


def test_the_film_holds_the_line_integrals_with_the_noise_of_counted_photons():
    integrals = np.tile(np.linspace(0, 5, 200), (400, 1))
    photons = 2e5
    measured = expose(integrals, photons, np.random.default_rng(4)) / VALUES_PER_NEPER
    # N counted photons leave a relative error of 1 / sqrt(N), which is the absolute error of the logarithm; plus rounding of 1 / (512 sqrt(12));
    # to the left of 1 neper half of the values below 0 are cut off, so look at the rest
    seen = integrals[:, 40:]
    variance = 1 / (photons * np.exp(-seen)) + (1 / VALUES_PER_NEPER) ** 2 / 12
    assert ((measured[:, 40:] - seen) ** 2 / variance).mean() == pytest.approx(1, abs=0.03)
    assert abs((measured[:, 40:] - seen).mean()) < 1e-3


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_behind_a_slab_scatter_adds_its_share_of_the_primary(ratio):
    nepers = np.full((40, 50), 4.0)
    film = expose(nepers, 1e12, np.random.default_rng(0), scatter=ratio, pixel_mm=(4.0, 4.0)) / VALUES_PER_NEPER
    # (1 + ratio) times the photons come through: ln(1 + ratio) nepers less are measured
    assert film == pytest.approx(np.full((40, 50), 4.0 - np.log1p(ratio)), abs=1 / VALUES_PER_NEPER)


def test_scatter_is_smooth_and_veils_contrast_but_leaves_air_outside_far_from_the_patient_as_it_is():
    nepers = np.full((150, 300), 3.0)
    nepers[:, 150:] = 0
    nepers[60:90, 40:70] = 3.5
    plain, veiled = (expose(nepers, 1e12, np.random.default_rng(0), scatter=s, pixel_mm=(3.0, 3.0)) / VALUES_PER_NEPER for s in (0.0, 1.5))
    assert np.ptp(veiled[65:85, 30:60]) < 0.75 * np.ptp(plain[65:85, 30:60])
    assert veiled[:, 260:].max() <= 2 / VALUES_PER_NEPER
    assert (veiled <= plain + 1e-9).all()


def test_the_response_curve_bends_values_between_its_fixed_ends():
    nepers = np.tile(np.linspace(0, 4095 / 512, 64), (4, 1))
    straight = expose(nepers, 1e15, np.random.default_rng(0)).astype(float)
    for curve in (0.7, 1.3):
        bent = expose(nepers, 1e15, np.random.default_rng(0), curve=curve)
        assert bent == pytest.approx(4095 * (straight / 4095) ** curve, abs=6)
        assert (bent[:, 0] == 0).all()
        assert bent.max() == pytest.approx(4095, abs=2)


@pytest.mark.parametrize("index", range(3))
def test_the_film_shows_the_ct_head_up_and_its_left_at_the_right(index):
    patient = make_patient(6, index)
    expected = line_integrals(patient.ct.array, patient.ct.spacing[1])[::-1]  # rows from head to feet, columns to the patient's left
    film = patient.radiograph.array / VALUES_PER_NEPER
    inside = expected > 0.5

    def likeness(picture):
        return np.corrcoef(film[inside], picture[inside])[0, 1]

    assert likeness(expected) > 0.99
    assert likeness(expected[::-1]) < 0.9
    assert likeness(expected[:, ::-1]) < 0.99
    assert patient.radiograph.affine is None
    assert patient.radiograph.spacing == (3.5, 3.5)
    assert patient.radiograph.array.dtype == np.uint16
    assert 0 < patient.radiograph.array.max() < 4095  # nothing is cut off
