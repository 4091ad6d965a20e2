"""Reconstruction kernels: the same scan, softer or sharper."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.axis import blur_
from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChange:
    """Multiplies the in-plane modulation transfer function by `mtf_ratio`: below 0 a softer kernel than the image's, above 0 a sharper one.

    Takes HU, or any unit that is linear in HU and not clipped. The plane of the scan is the last two axes. Noise is sharpened and softened with the rest,
    as a kernel does.

    Attributes:
        sharpness: gain of the highest frequencies minus 1, from -1 (a Gaussian blur of sigma_mm) up; a number, or (low, high) to draw it.
        sigma_mm: where gain sets in: it is half way at the frequency 0.187 / sigma_mm per mm; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a sharpness below -1, a sigma that is not positive, a sample without spacing, a p outside [0, 1].

    Source: two of the bands of Gallardo-Estrella et al., "Normalizing computed tomography data reconstructed with different filter kernels: effect on
    emphysema quantification", European Radiology 26(2), 2016.
    """

    sharpness: Span = (-0.8, 1.0)
    sigma_mm: Span = (0.5, 1.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("KernelChange", self.p)
        span("KernelChange", "sharpness", self.sharpness, low=-1)
        span("KernelChange", "sigma_mm", self.sigma_mm, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        if spacing is None:
            raise draws.error("has no spacing, so a kernel in mm means nothing; give `spacing` along each spatial axis")
        sharpness = draws.uniform("sharpness", *span("KernelChange", "sharpness", self.sharpness))
        sigma = draws.uniform("sigma_mm", *span("KernelChange", "sigma_mm", self.sigma_mm))
        result = image.float()
        soft = blur_(result.clone(), sigma[:, None] / spacing[:, -2:], (-2, -1))
        soft.mul_(per_sample(sharpness, image))
        return result.mul_(per_sample(1 + sharpness, image)).sub_(soft).to(image.dtype)


def mtf_ratio(frequency_per_mm: Numbers, sharpness: float, sigma_mm: float) -> Numbers:
    """Ratio of the new modulation transfer function to the old: 1 + sharpness (1 - exp(-2 pi² sigma² f²))."""
    return np.asarray(1 + sharpness * (1 - np.exp(-2 * (math.pi * sigma_mm * frequency_per_mm) ** 2)))
