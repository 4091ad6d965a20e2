"""Changes that vary slowly over the image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.intensity.rows import column, rows, single
from medaug.kernels import pointwise, serving
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalGamma:
    """Gamma that differs from place to place: the exponent is 2 to the power of `strength` times a smooth standard normal field.

    Attributes:
        strength: standard deviation of the exponent's logarithm to base 2; a number, or (low, high) to draw it.
        sigma_mm: smoothness: the field is as white noise smoothed by a Gaussian of this standard deviation; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed option, a p outside [0, 1]; for a sample without spacing.
    """

    strength: Span = (0.1, 0.5)
    sigma_mm: Span = (20.0, 60.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("LocalGamma", self.p)
        span("LocalGamma", "strength", self.strength, low=0)
        span("LocalGamma", "sigma_mm", self.sigma_mm, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        field = _field("LocalGamma", self.sigma_mm, image, draws, spacing)
        strength = draws.uniform("strength", *span("LocalGamma", "strength", self.strength))
        x = single(image)
        raise_locally(x, field, strength)
        return x.to(image.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBrightness:
    """The image plus a smooth normal field.

    Attributes:
        std: standard deviation of what is added, in the image's unit; a number, or (low, high) to draw it.
        sigma_mm: smoothness, as in `LocalGamma`.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative or reversed option, a p outside [0, 1]; for a sample without spacing.
    """

    std: Span = (0.0, 0.3)
    sigma_mm: Span = (20.0, 60.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("LocalBrightness", self.p)
        span("LocalBrightness", "std", self.std, low=0)
        span("LocalBrightness", "sigma_mm", self.sigma_mm, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        field = _field("LocalBrightness", self.sigma_mm, image, draws, spacing)
        line = rows(field, False)
        line.mul_(column(draws.uniform("std", *span("LocalBrightness", "std", self.std)), line))
        x = single(image)
        return x.add_(field[:, None]).to(image.dtype)


def raise_locally(x: Tensor, field: Tensor, strength: Numbers) -> None:
    """Raise x (B, C, *S) float32, each channel scaled to [0, 1] by its extremes, to the power 2**(strength[b] * field[b]), in place.

    Args:
        x: (B, C, *S), contiguous.
        field: (B, *S).
        strength: (B,).
    """
    line = rows(x, True)
    low, high = line.amin(1).cpu().numpy(), line.amax(1).cpu().numpy()
    if serving.loops(x.device):
        pointwise.local_gamma(line.numpy(), field.flatten(1).numpy(), low, high - low, strength.astype(np.float32))
    else:
        _raise_by_torch(line, field.flatten(1), strength, low, high - low)


def _raise_by_torch(line: Tensor, field: Tensor, strength: Numbers, low: np.ndarray, extent: np.ndarray) -> None:
    least, size = column(low, line), column(extent, line)
    exponent = (field * column(strength, field)).exp2().repeat_interleave(len(line) // len(field), 0)
    flat = size <= float(pointwise.FLAT)
    unit = ((line - least) / size.masked_fill(flat, 1)).clamp_max(1)
    line.copy_(torch.where(flat, line, unit**exponent * size + least))


def _field(transform: str, sigma_mm: Span, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
    """Draw a smooth field for all channels of a sample: (B, *S)."""
    if spacing is None:
        raise draws.error("has no spacing, so sigma_mm means nothing; give `spacing`")
    sigma = draws.uniform("sigma", *span(transform, "sigma_mm", sigma_mm))[:, None] / spacing
    return draws.smooth_field("field", tuple(image.shape[2:]), sigma, image.device)
