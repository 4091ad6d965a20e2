"""Grid lines: the anti-scatter grid, or its moiré, on the film."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import value_range
from medaug.options import Span, check_probability, span
from medaug.waves import plane_waves
from medaug.xray.film import pixel_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class GridLines:
    """Adds a plane wave: on a film linear in the logarithm of the exposure, lamellae that absorb a share of it.

    Grids have 3 to 10 lines a mm; what a detector or a smaller film shows of them is the slower moiré, hence the periods. Works on any scale of values,
    whichever end is dense.

    Attributes:
        period_mm: distance of the lines, drawn log-uniformly; a number, or (low, high).
        angle_deg: turn of the lines away from the columns (or the rows, each as often); a number, or (low, high) to draw it.
        amplitude: of the wave, as a share of the film's range; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a period that is not positive, a negative amplitude, an image that is not 2D or has no spacing, a p outside [0, 1].

    Source: Lin et al., "A study of grid artifacts formation and elimination in computed radiographic images", J. Digital Imaging 19(4), 2006.
    """

    period_mm: Span = (1.0, 5.0)
    angle_deg: Span = (-3.0, 3.0)
    amplitude: Span = (0.005, 0.03)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("GridLines", self.p)
        span("GridLines", "period_mm", self.period_mm, low=0, open_low=True)
        span("GridLines", "angle_deg", self.angle_deg, low=-180, high=180)
        span("GridLines", "amplitude", self.amplitude, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        pixel = pixel_mm(image, draws, spacing)
        period = draws.log_uniform("period_mm", *span("GridLines", "period_mm", self.period_mm))
        turn = np.radians(draws.uniform("angle_deg", *span("GridLines", "angle_deg", self.angle_deg)) + 90 * draws.chance("across", 0.5))
        frequency = np.stack([np.sin(turn), np.cos(turn)], axis=1) / period[:, None] * pixel
        amplitude = draws.uniform("amplitude", *span("GridLines", "amplitude", self.amplitude))
        phase = draws.uniform("phase", 0, 2 * np.pi)
        lines = plane_waves((image.shape[2], image.shape[3]), frequency[:, None], amplitude[:, None], phase[:, None], image.device)
        result = image.float()
        return result.add_(lines.mul_(value_range(result)[1])).to(image.dtype)
