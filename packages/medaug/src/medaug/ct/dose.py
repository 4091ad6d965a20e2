"""Dose: the noise of a scan with fewer photons."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.axis import blur_, gaussian_radius, gaussian_taps
from medaug.ct.projection import WATER_PER_MM, attenuation, backproject, coarse, fine, in_volume, project
from medaug.draws import Draws, Numbers
from medaug.elementwise import exp_, per_sample
from medaug.options import Span, check_probability, span

_SIZE, _DEPTH, _VIEWS = 48, 32, 12
_PHANTOM_MM = 200.0
# Rays behind more than this are starved of photons anyway; detectors and preprocessing bound their noise.
_MOST_NEPER = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseNoise:
    """Adds the noise that a lower dose would have added: variance in inverse proportion to dose, more behind more of the body, correlated in the plane.

    Takes HU. An image whose noise is `noise_hu` at full dose has noise_hu / sqrt(dose) afterwards. The variance at a voxel is the mean over the rays through
    it of exp(line integral), relative to the centre of a water cylinder of 200 mm. What lies outside the image attenuates nothing, so crops are less noisy
    than whole slices. The texture is a band-pass, as a ramp and a kernel leave it: no noise at frequency 0.

    Attributes:
        dose: share of the dose that remains, drawn log-uniformly; a number, or (low, high) in (0, 1].
        noise_hu: standard deviation at full dose in the centre of a water cylinder of 200 mm; a number, or (low, high) to draw it.
        correlation_mm: sigma of the kernel that made the image; a number, or (low, high) to draw it.
        modulation: how far the tube current follows the attenuation of each view: 0 not at all, 0.5 for the least noise, 1 wholly.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a dose outside (0, 1], a negative noise, a sample without spacing or of several channels, a p outside [0, 1].

    Source: Gore and Tofts, "Statistical limitations in computed tomography", Phys. Med. Biol. 23(6), 1978 (variance); Riederer, Pelc, Chesler, "The noise
    power spectrum in computed X-ray tomography", Phys. Med. Biol. 23(3), 1978 (texture); Gies et al., "Dose reduction in CT by anatomically adapted tube
    current modulation", Medical Physics 26(11), 1999 (modulation).
    """

    dose: Span = (0.1, 0.7)
    noise_hu: Span = (8.0, 16.0)
    correlation_mm: Span = (0.4, 0.8)
    modulation: float = 0.5
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("DoseNoise", self.p)
        span("DoseNoise", "dose", self.dose, low=0, high=1, open_low=True)
        span("DoseNoise", "noise_hu", self.noise_hu, low=0)
        span("DoseNoise", "correlation_mm", self.correlation_mm, low=0, open_low=True)
        span("DoseNoise", "modulation", self.modulation, low=0, high=1)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        volume, pixel = in_volume(image, draws, spacing)
        dose = draws.log_uniform("dose", *span("DoseNoise", "dose", self.dose))
        noise = draws.uniform("noise_hu", *span("DoseNoise", "noise_hu", self.noise_hu)) * np.sqrt(np.maximum(1 / dose - 1, 0))
        correlation = draws.uniform("correlation_mm", *span("DoseNoise", "correlation_mm", self.correlation_mm))
        field = noise_texture(draws.normal_field("field", tuple(volume.shape[1:]), image.device), correlation[:, None] / pixel)
        field.mul_(relative_noise(volume, pixel, self.modulation)).mul_(per_sample(noise, volume))
        return volume.add_(field).view(image.shape).to(image.dtype)


def relative_noise(volume: Tensor, pixel: Numbers, modulation: float) -> Tensor:
    """Standard deviation of noise relative to the centre of a water cylinder of 200 mm.

    Args:
        volume: (B, 1, D, H, W) float32 HU.
        pixel: (B, 2) mm in the plane.
        modulation: see `DoseNoise`.

    Returns:
        (B, 1, D, H, W) float32.
    """
    small, size = coarse(attenuation(volume), pixel, _SIZE, _DEPTH)
    slices = small.flatten(0, 2)
    sizes = np.repeat(size, small.shape[2], axis=0)
    rays = project(slices, sizes, _VIEWS).clamp_max_(_MOST_NEPER)
    if modulation:
        rays.sub_(rays.amax(2, keepdim=True).mul_(modulation))
    rays.sub_((1 - modulation) * WATER_PER_MM * _PHANTOM_MM)
    variance = backproject(exp_(rays), (slices.shape[1], slices.shape[2]), sizes)
    return fine(variance.sqrt_().view(small.shape), tuple(volume.shape[2:]))


def noise_texture(white: Tensor, sigma: Numbers) -> Tensor:
    """Pass the band between a Gaussian of sigma and one of twice that, in the last two axes, and restore the unit variance.

    Args:
        white: (B, C, D, H, W) standard normal float32, overwritten.
        sigma: (B, 2) voxels.
    """
    broad = blur_(white.clone(), 2 * sigma, (-2, -1))
    band = blur_(white, sigma, (-2, -1)).sub_(broad)
    radius = gaussian_radius(2 * sigma)
    narrow, wide = ([gaussian_taps(s[:, axis], radius) for axis in (0, 1)] for s in (sigma, 2 * sigma))
    power = _inner(narrow, narrow) + _inner(wide, wide) - 2 * _inner(narrow, wide)
    return band.mul_(per_sample(1 / np.sqrt(power), band))


def _inner(a: list[Numbers], b: list[Numbers]) -> Numbers:
    """Sum of products of two separable kernels, (B,), tap after tap."""
    return np.asarray(np.cumsum(a[0] * b[0], axis=1)[:, -1] * np.cumsum(a[1] * b[1], axis=1)[:, -1])
