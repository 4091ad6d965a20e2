"""Scatter: a veil of photons that lost their direction."""

from dataclasses import dataclass

from torch import Tensor

from medaug.axis import wide_blur
from medaug.draws import Draws, Numbers
from medaug.elementwise import exp_, log_, per_sample
from medaug.options import Span, check_probability, span
from medaug.xray.film import from_density, pixel_mm, to_density


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Replaces a share of the exposure at the detector by a broad blur of it: small details lose contrast by the factor 1 - fraction = 1 / (1 + SPR).

    Takes a film whose values are linear in the logarithm of the exposure, on any scale; the total exposure is kept, as automatic exposure does.

    Attributes:
        fraction: share of scatter in the total; without a grid a chest has 0.5 and more, with one 0.1 to 0.3. A number, or (low, high) to draw it.
        sigma_mm: spread of the scatter; a number, or (low, high) to draw it.
        range_neper: what the film's range spans in nepers of exposure.
        dense_is_bright: bones are bright, as most films are shown.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a fraction outside [0, 0.95], a sigma or range that is not positive, an image that is not 2D or has no spacing, a p outside [0, 1].

    Source: Siewerdsen and Jaffray, "Cone-beam computed tomography with a flat-panel imager: magnitude and effects of x-ray scatter", Medical Physics 28(2),
    2001; Boone and Cooper, "Scatter/primary in mammography: Monte Carlo validation", Medical Physics 27(8), 2000 (spread functions).
    """

    fraction: Span = (0.1, 0.4)
    sigma_mm: Span = (15.0, 40.0)
    range_neper: float = 4.0
    dense_is_bright: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Scatter", self.p)
        span("Scatter", "fraction", self.fraction, low=0, high=0.95)
        span("Scatter", "sigma_mm", self.sigma_mm, low=0, open_low=True)
        span("Scatter", "range_neper", self.range_neper, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        pixel = pixel_mm(image, draws, spacing)
        fraction = draws.uniform("fraction", *span("Scatter", "fraction", self.fraction))
        sigma = draws.uniform("sigma_mm", *span("Scatter", "sigma_mm", self.sigma_mm))
        unit, least, extent = to_density(image, self.dense_is_bright)
        exposure = exp_(unit.mul_(-self.range_neper))
        veil = wide_blur(exposure, sigma[:, None] / pixel, (0, 1)).mul_(per_sample(fraction, image))
        # The blur of positive values may undershoot 0 by rounding only, but the logarithm would not forgive it.
        exposure.mul_(per_sample(1 - fraction, image)).add_(veil).clamp_min_(1e-30)
        unit = log_(exposure).mul_(-1 / self.range_neper)
        return from_density(unit, least, extent, self.dense_is_bright).to(image.dtype)
