"""Haze: clutter of the near field."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.axis import cosine_modes
from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample, value_range
from medaug.options import Span, check_probability, span

_MODES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Haze:
    """Lifts the near field towards white, less with depth, unevenly across: v + amount · exp(-depth / reach) · (1 - v) of a value v in the image's range.

    The last two axes are depth (rows) and width. For displayed, log-compressed images; black stays black.

    Attributes:
        amount: lift at the probe; a number, or (low, high) to draw it.
        reach_mm: depth at which it has fallen to 37 %; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for an amount outside [0, 1], a reach that is not positive, a sample without spacing, a p outside [0, 1].

    Source: Lediju et al., "Quantitative assessment of the magnitude, impact and spatial extent of ultrasonic clutter", Ultrasonic Imaging 30(3), 2008.
    """

    amount: Span = (0.05, 0.3)
    reach_mm: Span = (10.0, 40.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Haze", self.p)
        span("Haze", "amount", self.amount, low=0, high=1)
        span("Haze", "reach_mm", self.reach_mm, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        if spacing is None:
            raise draws.error("has no spacing, so a depth in mm means nothing; give `spacing` along each spatial axis")
        amount = draws.uniform("amount", *span("Haze", "amount", self.amount))
        reach = draws.uniform("reach_mm", *span("Haze", "reach_mm", self.reach_mm))
        height, width = image.shape[-2:]
        fall = np.exp(-(np.arange(height) + 0.5) * spacing[:, -2:-1] / reach[:, None])
        wave = (draws.uniform("across", -1, 1, (_MODES,))[:, :, None] * cosine_modes(width, _MODES)).sum(1)
        # Between none and twice the mean, so that the lift stays within [0, 1] after the clip.
        uneven = 1 + wave / np.maximum(np.abs(wave).max(1, keepdims=True), 1e-12)
        rows, columns = (torch.from_numpy(v.astype(np.float32)).to(image.device) for v in (fall, uneven))
        between = (1,) * (image.ndim - 3)
        veil = rows.view(len(image), *between, -1, 1) * columns.view(len(image), *between, 1, -1)
        veil = veil.mul_(per_sample(amount, image)).clamp_(0, 1)
        x = image.float()
        least, extent = value_range(x)
        room = least + extent - x
        veil = veil.mul_(room) if veil.shape == room.shape else veil * room
        return x.add_(veil.mul_(x > least)).to(image.dtype)
