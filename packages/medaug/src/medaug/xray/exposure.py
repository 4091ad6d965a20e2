"""Exposure: how much reached the detector, and what its response made of it."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample
from medaug.options import Span, check_probability, span
from medaug.xray.film import check_film, from_density, to_density


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Changes exposure, contrast and response of a film.

    Takes a film whose values are linear in the logarithm of the exposure, as those for presentation are, on any scale; its own minimum and maximum stand for
    the ends of the detector's range, and nothing leaves them.

    Attributes:
        exposure: factor of the exposure; the film shifts by its logarithm. Drawn log-uniformly; a number, or (low, high).
        gain: factor of the contrast about the middle of the range (beam quality, look-up table). Drawn log-uniformly; a number, or (low, high).
        response: bend of the S-curve s sqrt(1 + k²) / sqrt(1 + k² s²) with s from -1 to 1: 0 is a linear detector, 1.5 a screen and film. A number, or
            (low, high) to draw it.
        range_neper: what the film's range spans in nepers of exposure.
        dense_is_bright: bones are bright, as most films are shown.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a factor or range that is not positive, a negative response, an image that is not 2D, a p outside [0, 1].

    Source: Bushberg et al., "The Essential Physics of Medical Imaging", 3rd ed. 2011, chapter 7 (the curve of Hurter and Driffield).
    """

    exposure: Span = (0.7, 1.4)
    gain: Span = (0.8, 1.25)
    response: Span = (0.0, 0.8)
    range_neper: float = 4.0
    dense_is_bright: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Exposure", self.p)
        span("Exposure", "exposure", self.exposure, low=0, open_low=True)
        span("Exposure", "gain", self.gain, low=0, open_low=True)
        span("Exposure", "response", self.response, low=0)
        span("Exposure", "range_neper", self.range_neper, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        check_film(image, draws)
        exposure = draws.log_uniform("exposure", *span("Exposure", "exposure", self.exposure))
        gain = draws.log_uniform("gain", *span("Exposure", "gain", self.gain))
        bend = draws.uniform("response", *span("Exposure", "response", self.response))
        unit, least, extent = to_density(image, self.dense_is_bright)
        # s = 2 u - 1; more exposure is less density.
        s = unit.sub_(0.5).mul_(per_sample(2 * gain, image)).sub_(per_sample(2 * np.log(exposure) / self.range_neper, image))
        root = (s * s).mul_(per_sample(bend**2, image)).add_(1).sqrt_()
        unit = s.mul_(per_sample(np.sqrt(1 + bend**2), image)).div_(root).add_(1).mul_(0.5).clamp_(0, 1)
        return from_density(unit, least, extent, self.dense_is_bright).to(image.dtype)
