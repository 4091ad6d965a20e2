"""What all intensity transforms keep: keys alone decide, the dtype stays, loops and tensors agree, errors name the mend."""

import numpy as np
import pytest
import torch

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.intensity.blur import Blur
from medaug.intensity.brightness import Brightness
from medaug.intensity.contrast import Contrast
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.histogram import HistogramWarp
from medaug.intensity.local import LocalBrightness, LocalGamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.median import Median
from medaug.intensity.noise import Noise
from medaug.intensity.normalise import Clip, Rescale, Window, ZScore
from medaug.intensity.poisson import PoissonNoise
from medaug.intensity.rician import RicianNoise
from medaug.intensity.sharpen import Sharpen
from medaug.intensity.slice_thickness import SliceThickness
from medaug.intensity.transform import IntensityTransform
from medaug.kernels import serving

KEYS = [(0, 0, name, 1) for name in "abc"]
SPACING = np.array([[2.0, 1.0, 0.8], [1.0, 1.0, 1.0], [0.5, 3.0, 2.0]])
TRANSFORMS = [
    Noise(std=(0.0, 0.2), per_channel=True),
    RicianNoise(),
    PoissonNoise(counts_per_unit=(5.0, 200.0), zero=0.1),
    Gamma(),
    Gamma(invert=True, retain_stats=True, per_channel=True),
    Brightness(shift=(-0.3, 0.3), per_channel=True),
    Contrast(),
    Contrast(keep_range=False, per_channel=True),
    Window(center=0.5, width=0.6),
    Clip(low=0.1, high=0.9),
    ZScore(),
    Rescale(low=-1, high=2),
    Rescale(percentiles=(2, 97), per_channel=True),
    Blur(),
    Blur(sigma_mm=(0.5, 2.0), per_axis=True, per_channel=True, p_channel=0.6),
    Sharpen(sigma_mm=1.0, keep_range=True),
    Median(),
    LowResolution(factor=(0.3, 1.0), per_axis=True, per_channel=True, p_channel=0.7),
    LowResolution(factor=(0.5, 0.9), axes=(-1,)),
    SliceThickness(),
    SliceThickness(thickness_mm=(1.5, 9.0), axis=-1),
    HistogramWarp(strength=0.8, per_channel=True),
    LocalGamma(sigma_mm=(4.0, 10.0)),
    LocalBrightness(sigma_mm=(4.0, 10.0)),
    CoarseDropout(),
    CoarseDropout(size_mm=(2.0, 8.0), fill="minimum", count=5),
]


def batch(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(3, 2, *shape, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 4.0]).view(2, *[1] * len(shape))


def name(transform: IntensityTransform) -> str:
    return type(transform).__name__


@pytest.mark.parametrize("shape", [(12, 17, 33), (19, 23)], ids=["3d", "2d"])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_a_sample_is_the_same_alone_and_in_any_batch(transform, shape):
    image, spacing = batch(shape), SPACING[:, : len(shape)]
    together = transform.change(image.clone(), Draws(KEYS), spacing)
    assert isinstance(transform, IntensityTransform)
    assert not torch.equal(together, image)
    order = np.array([2, 0])
    pair = transform.change(image[order].clone(), Draws(KEYS).rows(order), spacing[order])
    alone = transform.change(image[1:2].clone(), Draws(KEYS[1:2]), spacing[1:2])
    assert torch.equal(pair, together[order])
    assert torch.equal(alone, together[1:2])


@pytest.mark.parametrize("shape", [(12, 17, 33), (19, 23)], ids=["3d", "2d"])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_tensors_take_the_same_steps_as_loops(transform, shape, monkeypatch):
    image, spacing = batch(shape), SPACING[:, : len(shape)]
    by_loops = transform.change(image.clone(), Draws(KEYS), spacing)
    monkeypatch.setattr(serving, "loops", lambda device: False)
    by_tensors = transform.change(image.clone(), Draws(KEYS), spacing)
    if isinstance(transform, PoissonNoise):
        # a rounding may carry a voxel over the edge between two counts
        assert ((by_loops - by_tensors).abs() > 1e-4).float().mean() < 1e-3
    else:
        torch.testing.assert_close(by_loops, by_tensors, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_the_number_of_threads_changes_no_bit(transform):
    image = torch.rand(3, 2, 24, 40, 50, generator=torch.Generator().manual_seed(3))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(transform.change(image.clone(), Draws(KEYS), SPACING))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if not isinstance(t, Median | CoarseDropout | LowResolution)], ids=name)
