"""Tissue contrast: the same anatomy at another field strength or with other sequence times."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import compiled, value_range
from medaug.kernels.mr_lookup import look_up
from medaug.options import Span, check_probability, span

_KNOTS, _TERMS = 256, 3
_LEAST_SLOPE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueContrast:
    """Sends the values of an image, between its own minimum and maximum, through a smooth random curve with fixed ends.

    T1 and T2 change with the field strength, so tissues move against each other while the order mostly holds; a sequence of another weighting breaks the
    order too. Works on any scale of intensity; channels share the curve.

    Attributes:
        strength: greatest distance of the curve from the diagonal that the draw allows, as a share of the range; a number, or (low, high) to draw it.
        monotone: keep the order of values: the curve is drawn back towards the diagonal until its slope is 0.4 everywhere, so that no tissues merge.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a strength outside [0, 0.5], a p outside [0, 1].

    Source: Bottomley et al., "A review of normal tissue hydrogen NMR relaxation times and relaxation mechanisms from 1-100 MHz", Medical Physics 11(4),
    1984, for how contrasts move with the field; random curves as in Zhou et al., "Models Genesis", MICCAI 2019.
    """

    strength: Span = (0.05, 0.25)
    monotone: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("TissueContrast", self.p)
        span("TissueContrast", "strength", self.strength, low=0, high=0.5)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        strength = draws.uniform("strength", *span("TissueContrast", "strength", self.strength))
        curves = tissue_curves(strength, draws.uniform("terms", -1, 1, (_TERMS,)), monotone=self.monotone)
        least, extent = value_range(image.float())
        unit = image.float().sub_(least).div_(extent)
        if compiled(image.device):
            look_up(unit.view(len(unit), -1).numpy(), curves)
        else:
            unit = _look_up_torch(unit, curves)
        return unit.mul_(extent).add_(least).to(image.dtype)


def tissue_curves(strength: Numbers, terms: Numbers, *, monotone: bool) -> npt.NDArray[np.float32]:
    """Tabulate the curves u + sum of a_k sin(pi k u), clipped to [0, 1], at evenly spaced u in [0, 1].

    Args:
        strength: (B,), the sum of |a_k|.
        terms: (B, terms), the proportions of a_k.
        monotone: scale a_k down until no slope is below 0.4.

    Returns:
        (B, knots) float32.
    """
    order = np.arange(1, terms.shape[1] + 1)
    scaled = strength[:, None] * terms / np.maximum(np.abs(terms).sum(1, keepdims=True), 1e-12)
    u = np.linspace(0, 1, _KNOTS)
    bend = np.stack([(row[:, None] * np.sin(math.pi * order[:, None] * u)).sum(0) for row in scaled])
    if monotone:
        steepest = np.maximum(-np.diff(bend, axis=1).min(1) * (_KNOTS - 1), 1e-12)
        bend *= np.minimum(1, (1 - _LEAST_SLOPE) / steepest)[:, None]
    return np.asarray(np.clip(u + bend, 0, 1), np.float32)


def _look_up_torch(unit: Tensor, curves: npt.NDArray[np.float32]) -> Tensor:
    table = torch.from_numpy(curves).to(unit.device)
    place = unit.flatten(1) * (table.shape[1] - 1)
    left = place.floor().clamp(0, table.shape[1] - 2)
    low, high = table.gather(1, left.long()), table.gather(1, left.long() + 1)
    return (low + (place - left) * (high - low)).view(unit.shape)
