"""Noise that scanners add."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Additive Gaussian noise.

    Attributes:
        std: standard deviation in the unit that the image has when it comes here (normalised images: normalised units); a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed std, a p outside [0, 1].
    """

    std: Span = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Noise", self.p)
        span("Noise", "std", self.std, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        std = draws.uniform("std", *span("Noise", "std", self.std))
        field = draws.normal_field("field", tuple(image.shape[1:]), image.device)
        # two roundings, never a fused multiply-add: the same bits whatever the tensor's length
        field *= torch.from_numpy(std).to(image.device, torch.float32).view((-1,) + (1,) * (image.ndim - 1))
        return (image + field.to(image.dtype)).to(image.dtype)
