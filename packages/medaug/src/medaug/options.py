"""Checks of options, shared by all transforms: an error names the transform, the option and the mend."""

import math

from medaug.errors import AugmentationError

Span = float | tuple[float, float]
"""A number that is always taken, or (low, high) to draw from."""


def check_probability(transform: str, p: float, name: str = "p") -> None:
    """Raise AugmentationError unless p lies in [0, 1]."""
    if not 0 <= p <= 1:
        raise AugmentationError(transform, f"{name} is a probability between 0 and 1, got {p}")


def span(
    transform: str, name: str, value: Span, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> tuple[float, float]:
    """Read a number or a (low, high) as a pair.

    Args:
        transform: for the error.
        name: of the option, for the error.
        value: what the user gave.
        low: the least value allowed.
        high: the greatest value allowed.
        open_low: `low` itself is not allowed either.

    Raises:
        AugmentationError: for a reversed or non-finite pair, or one outside [low, high].
    """
    first, last = (value, value) if isinstance(value, int | float) else value
    fits = math.isfinite(first) and math.isfinite(last) and first <= last and low <= first and last <= high
    if not fits or (open_low and first == low):
        bound = f" within {'(' if open_low else '['}{low}, {high}]" if (low, high) != (-math.inf, math.inf) else ""
        raise AugmentationError(transform, f"{name} needs finite low <= high{bound}, got {value}")
    return float(first), float(last)
