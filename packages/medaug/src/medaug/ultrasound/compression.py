"""Decibels on an image: displayed values are logarithms of amplitudes."""

import math

from torch import Tensor

from medaug.elementwise import exp_, value_range
from medaug.options import span


def check_dynamic_range(transform: str, dynamic_range_db: float | None) -> None:
    """Raise AugmentationError unless it is a positive number, or None for images of linear amplitude."""
    if dynamic_range_db is not None:
        span(transform, "dynamic_range_db", dynamic_range_db, low=0, open_low=True)


def add_decibels(image: Tensor, decibels: Tensor, dynamic_range_db: float | None) -> Tensor:
    """Amplify by decibels.

    Args:
        image: (B, C, *S) float32, overwritten. Compressed: its minimum is black, which stays black, and its range spans `dynamic_range_db`, which nothing
            leaves. Linear amplitude (`dynamic_range_db` None): multiplied.
        decibels: broadcasts over the image; overwritten.
        dynamic_range_db: see above.
    """
    if dynamic_range_db is None:
        return image.mul_(exp_(decibels.mul_(math.log(10) / 20)))
    least, extent = value_range(image)
    # Black is outside the sector or without echo: no gain makes it speak.
    seen = image > least
    change = decibels.div_(dynamic_range_db).mul_(extent)
    change = change.mul_(seen) if change.shape == seen.shape else change * seen
    return image.add_(change).clamp_(least, least + extent)
