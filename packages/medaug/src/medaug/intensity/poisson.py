"""Noise of counting."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.fields import make_poisson
from medaug.intensity.rows import single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonNoise:
    """Counting noise at a dose: each voxel becomes the number of events that a detector would have counted there, in the image's unit again.

    Assumes that the image is proportional to counts above `zero` (emission images, films in linear exposure); what lies below counts nothing. The mean
    stays, the variance is (value - zero) / counts_per_unit: a quarter of the counts doubles the noise.

    Attributes:
        counts_per_unit: expected counts of a voxel one unit above `zero`; a number, or (low, high) to draw it log-uniformly.
        zero: the value of no events, in the image's unit.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a non-positive or reversed dose, a zero that is not finite, a p outside [0, 1].
    """

    counts_per_unit: Span = (100.0, 1000.0)
    zero: float = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("PoissonNoise", self.p)
        span("PoissonNoise", "counts_per_unit", self.counts_per_unit, low=0, open_low=True)
        span("PoissonNoise", "zero", self.zero)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        low, high = span("PoissonNoise", "counts_per_unit", self.counts_per_unit)
        # the exponential of a logarithm need not give a fixed number back
        counts = draws.log_uniform("counts", low, high) if low < high else np.full(len(image), low)
        x = single(image)
        make_poisson(x, draws.keys("normal"), draws.keys("uniform"), counts, self.zero)
        return x.to(image.dtype)
