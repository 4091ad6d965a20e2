"""Histogram warp: another monotone scale of grey."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.rows import column, rows, single
from medaug.kernels import pointwise, serving
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramWarp:
    """A random rising curve from the image's range onto itself: order and extremes of values stay, their distances change.

    The curve is a broken line of `pieces` parts, even on the image's range, whose slopes differ by log-normal factors.

    Attributes:
        strength: standard deviation of the logarithm of the slopes, before they are scaled to keep the range; 0 is the identity. A number, or (low, high) to
            draw it.
        pieces: straight parts of the curve.
        per_channel: draw a curve for each channel, and take its own range.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed strength, fewer than two pieces, a p outside [0, 1].

    Source: in the manner of the histogram shift of MONAI (Cardoso et al., 2022) and the non-linear transform of Models Genesis (Zhou et al., MICCAI 2019).
    """

    strength: Span = (0.0, 0.7)
    pieces: int = 8
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("HistogramWarp", self.p)
        span("HistogramWarp", "strength", self.strength, low=0)
        if self.pieces < 2:
            raise AugmentationError("HistogramWarp", f"pieces must be at least 2 for a curve, got {self.pieces}")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        lead = (x.shape[1] if self.per_channel else 1,)
        strength = draws.uniform("strength", *span("HistogramWarp", "strength", self.strength), lead)
        slopes = np.exp(strength[..., None] * draws.normal("slopes", (*lead, self.pieces))).reshape(-1, self.pieces)
        rising = np.concatenate([np.zeros((len(slopes), 1)), np.cumsum(slopes, axis=1)], axis=1)
        warp(rows(x, self.per_channel), rising / rising[:, -1:])
        return x.to(image.dtype)


def warp(x: Tensor, curve: Numbers) -> None:
    """Map rows (R, n) float32, in place, by broken lines (R, K + 1) from 0 to 1 that are set evenly over each row's range."""
    low, high = x.amin(1).cpu().numpy(), x.amax(1).cpu().numpy()
    knots = (low[:, None] + curve * (high - low)[:, None]).astype(np.float32)
    if serving.loops(x.device):
        pointwise.curve(x.numpy(), low, high - low, knots)
    else:
        _warp_by_torch(x, low, high - low, knots)


def _warp_by_torch(x: Tensor, low: np.ndarray, extent: np.ndarray, knots: np.ndarray) -> None:
    pieces = knots.shape[1] - 1
    flat = extent <= pointwise.FLAT
    place = (x - column(low, x)) * column(pieces / np.where(flat, 1, extent), x)
    warped = column(knots[:, 0], x).repeat(1, x.shape[1])
    for k in range(pieces):
        warped.add_((place - k).clamp_(0, 1).mul_(column(knots[:, k + 1] - knots[:, k], x)))
    x.copy_(torch.where(torch.from_numpy(flat).to(x.device)[:, None], x, warped))
