"""Noise that does not know the signal."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.fields import add_normal
from medaug.intensity.rows import single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Additive Gaussian noise.

    Attributes:
        std: standard deviation in the unit that the image has when it comes here (normalised images: normalised units); a number, or (low, high) to draw it.
        per_channel: draw a standard deviation for each channel; the noise itself always differs between channels.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed std, a p outside [0, 1].
    """

    std: Span = 0.1
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Noise", self.p)
        span("Noise", "std", self.std, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        std = channel_scales(draws, "std", span("Noise", "std", self.std), x, self.per_channel)
        add_normal(x, draws.keys("field"), std)
        return x.to(image.dtype)


def channel_scales(draws: Draws, name: str, bounds: tuple[float, float], image: Tensor, per_channel: bool) -> Numbers:
    """Draw a number a channel, or one a sample for all its channels: (B, C)."""
    channels = image.shape[1]
    values = draws.uniform(name, *bounds, (channels if per_channel else 1,))
    return np.ascontiguousarray(np.broadcast_to(values, (len(image), channels)))
