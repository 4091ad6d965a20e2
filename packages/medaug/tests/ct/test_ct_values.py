"""Windows, kernels and dose by their definitions."""

import numpy as np
import pytest
import torch

from medaug import AugmentationError
from medaug.ct.dose import DoseNoise, noise_texture, relative_noise
from medaug.ct.hardening import BeamHardening
from medaug.ct.kernel import KernelChange, mtf_ratio
from medaug.ct.metal import MetalStreaks
from medaug.ct.window import WindowJitter
from medaug.draws import Draws

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]
ROWS, COLUMNS = np.mgrid[:96, :96]
RADIUS = np.hypot(ROWS - 47.5, COLUMNS - 47.5) * 2.5
WATER = torch.from_numpy(np.where(RADIUS < 100, 0.0, -1000.0)).float()


def test_a_window_without_jitter_is_dicoms_linear_window():
    # foot 40 - 200 = -160, top 240
    image = torch.tensor([[[-1000.0, -160.0, 40.0, 140.0, 240.0, 3000.0]]])
    still = WindowJitter(center_jitter_hu=0.0, width_factor=1.0)
    expected = torch.tensor([[[0.0, 0.0, 0.5, 0.75, 1.0, 1.0]]])
    torch.testing.assert_close(still.change(image.clone()[None], Draws(KEYS[:1]), None)[0], expected)
    hu = WindowJitter(center_jitter_hu=0.0, width_factor=1.0, unit=False).change(image.clone()[None], Draws(KEYS[:1]), None)[0]
    torch.testing.assert_close(hu, torch.tensor([[[-160.0, -160.0, 40.0, 140.0, 240.0, 240.0]]]))


def test_windows_differ_between_samples_within_their_spans():
    transform = WindowJitter(center_jitter_hu=(-30, 30), width_factor=(0.5, 2.0), unit=False)
    keys = [(0, 0, str(i), 0) for i in range(200)]
    out = transform.change(torch.tensor([-5000.0, 5000.0]).repeat(200, 1, 1), Draws(keys), None)[:, 0].numpy()
    center, width = out.mean(1), out[:, 1] - out[:, 0]
    assert center.min() >= 10
    assert center.max() <= 70
    assert width.min() >= 200
    assert width.max() <= 800
    assert np.unique(width).size == 200
    # log-uniform: half of the factors lie below 1; binomial(200, 0.5) has the standard deviation 7.1
    assert abs((width < 400).sum() - 100) < 5 * 7.1


@pytest.mark.parametrize(("sharpness", "sigma"), [(-1.0, 1.2), (-0.5, 0.9), (1.5, 0.6), (1.0, 0.3)])
def test_a_kernel_multiplies_the_spectrum_by_the_stated_ratio(sharpness, sigma):
    # a point in the middle of a slice of 0.9 x 0.7 mm pixels: its spectrum is the transfer function, along the rows, the columns and the diagonal
    point = torch.zeros(1, 1, 3, 64, 64)
    point[:, :, 1, 32, 32] = 1000.0
    out = KernelChange(sharpness=sharpness, sigma_mm=sigma).change(point.clone(), Draws(KEYS[:1]), np.array([[5.0, 0.9, 0.7]]))
    assert out[:, :, [0, 2]].abs().max() == 0
    spectrum = np.abs(np.fft.fft2(out[0, 0, 1].double().numpy())) / 1000
    fy, fx = np.fft.fftfreq(64, 0.9)[:, None], np.fft.fftfreq(64, 0.7)
    np.testing.assert_allclose(spectrum, mtf_ratio(np.hypot(fy, fx), sharpness, sigma), atol=0.02)


def test_a_kernel_keeps_flat_tissue():
    flat = torch.full((1, 1, 20, 20), 55.0)
    torch.testing.assert_close(KernelChange().change(flat.clone(), Draws(KEYS[:1]), np.ones((1, 2))), flat, atol=1e-3, rtol=0)


def test_a_quarter_of_the_dose_doubles_the_noise_of_water():
    # an image of std 10 at full dose gets sqrt(4 - 1) · 10 more: 20 in all, in the centre of the cylinder
    keys = [(0, 0, str(i), 0) for i in range(8)]
    image = WATER.expand(8, 1, 4, 96, 96).contiguous()
    spacing = np.tile([3.0, 2.5, 2.5], (8, 1))
    own = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * 10
    out = DoseNoise(dose=0.25, noise_hu=10.0, correlation_mm=1.0, modulation=0.0).change(image + own, Draws(keys), spacing)
    centre = torch.from_numpy(RADIUS < 25)
    # 32 slices of 314 pixels, correlated within about 4: standard error 20 / sqrt(2 · 2500) = 0.28; the disc's rim is 3 % quieter
    assert (out - image)[..., centre].std().item() == pytest.approx(20.0, abs=1.2)
    added = (out - image - own)[..., centre]
    assert added.std().item() == pytest.approx(10 * 3**0.5, abs=1.0)
    assert added.mean().item() == pytest.approx(0, abs=0.5)


