"""Scores of class probabilities, with unknown labels left out class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medeval.bootstrap import mean_over_defined
from medeval.errors import ShapeError, ValueRangeError
from medeval.metrics.calibration import reliability, weighted_ece
from medeval.metrics.ranking import roc_curve, weighted_auroc, weighted_average_precision

Floats = npt.NDArray[np.float64]

METRICS = ("auroc", "average_precision", "ece", "brier")
RANKING = ("auroc", "average_precision")
MIN_PATIENTS_A_SIDE = 2  # with one patient on a side every draw repeats that patient: no interval could be honest


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """Probabilities beside the truth; satisfies `bootstrap.Statistics`.

    Attributes:
        classes: (K,) names.
        probabilities: (N, K) float64 in [0, 1].
        labels: (N, K) float64, 0, 1 or NaN where unknown.
        bins: of the ECE.
        rankable: (K,) whether enough patients lie on both sides to rank them.
    """

    classes: tuple[str, ...]
    probabilities: Floats
    labels: Floats
    bins: int
    rankable: tuple[bool, ...]

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        """`metric` (mean over classes) and `metric/<class>`, each (R,)."""
        parts: dict[str, dict[str, Floats]] = {metric: {} for metric in METRICS}
        for k, name in enumerate(self.classes):
            known = np.isfinite(self.labels[:, k])
            if not known.any():
                continue
            p, y, w = self.probabilities[known, k], self.labels[known, k], weights if known.all() else weights[:, known]
            if self.rankable[k]:
                parts["auroc"][name] = weighted_auroc(p, y, w)
                parts["average_precision"][name] = weighted_average_precision(p, y, w)
            total = w.sum(axis=1)
            parts["ece"][name] = weighted_ece(p, y, w, self.bins)
            parts["brier"][name] = np.divide(w @ (p - y) ** 2, total, out=np.full_like(total, np.nan), where=total > 0)
        result: dict[str, Floats] = {}
        for metric, by_class in parts.items():
            if by_class:
                result[metric] = mean_over_defined(by_class)
            result |= {f"{metric}/{name}": value for name, value in by_class.items()}
        return result

    def entered(self, metric: str) -> npt.NDArray[np.bool_]:
        """(N,) cases whose label of that class, or of any class that takes part, is known."""
        name, _, of = metric.partition("/")
        known = np.isfinite(self.labels)
        if of:
            return np.asarray(known[:, self.classes.index(of)])
        part = np.asarray(self.rankable) if name in RANKING else np.ones(len(self.classes), dtype=bool)
        return np.asarray(known[:, part].any(axis=1))

    def bounds(self, metric: str) -> tuple[float, float]:
        """[0, 1] for every figure here."""
        return (0.0, 1.0)

    def biased(self, metric: str) -> bool:
        """The ECE alone: a resample holds repeated cases, so its bins scatter more than those of new cases would."""
        return metric.partition("/")[0] == "ece"

    def absent(self, patients: Sequence[str]) -> dict[str, str]:
        """Figures that cannot be given, with the reason."""
        result: dict[str, str] = {}
        for k, name in enumerate(self.classes):
            if self.rankable[k]:
                continue
            positive, negative = _patients_a_side(self.labels[:, k], patients)
            if positive and negative:
                reason = f"too few patients to rank: {positive} with and {negative} without the finding"
            else:
                reason = "no known label" if not positive + negative else f"one class only: every known label is {int(positive > 0)}"
            result |= {f"{metric}/{name}": reason for metric in (RANKING if positive + negative else METRICS)}
        return result

    def take(self, index: npt.NDArray[np.intp], patients: Sequence[str]) -> "ClassificationScores":
        """The scores of some cases, in the order asked.

        Args:
            index: the cases.
            patients: the patient of each of those cases.
        """
        return _with_sides(self.classes, self.probabilities[index], self.labels[index], self.bins, patients)

    def curves(self) -> dict[str, dict[str, list[list[float]]]]:
        """For every class with known labels: `reliability` bins, and the `roc` polygon as (false, true positive rate, threshold) where defined."""
        result: dict[str, dict[str, list[list[float]]]] = {}
        for k, name in enumerate(self.classes):
            known = np.isfinite(self.labels[:, k])
            if not known.any():
                continue
            p, y = self.probabilities[known, k], self.labels[known, k]
            result[name] = {"reliability": [list(bin_) for bin_ in reliability(p, y, bins=self.bins)]}
            if self.rankable[k]:
                false, true, threshold = roc_curve(p, y)
                # Infinity is no JSON: the first point calls nothing positive, which any threshold above 1 does.
                result[name]["roc"] = np.stack([false, true, np.minimum(threshold, 1.0 + 1e-6)], axis=1).tolist()
        return result

    def row(self, i: int) -> dict[str, Any]:
        """One case for people and JSON: its mean Brier score, and probability and label of every class (None where unknown)."""
        known = np.isfinite(self.labels[i])
        row: dict[str, Any] = {"brier": float(np.mean((self.probabilities[i] - self.labels[i])[known] ** 2)) if known.any() else None}
        for k, name in enumerate(self.classes):
            row[f"probability/{name}"] = float(self.probabilities[i, k])
            row[f"label/{name}"] = int(self.labels[i, k]) if known[k] else None
        return row


def score_classification(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: Sequence[str],
    patients: Sequence[str],
    sample_ids: Sequence[str],
    bins: int,
) -> ClassificationScores:
    """Check probabilities and labels and put them side by side.

    Args:
        probabilities: (N, K) in [0, 1]; independent findings, rows need not sum to 1.
        labels: (N, K) 0, 1 or NaN where unknown.
        classes: (K,) names.
        patients: (N,) the patient of each case.
        sample_ids: (N,) for error messages.
        bins: of the ECE.

    Returns:
        The scores of the N cases.

    Raises:
        ShapeError: when the arrays are not both (N, K).
        ValueRangeError: for a probability that is NaN or outside [0, 1], or a label other than 0, 1 and NaN.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    expected = (len(sample_ids), len(classes))
    for role, array in (("predictions", p), ("references", y)):
        if array.shape != expected:
            raise ShapeError(
                role,
                f"have shape {array.shape}, {expected[0]} patients and {expected[1]} classes need {expected}; give one row a case, one column a class",
            )
    if bins < 1:
        raise ValueRangeError("bins", f"must be at least 1, got {bins}")
    for wrong, array, mend in (
        (~((p >= 0) & (p <= 1)), p, "a probability lies in [0, 1]; apply a sigmoid or a softmax to logits first"),
        (~(np.isin(y, (0, 1)) | np.isnan(y)), y, "a label is 0, 1, or NaN where unknown"),
    ):
        if wrong.any():
            i, k = (int(v) for v in np.argwhere(wrong)[0])
            raise ValueRangeError(sample_ids[i], f"{classes[k]} is {array[i, k]:g}; {mend}")
    return _with_sides(tuple(classes), p, y, bins, patients)


def _with_sides(classes: tuple[str, ...], p: Floats, y: Floats, bins: int, patients: Sequence[str]) -> ClassificationScores:
    rankable = tuple(min(_patients_a_side(y[:, k], patients)) >= MIN_PATIENTS_A_SIDE for k in range(len(classes)))
    return ClassificationScores(classes, p, y, bins, rankable)


def _patients_a_side(labels: Floats, patients: Sequence[str]) -> tuple[int, int]:
    """How many patients have a positive, and a negative, case."""
    names = np.asarray(patients, dtype=str)
    return len(np.unique(names[labels == 1])), len(np.unique(names[labels == 0]))
