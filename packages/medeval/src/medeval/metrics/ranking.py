"""How well scores order the positive cases above the negative ones.

Every figure is computed for many weightings of the cases at once: a bootstrap is a matrix of weights, and the sort is done once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from medeval.errors import LengthError, ValueRangeError

Floats = npt.NDArray[np.float64]


def auroc(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Area under the ROC curve as the Mann-Whitney probability, ties counted half.

    Args:
        scores: (N,), higher means more likely positive; any monotone scale.
        labels: (N,) 0 or 1.

    Returns:
        The chance that a positive case scores above a negative one; NaN (undefined) when only one class is present.

    Raises:
        LengthError: when the lengths differ.
        ValueRangeError: for labels other than 0 and 1, or scores that are NaN.

    Source: Hanley and McNeil, Radiology 1982.
    """
    scores, labels = check_binary(scores, labels)
    return float(weighted_auroc(scores, labels, np.ones((1, len(scores))))[0])


def average_precision(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Average precision: the mean of precision over the recall gained at each distinct score, without interpolation.

    Args:
        scores: (N,), higher means more likely positive.
        labels: (N,) 0 or 1.

    Returns:
        A value in (0, 1], to be read beside the share of positives, which chance reaches; NaN (undefined) without positives.

    Raises:
        LengthError: when the lengths differ.
        ValueRangeError: for labels other than 0 and 1, or scores that are NaN.

    Source: Davis and Goadrich, ICML 2006 (why the curve is not interpolated).
    """
    scores, labels = check_binary(scores, labels)
    return float(weighted_average_precision(scores, labels, np.ones((1, len(scores))))[0])


def roc_curve(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """The ROC polygon: false and true positive rates at every score that bends it.

    Args:
        scores: (N,), higher means more likely positive.
        labels: (N,) 0 or 1, both present.

    Returns:
        (false positive rate, true positive rate, threshold), each (M,), from (0, 0, inf) to (1, 1, lowest score). Points on a straight
        stretch are left out: the polygon and its area are those of all points.

    Raises:
        LengthError: when the lengths differ.
        ValueRangeError: for labels other than 0 and 1, scores that are NaN, or one class only.
    """
    scores, labels = check_binary(scores, labels)
    positives = labels.sum()
    if not 0 < positives < len(labels):
        raise ValueRangeError("roc_curve", "needs at least one positive and one negative case; leave this class out")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.concatenate([[0.0], np.cumsum(labels[order])[last_of_tie]])
    false = np.concatenate([[0.0], np.cumsum(1 - labels[order])[last_of_tie]])
    thresholds = np.concatenate([[np.inf], scores[order][last_of_tie]])
    # Counts are integers, so the cross product of two neighbouring steps is exactly 0 on a straight stretch.
    turn = np.diff(true)[1:] * np.diff(false)[:-1] - np.diff(true)[:-1] * np.diff(false)[1:]
    keep = np.concatenate([[True], turn != 0, [True]])
    return false[keep] / (len(labels) - positives), true[keep] / positives, thresholds[keep]


def weighted_auroc(scores: Floats, labels: Floats, weights: Floats) -> Floats:
    """`auroc` under many weightings.

    Args:
        scores: (N,).
        labels: (N,) 0.0 or 1.0.
        weights: (R, N), how often each case counts in each replicate.

    Returns:
        (R,), NaN where a replicate holds one class only.
    """
    order, first_of_tie = _ties(scores, descending=False)
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * labels[order], first_of_tie, axis=1)
    negative = np.add.reduceat(drawn * (1 - labels[order]), first_of_tie, axis=1)
    # A positive beats every negative of a lower score and half of those of its own.
    beaten = np.cumsum(negative, axis=1) - 0.5 * negative
    wins = np.einsum("rn,rn->r", positive, beaten)
    return _divide(wins, positive.sum(axis=1) * negative.sum(axis=1))


def weighted_average_precision(scores: Floats, labels: Floats, weights: Floats) -> Floats:
    """`average_precision` under many weightings; see `weighted_auroc` for the arguments. NaN where a replicate holds no positive."""
    order, first_of_tie = _ties(scores, descending=True)
    drawn = weights[:, order]
    gained = np.add.reduceat(drawn * labels[order], first_of_tie, axis=1)
    found = np.cumsum(gained, axis=1)
    called = np.cumsum(np.add.reduceat(drawn, first_of_tie, axis=1), axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return _divide(np.einsum("rn,rn->r", gained, precision), found[:, -1])


def check_binary(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Both as float64, or an error that says what is wrong with them."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape or not len(scores):
        raise LengthError(
            "scores",
            f"scores of shape {scores.shape} and labels of shape {labels.shape} must be two equally long lists of at least one case",
        )
    if np.isnan(scores).any():
        raise ValueRangeError("scores", f"{int(np.isnan(scores).sum())} of {len(scores)} are NaN; leave those cases out or mend the model")
    if not np.isin(labels, (0, 1)).all():
        raise ValueRangeError("labels", f"must be 0 or 1, got {labels[~np.isin(labels, (0, 1))][0]}; leave unknown cases out")
    return scores, labels


def _ties(scores: Floats, *, descending: bool) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order of the scores, and where in it each run of equal scores begins."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    return order, np.concatenate([[0], np.flatnonzero(np.diff(scores[order])) + 1]).astype(np.intp)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
