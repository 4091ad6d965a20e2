"""A real CT and a real MR: the same truths where histograms have spikes, air is flat and voxels are not cubes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from scipy import ndimage

from medaug.draws import Draws
from medaug.intensity.blur import Blur
from medaug.intensity.gamma import Gamma
from medaug.intensity.histogram import HistogramWarp
from medaug.intensity.median import Median
from medaug.intensity.normalise import Window
from medaug.intensity.rician import RicianNoise
from medaug.intensity.slice_thickness import SliceThickness

DATA = Path(__file__).resolve().parents[4].parent / "shared/data"
KEYS = [(0, 0, "a", 0)]


def read(path: Path) -> tuple[torch.Tensor, np.ndarray]:
    """(1, 1, D, H, W) float32 and spacing (1, 3) mm, from a NIfTI file."""
    if not path.exists():
        pytest.skip("real images lie in ../shared/data, which is absent")
    image = SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32)
    return torch.from_numpy(SimpleITK.GetArrayFromImage(image))[None, None], np.array([image.GetSpacing()[::-1]])


@pytest.fixture(scope="module")
def ct() -> tuple[torch.Tensor, np.ndarray]:
    return read(DATA / "ct_totalseg/example_ct_sm.nii.gz")


@pytest.fixture(scope="module")
def mr() -> tuple[torch.Tensor, np.ndarray]:
    return read(
        sorted((DATA / "mr_hippocampus/images").glob("*.nii.gz"))[0] if (DATA / "mr_hippocampus").exists() else DATA / "mr_hippocampus"
    )


def test_blur_and_median_of_a_ct_are_scipys(ct):
    image, spacing = ct
    exact = image[0, 0].double().numpy()
    blurred = Blur(sigma_mm=3.0).change(image.clone(), Draws(KEYS), spacing)[0, 0]
    # up to 3000 HU in float32: 24 bits leave 2e-4 HU, and sums of some ten terms lose a little more
    np.testing.assert_allclose(blurred, ndimage.gaussian_filter(exact, 3.0 / spacing[0], mode="nearest"), atol=5e-3)
    middle = Median().change(image.clone(), Draws(KEYS), spacing)[0, 0]
    np.testing.assert_array_equal(middle, ndimage.median_filter(image[0, 0].numpy(), size=3, mode="nearest"))


def test_thick_slices_of_a_ct_keep_its_mean_and_lose_what_is_thin(ct):
    image, spacing = ct
    thick = SliceThickness(thickness_mm=4 * spacing[0, 0]).change(image.clone(), Draws(KEYS), spacing)
    assert thick.mean().item() == pytest.approx(image.mean().item(), abs=5.0)
    assert thick.diff(dim=2).std() < 0.7 * image.diff(dim=2).std()
    # the plane loses less than the axis across it
    assert thick.diff(dim=4).std() / image.diff(dim=4).std() > thick.diff(dim=2).std() / image.diff(dim=2).std()


def test_a_window_of_a_ct_shows_soft_tissue_between_fat_and_bone(ct):
    image, spacing = ct
    shown = Window(center=40, width=400).change(image.clone(), Draws(KEYS), spacing)
    assert (shown[image < -160] == 0).all()
    assert (shown[image > 240] == 1).all()
    tissue = (image > -160) & (image < 240)
    assert tissue.float().mean() > 0.1
    torch.testing.assert_close(shown[tissue], (image[tissue] + 160) / 400, atol=1e-6, rtol=0)


def test_gamma_and_warp_of_an_mr_keep_the_order_of_its_values(mr):
    image, spacing = mr
    order = image.flatten().argsort(stable=True)
    for transform in (Gamma(range=(0.6, 0.6), retain_stats=True), HistogramWarp(strength=1.0)):
        changed = transform.change(image.clone(), Draws(KEYS), spacing).flatten()
        assert (changed[order].diff() >= -1e-4 * np.ptp(image.numpy())).all()
        assert not torch.allclose(changed, image.flatten())


def test_rician_noise_lifts_the_dark_of_an_mr_and_not_its_bright(mr):
    image, spacing = mr
    std = 0.05 * image.max().item()
    noisy = RicianNoise(std=std).change(image.clone(), Draws(KEYS), spacing)
    bright = image > image.quantile(0.9)
    # far above the noise the mean rises by std**2 / 2 value: under a tenth of std where the value is over 5 std
    assert (noisy - image)[bright].mean().item() < 0.25 * std
    # where there is no signal the mean is std * sqrt(pi / 2)
    dark = RicianNoise(std=std).change(torch.zeros_like(image), Draws(KEYS), spacing)
    assert dark.mean().item() == pytest.approx(std * np.sqrt(np.pi / 2), rel=0.01)
