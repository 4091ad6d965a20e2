"""Gamma: the power law of displays and films."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.intensity.rows import column, drawn_log, rows, single
from medaug.kernels import pointwise, serving
from medaug.options import check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma:
    """Contrast: the image, scaled to [0, 1] by its own minimum and maximum, to the power gamma, and scaled back.

    Attributes:
        range: (low, high) of gamma, drawn log-uniformly; below 1 brightens, above 1 darkens.
        invert: act on the negative, so that bright parts are spread where dark ones would be.
        retain_stats: give each image its former mean and standard deviation back, so that only the shape of its histogram changes.
        per_channel: draw a gamma for each channel, and take its own extremes and statistics.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a reversed or non-positive range, a p outside [0, 1].

    Source: the gamma augmentation of nnU-Net, Isensee et al., Nat Methods 18, 2021, which has `retain_stats=True, per_channel=True`.
    """

    range: tuple[float, float] = (0.7, 1.5)
    invert: bool = False
    retain_stats: bool = False
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Gamma", self.p)
        span("Gamma", "range", self.range, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        low, high = self.range
        if low == high == 1:
            return image
        x = single(image)
        raise_to(rows(x, self.per_channel), drawn_log(draws, "gamma", low, high, x, self.per_channel), self.invert, self.retain_stats)
        return x.to(image.dtype)


def raise_to(x: Tensor, exponent: Numbers, invert: bool = False, retain_stats: bool = False) -> None:
    """Raise rows (R, n) float32, scaled to [0, 1] by their extremes, to a power each, in place; a constant row stays."""
    if serving.loops(x.device):
        pointwise.gamma(x.numpy(), exponent.astype(np.float32), invert, retain_stats)
    else:
        _raise_by_torch(x, exponent, invert, retain_stats)


def _raise_by_torch(x: Tensor, exponent: Numbers, invert: bool, retain_stats: bool) -> None:
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    least = x.amin(1, keepdim=True)
    extent = x.amax(1, keepdim=True) - least
    flat = extent <= float(pointwise.FLAT)
    unit = ((x - least) / extent.masked_fill(flat, 1)).clamp_max(1)
    g = column(exponent, x)
    raised = (1 - (1 - unit) ** g if invert else unit**g) * extent + least
    if retain_stats:
        scale = std / torch.maximum(raised.std(1, keepdim=True), 1e-7 * extent)
        raised = (raised - raised.mean(1, keepdim=True)) * scale + mean
    x.copy_(torch.where(flat, x, raised))
