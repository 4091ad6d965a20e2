"""Overlap of two masks."""

from typing import Any

import numpy as np
import numpy.typing as npt

from medeval.errors import ShapeError


def dice(prediction: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Dice similarity coefficient, 2 |P and R| / (|P| + |R|).

    Args:
        prediction: (*S) boolean, or anything whose non-zero elements are foreground.
        reference: (*S), the same shape.

    Returns:
        A value in [0, 1]; 0 when exactly one mask is empty; NaN (undefined) when both are.

    Raises:
        ShapeError: when the shapes differ.

    Source: Dice, Ecology 1945; on empty masks Maier-Hein et al., "Metrics reloaded", Nature Methods 2024.
    """
    if prediction.shape != reference.shape:
        raise ShapeError("dice", f"prediction {prediction.shape} and reference {reference.shape} differ in shape; bring both onto one grid")
    p, r = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    total = int(np.count_nonzero(p)) + int(np.count_nonzero(r))
    return 2 * int(np.count_nonzero(p & r)) / total if total else float("nan")
