"""Resampling and reorientation: voxels keep their place in the patient."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import medio
from medio import GeometryError, Image

AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


def _ramp(affine: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Image:
    # f(world) = x + 2y + 3z is linear: linear interpolation must give it exactly at any inner point.
    world = medio.index_to_world(affine, np.moveaxis(np.indices(shape), 0, -1))
    return Image(world @ [1.0, 2.0, 3.0], affine, spacing)


def _to_itk(image: Image) -> SimpleITK.Image:
    itk = SimpleITK.GetImageFromArray(image.array)
    spacing = np.array(image.spacing)
    itk.SetSpacing([float(s) for s in spacing[::-1]])
    itk.SetDirection((image.affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    itk.SetOrigin(image.affine[:3, 3].tolist())
    return itk


def test_index_to_world_and_back() -> None:
    # (1, 2, 3) lies at (-100 + 3*0.7, -50 + 2*0.8, 30 + 1*2.5)
    assert medio.index_to_world(AFFINE, (1, 2, 3)).tolist() == pytest.approx([-97.9, -48.4, 32.5])
    assert medio.world_to_index(AFFINE, [[-97.9, -48.4, 32.5]])[0].tolist() == pytest.approx([1, 2, 3])


def test_resampling_keeps_the_outer_corner_and_the_extent() -> None:
    image = _ramp(AFFINE, (4, 10, 12), (2.5, 0.8, 0.7))
    out = medio.resample(image, spacing=(5.0, 0.4, 0.7))
    assert out.array.shape == (2, 20, 12)
    corner = np.array([-0.5, -0.5, -0.5])
    assert np.allclose(medio.index_to_world(out.affine, corner), medio.index_to_world(AFFINE, corner))
    far = np.array(image.array.shape) - 0.5, np.array(out.array.shape) - 0.5
    assert np.allclose(medio.index_to_world(AFFINE, far[0]), medio.index_to_world(out.affine, far[1]))
    # z: centres of the new slices lie between old ones, inside: there the ramp is exact
    expected = _ramp(out.affine, out.array.shape, out.spacing).array
    assert np.allclose(out.array[:, 1:-1], expected[:, 1:-1], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), spacing=st.tuples(*[st.floats(0.5, 3)] * 3), shift=st.tuples(*[st.floats(-2, 2)] * 3))
def test_resampling_onto_any_other_grid_is_exact_in_world_coordinates(angles: tuple, spacing: tuple, shift: tuple) -> None:
    image = _ramp(AFFINE, (12, 30, 34), (2.5, 0.8, 0.7))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * np.array(spacing)
    centre = medio.index_to_world(AFFINE, (5.5, 14.5, 16.5)) + shift
    affine[:3, 3] = centre - affine[:3, :3] @ np.array([2, 2, 2])
    like = Image(np.zeros((5, 5, 5)), affine, spacing)
    out = medio.resample(image, like=like, fill=np.nan)
    index = medio.world_to_index(AFFINE, medio.index_to_world(affine, np.moveaxis(np.indices((5, 5, 5)), 0, -1)))
    inside = ((index > 0) & (index < [11, 29, 33])).all(axis=-1)
    assert inside.any()
    assert np.allclose(out.array[inside], _ramp(affine, (5, 5, 5), spacing).array[inside], atol=1e-6)
    assert np.isnan(out.array[((index < -0.51) | (index > [11.51, 29.51, 33.51])).any(axis=-1)]).all()


def test_oblique_resampling_equals_simpleitk() -> None:
    rng = np.random.default_rng(1)
    image = Image(rng.normal(size=(8, 20, 22)).astype(np.float32), AFFINE, (2.5, 0.8, 0.7))
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler("zyx", (10, -7, 25), degrees=True).as_matrix() @ np.diag([0.9, 1.1, 2.0])[:, ::-1]
    affine[:3, 3] += (3, 4, 2)
    like = Image(np.zeros((7, 9, 11), np.float32), affine, (2.0, 1.1, 0.9))
    for order, itk_order in ((0, SimpleITK.sitkNearestNeighbor), (1, SimpleITK.sitkLinear)):
        ours = medio.resample(image, like=like, order=order, fill=-9)
        theirs = SimpleITK.GetArrayFromImage(SimpleITK.Resample(_to_itk(image), _to_itk(like), SimpleITK.Transform(), itk_order, -9.0))
        assert (ours.array != -9).sum() > 100
        assert np.abs(ours.array - theirs).max() < 1e-4


def test_a_mask_keeps_its_labels_and_integers_are_rounded() -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1:3, 1:3, 1:3] = 200
    image = Image(mask, np.eye(4)[[2, 1, 0, 3]], (1, 1, 1))
    assert set(np.unique(medio.resample(image, spacing=(0.6, 0.7, 0.8), order=0).array)) == {0, 200}
    row = Image(np.array([[0, 3]], np.int16), None, (1, 1))
    # new centres at old -0.25, 0.25, 0.75, 1.25: 0, 0.75, 2.25, 3 -> 0, 1, 2, 3
    assert medio.resample(row, spacing=(1, 0.5)).array.tolist() == [[0, 1, 2, 3]]


def test_splines_do_not_wrap_integers_around() -> None:
    edge = Image(np.repeat(np.array([[0, 255]], np.uint8), 4, axis=1), None, (1, 1))
    out = medio.resample(edge, spacing=(1, 0.25), order=3).array
    # Overshoot beyond 0 and 255 is clipped: left of the edge stays dark, right of it bright.
    assert out[0, :12].max() < 30
    assert out[0, -12:].min() > 225


def test_outside_is_the_minimum_unless_told() -> None:
    image = Image(np.full((2, 2, 2), -1000, np.int16), np.eye(4)[[2, 1, 0, 3]], (1, 1, 1))
    shifted = image.affine.copy()
    shifted[:3, 3] = 10
    like = Image(np.zeros((2, 2, 2)), shifted, (1, 1, 1))
    assert (medio.resample(image, like=like).array == -1000).all()
    assert (medio.resample(image, like=like, fill=5).array == 5).all()


def test_films_and_channels_are_resampled_by_spacing() -> None:
    film = Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), None, (0.2, 0.1))
    out = medio.resample(film, spacing=(0.1, 0.1))
    assert (out.array.shape, out.spacing, out.affine) == ((2, 6, 4), (0.1, 0.1), None)
    assert np.allclose(out.array[1] - out.array[0], 12)


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    order=st.permutations(["SI", "PA", "LR"]),
    signs=st.tuples(*[st.integers(0, 1)] * 3),
)
def test_reorienting_moves_no_voxel_in_the_patient(angles: tuple, order: list, signs: tuple) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * np.array([1.0, 2.0, 3.0])
    affine[:3, 3] = (5, -6, 7)
    image = Image(np.arange(24).reshape(2, 3, 4), affine, (1.0, 2.0, 3.0))
    axes = "".join(pair[sign] for pair, sign in zip(order, signs, strict=True))
    out = medio.reorient(image, axes)
    places = {int(v): medio.index_to_world(image.affine, i) for i, v in np.ndenumerate(image.array)}
    assert all(np.allclose(medio.index_to_world(out.affine, i), places[int(v)]) for i, v in np.ndenumerate(out.array))
    assert medio.axis_letters(out.affine) == axes
    back = medio.reorient(out, medio.axis_letters(affine))
    assert np.array_equal(back.array, image.array)
    assert np.allclose(back.affine, affine)


def test_an_axial_series_runs_to_s_p_l() -> None:
    assert medio.axis_letters(AFFINE) == "SPL"


def test_what_cannot_be_placed_is_refused() -> None:
    film, volume = Image(np.zeros((2, 2)), None, (1, 1)), Image(np.zeros((2, 2, 2)), AFFINE, (2.5, 0.8, 0.7))
    with pytest.raises(GeometryError, match="either spacing= or like="):
        medio.resample(volume)
    with pytest.raises(GeometryError, match="resample each by spacing"):
        medio.resample(film, like=film)
    with pytest.raises(GeometryError, match="no direction"):
        medio.reorient(film)
    with pytest.raises(GeometryError, match=r"once, e\.g\. 'SPL'"):
        medio.reorient(volume, "SPA")
    here, there = (Image(volume.array, AFFINE, volume.spacing, "", {"frame_of_reference_uid": uid}) for uid in ("1.2", "1.3"))
    with pytest.raises(GeometryError, match="register them first"):
        medio.resample(here, like=there)
    with pytest.raises(GeometryError, match="nothing is assumed"):
        Image(np.zeros((2, 2, 2)), None, (1, 1, 1))
