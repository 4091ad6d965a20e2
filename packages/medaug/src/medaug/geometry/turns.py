"""Mirrors and quarter turns."""

from dataclasses import dataclass

import numpy as np

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.options import check_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Mirror about the centre of the window, each axis on its own with probability `p`; exact, without interpolation, unless joined by another transform.

    Attributes:
        axes: spatial axes that may flip: 0 is z in 3D and y in 2D; negative ones count from the end, so -1 is x.
        p: probability of each axis.

    Raises:
        AugmentationError: for no axes or a p outside [0, 1]; when used, for an axis that the image lacks.
    """

    axes: tuple[int, ...]
    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability("Flip", self.p)
        if not self.axes:
            raise AugmentationError("Flip", "axes is empty; name at least one, e.g. (-1,) for x")

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        forward = np.repeat(np.eye(plan.dims + 1)[None], len(on), axis=0)
        for axis in self.axes:
            place = _axis("Flip", axis, plan.dims)
            forward[:, place, place] = np.where(draws.chance(f"axis {place}", self.p), -1.0, 1.0)
        return plan.move(forward, on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rot90:
    """Turn by quarters about the centre of the window, in millimetres; exact where the plane is square in voxels and spacing.

    Elsewhere a turn of 90 or 270 degrees is resampled into the window as it is, and what leaves it is lost: give `turns=(2,)` to avoid that.

    Attributes:
        axes: the plane, e.g. (-2, -1) for y and x; a positive turn takes the first axis towards the second.
        turns: counts of quarters to choose from, each as likely.
        p: probability that a sample is turned.

    Raises:
        AugmentationError: for a plane of one axis, no turns, a p outside [0, 1]; when used, for an axis that the image lacks.
    """

    axes: tuple[int, int] = (-2, -1)
    turns: tuple[int, ...] = (1, 2, 3)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Rot90", self.p)
        if len(self.axes) != 2 or self.axes[0] == self.axes[1]:
            raise AugmentationError("Rot90", f"axes needs two different axes, got {self.axes}")
        if not self.turns:
            raise AugmentationError("Rot90", "turns is empty; name at least one count of quarters, e.g. (1, 2, 3)")

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        first, second = (_axis("Rot90", axis, plan.dims) for axis in self.axes)
        if first == second:
            raise AugmentationError("Rot90", f"axes {self.axes} are one and the same in {plan.dims}D; name two")
        turns = np.array(self.turns)[draws.integers("turns", 0, len(self.turns))] % 4
        # whole numbers: the cosine of 90 degrees is not quite 0, and voxels must land on voxels
        cosine, sine = np.array([1.0, 0.0, -1.0, 0.0])[turns], np.array([0.0, 1.0, 0.0, -1.0])[turns]
        forward = np.repeat(np.eye(plan.dims + 1)[None], len(on), axis=0)
        forward[:, first, first] = forward[:, second, second] = cosine
        forward[:, second, first], forward[:, first, second] = sine, -sine
        return plan.move(forward, on & draws.chance("apply", self.p))


def _axis(transform: str, axis: int, dims: int) -> int:
    """Count an axis from the front."""
    if not -dims <= axis < dims:
        raise AugmentationError(transform, f"axis {axis} does not exist in {dims}D; axes run from 0 to {dims - 1}")
    return axis % dims
