"""Options that are drawn for each axis."""

import math
from collections.abc import Sequence

import numpy as np

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError

Range = float | tuple[float, float] | tuple[tuple[float, float], ...]
"""r draws uniformly in [-r, r]; (low, high) in that; ((low, high), …) gives each axis its own."""


def pairs_of(value: Range) -> tuple[tuple[float, float], ...]:
    """Every (low, high) in a range; one pair where it serves all axes."""
    if isinstance(value, int | float):
        return ((-abs(value), abs(value)),)
    if len(value) == 2 and isinstance(value[0], int | float) and isinstance(value[1], int | float):
        return ((float(value[0]), float(value[1])),)
    return tuple((float(pair[0]), float(pair[1])) for pair in value if isinstance(pair, Sequence))


def check_range(transform: str, name: str, value: Range) -> None:
    """Raise AugmentationError for a reversed or non-finite range."""
    for low, high in pairs_of(value):
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise AugmentationError(transform, f"{name} needs finite low <= high, got ({low}, {high})")


def draw_axes(draws: Draws, transform: str, name: str, value: Range, count: int) -> Numbers:
    """Draw one uniform number an axis, (B, count)."""
    pairs = pairs_of(value)
    if len(pairs) == 1:
        pairs = pairs * count
    if len(pairs) != count:
        raise AugmentationError(transform, f"{name} has {len(pairs)} ranges, this image needs {count} (or one for all)")
    bounds = np.array(pairs)
    return np.asarray(bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * draws.uniform(name, size=(count,)))
