"""Acoustic shadows: what bone, stones and gas leave behind them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample, smooth_step_
from medaug.options import Span, check_probability, span
from medaug.ultrasound.compression import add_decibels, check_dynamic_range


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Darkens the beams behind an obstacle, which fan out from the probe's virtual apex above the image.

    The last two axes are depth (rows, the probe above row 0) and width, the beam of the middle straight down; other axes have the same shadow.

    Attributes:
        count: (low, high) of the number of shadows, both taken.
        attenuation_db: loss within a shadow; a number, or (low, high) to draw it.
        width_mm: width of the obstacle; a number, or (low, high) to draw it.
        depth: of the obstacle, as a share of the image's depth; a number, or (low, high) to draw it.
        apex_mm: height of the apex above row 0: the radius of a convex probe, 0 of a phased array, 1e6 of a linear one; a number, or (low, high) to draw it.
        dynamic_range_db: what the image's range spans if it is log-compressed, as displayed ones are; None: the image is linear amplitude, 0 is no echo.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a count below 1, a negative size, a depth outside [0, 1], a sample without spacing, a p outside [0, 1].

    Source: Feldman, Katyal, Blackwood, "US artifacts", RadioGraphics 29(4), 2009.
    """

    count: tuple[int, int] = (1, 2)
    attenuation_db: Span = (8.0, 30.0)
    width_mm: Span = (3.0, 12.0)
    depth: Span = (0.1, 0.6)
    apex_mm: Span = (30.0, 60.0)
    dynamic_range_db: float | None = 60.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Shadow", self.p)
        span("Shadow", "count", self.count, low=1)
        span("Shadow", "attenuation_db", self.attenuation_db, low=0)
        span("Shadow", "width_mm", self.width_mm, low=0, open_low=True)
        span("Shadow", "depth", self.depth, low=0, high=1)
        span("Shadow", "apex_mm", self.apex_mm, low=0)
        check_dynamic_range("Shadow", self.dynamic_range_db)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        if spacing is None:
            raise draws.error("has no spacing, so a shadow in mm means nothing; give `spacing` along each spatial axis")
        most = int(self.count[1])
        count = draws.integers("count", int(self.count[0]), most + 1)
        loss = draws.uniform("attenuation_db", *span("Shadow", "attenuation_db", self.attenuation_db), size=(most,))
        half = draws.uniform("width_mm", *span("Shadow", "width_mm", self.width_mm), size=(most,)) / 2
        start = draws.uniform("depth", *span("Shadow", "depth", self.depth), size=(most,)) * image.shape[-2] * spacing[:, -2:-1]
        side = draws.uniform("side", -0.4, 0.4, (most,)) * image.shape[-1] * spacing[:, -1:]
        # One pixel at least, so that beams of a phased array do not meet in a division by 0.
        apex = draws.uniform("apex_mm", *span("Shadow", "apex_mm", self.apex_mm)) + spacing[:, -2]
        down = (torch.arange(image.shape[-2], device=image.device)[:, None] + 0.5) * per_sample(spacing[:, -2], image)
        across = (torch.arange(image.shape[-1], device=image.device) + 0.5 - image.shape[-1] / 2) * per_sample(spacing[:, -1], image)
        decibels = torch.zeros(len(image), *(1,) * (image.ndim - 3), *image.shape[-2:], device=image.device)
        for n in range(most):
            reach = start[:, n] + apex
            fan = _fan(down + per_sample(apex, image), across, per_sample(side[:, n] / reach, image), per_sample(half[:, n] / reach, image))
            # As long a rise behind the obstacle as the sides have.
            behind = smooth_step_((down - per_sample(start[:, n], image)) / per_sample(half[:, n] / 4, image))
            decibels.sub_(fan.mul_(behind).mul_(per_sample(loss[:, n] * (n < count), image)))
            del fan
        return add_decibels(image.float(), decibels, self.dynamic_range_db).to(image.dtype)


def _fan(reach: Tensor, across: Tensor, beam: Tensor, half: Tensor) -> Tensor:
    """1 within `half` of a beam and 0 outside, its sides a quarter of that soft; a voxel's own beam is where it crosses the unit depth from the apex."""
    inside = (across / reach).sub_(beam).abs_().neg_().add_(half)
    return smooth_step_(inside.div_(half / 4))
