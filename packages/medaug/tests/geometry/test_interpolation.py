"""What is read where: against scipy, scikit-image, SimpleITK and written-out formulas, and torch's path against the kernel."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy import ndimage
from skimage.transform import ProjectiveTransform, warp

from medaug import Affine, BSpline, Compose, Crop, Elastic, Flip, Perspective, Resize
from medaug.resampling.chain import Chain
from medaug.resampling.places import source_coordinates
from medaug.resampling.warping import Warper

KEY = (3, 0, "patient-1", 0)
SHAPE, SPACING = (14, 18, 22), (2.5, 1.0, 0.8)
TURNED = Affine(rotation_deg=((10.0, 10.0), (-8.0, -8.0), (25.0, 25.0)), scale=(1.1, 1.1), shear_deg=((5.0, 5.0), (0.0, 0.0), (-4.0, -4.0)))


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0).astype(np.float32) * 10


def keys_formula(t: np.ndarray) -> np.ndarray:
    """Keys 1981, equation 15, written out from the paper: a = -1/2."""
    t = np.abs(t)
    return np.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0.0))


def test_cubic_is_keys_convolution():
    x = smooth(SHAPE)
    compose = Compose([TURNED], interpolation="cubic", outside="border")
    out = compose({"image": torch.tensor(x[None]), "spacing": SPACING}, KEY)["image"][0].numpy()
    places = source_coordinates(compose.plan([KEY], SHAPE, SPACING))[0].reshape(-1, 3)
    interior = np.all((places >= 1) & (places <= np.array(SHAPE) - 2), axis=1)
    expected = np.zeros(len(places))
    for at in np.flatnonzero(interior):
        weights = [keys_formula(np.arange(n) - c) for n, c in zip(SHAPE, places[at], strict=True)]
        expected[at] = np.einsum("i,j,k,ijk->", *weights, x)
    assert interior.mean() > 0.2
    np.testing.assert_allclose(out.ravel()[interior], expected[interior], atol=2e-5)


def test_cubic_reproduces_quadratics_where_linear_cannot():
    y, x = np.mgrid[:40, :40].astype(np.float64)
    quadratic = 0.02 * y**2 - 0.03 * x * y + 0.01 * x**2 + y
    sample = {"image": torch.tensor(quadratic[None], dtype=torch.float32), "spacing": (1.0, 1.0)}
    worst = {}
    for interpolation in ("linear", "cubic"):
        compose = Compose(
            [Affine(rotation_deg=(17.0, 17.0), scale=(1.3, 1.3)), Crop(size=(20, 20), random=False)], interpolation=interpolation
        )
        p, q = source_coordinates(compose.plan([KEY], (40, 40), (1.0, 1.0)))[0].transpose(2, 0, 1)
        truth = 0.02 * p**2 - 0.03 * q * p + 0.01 * q**2 + p
        worst[interpolation] = np.abs(compose(sample, KEY)["image"][0].numpy() - truth).max()
    assert worst["cubic"] < 2e-5  # float32 of values to 60
    assert worst["linear"] > 2e-3  # h²/8 of second derivatives of 0.02 to 0.06


def test_bspline_agrees_with_simpleitk_on_the_same_control_points():
    compose = Compose([BSpline(spacing_mm=9.0, magnitude_mm=3.6)], outside="border")
    x = smooth(SHAPE)
    out = compose({"image": torch.tensor(x[None]), "spacing": SPACING}, KEY)["image"][0].numpy()
    (lattice,) = compose.plan([KEY], SHAPE, SPACING).lattices
    control = lattice.coefficients[0] * lattice.spacing_mm  # (3, N0, N1, N2) mm, components z, y, x
    sizes = np.array(control.shape[1:])[::-1]
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainMeshSize([int(n - 3) for n in sizes])
    transform.SetTransformDomainOrigin([float((1 - n // 2) * lattice.spacing_mm) for n in sizes])
    transform.SetTransformDomainPhysicalDimensions([float((n - 3) * lattice.spacing_mm) for n in sizes])
    transform.SetParameters(control[::-1].ravel())
    image = sitk.GetImageFromArray(x)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(SHAPE[::-1], SPACING[::-1], strict=True)])
    expected = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear, np.nan))
    seen = np.isfinite(expected)
    assert seen.mean() > 0.5
    assert np.abs(out - x)[seen].max() > 0.5  # something moved
    np.testing.assert_allclose(out[seen], expected[seen], atol=2e-4)


def test_perspective_agrees_with_scikit_image():
    shape, spacing = (40, 50), (1.0, 0.7)
    compose = Compose([Perspective(distortion=(0.4, 0.4))], outside=0.0)
    x = smooth(shape)
    out = compose({"image": torch.tensor(x[None]), "spacing": spacing}, KEY)["image"][0].numpy()
    corners = torch.tensor([[-0.5, -0.5], [-0.5, 49.5], [39.5, -0.5], [39.5, 49.5], [10.0, 31.0]])
    moved = compose({"image": torch.tensor(x[None]), "points": corners, "spacing": spacing}, KEY)["points"]
    assert (moved[:4] - corners[:4]).abs().max() > 2
    # scikit-image finds the homography from the four corners alone, in (x, y)
    homography = ProjectiveTransform.from_estimate(corners[:4].numpy()[:, ::-1], moved[:4].numpy()[:, ::-1])
    np.testing.assert_allclose(homography(corners[4:].numpy()[:, ::-1])[:, ::-1], moved[4:].numpy(), atol=1e-3)
    expected = warp(x.astype(np.float64), homography.inverse, order=1, mode="edge")
    y, q = np.mgrid[:40, :50]
    source = homography.inverse(np.stack([q.ravel(), y.ravel()], 1)).reshape(40, 50, 2)[..., ::-1]
    interior = np.all((source >= 0) & (source <= np.array(shape) - 1), axis=-1)
    assert 0.3 < interior.mean() < 0.95
    np.testing.assert_allclose(out[interior], expected[interior], atol=1e-3)  # float32 corners: 1e-5 voxel on slopes of a few


@pytest.mark.parametrize("mode", ["border", "reflect"])
def test_outside_agrees_with_scipys_modes(mode):
    x = smooth((20, 24))
    compose = Compose([Affine(rotation_deg=(30.0, 30.0), scale=(0.6, 0.6))], outside=mode)
    out = compose({"image": torch.tensor(x[None]), "spacing": (1.0, 1.0)}, KEY)["image"][0].numpy()
    places = source_coordinates(compose.plan([KEY], (20, 24), (1.0, 1.0)))[0].transpose(2, 0, 1)
    expected = ndimage.map_coordinates(x.astype(np.float64), places, order=1, mode={"border": "nearest", "reflect": "reflect"}[mode])
    np.testing.assert_allclose(out, expected, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("outside", ["minimum", "border", "reflect", 3.0])
@pytest.mark.parametrize(
    ("transforms", "shape"),
    [
        ([TURNED, Elastic(sigma_mm=6.0, magnitude_mm=1.0)], (9, 12, 14)),
        ([BSpline(spacing_mm=8.0, magnitude_mm=3.0, p=0.5), Affine(rotation_deg=20.0), Perspective()], (21, 24)),
        ([Affine(rotation_deg=10.0), Resize(shape=(5, 6))], (31, 27)),
    ],
)
def test_torchs_path_agrees_with_the_kernel(transforms, shape, outside, interpolation):
    keys = [(0, 0, name, 0) for name in "abc"]
    plan = Compose(transforms).plan(keys, shape, torch.tensor([[1.5, 1.0, 0.7][-len(shape) :]] * 3))
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(3, 2, *shape, generator=generator), torch.randint(0, 9, (3, *shape), generator=generator)
    results = [
        Warper(chain=chain, source=source, grid=grid, dense=dense).images(image, mask, interpolation, outside)
        for chain, source, grid in [(Chain.of(plan), shape, plan.shape)]
        for dense in (False, True)
    ]
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-4, rtol=0)
    assert (results[1][1] != results[0][1]).float().mean() < 0.002  # halves between two voxels


def test_torchs_path_undoes_deformations_as_the_kernel_does():
    compose = Compose([BSpline(spacing_mm=8.0, magnitude_mm=3.2), Affine(rotation_deg=20.0)])
    plan = compose.plan([KEY], (21, 24), (1.0, 1.0))
    image = torch.tensor(smooth((21, 24)))[None, None]
    ways = [
        Warper(chain=Chain.of(plan).inverse(), source=plan.shape, grid=(21, 24), dense=dense).images(image, None)[0]
        for dense in (False, True)
    ]
    torch.testing.assert_close(ways[1], ways[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_every_dtype_reads_as_its_float32(dtype):
    x = (torch.tensor(smooth((20, 24))).abs() * 9).to(dtype)[None]
    compose = Compose([Affine(rotation_deg=(20.0, 20.0))])
    out = compose({"image": x, "spacing": (1.0, 1.0)}, KEY)["image"]
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    torch.testing.assert_close(out, compose({"image": x.float(), "spacing": (1.0, 1.0)}, KEY)["image"].to(out.dtype))
    flipped = Compose([Flip(axes=(1,), p=1.0)])({"image": x, "spacing": (1.0, 1.0)}, KEY)["image"]
    assert torch.equal(flipped, x.flip(2).to(out.dtype))  # copied, in float64 too


def test_class_probabilities_stay_probabilities_and_background_is_certain_outside():
    x = torch.softmax(torch.tensor(np.stack([smooth((20, 24), s) for s in range(3)])), 0)
    sample = {"image": x[:1], "probability": x, "spacing": (1.0, 1.0)}
    shifted = Compose([Affine(translation_mm=((0.0, 0.0), (30.0, 30.0))), Flip(axes=(0,), p=1.0)])
    assert torch.equal(shifted(sample, KEY)["probability"], torch.eye(3)[0].view(3, 1, 1).expand(3, 20, 24))
    turned = Compose([Affine(rotation_deg=(30.0, 30.0))])(sample, KEY)["probability"]
    torch.testing.assert_close(turned.sum(0), torch.ones(20, 24))
    assert turned.min() >= 0
    assert (shifted({**sample, "probability": x[:1]}, KEY)["probability"] == 0).all()


def test_shrinking_averages_and_does_not_skip():
    # 8 voxels to 1 along each axis: the average of a checkerboard is 0.5 everywhere, single places would see 0 or 1 in patterns
    y, x = np.mgrid[:64, :64]
    board = torch.tensor(((y // 2 + x // 2) % 2).astype(np.float32))[None]
    sample = {"image": board, "spacing": (1.0, 1.0)}
    assert torch.equal(Compose([Resize(shape=(8, 8))])(sample, KEY)["image"], torch.full((1, 8, 8), 0.5))
    noise = torch.tensor(np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32))
    small = Compose([Resize(shape=(16, 16))])({"image": noise, "spacing": (1.0, 1.0)}, KEY)["image"]
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(noise, 4), atol=1e-6, rtol=0)
    plain = Compose([Resize(shape=(16, 16))], antialias=False)({"image": noise, "spacing": (1.0, 1.0)}, KEY)["image"]
    assert plain.std() > 1.5 * small.std()


@pytest.mark.gpu
def test_cuda_deforms_and_crops_as_the_cpu_does():
    compose = Compose([BSpline(spacing_mm=9.0, magnitude_mm=3.0), TURNED, Crop(size=(8, 12, 12), random=False)], interpolation="cubic")
    image = torch.tensor(np.stack([smooth(SHAPE, s) for s in range(2)]))[:, None]
    batch = {"image": image, "mask": (image[:, 0] > 0).long(), "spacing": torch.tensor([SPACING] * 2), "key": [KEY, (3, 0, "b", 0)]}
    there = compose.batch({k: v.cuda() if torch.is_tensor(v) else v for k, v in batch.items()})
    here = compose.batch(batch)
    assert there["image"].is_cuda
    torch.testing.assert_close(there["image"].cpu(), here["image"], atol=1e-3, rtol=0)  # 1e-4 of a range of about 10
    assert (there["mask"].cpu() == here["mask"]).float().mean() > 0.998
