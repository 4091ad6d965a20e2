import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from medeval import ShapeError, ValueRangeError, hd95, nsd, surface_distances

monai_metrics = pytest.importorskip("monai.metrics")
torch = pytest.importorskip("torch")

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.7, 0.7), (2.5, 1.3, 0.4)]


def blobs(seed: int, shape=(14, 22, 18)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), 2)
    other = field + 0.5 * gaussian_filter(rng.normal(size=shape), 2)
    return other > 0.8 * field.std(), field > 0.8 * field.std()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_hd95_and_nsd_equal_monai_on_anisotropic_blobs(seed, spacing):
    prediction, reference = blobs(seed)
    pair = [torch.as_tensor(m)[None, None].float() for m in (prediction, reference)]
    theirs = monai_metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=spacing, include_background=True)
    assert hd95(prediction, reference, spacing=spacing) == pytest.approx(theirs.item(), rel=1e-5)
    # 1.1 mm is no sum of squares of these steps, so that rounding decides nothing
    theirs = monai_metrics.compute_surface_dice(*pair, class_thresholds=[1.1], spacing=spacing, include_background=True)
    assert nsd(prediction, reference, spacing=spacing, tolerance_mm=1.1) == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_distance_equals_that_of_a_distance_transform(spacing):
    prediction, reference = blobs(7)
    forth, back = surface_distances(prediction, reference, spacing=spacing)
    for found, source, target in ((forth, prediction, reference), (back, reference, prediction)):
        edges = [mask & ~binary_erosion(mask) for mask in (source, target)]
        np.testing.assert_allclose(found, distance_transform_edt(~edges[1], sampling=spacing)[edges[0]], atol=1e-9)


@pytest.mark.parametrize(("axis", "step"), [(0, 3.0), (1, 0.7), (2, 1.5)])
def test_a_plate_shifted_along_an_axis_is_off_by_the_shift_in_mm(axis, step):
    # A plate one voxel thick that fills the other two axes: every distance is exactly shift * spacing of that axis.
    shape, shift = [9, 9, 9], 4
    prediction, reference = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    np.moveaxis(prediction, axis, 0)[2] = True
    np.moveaxis(reference, axis, 0)[2 + shift] = True
    spacing = (3.0, 0.7, 1.5)
    forth, back = surface_distances(prediction, reference, spacing=spacing)
    np.testing.assert_allclose([*forth, *back], shift * step)
    assert hd95(prediction, reference, spacing=spacing) == pytest.approx(shift * step)
    assert nsd(prediction, reference, spacing=spacing, tolerance_mm=round(shift * step, 6)) == 1
    assert nsd(prediction, reference, spacing=spacing, tolerance_mm=shift * step - 0.01) == 0


def test_a_distance_equal_to_the_tolerance_up_to_rounding_is_inside():
    # voxels 1 and 4 at 0.1 mm: 0.4 - 0.1 is 0.30000000000000004
    prediction, reference = np.zeros((1, 6)), np.zeros((1, 6))
    prediction[0, 1], reference[0, 4] = 1, 1
    assert nsd(prediction, reference, spacing=(1, 0.1), tolerance_mm=0.3) == 1
    assert nsd(prediction, reference, spacing=(1, 0.1), tolerance_mm=0.299) == 0


def test_two_concentric_spheres_are_apart_by_the_difference_of_their_radii():
    z, y, x = np.ogrid[-10:11, -30:31, -30:31]
    radius = np.sqrt((3.0 * z) ** 2 + y**2 + x**2)  # mm, with 3 mm slices
    distance = hd95(radius <= 26, radius <= 20, spacing=(3, 1, 1))
    assert distance == pytest.approx(6, abs=1.8)  # half a voxel's diagonal (1.66 mm) of either surface is the grid's doing


def test_half_of_the_surface_within_tolerance_gives_the_counted_share():
    # Rows of single voxels: each is its own surface. Prediction {0, 5}, reference {0, 9}: distances 0, 4 and 0, 4.
    prediction, reference = np.zeros((1, 10)), np.zeros((1, 10))
    prediction[0, [0, 5]], reference[0, [0, 9]] = 1, 1
    assert nsd(prediction, reference, spacing=(1, 1), tolerance_mm=1) == 0.5
    assert nsd(prediction, reference, spacing=(1, 1), tolerance_mm=4) == 1


def test_a_missed_or_invented_structure_scores_the_diagonal_and_never_nan():
    empty, full = np.zeros((4, 6, 8)), np.zeros((4, 6, 8))
    full[1:3, 2:4, 2:4] = 1
    diagonal = math.sqrt((4 * 3) ** 2 + (6 * 1) ** 2 + (8 * 0.5) ** 2)  # 14 mm
    assert diagonal == 14
    for pair in ((empty, full), (full, empty)):
        assert hd95(*pair, spacing=(3, 1, 0.5)) == diagonal
        assert nsd(*pair, spacing=(3, 1, 0.5), tolerance_mm=100) == 0
    assert math.isnan(hd95(empty, empty, spacing=(1, 1, 1)))
    assert math.isnan(nsd(empty, empty, spacing=(1, 1, 1), tolerance_mm=1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(SPACINGS), st.sampled_from([0, 1, 2]))
def test_distances_do_not_depend_on_which_mask_is_called_reference_nor_on_flips_and_padding(seed, spacing, axis):
    a, b = blobs(seed, (6, 8, 7))
    distance, share = hd95(a, b, spacing=spacing), nsd(a, b, spacing=spacing, tolerance_mm=1.0)
    for x, y in ((b, a), (np.flip(a, axis), np.flip(b, axis)), (np.pad(a, 2), np.pad(b, 2))):
        if a.any() and b.any():
            assert hd95(x, y, spacing=spacing) == pytest.approx(distance)
            assert nsd(x, y, spacing=spacing, tolerance_mm=1.0) == pytest.approx(share)
    assert nsd(a, b, spacing=spacing, tolerance_mm=2.0) >= share or math.isnan(share)


def test_swapped_or_impossible_spacing_is_refused():
    mask = np.ones((2, 2))
    with pytest.raises(ShapeError, match="3 axes, the mask has 2"):
        hd95(mask, mask, spacing=(1, 1, 1))
    with pytest.raises(ValueRangeError, match="positive and finite"):
        hd95(mask, mask, spacing=(1, 0))
    with pytest.raises(ValueRangeError, match="tolerance_mm"):
        nsd(mask, mask, spacing=(1, 1), tolerance_mm=-1)
