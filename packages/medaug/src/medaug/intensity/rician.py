"""Noise of magnitude images."""

from dataclasses import dataclass

from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.fields import make_rician
from medaug.intensity.noise import channel_scales
from medaug.intensity.rows import single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class RicianNoise:
    """Rician noise: the magnitude of a complex signal, both parts of which carry Gaussian noise, as in MR.

    Assumes magnitudes: 0 is no signal, and the result is never negative. Background gets a Rayleigh distribution, of mean 1.25 std; strong signal a
    Gaussian one about its own value. After a z-score there is no such zero: put it before.

    Attributes:
        std: standard deviation in each part, in the image's unit; a number, or (low, high) to draw it.
        per_channel: draw a standard deviation for each channel.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed std, a p outside [0, 1].

    Source: Gudbjartsson, Patz, "The Rician distribution of noisy MRI data", Magn Reson Med 34, 1995.
    """

    std: Span = (0.0, 0.1)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("RicianNoise", self.p)
        span("RicianNoise", "std", self.std, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        std = channel_scales(draws, "std", span("RicianNoise", "std", self.std), x, self.per_channel)
        make_rician(x, draws.keys("real"), draws.keys("imaginary"), std)
        return x.to(image.dtype)
