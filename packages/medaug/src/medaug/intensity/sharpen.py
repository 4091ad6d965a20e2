"""Sharpen: an unsharp mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.intensity.along import smooth
from medaug.intensity.blur import drawn_sigma, width
from medaug.intensity.rows import column, rows, single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpen:
    """The image plus `amount` times what a Gaussian blur takes from it.

    Attributes:
        amount: without unit; a number, or (low, high) to draw it.
        sigma_mm: standard deviation of the Gaussian; a number, or (low, high) to draw it.
        sigma_voxels: the same in voxels; where neither is given, (0.5, 1.0).
        keep_range: hold the result within the image's former minimum and maximum, so that edges do not overshoot what the scanner can give.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for both widths at once, a negative or reversed option, a p outside [0, 1]; for sigma_mm where a sample has no spacing.
    """

    amount: Span = (0.2, 1.0)
    sigma_mm: Span | None = None
    sigma_voxels: Span | None = None
    keep_range: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Sharpen", self.p)
        span("Sharpen", "amount", self.amount, low=0)
        width("Sharpen", self.sigma_mm, self.sigma_voxels)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        amount = draws.uniform("amount", *span("Sharpen", "amount", self.amount))
        sigma = drawn_sigma(draws, *width("Sharpen", self.sigma_mm, self.sigma_voxels), x, spacing, False, False)
        soft = x.clone()
        smooth(soft, sigma[:, 0])
        line = rows(x, False)
        low, high = line.amin(1, keepdim=True), line.amax(1, keepdim=True)
        # three tensors of plain sums and products, each rounded once: no bit depends on the batch
        line.add_(torch.sub(line, rows(soft, False), out=rows(soft, False)).mul_(column(amount, line)))
        if self.keep_range:
            torch.clamp(line, low, high, out=line)
        return x.to(image.dtype)
