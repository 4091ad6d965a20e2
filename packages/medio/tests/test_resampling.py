"""Resampling axis by axis: the values of scipy and SimpleITK, with little memory, and nothing moved."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import medio
from medio import Image

SPACINGS = st.tuples(*[st.floats(0.4, 4)] * 3)


def _image(array: np.ndarray, spacing: tuple[float, ...] = (2.5, 0.8, 0.7)) -> Image:
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:, 3] = (-100, -50, 30, 1)
    return Image(array, affine, spacing)


def _ct(shape: tuple[int, ...] = (12, 40, 44), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 3071, shape).astype(np.int16)


def _scipy(array: np.ndarray, image: Image, out: Image, order: int) -> np.ndarray:
    # the old index of every new voxel, from the two affines: independent of how the sizes and offsets were found
    new = np.moveaxis(np.indices(out.spatial_shape), 0, -1)
    index = np.moveaxis(medio.world_to_index(image.affine, medio.index_to_world(out.affine, new)), -1, 0)
    return ndimage.map_coordinates(array.astype(np.float64), index, order=order, mode="nearest")


@settings(max_examples=25)
@given(spacing=SPACINGS, new=SPACINGS, order=st.sampled_from([1, 1, 2, 3, 5]))
def test_values_are_those_of_scipy(spacing: tuple, new: tuple, order: int) -> None:
    array = _ct()
    image = _image(array, spacing)
    exact = medio.resample(image, spacing=new, order=order, dtype=np.float32)
    expected = _scipy(array, image, exact, order)
    assert np.abs(exact.array - expected).max() < 0.01  # HU; the claim is 0.05
    whole = medio.resample(image, spacing=new, order=order).array
    assert whole.dtype == np.int16
    assert np.abs(whole - expected).max() < 0.51  # rounded to the nearest


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_is_kept_and_rounded_to_nearest(dtype: str) -> None:
    array = np.random.default_rng(1).integers(0, 120, (6, 20, 22)).astype(dtype)
    image = _image(array)
    out = medio.resample(image, spacing=(1, 1, 1))
    expected = _scipy(array, image, out, 1)
    assert out.array.dtype == np.dtype(dtype)
    assert np.abs(out.array - expected).max() < (0.501 if out.array.dtype.kind in "iu" else 1e-4)


def test_the_largest_integers_do_not_wrap_around() -> None:
    for dtype in ("u1", "i2", "u2", "i4", "u4", "i8", "u8"):
        limits = np.iinfo(dtype)
        array = np.full((3, 4, 5), limits.max, dtype)
        array[1] = limits.min
        out = medio.resample(_image(array), spacing=(1, 1, 1), order=3).array  # a spline overshoots at the edges
        assert float(out.max()) == pytest.approx(limits.max, rel=1e-6)
        assert float(out.min()) < 0.9 * limits.min + 0.1 * limits.max
        assert (out[0].astype(float) > limits.max / 2).all()


@settings(max_examples=25)
@given(spacing=SPACINGS, new=SPACINGS, order=st.integers(0, 3))
def test_the_same_grid_is_the_same_image_and_a_constant_stays_one(spacing: tuple, new: tuple, order: int) -> None:
    image = _image(_ct((5, 7, 8)), spacing)
    assert np.array_equal(medio.resample(image, spacing=spacing, order=order).array, image.array)
    assert np.array_equal(medio.resample(image, like=image, order=order).array, image.array)
    assert (medio.resample(_image(np.full((5, 7, 8), -777, np.int16), spacing), spacing=new, order=order).array == -777).all()


@settings(max_examples=25)
@given(new=SPACINGS)
def test_a_ramp_comes_back_after_a_round_trip(new: tuple) -> None:
    shape, spacing = (16, 30, 32), (2.5, 0.8, 0.7)
    new = tuple(
        min(n, 0.99 * s) for n, s in zip(new, spacing, strict=True)
    )  # no coarser: what a ramp is between two samples, it is beside them
    ramp = _image(np.zeros(shape, np.float64), spacing)
    ramp = replace(ramp, array=medio.index_to_world(ramp.affine, np.moveaxis(np.indices(shape), 0, -1)) @ [1.0, -2.0, 3.0])
    there = medio.resample(ramp, spacing=new)
    back = medio.resample(there, like=ramp)
    inner = (slice(2, -2),) * 3
    assert np.abs(back.array[inner] - ramp.array[inner]).max() < 1e-9


@settings(max_examples=20)
@given(new=st.tuples(*[st.floats(0.4, 2)] * 3), centre=st.tuples(*[st.floats(-4, 4)] * 3))
def test_the_centre_of_mass_of_a_blob_stays_in_millimetres(new: tuple, centre: tuple) -> None:
    image = _image(np.zeros((20, 60, 66), np.float32))
    world = medio.index_to_world(image.affine, np.moveaxis(np.indices((20, 60, 66)), 0, -1))
    middle = image.world((9.5, 29.5, 32.5)) + centre
    image = replace(image, array=(1000 * np.exp(-((world - middle) ** 2).sum(axis=-1) / (2 * 4.0**2))).astype(np.float32))
    for out in (medio.resample(image, spacing=new), medio.resample(image, spacing=new, antialias=True), medio.resize(image, (18, 50, 70))):
        mass = out.array.astype(np.float64)
        index = np.array([(mass * i).sum() for i in np.indices(mass.shape)]) / mass.sum()
        assert np.linalg.norm(out.world(index) - middle) < 0.05  # of voxels of 2.5 mm: the blob is sampled coarsely


@settings(max_examples=20)
@given(new=SPACINGS, axes=st.sampled_from(["SPL", "IAR", "LSP", "ARI", "PLS", "RSA"]), order=st.sampled_from([0, 1, 3]))
def test_turned_and_flipped_grids_are_taken_axis_by_axis_and_equal_scipy(new: tuple, axes: str, order: int) -> None:
    image = _image(_ct((9, 20, 22)))
    like = medio.reorient(medio.resample(image, spacing=new), axes)
    out = medio.resample(image, like=like, order=order, dtype=np.float32)
    expected = _scipy(image.array, image, out, order)
    # nearest: a place half way between two voxels may fall to either side by rounding
    assert (np.abs(out.array - expected) < 0.01).mean() > (0.999 if order else 0.9)
    if order:
        assert np.abs(out.array - expected).max() < 0.01
    assert np.array_equal(out.affine, like.affine)


def test_simpleitk_gives_the_same_axis_by_axis() -> None:
    image = _image(_ct().astype(np.float32))
    out = medio.resample(image, spacing=(1.0, 1.1, 0.9))
    itk = SimpleITK.GetImageFromArray(image.array)
    itk.SetSpacing(image.spacing[::-1])
    itk.SetOrigin(image.affine[:3, 3].tolist())
    size = [int(n) for n in out.array.shape[::-1]]
    theirs = SimpleITK.Resample(itk, size, SimpleITK.Transform(), SimpleITK.sitkLinear, out.affine[:3, 3].tolist(), out.spacing[::-1])
    inner = (slice(2, -2),) * 3  # ITK gives 0 beyond the outer centres
    assert np.abs(out.array - SimpleITK.GetArrayFromImage(theirs))[inner].max() < 0.01


def test_a_mask_takes_the_voxel_that_the_image_weighs_most() -> None:
    # One rule for centres: where linear weights of two voxels differ, nearest takes the heavier.
    mask = np.zeros((1, 1, 12), np.uint8)
    mask[..., 5:] = 1
    for new in (0.3, 0.45, 0.7, 1.3, 2.2):
        image = _image(mask, (1.0, 1.0, 1.0))
        share = medio.resample(image, spacing=(1, 1, new), dtype=np.float64).array
        nearest = medio.resample(image, spacing=(1, 1, new), order=0).array
        clear = np.abs(share - 0.5) > 1e-6
        assert np.array_equal(nearest[clear], (share > 0.5)[clear])


def test_half_way_between_two_voxels_nearest_goes_up_whatever_the_rounding() -> None:
    # 0.7 -> 1.4 mm: new centres lie at old 0.5, 2.5, 4.5, whose floating-point neighbours differ
    for spacing in (0.1, 0.3, 0.7, 0.9766):
        image = _image(np.arange(40, dtype=np.uint8).reshape(1, 1, 40), (1.0, 1.0, spacing))
        assert medio.resample(image, spacing=(1, 1, 2 * spacing), order=0).array.ravel().tolist() == list(range(1, 40, 2))


@settings(max_examples=10)
@given(new=SPACINGS)
def test_antialiasing_is_a_gaussian_of_half_the_growth_and_then_linear(new: tuple) -> None:
    array = _ct((16, 30, 32))
    image = _image(array)
    out = medio.resample(image, spacing=new, antialias=True, dtype=np.float32)
    sigma = [max(0.0, (n / s - 1) / 2) for n, s in zip(new, image.spacing, strict=True)]
    smooth = ndimage.gaussian_filter(array.astype(np.float64), sigma, mode="nearest")
    assert np.abs(out.array - _scipy(smooth, image, out, 1)).max() < 0.01
    assert np.array_equal(out.affine, medio.resample(image, spacing=new).affine)


def test_stripes_turn_grey_only_when_asked() -> None:
    stripes = _image(np.tile(np.array([0.0, 255.0], np.float32), (4, 64, 32)), (1.0, 1.0, 1.0))
    assert np.ptp(medio.resample(stripes, spacing=(1, 1, 3.3)).array) > 200
    assert np.abs(medio.resample(stripes, spacing=(1, 1, 3.3), antialias=True).array[..., 3:-3] - 127.5).max() < 10


def test_a_nan_stays_with_its_neighbours() -> None:
    array = np.ones((6, 20, 20), np.float32)
    array[3, 10, 10] = np.nan
    image = _image(array, (1.0, 1.0, 1.0))
    out = medio.resample(image, spacing=(0.7, 0.7, 0.7)).array
    assert 1 <= np.isnan(out).sum() <= 27
    assert (out[~np.isnan(out)] == 1).all()
    infinite = replace(image, array=np.where(np.isnan(array), np.inf, array))
    assert np.isfinite(medio.resample(infinite, spacing=(0.7, 0.7, 0.7), antialias=True).array).sum() > out.size / 2


@pytest.mark.parametrize("order", [1, 3])
def test_threads_change_nothing(order: int) -> None:
    image = _image(np.stack([_ct((30, 40, 44)), _ct((30, 40, 44), seed=1)]))
    for new in ((1, 1, 1), (5, 0.5, 0.5)):
        one, four = (medio.resample(image, spacing=new, order=order, threads=n).array for n in (1, 4))
        assert np.array_equal(one, four)


def test_memory_beside_the_result_is_a_few_slices() -> None:
    image = _image(_ct((40, 256, 256)))
    tracemalloc.start()
    try:
        out = medio.resample(image, spacing=(1, 1, 1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A float copy of the old volume would be 10 MB, of the new one 15 MB; 16 slices of float32 are 4 MB.
    assert peak - out.array.nbytes < 5e6


def test_fill_is_for_whole_voxels_beyond_the_image() -> None:
    image = _image(_ct((6, 8, 8)), (1.0, 1.0, 1.0))
    like = medio.pad(image, ((2, 1), (0, 3), (1, 0)))
    out = medio.resample(image, like=like, fill=-3000)
    assert np.array_equal(out.array, medio.pad(image, ((2, 1), (0, 3), (1, 0)), fill=-3000).array)
    quarter = replace(like, affine=like.affine @ np.array([[1, 0, 0, 0.25], [0, 1, 0, 0.25], [0, 0, 1, 0.25], [0, 0, 0, 1]]))
    # a quarter of a voxel beyond the outer centres the border counts still
    assert (medio.resample(image, like=quarter, fill=-3000).array == -3000).sum() == (out.array == -3000).sum()


def test_oblique_volumes_come_in_slabs_and_equal_one_call_of_scipy() -> None:
    image = _image(_ct((10, 30, 30)))
    like = replace(image, affine=image.affine.copy(), array=np.zeros((70, 190, 200), np.int16))
    angle = np.deg2rad(7)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    like.affine[:3, :3] = turn @ image.affine[:3, :3] / 6
    like = replace(like, spacing=tuple(s / 6 for s in image.spacing))
    out = medio.resample(image, like=like, fill=-2000)
    expected = _scipy(image.array, image, out, 1)
    inside = out.array != -2000
    assert 0.5 < inside.mean() < 1
    assert np.abs(out.array - expected)[inside].max() < 0.51


def test_options_that_contradict_each_other_are_refused() -> None:
    image = _image(_ct((4, 5, 6)))
    with pytest.raises(ValueError, match="order must be 0"):
        medio.resample(image, spacing=(1, 1, 1), order=6)
    with pytest.raises(ValueError, match="cannot be smoothed"):
        medio.resample(image, spacing=(1, 1, 1), order=0, antialias=True)
    with pytest.raises(ValueError, match="dtype must be a floating type"):
        medio.resample(image, spacing=(1, 1, 1), dtype=np.int32)
    slanted = image.affine.copy()
    slanted[0, 0] += 0.3
    oblique = Image(image.array, slanted, tuple(np.linalg.norm(slanted[:3, :3], axis=0)))
    with pytest.raises(ValueError, match="oblique to them; resample by spacing= first"):
        medio.resample(image, like=oblique, antialias=True)


def test_an_image_knows_its_directions_and_places() -> None:
    image = _image(_ct((4, 5, 6)))
    assert image.direction.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert image.world((1, 2, 3)) == pytest.approx((-100 + 3 * 0.7, -50 + 2 * 0.8, 30 + 2.5))
    assert image.index(image.world((1, 2, 3))) == pytest.approx((1, 2, 3))
    with pytest.raises(medio.GeometryError, match="a film has no place in the patient"):
        Image(np.zeros((2, 2)), None, (1, 1)).world((0, 0))


@settings(max_examples=15)
@given(new=SPACINGS, order=st.permutations([1, 2, 3]))
def test_labels_are_those_of_the_largest_linear_share(new: tuple, order: list) -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((10, 24, 26), np.uint8)
    for label in order:
        start = rng.integers(0, 12, 3) // (2, 1, 1)
        mask[tuple(slice(a, a + n) for a, n in zip(start, (4, 10, 12), strict=True))] = label
    image = _image(mask)
    out = medio.resample_labels(image, spacing=new)
    shares = np.stack([_scipy(mask == label, image, out, 1) for label in range(4)])
    # the first of the largest: background, then the smaller label
    assert np.array_equal(out.array, (shares >= shares.max(axis=0) - 1e-5).argmax(axis=0))
    assert set(np.unique(out.array)) <= set(np.unique(mask))
    assert np.array_equal(out.affine, medio.resample(image, spacing=new).affine)
    assert np.array_equal(medio.resample_labels(image, like=image).array, mask)


def test_a_ball_keeps_its_surface_better_by_shares_than_by_the_nearest_voxel() -> None:
    def ball(spacing: tuple, shape: tuple) -> Image:
        image = _image(np.zeros(shape, np.uint8), spacing)
        world = image.world(np.moveaxis(np.indices(shape), 0, -1))
        return replace(image, array=(np.linalg.norm(world - (-100 + 20, -50 + 20, 30 + 20), axis=-1) < 15).astype(np.uint8))

    coarse, truth = ball((4.0, 4.0, 4.0), (11, 11, 11)), ball((1.0, 1.0, 1.0), (41, 41, 41))
    wrong = {
        "shares": (medio.resample_labels(coarse, like=truth).array != truth.array).sum(),
        "nearest": (medio.resample(coarse, like=truth, order=0).array != truth.array).sum(),
    }
    assert wrong["shares"] < 0.8 * wrong["nearest"]


def test_fractions_are_no_labels() -> None:
    with pytest.raises(medio.UnsupportedError, match="labels are whole numbers, not float32"):
        medio.resample_labels(_image(np.zeros((2, 3, 4), np.float32)), spacing=(1, 1, 1))
