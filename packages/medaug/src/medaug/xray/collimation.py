"""Collimation: shutters that end the field."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample, smooth_step_, value_range
from medaug.options import Span, check_probability, span
from medaug.xray.film import pixel_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Collimation:
    """Covers what lies outside a rectangle that may be turned a little.

    Works on any scale of values.

    Attributes:
        margin: what each of the four shutters covers, as a share of the film's height or width, each by a draw of its own; a number, or (low, high).
        rotation_deg: turn of the field about the film's centre; a number, or (low, high) to draw it.
        edge_mm: width of the penumbra; a number, or (low, high) to draw it.
        fill: value under the shutters as a share of the film's range: 0 its minimum, 1 its maximum; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a margin outside [0, 0.45], a negative edge, a fill outside [0, 1], an image that is not 2D or has no spacing, a p outside
            [0, 1].

    Source: DICOM PS3.3 C.7.6.11 (display shutter) and C.8.7.3 (X-ray collimator).
    """

    margin: Span = (0.0, 0.12)
    rotation_deg: Span = (-4.0, 4.0)
    edge_mm: Span = (0.5, 4.0)
    fill: Span = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Collimation", self.p)
        span("Collimation", "margin", self.margin, low=0, high=0.45)
        span("Collimation", "rotation_deg", self.rotation_deg, low=-180, high=180)
        span("Collimation", "edge_mm", self.edge_mm, low=0)
        span("Collimation", "fill", self.fill, low=0, high=1)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        pixel = pixel_mm(image, draws, spacing)
        margin = draws.uniform("margin", *span("Collimation", "margin", self.margin), size=(4,))
        turn = np.radians(draws.uniform("rotation_deg", *span("Collimation", "rotation_deg", self.rotation_deg)))
        edge = np.maximum(draws.uniform("edge_mm", *span("Collimation", "edge_mm", self.edge_mm)), pixel.min(1))
        fill = draws.uniform("fill", *span("Collimation", "fill", self.fill))
        half = np.array(image.shape[2:]) * pixel / 2
        to = [per_sample(v, image) for v in (np.cos(turn), np.sin(turn), pixel[:, 0], pixel[:, 1])]
        rows = (torch.arange(image.shape[2], device=image.device)[:, None] - 0.5 * (image.shape[2] - 1)) * to[2]
        columns = (torch.arange(image.shape[3], device=image.device) - 0.5 * (image.shape[3] - 1)) * to[3]
        # Distance in mm inside the nearest of the four edges, along the turned axes.
        inside = rows * to[0] - columns * to[1]
        reach = [per_sample(half[:, side // 2] * (1 - 2 * margin[:, side]), image) for side in range(4)]
        inside = torch.minimum(inside + reach[0], inside.neg_().add_(reach[1]))
        for sign, side in ((1, 2), (-1, 3)):
            inside = torch.minimum(inside, (rows * (sign * to[1]) + columns * (sign * to[0])).add_(reach[side]))
        seen = smooth_step_(inside.div_(per_sample(edge, image)).add_(0.5))
        least, extent = value_range(image.float())
        result = image.float().mul_(seen)
        return result.add_(seen.neg_().add_(1).mul_(extent * per_sample(fill, image) + least)).to(image.dtype)
