"""A choice among transforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medaug.errors import AugmentationError
from medaug.geometry.transform import SpatialTransform
from medaug.intensity.transform import IntensityTransform
from medaug.options import check_probability


@dataclass(frozen=True)
class OneOf:
    """One of several transforms, drawn for each sample.

    Options may be spatial and intensity transforms, mixed; each acts where `Compose` would have it. What sets the output's shape cannot be an option.

    Attributes:
        transforms: the options.
        weights: how likely each is, up to a common factor; None makes them equal.
        p: probability that any is applied.

    Raises:
        AugmentationError: for no options, weights that do not fit them or are negative or all 0, a p outside [0, 1].
    """

    transforms: Sequence[SpatialTransform | IntensityTransform]
    weights: Sequence[float] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("OneOf", self.p)
        object.__setattr__(self, "transforms", tuple(self.transforms))
        if not self.transforms:
            raise AugmentationError("OneOf", "has no options; name at least one transform")
        for transform in self.transforms:
            if not isinstance(transform, SpatialTransform | IntensityTransform):
                raise AugmentationError("OneOf", f"{transform!r} is no transform; it needs a method `extend` or `change`")
            if getattr(transform, "sets_shape", False):
                raise AugmentationError("OneOf", f"{transform!r} sets the output's shape, which is one for all; put it beside `OneOf`")
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(self.weights))
            if len(self.weights) != len(self.transforms) or min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf"):
                raise AugmentationError(
                    "OneOf", f"weights needs {len(self.transforms)} numbers, not negative and not all 0, got {self.weights}"
                )

    def bounds(self) -> list[tuple[float, float]]:
        """The part of [0, 1) that picks each option."""
        weights = np.ones(len(self.transforms)) if self.weights is None else np.array(self.weights, np.float64)
        edges = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
        edges[-1] = 1.0
        return [(float(low), float(high)) for low, high in pairwise(edges)]
