"""The one entry: predictions and references in, figures with intervals out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medeval.bootstrap import Estimate, bootstrap, keyed_rng
from medeval.classification import ClassificationScores, score_classification
from medeval.errors import LengthError, ValueRangeError
from medeval.segmentation import SegmentationScores, score_segmentation

Task = Literal["segmentation", "classification"]


@dataclass(frozen=True, slots=True)
class Absent:
    """A figure that is not given, and why; what is left out is counted, never silent.

    Attributes:
        metric: its name, or `*` for every figure of a group value.
        reason: why it cannot be given.
        group: the slicing, e.g. `site`; empty for the figures over all cases.
        value: the group's value.
        n: cases concerned.
    """

    metric: str
    reason: str
    group: str = ""
    value: str = ""
    n: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures with intervals over all cases and by group, with what is needed to look closer and to compare.

    Attributes:
        task: `segmentation` or `classification`.
        classes: the classes scored (no background).
        estimates: by name: `dice`, `dice/<class>`, `nsd`, `hd95_mm`; or `auroc`, `average_precision`, `ece` (of P(y = 1)), `brier`, likewise
            with `/<class>`. The plain name is the mean over classes.
        slices: group -> value -> name -> estimate.
        absent: figures that could not be given, with the reason.
        empties: cases under each rule for empty masks (segmentation): `both_empty` (undefined, outside the means), `missed` and
            `hallucinated` (scored Dice 0, NSD 0, HD95 the image's diagonal), in all and as `<rule>/<class>`.
        cases: one row a case, in the order given.
        curves: class -> `roc` and `reliability` points (classification).
        patients: (N,) the patient of each case.
        settings: everything else that the figures depend on.
        scores: the arrays behind the figures, for `compare`.
    """

    task: Task
    classes: tuple[str, ...]
    estimates: dict[str, Estimate]
    slices: dict[str, dict[str, dict[str, Estimate]]]
    absent: tuple[Absent, ...]
    empties: dict[str, int]
    cases: tuple[dict[str, Any], ...]
    curves: dict[str, dict[str, list[list[float]]]]
    patients: tuple[str, ...]
    settings: dict[str, Any]
    scores: SegmentationScores | ClassificationScores = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain JSON values (no NaN, no infinity)."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "cases": len(self.cases),
            "patients": len(set(self.patients)),
            "settings": dict(self.settings),
            "estimates": _as_json(self.estimates),
            "slices": {group: {value: _as_json(found) for value, found in values.items()} for group, values in self.slices.items()},
            "absent": [{"metric": a.metric, "reason": a.reason, "group": a.group, "value": a.value, "n": a.n} for a in self.absent],
            "empties": dict(self.empties),
            "curves": self.curves,
            "rows": [dict(row) for row in self.cases],
        }

    def to_html(
        self,
        path: Path | str,
        *,
        title: str = "Evaluation",
        figures: Sequence[tuple[str, bytes]] = (),
        facts: Mapping[str, str] = {},
        tables: Mapping[str, Sequence[Mapping[str, object]]] = {},
    ) -> Path:
        """Write the report: one self-contained page that needs no network.

        Args:
            path: the HTML file; its folder is made.
            title: heading of the page.
            figures: further pictures as (caption, PNG bytes), e.g. from `overlay`.
            facts: provenance as name -> text: model, data version, code version, date.
            tables: further tables as caption -> rows (column -> `Estimate`, number or text), e.g. floors to compare with.

        Returns:
            The path written.
        """
        # Here, not above: matplotlib takes a second to import, and figures without a page need none of it.
        from medeval.html import write_page

        return write_page(self, Path(path), title=title, figures=figures, facts=facts, tables=tables)


