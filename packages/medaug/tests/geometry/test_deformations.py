"""Deformations: never folded, of the size asked for, the same in millimetres for every grid, and undone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug import Affine, BSpline, Compose, Crop, Elastic, Flip, Perspective, Resize, Rot90, Zoom
from medaug.resampling.chain import Chain
from medaug.resampling.places import send, source_coordinates

GRIDS = [((40, 50), (1.0, 0.7)), ((16, 26, 30), (2.5, 1.0, 0.8))]
HARSH = [BSpline(spacing_mm=12.0, magnitude_mm=4.8), BSpline(spacing_mm=5.0, magnitude_mm=2.0), Elastic(sigma_mm=6.0, magnitude_mm=6.0)]


def fields(transform, shape, spacing, count=6) -> tuple[np.ndarray, np.ndarray]:
    """Source places in mm of some samples, (B, *S, dims), and the Jacobian's determinant by central differences of the output's mm."""
    places = source_coordinates(Compose([transform]).plan([(0, 0, str(i), 0) for i in range(count)], shape, spacing)) * np.array(spacing)
    slopes = np.stack([np.gradient(places, step, axis=axis + 1) for axis, step in enumerate(spacing)], axis=-1)
    return places, np.linalg.det(slopes)


@pytest.mark.parametrize("transform", HARSH)
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_the_strongest_deformation_does_not_fold(transform, shape, spacing):
    _, determinant = fields(transform, shape, spacing)
    assert determinant.min() > 0
    assert determinant.max() > 1.2  # it is strong


@pytest.mark.parametrize(("shape", "spacing"), [((200, 220), (1.0, 0.7)), ((50, 90, 80), (2.5, 1.0, 0.8))])
def test_elastic_has_the_size_and_the_width_it_was_asked_for(shape, spacing):
    sigma, magnitude = 6.0, 0.4
    places, _ = fields(Elastic(sigma_mm=sigma, magnitude_mm=magnitude), shape, spacing, count=8)
    still = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"), -1)
    u = places - still
    # a window of some 30 correlation areas (volumes) a sample and axis, 8 samples: a few per cent of standard error
    assert np.sqrt((u**2).mean()) == pytest.approx(magnitude, rel=0.08)
    # noise smoothed by a Gaussian of sigma has the autocorrelation exp(-d² / (4 sigma²))
    lag = round(sigma / spacing[-1])
    found = (u[..., lag:, :] * u[..., :-lag, :]).mean() / (u**2).mean()
    assert found == pytest.approx(np.exp(-((lag * spacing[-1]) ** 2) / (4 * sigma**2)), abs=0.06)


def test_bspline_moves_control_points_as_far_as_magnitude_says():
    plan = Compose([BSpline(spacing_mm=10.0, magnitude_mm=(1.0, 3.0))]).plan([(0, 0, str(i), 0) for i in range(50)], (60, 60), (1.0, 1.0))
    largest = np.abs(plan.lattices[0].coefficients).max(axis=(1, 2, 3, 4)) * 10
    # the largest of some 2 x 11 x 11 uniform draws is 0.4 % short of its bound on average
    assert largest.min() > 0.97
    assert largest.max() <= 3.0
    assert 1.7 < largest.mean() < 2.3  # uniform in (1, 3): 2 with a standard error of 0.08


@pytest.mark.parametrize("transform", HARSH)
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_points_go_there_and_back(transform, shape, spacing):
    chain = Chain.of(Compose([transform, Affine(rotation_deg=15.0)]).plan([(0, 0, "a", 0)], shape, spacing))
    points = np.random.default_rng(0).uniform(0, 1, (300, len(shape))) * (np.array(shape) - 1)
    rows = np.zeros(300, np.int64)
    back = send(chain, send(chain.inverse(), points, rows), rows)
    # 1e-6 of the control points' distance of at most 12 mm, over voxels of at least 0.7 mm
    assert np.abs(back - points).max() < 2e-5


CHAINS = [
    Flip(axes=(0, -1)),
    Rot90(axes=(-2, -1)),
    Affine(rotation_deg=20.0, scale=(0.8, 1.2), translation_mm=2.0, shear_deg=5.0),
    BSpline(spacing_mm=12.0, magnitude_mm=3.0),
    Elastic(sigma_mm=8.0, magnitude_mm=1.0),
    Crop(size_mm=(22.0, 20.0)),
    Zoom(factor=(0.9, 1.1)),
    Resize(spacing_mm=(0.9, 0.8)),
    Perspective(distortion=0.2),
]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(CHAINS), min_size=1, max_size=4), st.integers(0, 1000))
def test_a_bright_spot_and_its_mask_land_where_its_point_and_box_say_under_every_chain(transforms, view):
    spacing = (0.9, 0.8)
    y, x = np.mgrid[:36, :44]
    spot = np.exp(-((y - 17.0) ** 2 + (x - 23.0) ** 2) / (2 * 2.5**2)).astype(np.float32)
    mask = torch.tensor(spot > 0.6).long()
    low, high = mask.nonzero().amin(0).float(), mask.nonzero().amax(0).float() + 1
    sample = {
        "image": torch.tensor(np.stack([spot, y, x]).astype(np.float32)),
        "mask": mask,
        "points": torch.tensor([[17.0, 23.0]]),
        "boxes": torch.cat([low, high])[None],
        "spacing": spacing,
    }
    out = Compose(transforms)(sample, (0, 0, "s", view))
    image, point = out["image"].numpy(), out["points"][0].numpy()
    if ((point > 3) & (point < np.array(image.shape[1:]) - 4)).all():
        value, *place = (ndimage.map_coordinates(channel, point[:, None], order=1)[0] for channel in image)
        # channels of coordinates are read exactly; between two voxels of the output the map bends by under a tenth of a voxel
        assert np.abs(np.array(place) - [17.0, 23.0]).max() < 0.1
        assert value > 0.75  # two linear readings of a spot whose width may have shrunk to 1.5 voxels
        assert out["mask"][tuple(np.rint(point).astype(int))] == 1
    found = out["mask"].nonzero().float()
    if len(found):
        # nearest reading shows a voxel where its centre falls inside; deformations bend faces by under half a voxel between the places that are moved
        assert (found.amin(0) + 0.5 >= out["boxes"][0, :2] - 0.5).all()
        assert (found.amax(0) + 0.5 <= out["boxes"][0, 2:] + 0.5).all()


@pytest.mark.parametrize(
    "transforms",
    [
        [BSpline(spacing_mm=14.0, magnitude_mm=5.0), Flip(axes=(0,), p=1.0), Affine(rotation_deg=15.0)],
        [Affine(rotation_deg=15.0, shear_deg=5.0), Elastic(sigma_mm=10.0, magnitude_mm=1.5), Crop(size=(40, 44))],
        [Perspective(distortion=(0.3, 0.3)), Zoom(factor=(0.8, 0.9)), Resize(shape=(60, 70))],
    ],
)
def test_invert_undoes_crops_deformations_and_perspective(transforms):
    shape, spacing = (48, 56), (1.0, 0.8)
    x = torch.tensor(ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), 4.0).astype(np.float32))[None] * 10
    labels = (x[0] > 0).long()
    compose = Compose(transforms, interpolation="cubic")
    moved = []
    for view in range(3):
        key = (0, 0, "s", view)
        out = compose({"image": x, "mask": labels, "spacing": spacing}, key)
        back = compose.invert(out["image"], key, spacing, shape=shape, fill=float("nan"))[0]
        seen = torch.from_numpy(ndimage.binary_erosion(np.isfinite(back.numpy()), iterations=3))
        assert back.shape == shape
        assert seen.float().mean() > 0.25
        assert (back - x[0])[seen].abs().max() < 0.12 * x.std()  # a cubic and a linear reading of a field this smooth
        again = compose.invert(out["mask"], key, spacing, shape=shape)
        assert (again == labels)[seen].float().mean() > 0.97
        moved.append(not torch.allclose(out["image"][0, :20, :20], x[0, :20, :20], atol=0.1))
    assert all(moved)


def test_a_sample_that_is_not_picked_is_copied_bit_for_bit():
    x = torch.randn(1, 12, 14)
    out = Compose([BSpline(spacing_mm=5.0, magnitude_mm=2.0, p=0.0), Elastic(p=0.0), Perspective(p=0.0)])(
        {"image": x, "spacing": (1.0, 1.0)}, (0, 0, "a", 0)
    )
    assert torch.equal(out["image"], x)