def test_a_nan_stays_visible(transform, looped, monkeypatch):
    monkeypatch.setattr(serving, "loops", lambda device: looped)
    image = batch((6, 7, 8))
    image[1, 0, 2, 3, 4] = float("nan")
    changed = transform.change(image, Draws(KEYS), SPACING)
    assert changed[1, 0].isnan().any()
    assert not changed[[0, 2]].isnan().any()


@pytest.mark.parametrize("value", [0.0, -1024.0, 1e-35])
@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize(
    "transform",
    [
        Gamma(),
        Gamma(invert=True, retain_stats=True),
        Contrast(),
        HistogramWarp(),
        LocalGamma(),
        Blur(),
        Sharpen(),
        Median(),
        LowResolution(),
    ],
    ids=name,
)
def test_what_shapes_an_image_leaves_a_constant_one_alone(transform, looped, value, monkeypatch):
    monkeypatch.setattr(serving, "loops", lambda device: looped)
    changed = transform.change(torch.full((3, 2, 6, 7, 8), value), Draws(KEYS), SPACING)
    torch.testing.assert_close(changed, torch.full_like(changed, value), atol=1e-30, rtol=5e-7)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32_and_stay_what_they_are(transform, dtype):
    image = batch((10, 12, 9)).to(dtype)
    changed = transform.change(image.clone(), Draws(KEYS), SPACING)
    assert changed.dtype == dtype
    expected = transform.change(image.float(), Draws(KEYS), SPACING).to(dtype)
    torch.testing.assert_close(changed, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gamma(range=(0.0, 1.0)),
        lambda: Noise(std=(0.2, 0.1)),
        lambda: RicianNoise(std=-1.0),
        lambda: PoissonNoise(counts_per_unit=0.0),
        lambda: PoissonNoise(zero=float("nan")),
        lambda: Brightness(factor=-1.0),
        lambda: Contrast(factor=(2.0, 1.0)),
        lambda: Window(width=0.0),
        lambda: Clip(low=1.0, high=0.0),
        lambda: ZScore(mean=1.0),
        lambda: ZScore(mean=1.0, std=0.0),
        lambda: Rescale(low=2.0, high=1.0),
        lambda: Rescale(percentiles=(5, 101)),
        lambda: Blur(sigma_mm=1.0, sigma_voxels=1.0),
        lambda: Blur(p_channel=2.0),
        lambda: Sharpen(amount=-1.0),
        lambda: Median(p=1.1),
        lambda: LowResolution(factor=(0.0, 1.0)),
        lambda: LowResolution(factor=(0.5, 1.5)),
        lambda: SliceThickness(thickness_mm=0.0),
        lambda: HistogramWarp(pieces=1),
        lambda: LocalGamma(sigma_mm=0.0),
        lambda: LocalBrightness(std=-0.1),
        lambda: CoarseDropout(size_mm=1.0, share=0.1),
        lambda: CoarseDropout(fill="median"),
        lambda: CoarseDropout(count=(1.5, 2)),
    ],
)
def test_senseless_options_are_refused_by_name(make):
    with pytest.raises(AugmentationError, match=r"^\w+: \S"):
        make()


@pytest.mark.parametrize(
    "transform",
    [Blur(sigma_mm=1.0), Sharpen(sigma_mm=1.0), SliceThickness(), LocalGamma(), LocalBrightness(), CoarseDropout(size_mm=3.0)],
    ids=name,
)
def test_millimetres_without_a_spacing_are_an_error_that_names_the_sample(transform):
    with pytest.raises(AugmentationError, match=r"^a, b, c: has no spacing.*give `spacing`"):
        transform.change(batch((6, 7, 8)), Draws(KEYS), None)


@pytest.mark.parametrize("transform", [LowResolution(axes=(2,)), SliceThickness(axis=2)], ids=name)
def test_an_axis_that_an_image_lacks_is_an_error(transform):
    with pytest.raises(AugmentationError, match=r"2D; .* from -2 to 1"):
        transform.change(batch((6, 7)), Draws(KEYS), SPACING[:, :2])


@pytest.mark.gpu
@pytest.mark.parametrize("transform", TRANSFORMS, ids=name)
def test_cuda_changes_values_as_the_cpu_does(transform):
    image = batch((12, 17, 33))
    here = transform.change(image.clone(), Draws(KEYS), SPACING)
    there = transform.change(image.cuda(), Draws(KEYS), SPACING).cpu()
    assert ((here - there).abs() > 1e-4).float().mean() < 1e-3
