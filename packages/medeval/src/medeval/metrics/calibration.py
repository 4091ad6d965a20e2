"""Whether a probability means what it says.

Everything here is about P(y = 1), the probability of the finding itself, not about the confidence in the more likely label: the two differ
(0.1088 against 0.1078 on one sample), so the name is said wherever the figure is shown.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medeval.errors import ValueRangeError
from medeval.metrics.ranking import check_binary

Floats = npt.NDArray[np.float64]


class ReliabilityBin(NamedTuple):
    """One bin of a reliability diagram.

    Attributes:
        low: lower edge, inside.
        high: upper edge, outside (the last bin holds 1 too).
        mean_probability: mean of what was promised.
        observed: share of positives, what came.
        n: cases in the bin, at least 1.
    """

    low: float
    high: float
    mean_probability: float
    observed: float
    n: int


def ece(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], *, bins: int = 15) -> float:
    """Expected calibration error of P(y = 1) with equal-width bins.

    The mean over cases of |observed share - mean probability| of their bin. Bin k of B holds k/B <= p < (k+1)/B, the last one also p = 1.
    With finite cases it is biased upwards: a perfectly calibrated model does not reach 0.

    Args:
        probabilities: (N,) in [0, 1].
        labels: (N,) 0 or 1.
        bins: number of bins.

    Returns:
        A value in [0, 1], lower is better.

    Raises:
        LengthError: when the lengths differ.
        ValueRangeError: for probabilities outside [0, 1], labels other than 0 and 1, or no bins.

    Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017, for the positive class.
    """
    probabilities, labels = _check(probabilities, labels, bins)
    return float(weighted_ece(probabilities, labels, np.ones((1, len(labels))), bins)[0])


def brier(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Brier score: mean squared difference between probability and outcome.

    Args:
        probabilities: (N,) in [0, 1].
        labels: (N,) 0 or 1.

    Returns:
        A value in [0, 1], lower is better; 0.25 is a constant one half.

    Raises:
        LengthError: when the lengths differ.
        ValueRangeError: for probabilities outside [0, 1] or labels other than 0 and 1.

    Source: Brier, Monthly Weather Review 1950.
    """
    probabilities, labels = _check(probabilities, labels, 1)
    return float(np.mean((probabilities - labels) ** 2))


def reliability(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], *, bins: int = 15) -> list[ReliabilityBin]:
    """The non-empty bins behind `ece`, from low to high; same arguments and errors."""
    probabilities, labels = _check(probabilities, labels, bins)
    index = bin_index(probabilities, bins)
    result = []
    for k in np.unique(index):
        inside = index == k
        result.append(
            ReliabilityBin(k / bins, (k + 1) / bins, float(probabilities[inside].mean()), float(labels[inside].mean()), int(inside.sum()))
        )
    return result


def weighted_ece(probabilities: Floats, labels: Floats, weights: Floats, bins: int) -> Floats:
    """`ece` under many weightings.

    Args:
        probabilities: (N,).
        labels: (N,).
        weights: (R, N), how often each case counts in each replicate.
        bins: number of bins.

    Returns:
        (R,), NaN where a replicate is empty.
    """
    index = bin_index(probabilities, bins)
    gaps = np.zeros((len(labels), bins))
    gaps[np.arange(len(labels)), index] = labels - probabilities
    total = weights.sum(axis=1)
    # n_bin * |observed - promised| of a bin is the absolute sum of its gaps.
    return np.asarray(np.divide(np.abs(weights @ gaps).sum(axis=1), total, out=np.full_like(total, np.nan), where=total > 0))


def bin_index(probabilities: Floats, bins: int) -> npt.NDArray[np.intp]:
    """(N,) the equal-width bin of each probability; 1.0 lies in the last."""
    # Against the edges, not floor(p * bins): 0.6 * 5 is 3, but 0.29 * 100 is 28.999999999999996.
    edges = np.arange(1, bins) / bins
    return np.asarray(np.searchsorted(edges, probabilities, side="right"), dtype=np.intp)


def _check(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], bins: int) -> tuple[Floats, Floats]:
    probabilities, labels = check_binary(probabilities, labels)
    if bins < 1:
        raise ValueRangeError("bins", f"must be at least 1, got {bins}")
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise ValueRangeError(
            "probabilities", f"must lie in [0, 1], got {probabilities[outside][0]:g}; apply a sigmoid or a softmax to logits first"
        )
    return probabilities, labels
