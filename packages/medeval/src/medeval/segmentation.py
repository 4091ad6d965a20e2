"""Scores of label maps, case by case and class by class, with the policy on empty masks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from medeval.bootstrap import mean_over_defined
from medeval.errors import LengthError, ShapeError, ValueRangeError
from medeval.metrics.surface import check_spacing, diagonal_mm, hd95_of_distances, nsd_of_distances, surface_distances

Floats = npt.NDArray[np.float64]
Box = tuple[slice, ...] | None

METRICS = ("dice", "nsd", "hd95_mm")
SCORED, BOTH_EMPTY, MISSED, HALLUCINATED = "scored", "both_empty", "missed", "hallucinated"
EMPTIES = (BOTH_EMPTY, MISSED, HALLUCINATED)


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Every case's score of every foreground class; satisfies `bootstrap.Statistics`.

    Attributes:
        classes: (K,) names of the foreground classes.
        values: metric -> (N, K) float64; NaN where prediction and reference are both empty.
        states: (N, K) `scored`, `both_empty`, `missed` or `hallucinated`.
        longest_mm: the longest image diagonal, what HD95 cannot exceed.
    """

    classes: tuple[str, ...]
    values: dict[str, Floats]
    states: npt.NDArray[np.str_]
    longest_mm: float

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        """`metric` (mean over the classes' means) and `metric/<class>` (mean over cases), each (R,)."""
        result: dict[str, Floats] = {}
        for metric, values in self.values.items():
            defined = np.isfinite(values)
            total, count = weights @ np.where(defined, values, 0.0), weights @ defined.astype(np.float64)
            means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            parts = {name: means[:, k] for k, name in enumerate(self.classes) if defined[:, k].any()}
            if parts:
                result[metric] = mean_over_defined(parts)
            result |= {f"{metric}/{name}": part for name, part in parts.items()}
        return result

    def entered(self, metric: str) -> npt.NDArray[np.bool_]:
        """(N,) cases with a defined score of that class, or of any class."""
        name, _, of = metric.partition("/")
        defined = np.isfinite(self.values[name])
        return np.asarray(defined[:, self.classes.index(of)] if of else defined.any(axis=1))

    def bounds(self, metric: str) -> tuple[float, float]:
        """[0, 1], or 0 mm to the longest diagonal."""
        return (0.0, self.longest_mm if metric.startswith("hd95_mm") else 1.0)

    def biased(self, metric: str) -> bool:
        """Never: these are means."""
        return False

    def absent(self, patients: Sequence[str]) -> dict[str, str]:
        """Figures that cannot be given, with the reason."""
        return {
            f"{metric}/{name}": "empty in every prediction and every reference"
            for metric in self.values
            for k, name in enumerate(self.classes)
            if not np.isfinite(self.values[metric][:, k]).any()
        }

    def take(self, index: npt.NDArray[np.intp]) -> "SegmentationScores":
        """The scores of some cases, in the order asked."""
        return SegmentationScores(self.classes, {m: v[index] for m, v in self.values.items()}, self.states[index], self.longest_mm)

    def empties(self) -> dict[str, int]:
        """How often each rule for empty masks applied: `missed` in all and `missed/<class>`; likewise `both_empty`, `hallucinated`."""
        counts = {}
        for state in EMPTIES:
            hit = self.states == state
            counts[state] = int(hit.sum())
            counts |= {f"{state}/{name}": int(hit[:, k].sum()) for k, name in enumerate(self.classes)}
        return counts

    def row(self, i: int) -> dict[str, Any]:
        """One case for people and JSON: every score, None where undefined, and the classes with an empty mask."""
        row: dict[str, Any] = {}
        for metric, values in self.values.items():
            defined = values[i][np.isfinite(values[i])]
            row[metric] = float(defined.mean()) if len(defined) else None
        for metric, values in self.values.items():
            row |= {f"{metric}/{name}": _or_none(values[i, k]) for k, name in enumerate(self.classes)}
        for state in EMPTIES:
            row[state] = [name for k, name in enumerate(self.classes) if self.states[i, k] == state]
        return row


