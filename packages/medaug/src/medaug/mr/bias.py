"""The bias field of receive coils: brightness that varies slowly over the image."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.axis import map_axis
from medaug.draws import Draws, Numbers
from medaug.elementwise import exp_
from medaug.errors import AugmentationError
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasField:
    """Multiplies by the exponential of a polynomial in the coordinates, which run from -1 to 1 along each axis.

    Assumes that 0 means no signal: apply it before a z-score. All channels share the field.

    Attributes:
        strength: bound of the coefficients of the logarithm, each drawn between its negative and itself; a number, or (low, high) to draw it.
        order: greatest total power of a term.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative strength, an order below 1, a p outside [0, 1].

    Source: Van Leemput et al., "Automated model-based bias field correction of MR images of the brain", IEEE TMI 18(10), 1999.
    """

    strength: Span = (0.1, 0.5)
    order: int = 3
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("BiasField", self.p)
        span("BiasField", "strength", self.strength, low=0)
        if self.order < 1:
            raise AugmentationError("BiasField", f"order is the greatest power of the polynomial, at least 1, got {self.order}")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        dims = image.ndim - 2
        count = len(_powers(self.order, dims))
        strength = draws.uniform("strength", *span("BiasField", "strength", self.strength))
        coefficients = draws.uniform("coefficients", -1, 1, (count,)) * strength[:, None]
        field = bias_field(tuple(image.shape[2:]), coefficients, self.order, image.device)
        return image.float().mul_(field).to(image.dtype)


def bias_field(shape: tuple[int, ...], coefficients: Numbers, order: int, device: torch.device | str = "cpu") -> Tensor:
    """Build the fields of given coefficients.

    Args:
        shape: spatial shape.
        coefficients: (B, terms) of the logarithm; the powers of the first axis vary slowest, those of the last fastest.
        order: greatest total power.
        device: where the field is made.

    Returns:
        (B, 1, *shape) float32.
    """
    dims = len(shape)
    grid = np.zeros((len(coefficients), (order + 1) ** dims), np.float32)
    grid[:, np.ravel_multi_index(np.array(_powers(order, dims)).T, (order + 1,) * dims)] = coefficients
    field = torch.from_numpy(grid).to(device).view(-1, 1, *(order + 1,) * dims)
    for axis, length in enumerate(shape):
        place = (2 * np.arange(length) - (length - 1)) / max(length - 1, 1)
        basis = place[:, None] ** np.arange(order + 1)
        field = map_axis(field, axis, np.broadcast_to(basis, (len(coefficients), *basis.shape)))
    return exp_(field)


def _powers(order: int, dims: int) -> list[tuple[int, ...]]:
    return [powers for powers in itertools.product(range(order + 1), repeat=dims) if sum(powers) <= order]
