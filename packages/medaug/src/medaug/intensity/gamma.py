"""Gamma: the power law of displays and films."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.options import check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma:
    """Contrast: the image, scaled to [0, 1] by its own minimum and maximum, to the power gamma, and scaled back.

    Attributes:
        range: (low, high) of gamma, drawn log-uniformly; below 1 brightens, above 1 darkens.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a reversed or non-positive range, a p outside [0, 1].
    """

    range: tuple[float, float] = (0.7, 1.5)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Gamma", self.p)
        span("Gamma", "range", self.range, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        gamma = torch.from_numpy(draws.log_uniform("gamma", *self.range)).to(image.device)
        ones = (-1,) + (1,) * (image.ndim - 1)
        # float64: vector and scalar code paths of a float32 power differ in the last bit, so a voxel's value would depend on its place in the batch.
        x = image.double()
        least = x.flatten(1).amin(1).view(ones)
        extent = x.flatten(1).amax(1).view(ones) - least
        unit = (x - least) / extent.clamp_min(torch.finfo(torch.float64).tiny)
        return (unit.pow(gamma.view(ones)) * extent + least).to(image.dtype)