def score_segmentation(
    predictions: Iterable[npt.NDArray[Any]],
    references: Iterable[npt.NDArray[Any]],
    *,
    classes: Sequence[str],
    spacing: Sequence[Sequence[float]],
    sample_ids: Sequence[str],
    tolerance_mm: float,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationScores:
    """Score label maps pair by pair; pairs are taken one at a time, so generators keep memory flat.

    Args:
        predictions: N label maps (*S) of class ids; 2D or 3D, sizes may differ between cases.
        references: N label maps on the same grids.
        classes: name of every id, `classes[0]` being the background, which is not scored.
        spacing: (N, dims) mm in array order.
        sample_ids: (N,) for error messages.
        tolerance_mm: of NSD.
        progress: called with (cases done, cases in all).

    Returns:
        The scores of the N cases.

    Raises:
        LengthError: when the lists differ in length.
        ShapeError: when the two maps of a case differ in shape.
        ValueRangeError: for an id without a name, maps that are not whole numbers, or bad spacing.
    """
    if len(classes) < 2:
        raise ValueRangeError("classes", f"{tuple(classes)} names no foreground; name the background (id 0) first, then every structure")
    if not tolerance_mm >= 0:
        raise ValueRangeError("tolerance_mm", f"must be at least 0 mm, got {tolerance_mm}")
    foreground = tuple(classes[1:])
    values: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
    states: list[list[str]] = []
    longest = 0.0
    ends = object()
    left, right = iter(predictions), iter(references)
    for i, (sample, step) in enumerate(zip(sample_ids, spacing, strict=True)):
        prediction, reference = next(left, ends), next(right, ends)
        if prediction is ends or reference is ends:
            which = "predictions" if prediction is ends else "references"
            raise LengthError(which, f"end after {i} of {len(sample_ids)} cases; give one for every sample")
        p, r = _label_map(prediction, sample, "prediction", classes), _label_map(reference, sample, "reference", classes)
        if p.shape != r.shape:
            raise ShapeError(
                sample, f"prediction {p.shape} and reference {r.shape} differ in shape; resample the prediction onto the reference's grid"
            )
        check_spacing(sample, step, p.ndim)
        rows, row_states = _score_case(p, r, len(foreground), step, tolerance_mm)
        for metric in METRICS:
            values[metric].append(rows[metric])
        states.append(row_states)
        longest = max(longest, diagonal_mm(p.shape, step))
        if progress is not None:
            progress(i + 1, len(sample_ids))
    for which, rest in (("predictions", left), ("references", right)):
        if next(rest, ends) is not ends:
            raise LengthError(which, f"hold more than the {len(sample_ids)} cases that patients names; give one patient for every case")
    shape = (len(states), len(foreground))
    arrays = {metric: np.asarray(v, dtype=np.float64).reshape(shape) for metric, v in values.items()}
    return SegmentationScores(foreground, arrays, np.asarray(states, dtype=str).reshape(shape), longest)


def _score_case(
    prediction: npt.NDArray[Any], reference: npt.NDArray[Any], classes: int, spacing: Sequence[float], tolerance_mm: float
) -> tuple[dict[str, list[float]], list[str]]:
    """Scores of the ids 1 to `classes`: metric -> (K,), and (K,) states."""
    boxes = zip(_boxes(prediction, classes), _boxes(reference, classes), strict=True)
    scores: dict[str, list[float]] = {metric: [] for metric in METRICS}
    states = []
    for label, (p_box, r_box) in enumerate(boxes, start=1):
        if p_box is None and r_box is None:
            state, case = BOTH_EMPTY, (np.nan, np.nan, np.nan)
        elif p_box is None or r_box is None:
            state, case = MISSED if p_box is None else HALLUCINATED, (0.0, 0.0, diagonal_mm(prediction.shape, spacing))
        else:
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(p_box, r_box, strict=True))
            p, r = prediction[box] == label, reference[box] == label
            overlap = 2 * np.count_nonzero(p & r) / (np.count_nonzero(p) + np.count_nonzero(r))
            forth, back = surface_distances(p, r, spacing=spacing)
            state, case = SCORED, (float(overlap), nsd_of_distances(forth, back, tolerance_mm), hd95_of_distances(forth, back))
        states.append(state)
        for metric, value in zip(METRICS, case, strict=True):
            scores[metric].append(value)
    return scores, states


def _boxes(labels: npt.NDArray[Any], classes: int) -> list[Box]:
    return list(find_objects(labels, max_label=classes))  # None where the id is absent


def _label_map(array: Any, sample: str, role: str, classes: Sequence[str]) -> npt.NDArray[np.int32]:
    array = np.asarray(array)
    if array.ndim not in (2, 3):
        raise ShapeError(
            sample, f"{role} of shape {array.shape} is no label map; give class ids as (D, H, W) or (H, W), without a channel axis"
        )
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise ValueRangeError(
            sample, f"{role} holds values that are no class ids; take the argmax of probabilities, or threshold them, first"
        )
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high >= len(classes):
        unknown = low if low < 0 else high
        raise ValueRangeError(
            sample,
            f"{role} holds class id {unknown}, classes name 0 to {len(classes) - 1} ({', '.join(classes)}); name every id, the background first",
        )
    return np.asarray(array, dtype=np.int32)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
