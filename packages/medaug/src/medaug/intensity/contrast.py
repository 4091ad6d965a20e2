"""Contrast: values away from their mean, or towards it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.intensity.rows import column, drawn, rows, single
from medaug.kernels import pointwise, serving
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The distance of each value from the image's mean times a factor.

    Attributes:
        factor: below 1 flattens, above 1 spreads; a number, or (low, high) to draw it.
        keep_range: hold the result within the image's former minimum and maximum.
        per_channel: draw a factor for each channel, and take its own mean and extremes.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed factor, a p outside [0, 1].

    Source: the contrast augmentation of nnU-Net, Isensee et al., Nat Methods 18, 2021.
    """

    factor: Span = (0.75, 1.25)
    keep_range: bool = True
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Contrast", self.p)
        span("Contrast", "factor", self.factor, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        factor = drawn(draws, "factor", *span("Contrast", "factor", self.factor), x, self.per_channel)
        stretch(rows(x, self.per_channel), factor, self.keep_range)
        return x.to(image.dtype)


def stretch(x: Tensor, factor: Numbers, keep_range: bool) -> None:
    """Multiply the distance of rows (R, n) float32 from their means by a factor each, in place."""
    if serving.loops(x.device):
        values = x.numpy()
        low, high, mean, _ = pointwise.statistics(values).T
        if not keep_range:
            low, high = np.full(len(low), -np.inf), np.full(len(low), np.inf)
        pointwise.linear(values, *(v.astype(np.float32) for v in (factor, mean * (1 - factor), low, high)))
    else:
        _stretch_by_torch(x, factor, keep_range)


def _stretch_by_torch(x: Tensor, factor: Numbers, keep_range: bool) -> None:
    mean, low, high = x.mean(1, keepdim=True), x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    x.sub_(mean).mul_(column(factor, x)).add_(mean)
    if keep_range:
        torch.clamp(x, low, high, out=x)
