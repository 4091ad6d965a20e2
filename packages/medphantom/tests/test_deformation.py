"""The map between two visits: invertible, smooth, without folds, and its displacement is what it says."""

import itertools
import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from medio.keyed import keyed_generator
from medphantom.anatomy import draw_anatomy
from medphantom.deformation import Breathing, Deformation, Swelling, draw_deformation
from medphantom.errors import ScanError
from medphantom.shapes import Grid

ANATOMY = draw_anatomy(keyed_generator((2, 0, "deformation", 0), "anatomy"), sex="F")
GRID = Grid.centred((24, 28, 32), (12.0, 12.0, 12.0))


def draw(number, strength=1.0):
    return draw_deformation(keyed_generator((number, 0, "deformation", 0), "deformation"), ANATOMY, strength)


def points(count=500):
    return np.random.Generator(np.random.Philox(3)).uniform(-160, 160, (3, count))


@settings(max_examples=25)
@given(number=st.integers(0, 10**6), strength=st.floats(0.1, 1.5))
def test_there_and_back_is_the_same_point_and_nothing_folds(number, strength):
    deformation = draw(number, strength)
    p = points()
    assert np.abs(np.array(deformation(*deformation.inverse(*p))) - p).max() < 1e-3
    assert np.abs(np.array(deformation.inverse(*deformation(*p))) - p).max() < 1e-3
    change = deformation.volume_change(*p)
    # a map whose local gradient is at most s in norm changes volume by (1 - s)^3 to (1 + s)^3; central differences of 2 mm add little
    s = deformation.stretch
    assert (1 - s) ** 3 - 0.01 < change.min() <= change.max() < (1 + s) ** 3 + 0.01
    assert change.min() > 0


@pytest.mark.parametrize("number", range(3))
def test_the_bound_of_the_stretch_holds(number):
    deformation, p = draw(number, 1.5), points(4000)
    rigid = Deformation(rotation=deformation.rotation, translation_mm=deformation.translation_mm)
    h = 0.5
    columns = []
    for axis in range(3):
        step = np.zeros((3, 1))
        step[axis] = h
        ahead, behind = (np.array(deformation(*(p + s))) - np.array(rigid(*(p + s))) for s in (step, -step))
        columns.append((ahead - behind) / (2 * h))
    gradient = np.array(columns).transpose(2, 1, 0)
    assert np.linalg.norm(gradient, ord=2, axis=(1, 2)).max() <= deformation.stretch + 1e-6
    assert deformation.stretch < 0.75


def test_a_rigid_pose_is_simpleitks_versor_transform():
    axis, angle = np.array([1.0, -2.0, 0.5]) / math.sqrt(5.25), 0.21
    deformation = Deformation(rotation=tuple(axis * angle), translation_mm=(4.0, -3.0, 2.0))
    versor = SimpleITK.VersorRigid3DTransform()
    versor.SetRotation(tuple(axis), angle)
    versor.SetTranslation((4.0, -3.0, 2.0))
    for p in points(20).T:
        moved = deformation(*(np.float64(c).reshape(1) for c in p))
        assert np.ravel(moved) == pytest.approx(versor.TransformPoint(tuple(p)), abs=1e-9)


def test_the_displacement_is_a_simpleitk_displacement_field_and_its_inverse_is_that_of_the_other_way():
    deformation = draw(5)
    field, back = deformation.displacement_mm(GRID), deformation.inverse_displacement_mm(GRID)
    assert field.shape == (*GRID.shape, 3)
    image = SimpleITK.GetImageFromArray(field.astype(np.float64), isVector=True)
    image.SetSpacing((12.0,) * 3)
    image.SetOrigin([float(axis[0]) for axis in (GRID.x, GRID.y, GRID.z)])
    transform = SimpleITK.DisplacementFieldTransform(image)
    for p in points(40).T * 0.5:
        there = transform.TransformPoint(tuple(p))
        # the field is linear between voxels 12 mm apart: off by h^2/8 of the second derivative, i.e. at most 14 mm / (38 mm)^2 * 18 mm2
        assert there == pytest.approx(np.ravel(deformation(*(np.float64(c).reshape(1) for c in p))), abs=0.2)
    for z, y, x in itertools.product((3, 12, 20), (4, 14, 22), (5, 16, 26)):
        here = np.array([GRID.x[x], GRID.y[y], GRID.z[z]])
        first = here + field[z, y, x]
        again = np.ravel(deformation.inverse(*(np.float64(c).reshape(1) for c in first)))
        assert again == pytest.approx(here, abs=1e-3)
        before = here + back[z, y, x]
        assert np.ravel(deformation(*(np.float64(c).reshape(1) for c in before))) == pytest.approx(here, abs=1e-3)


def test_a_deeper_breath_moves_the_base_and_leaves_apex_and_spine():
    breath = Breathing(shift_mm=12.0, middle_z=-20.0, fall_mm=20.0, back_y=20.0, back_mm=10.0)
    deformation = Deformation(breathing=breath)
    x, y, z = (np.array(axis, np.float64) for axis in ([0, 0, 0], [-40, -40, 80], [-110, 110, -110]))
    moved = np.array(deformation(x, y, z)) - [x, y, z]
    assert moved[2, 0] == pytest.approx(12 / (1 + math.exp(-4.5)) / (1 + math.exp(-6)))  # base, in front
    assert abs(moved[2, 1]) < 0.05  # apex
    assert abs(moved[2, 2]) < 0.05  # spine
    assert moved[1] == pytest.approx(0.25 * moved[2])


def test_nothing_moves_without_strength_and_the_same_key_moves_alike():
    assert draw(1, 0.0).is_identity
    assert not draw(1).is_identity
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert np.abs(Deformation().displacement_mm(GRID)).max() == 0
    assert (Deformation().jacobian(GRID) == 1).all()


def test_what_may_fold_is_refused():
    with pytest.raises(ScanError, match="may fold"):
        Deformation(swellings=(Swelling(center_mm=(0, 0, 0), shift_mm=(30.0, 0, 0), width_mm=10.0),))
    with pytest.raises(ScanError, match=r"strength must lie between 0 and 1\.5"):
        draw(1, 2.0)
