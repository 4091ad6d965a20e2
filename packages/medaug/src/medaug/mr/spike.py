"""Spikes: single wrong numbers in k-space, which stripe the whole image."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import mean_magnitude
from medaug.options import Span, check_probability, span
from medaug.waves import plane_waves


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """Adds, for each spike, a plane wave of the spike's frequency: its exact effect on the real part of the image ("herringbone").

    Channels share the waves; each channel's are scaled by its own mean.

    Attributes:
        count: (low, high) of the number of spikes, both taken.
        intensity: amplitude of a wave as a share of the mean magnitude of the image, that is of the centre of k-space where values are not negative; a
            number, or (low, high) to draw it.
        frequency: distance of a spike from the centre of k-space as a share of the Nyquist frequency; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a count below 1, a negative intensity, a frequency outside [0, 1], a p outside [0, 1].

    Source: Stadler et al., "Artifacts in body MR imaging: their appearance and how to eliminate them", European Radiology 17(5), 2007.
    """

    count: tuple[int, int] = (1, 2)
    intensity: Span = (0.1, 0.5)
    frequency: Span = (0.1, 0.8)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Spike", self.p)
        span("Spike", "count", self.count, low=1)
        span("Spike", "intensity", self.intensity, low=0)
        span("Spike", "frequency", self.frequency, low=0, high=1)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        shape = np.array(image.shape[2:])
        most = int(self.count[1])
        count = draws.integers("count", int(self.count[0]), most + 1)
        intensity = draws.uniform("intensity", *span("Spike", "intensity", self.intensity), size=(most,))
        direction = draws.normal("direction", (most, len(shape)))
        direction /= np.sqrt((direction**2).sum(2, keepdims=True))
        radius = draws.uniform("frequency", *span("Spike", "frequency", self.frequency), size=(most,))
        # A spike sits on a sample of k-space: whole periods fit the field of view.
        frequency = np.round(radius[:, :, None] * direction * (shape // 2)) / shape
        phase = draws.uniform("phase", 0, 2 * np.pi, (most,))
        amplitude = intensity * (np.arange(most) < count[:, None])
        waves = plane_waves(tuple(image.shape[2:]), frequency, amplitude, phase, image.device)
        result = image.float()
        scale = mean_magnitude(result)
        return result.add_(waves * scale if image.shape[1] > 1 else waves.mul_(scale)).to(image.dtype)
