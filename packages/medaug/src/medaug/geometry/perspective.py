"""The view of a film from aside."""

from dataclasses import dataclass

import numpy as np

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Perspective:
    """Bring the four corners of the window inwards, each on its own; straight lines stay straight. 2D only: a tilted film, a photographed screen.

    Attributes:
        distortion: share of half the window's width and height that a corner moves at most, uniformly from 0; a number, or (low, high) to draw it.
            At most 0.5, where the corners still span a convex figure.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a distortion outside [0, 0.5], a p outside [0, 1]; when used, for an image of three axes.
    """

    distortion: Span = 0.2
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Perspective", self.p)
        span("Perspective", "distortion", self.distortion, low=0, high=0.5)

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        if plan.dims != 2:
            raise AugmentationError("Perspective", "is for images of two axes; a volume has no viewpoint, use `Affine` or `BSpline`")
        on = on & draws.chance("apply", self.p)
        if not on.any():
            return plan
        most = draws.uniform("distortion", *span("Perspective", "distortion", self.distortion))
        signs = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        moved = signs * (1 - most[:, None, None] * draws.uniform("corners", size=(4, 2)))
        # eight equations for the eight numbers of a homography, in units of half the window: q (1 + h p) = H p + t at each corner
        equations = np.zeros((len(on), 8, 8))
        for corner, (y, x) in enumerate(signs):
            for axis in range(2):
                row = equations[:, 2 * corner + axis]
                row[:, 3 * axis : 3 * axis + 3] = y, x, 1.0
                row[:, 6:] = -moved[:, corner, axis, None] * np.array([y, x])
        numbers = np.linalg.solve(equations, moved.reshape(-1, 8, 1))[..., 0]
        unit = np.concatenate([numbers, np.ones((len(on), 1))], axis=1).reshape(-1, 3, 3)
        scale = np.concatenate([plan.extent_mm / 2, np.ones((len(on), 1))], axis=1)
        return plan.move(unit * scale[:, :, None] / scale[:, None, :], on)
