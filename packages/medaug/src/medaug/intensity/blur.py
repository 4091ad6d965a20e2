"""Blur: resolution lost evenly."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.along import smooth
from medaug.intensity.rows import single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """A Gaussian along every axis; edges repeat their voxel.

    Give the width in mm or in voxels. In mm an anisotropic image is blurred evenly in space, hence less along its thick slices.

    Attributes:
        sigma_mm: standard deviation of the Gaussian; a number, or (low, high) to draw it.
        sigma_voxels: the same in voxels; where neither is given, (0.5, 1.0), as in nnU-Net.
        per_axis: draw a width for each axis.
        per_channel: draw for each channel.
        p_channel: probability that a channel of a changed sample is blurred.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for both widths at once, a negative or reversed one, a p outside [0, 1]; for sigma_mm where a sample has no spacing.
    """

    sigma_mm: Span | None = None
    sigma_voxels: Span | None = None
    per_axis: bool = False
    per_channel: bool = False
    p_channel: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Blur", self.p)
        check_probability("Blur", self.p_channel, "p_channel")
        width("Blur", self.sigma_mm, self.sigma_voxels)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        own = self.per_channel or self.p_channel < 1
        sigma = drawn_sigma(draws, *width("Blur", self.sigma_mm, self.sigma_voxels), x, spacing, self.per_axis, self.per_channel)
        if own:
            sigma = np.broadcast_to(sigma, (len(x), x.shape[1], sigma.shape[2]))
            sigma = np.where(draws.chance("channel", self.p_channel, (x.shape[1],))[..., None], sigma, 0)
        smooth(x, sigma.reshape(-1, sigma.shape[2]))
        return x.to(image.dtype)


def width(transform: str, sigma_mm: Span | None, sigma_voxels: Span | None) -> tuple[float, float, bool]:
    """Read the two ways to give a width: low, high, and whether they are mm.

    Raises:
        AugmentationError: for both at once, a negative or reversed one.
    """
    if sigma_mm is not None and sigma_voxels is not None:
        raise AugmentationError(transform, f"takes sigma_mm or sigma_voxels, got both ({sigma_mm} and {sigma_voxels}); drop one")
    if sigma_mm is not None:
        return *span(transform, "sigma_mm", sigma_mm, low=0), True
    return *span(transform, "sigma_voxels", (0.5, 1.0) if sigma_voxels is None else sigma_voxels, low=0), False


def drawn_sigma(
    draws: Draws, low: float, high: float, in_mm: bool, image: Tensor, spacing: Numbers | None, per_axis: bool, per_channel: bool
) -> Numbers:
    """Draw widths in voxels: (B, C or 1, dims).

    Raises:
        AugmentationError: for widths in mm of samples without a spacing.
    """
    dims = image.ndim - 2
    drawn = draws.uniform("sigma", low, high, (image.shape[1] if per_channel else 1, dims if per_axis else 1))
    if in_mm:
        if spacing is None:
            raise draws.error("has no spacing, so sigma_mm means nothing; give `spacing`, or use sigma_voxels")
        return drawn / spacing[:, None, :]
    return np.broadcast_to(drawn, (*drawn.shape[:2], dims))