def test_full_dose_adds_nothing():
    image = WATER.expand(1, 1, 96, 96).contiguous()
    assert torch.equal(DoseNoise(dose=1.0).change(image.clone(), Draws(KEYS[:1]), np.full((1, 2), 2.5)), image)


def test_noise_falls_from_the_centre_of_a_cylinder_as_the_rays_say():
    noise = relative_noise(WATER[None, None, None], np.full((1, 2), 2.5), 0.0)[0, 0, 0].numpy()
    assert noise[47:49, 47:49].mean() == pytest.approx(1, abs=0.02)
    # at radius r the mean over angles of exp(2 mu sqrt(R² - r² sin²)), by quadrature; the coarse grid of 5 mm pixels keeps it to 4 %
    angle = np.linspace(0, np.pi, 400)
    for r in (30.0, 60.0, 80.0):
        p = 2 * 0.0193 * np.sqrt(100.0**2 - (r * np.sin(angle)) ** 2)
        expected = np.sqrt(np.exp(p - 3.86).mean())
        ring = np.abs(RADIUS - r) < 2
        assert noise[ring].mean() == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("semi_axes", [(60.0, 110.0), (100.0, 100.0)])
def test_a_current_that_follows_the_root_of_attenuation_makes_the_least_noise(semi_axes):
    down, across = semi_axes
    body = torch.from_numpy(np.where(np.hypot((ROWS - 47.5) * 2.5 / down, (COLUMNS - 47.5) * 2.5 / across) < 1, 0.0, -1000.0)).float()
    # the central ray at angle t to the rows crosses 2 a b / sqrt(a² sin² + b² cos²) of an ellipse
    angle = np.arange(12) * np.pi / 12
    p = 0.0193 * 2 * down * across / np.hypot(across * np.sin(angle), down * np.cos(angle))
    spent = {}
    for m in (0.0, 0.5, 1.0):
        noise = relative_noise(body[None, None, None], np.full((1, 2), 2.5), m)[0, 0, 0, 47:49, 47:49].mean().item()
        assert noise == pytest.approx(np.sqrt(np.exp((1 - m) * (p - 3.86)).mean()), rel=0.03)
        # variance at equal total current, Gies et al.
        spent[m] = noise**2 * np.exp((1 - m) * 3.86) * np.exp(m * p).mean()
    assert spent[0.5] <= min(spent.values()) * 1.02


def test_the_texture_has_unit_variance_and_no_offset():
    white = Draws(KEYS).normal_field("f", (1, 6, 128, 128))
    texture = noise_texture(white, np.array([[1.2, 0.9], [0.8, 0.8]]))
    inner = texture[..., 12:-12, 12:-12]
    # about 6 · 104² / 10 independent values: standard error 1 %
    np.testing.assert_allclose(inner.std(dim=(1, 2, 3, 4)).numpy(), 1.0, atol=0.05)
    power = np.abs(np.fft.fft2(texture.numpy())).mean((0, 1, 2)) ** 2
    assert power[0, 0] < 1e-6 * power.max()


@pytest.mark.parametrize("op", [KernelChange(), DoseNoise(), BeamHardening(), MetalStreaks()])
def test_ct_without_spacing_is_refused(op):
    with pytest.raises(AugmentationError, match="a: has no spacing"):
        op.change(torch.zeros(1, 1, 16, 16), Draws(KEYS[:1]), None)


def test_stacked_windows_are_refused_where_hu_are_needed():
    with pytest.raises(AugmentationError, match="3 channels"):
        DoseNoise().change(torch.zeros(1, 3, 16, 16), Draws(KEYS[:1]), np.ones((1, 2)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: WindowJitter(width_hu=0),
        lambda: KernelChange(sharpness=-1.5),
        lambda: DoseNoise(dose=0.0),
        lambda: BeamHardening(water=-0.1),
        lambda: MetalStreaks(count=(0, 1)),
    ],
)
def test_senseless_options_of_ct_are_refused(make):
    with pytest.raises(AugmentationError):
        make()
