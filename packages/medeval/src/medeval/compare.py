"""Two models on the same cases."""

from collections.abc import Sequence

import numpy as np

from medeval.bootstrap import Estimate, difference, keyed_rng
from medeval.classification import ClassificationScores
from medeval.errors import EvalError, LengthError
from medeval.evaluation import Evaluation, take


def compare(a: Evaluation, b: Evaluation, metric: str, *, samples: int = 1000, seed: int = 0, level: float = 0.95) -> Estimate:
    """The difference `a - b` of one figure, with an interval from resampling patients for both at once.

    Pairing removes what makes cases easy or hard for any model: the interval is the narrower, the more the two agree on which are hard.

    Args:
        a: evaluation of one model.
        b: evaluation of the other, on the same cases in any order.
        metric: a name in `estimates` of both, e.g. `dice` or `auroc/effusion`.
        samples: bootstrap replicates.
        seed: of the bootstrap.
        level: coverage of the interval.

    Returns:
        The difference; an interval without 0 says that the sign is unlikely to be chance.

    Raises:
        EvalError: when the tasks or references differ, or the figure is not given for both.
        LengthError: when the cases or their patients differ.
    """
    if a.task != b.task:
        raise EvalError(metric, f"cannot compare a {a.task} with a {b.task}; evaluate both on one task")
    for name, evaluation in (("first", a), ("second", b)):
        if metric not in evaluation.estimates:
            raise EvalError(metric, f"is not among the figures of the {name} evaluation: {', '.join(evaluation.estimates)}")
    a_at, b_at = _positions(a), _positions(b)
    if a_at.keys() != b_at.keys():
        odd = sorted(a_at.keys() ^ b_at.keys())
        raise LengthError(odd[0], f"is one of {len(odd)} cases that only one of the two evaluations holds; evaluate both on the same cases")
    order = sorted(a_at, key=lambda sample: (a.patients[a_at[sample]], sample))
    patients = [a.patients[a_at[sample]] for sample in order]
    for sample, patient in zip(order, patients, strict=True):
        if b.patients[b_at[sample]] != patient:
            raise LengthError(
                sample, f"belongs to patient {patient} in one evaluation and {b.patients[b_at[sample]]} in the other; mend the lists"
            )
    left = take(a.scores, np.asarray([a_at[sample] for sample in order]), patients)
    right = take(b.scores, np.asarray([b_at[sample] for sample in order]), patients)
    if isinstance(left, ClassificationScores) and isinstance(right, ClassificationScores):
        _check_labels(left, right, metric, order)
    return difference(left, right, metric, patients, rng=keyed_rng(seed, "bootstrap"), samples=samples, level=level)


def _positions(evaluation: Evaluation) -> dict[str, int]:
    return {str(row["sample_id"]): i for i, row in enumerate(evaluation.cases)}


def _check_labels(a: ClassificationScores, b: ClassificationScores, metric: str, samples: Sequence[str]) -> None:
    if a.classes != b.classes:
        raise EvalError(
            metric, f"the classes differ: {', '.join(a.classes)} against {', '.join(b.classes)}; evaluate both on the same classes"
        )
    same = (a.labels == b.labels) | (np.isnan(a.labels) & np.isnan(b.labels))
    if not same.all():
        raise EvalError(samples[int(np.argwhere(~same)[0, 0])], "has other labels in the two evaluations; use one reference for both")