def evaluate(
    task: Task,
    predictions: Any,
    references: Any,
    *,
    classes: Sequence[str],
    patients: Sequence[str],
    spacing: Sequence[Sequence[float]] | None = None,
    sample_ids: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    tolerance_mm: float = 1.0,
    bins: int = 15,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    minimum_patients: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score predictions against references, with patient-clustered bootstrap intervals.

    Args:
        task: `segmentation` or `classification`.
        predictions: segmentation: N label maps (*S) of class ids (any iterable; taken one at a time); classification: (N, K) probabilities.
        references: segmentation: N label maps on the same grids; classification: (N, K) of 0, 1, or NaN where unknown.
        classes: segmentation: the name of every id, `classes[0]` the background, which is not scored; classification: the K names.
        patients: (N,) the patient of each case; intervals resample patients.
        spacing: (N, dims) mm in array order; segmentation needs it.
        sample_ids: (N,) unique names of the cases; their position where not given.
        groups: slicing, e.g. `{"site": [...], "sex": [...]}`, each (N,).
        tolerance_mm: of NSD.
        bins: of the ECE.
        samples: bootstrap replicates.
        seed: of the bootstrap; equal seeds give equal figures, whatever the order of named cases.
        level: coverage of the intervals.
        minimum_patients: a group value with fewer patients is not sliced, but listed in `absent`.
        progress: called with (cases done, cases in all) while segmentations are scored.

    Returns:
        The evaluation.

    Raises:
        LengthError: when the lists differ in length, no case is given, or sample ids repeat.
        ShapeError: see `score_segmentation` and `score_classification`.
        ValueRangeError: likewise; or for an unknown task.
    """
    patients = [str(patient) for patient in patients]
    ids = [str(i) for i in range(len(patients))] if sample_ids is None else [str(i) for i in sample_ids]
    groups = {} if groups is None else {group: [_group_value(v) for v in values] for group, values in groups.items()}
    _check_lists(patients, ids, classes, groups)
    if samples < 1 or not 0 < level < 1:
        raise ValueRangeError("samples", f"needs samples >= 1 and 0 < level < 1, got {samples} and {level}")
    settings: dict[str, Any] = {"samples": samples, "seed": seed, "level": level, "minimum_patients": minimum_patients}
    scores: SegmentationScores | ClassificationScores
    if task == "segmentation":
        if spacing is None:
            raise ValueRangeError("spacing", "segmentation is scored in mm; give the spacing of every case, in array order")
        if len(spacing) != len(ids):
            raise LengthError("spacing", f"has {len(spacing)} entries for {len(ids)} cases; give one tuple a case")
        scores = score_segmentation(
            predictions, references, classes=classes, spacing=spacing, sample_ids=ids, tolerance_mm=tolerance_mm, progress=progress
        )
        settings["tolerance_mm"] = tolerance_mm
    elif task == "classification":
        scores = score_classification(predictions, references, classes=classes, patients=patients, sample_ids=ids, bins=bins)
        settings["bins"] = bins
    else:
        raise ValueRangeError("task", f"{task!r} is not known; use 'segmentation' or 'classification'")
    cases = tuple(
        {"sample_id": ids[i], "patient": patients[i], **{f"group/{g}": v[i] for g, v in groups.items()}, **scores.row(i)}
        for i in range(len(ids))
    )

    # Sums depend on their order in the last digit: in the order of the names they do not depend on the order of the call.
    order = np.lexsort((np.asarray(ids, dtype=str), np.asarray(patients, dtype=str)))
    estimates, absent = _figures(scores, order, patients, samples=samples, level=level, seed=seed)
    slices: dict[str, dict[str, dict[str, Estimate]]] = {}
    for group, values in groups.items():
        named = np.asarray(values, dtype=str)
        slices[group] = {}
        for value in sorted(set(named.tolist())):
            index = order[named[order] == value]
            count = len({patients[i] for i in index})
            if count < minimum_patients:
                absent.append(Absent("*", f"{count} patients, fewer than {minimum_patients}", group, value, len(index)))
                continue
            slices[group][value], gone = _figures(scores, index, patients, samples=samples, level=level, seed=seed)
            absent += [Absent(a.metric, a.reason, group, value, a.n) for a in gone]
    return Evaluation(
        task=task,
        classes=scores.classes,
        estimates=estimates,
        slices=slices,
        absent=tuple(absent),
        empties=scores.empties() if isinstance(scores, SegmentationScores) else {},
        cases=cases,
        curves=scores.curves() if isinstance(scores, ClassificationScores) else {},
        patients=tuple(patients),
        settings=settings,
        scores=scores,
    )


def take(
    scores: SegmentationScores | ClassificationScores, index: npt.NDArray[np.intp], patients: Sequence[str]
) -> SegmentationScores | ClassificationScores:
    """The scores of some cases, in the order asked; `patients` names the patient of each of them."""
    return scores.take(index) if isinstance(scores, SegmentationScores) else scores.take(index, patients)


def _figures(
    scores: SegmentationScores | ClassificationScores,
    index: npt.NDArray[np.intp],
    patients: Sequence[str],
    *,
    samples: int,
    level: float,
    seed: int,
) -> tuple[dict[str, Estimate], list[Absent]]:
    of = [patients[i] for i in index]
    part = take(scores, index, of)
    found = bootstrap(part, of, rng=keyed_rng(seed, "bootstrap"), samples=samples, level=level)
    return found, [Absent(metric, reason, n=len(of)) for metric, reason in part.absent(of).items()]


def _check_lists(patients: Sequence[str], ids: Sequence[str], classes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    if not patients:
        raise LengthError("patients", "no case was given; give at least one")
    if len(ids) != len(patients):
        raise LengthError("sample_ids", f"has {len(ids)} entries for {len(patients)} patients; give one of each a case")
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise LengthError(name, "appears twice in sample_ids; give every case a name of its own")
        seen.add(name)
    if len(set(classes)) != len(classes) or not classes:
        raise ValueRangeError("classes", f"must be distinct names, got {tuple(classes)}")
    for group, values in groups.items():
        if len(values) != len(patients):
            raise LengthError(group, f"has {len(values)} values for {len(patients)} cases; give one a case, empty where unknown")


def _group_value(value: object) -> str:
    return "unknown" if value is None or str(value).strip() == "" else str(value)


def _as_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | int]]:
    return {name: estimate.to_dict() for name, estimate in estimates.items()}
