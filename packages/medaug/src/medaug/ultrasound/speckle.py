"""Speckle: the interference of echoes from scatterers too small to see."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.axis import gaussian_matrices, map_axis
from medaug.draws import Draws, Numbers
from medaug.elementwise import log_, per_sample
from medaug.options import Span, check_probability, span
from medaug.ultrasound.compression import add_decibels, check_dynamic_range


@dataclass(frozen=True, slots=True, kw_only=True)
class Speckle:
    """Multiplies the amplitude by fully developed speckle (Rayleigh, mean 1) to the power of `strength`: in decibels, adds its logarithm times that.

    The last two axes are depth (rows) and width; a third axis before them has grains of the width's size.

    Attributes:
        strength: 1 is fully developed speckle (std 0.52 of the mean; 5.6 dB), 0 none; a number, or (low, high) to draw it.
        axial_mm: sigma of a grain along depth; a number, or (low, high) to draw it.
        lateral_mm: sigma of a grain across; a number, or (low, high) to draw it.
        dynamic_range_db: what the image's range spans if it is log-compressed, as displayed ones are; None: the image is linear amplitude, 0 is no echo.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative strength, a size or range that is not positive, a sample without spacing, a p outside [0, 1].

    Source: Wagner et al., "Statistics of speckle in ultrasound B-scans", IEEE Trans. Sonics Ultrason. 30(3), 1983.
    """

    strength: Span = (0.2, 0.6)
    axial_mm: Span = (0.15, 0.4)
    lateral_mm: Span = (0.3, 1.0)
    dynamic_range_db: float | None = 60.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Speckle", self.p)
        span("Speckle", "strength", self.strength, low=0)
        span("Speckle", "axial_mm", self.axial_mm, low=0, open_low=True)
        span("Speckle", "lateral_mm", self.lateral_mm, low=0, open_low=True)
        check_dynamic_range("Speckle", self.dynamic_range_db)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        if spacing is None:
            raise draws.error("has no spacing, so the size of a grain in mm means nothing; give `spacing` along each spatial axis")
        strength = draws.uniform("strength", *span("Speckle", "strength", self.strength))
        axial = draws.uniform("axial_mm", *span("Speckle", "axial_mm", self.axial_mm))
        lateral = draws.uniform("lateral_mm", *span("Speckle", "lateral_mm", self.lateral_mm))
        power: Tensor | None = None
        for part in ("real", "imaginary"):
            echo = draws.normal_field(part, (1, *image.shape[2:]), image.device)
            for axis in range(-(image.ndim - 2), 0):
                grain = gaussian_matrices(image.shape[axis], (axial if axis == -2 else lateral) / spacing[:, axis])
                # Unit variance in every row, at the reflecting edges too.
                grain /= np.sqrt(np.einsum("bij,bij->bi", grain, grain))[:, :, None]
                echo = map_axis(echo, axis, grain, in_place=True)
            power = echo.mul_(echo) if power is None else power.add_(echo.mul_(echo))
        assert power is not None
        # ln(amplitude / mean amplitude) = ln(power) / 2 - ln(pi / 2) / 2, times 20 / ln 10 in decibels
        decibels = log_(power.clamp_min_(1e-6)).sub_(math.log(math.pi / 2)).mul_(10 / math.log(10)).mul_(per_sample(strength, image))
        return add_decibels(image.float(), decibels, self.dynamic_range_db).to(image.dtype)
