"""What a report writer is worth on held-out pairs, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from med_vlm.pairs import Pairs
from medeval import Estimate
from medeval.bootstrap import bootstrap, keyed_rng
from medio import collate
from medmodels import Batch, Progress
from medrun.console import progress
from medrun.data import to_device
from medvlm import ReportTask

Floats = npt.NDArray[np.float64]
_NOW = Progress(0, 1)


@dataclass(frozen=True)
class CaseMeans:
    """Means over cases of figures that each case has; what `medeval.bootstrap` resamples."""

    values: Mapping[str, Floats]
    limits: Mapping[str, tuple[float, float]]

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        """Weighted means: (R,) each for weights (R, N)."""
        return {name: weights @ value / weights.sum(axis=1) for name, value in self.values.items()}

    def entered(self, metric: str) -> npt.NDArray[np.bool_]:
        """Every case takes part."""
        return np.ones(len(self.values[metric]), dtype=bool)

    def bounds(self, metric: str) -> tuple[float, float]:
        """The range of a figure."""
        return self.limits[metric]

    def biased(self, metric: str) -> bool:
        """A mean is not."""
        return False


def mean_loss(task: ReportTask, pairs: Pairs, batch_size: int) -> float:
    """Mean over reports of the mean loss a token, nats; chooses the best weights."""
    return float(np.mean(_losses(task, pairs, batch_size, shift=0)))


def score(
    task: ReportTask, pairs: Pairs, *, batch_size: int, reports: int | None, samples: int, seed: int
) -> tuple[dict[str, Estimate], list[dict[str, str]]]:
    """Measure a task on held-out pairs.

    Args:
        task: in evaluation mode.
        pairs: held out.
        batch_size: pairs at a time.
        reports: how many reports to write; None for all.
        samples: bootstrap replicates.
        seed: of the bootstrap.

    Returns:
        Figures: `loss`, nats a token of the true report given its image; `image_gain`, how much it rises when each report is given the image of
        another patient (0 means that the image is not used; absent with one patient); `exact`, share of written reports that equal the true one.
        And one row a written report: `sample_id`, `reference`, `generated`.
    """
    own = _losses(task, pairs, batch_size, shift=0)
    figures = _estimates({"loss": own}, {"loss": (0.0, np.inf)}, pairs.patients, samples, seed)
    shift = _other_patient(pairs.patients)
    if shift:
        gain = _losses(task, pairs, batch_size, shift=shift) - own
        figures |= _estimates({"image_gain": gain}, {"image_gain": (-np.inf, np.inf)}, pairs.patients, samples, seed)
    rows = write_reports(task, pairs, batch_size, len(pairs) if reports is None else min(reports, len(pairs)))
    exact = np.array([float(row["generated"].strip() == row["reference"].strip()) for row in rows])
    figures |= _estimates({"exact": exact}, {"exact": (0.0, 1.0)}, pairs.patients[: len(rows)], samples, seed)
    return figures, rows


def write_reports(task: ReportTask, pairs: Pairs, batch_size: int, count: int) -> list[dict[str, str]]:
    """Write the reports of the first `count` pairs, greedily."""
    rows: list[dict[str, str]] = []
    with progress(count, "write reports") as advance:
        for start in range(0, count, batch_size):
            chosen = range(start, min(start + batch_size, count))
            texts = task.generate(_batch(task, pairs, chosen), task.config.max_report_tokens)
            for index, text in zip(chosen, texts, strict=True):
                rows.append({"sample_id": pairs.sample_ids[index], "reference": pairs.reports[index], "generated": text})
            advance(len(texts))
    return rows


def _losses(task: ReportTask, pairs: Pairs, batch_size: int, *, shift: int) -> Floats:
    """Loss of each report, given the image `shift` pairs further on."""
    found: list[Floats] = []
    with torch.no_grad():
        for start in range(0, len(pairs), batch_size):
            chosen = range(start, min(start + batch_size, len(pairs)))
            batch = _batch(task, pairs, [(index + shift) % len(pairs) for index in chosen])
            batch["report"] = [pairs.reports[index] for index in chosen]
            found.append(task(batch, _NOW).preds["loss"].cpu().double().numpy())
    return np.concatenate(found)


def _batch(task: ReportTask, pairs: Pairs, chosen: Sequence[int]) -> Batch:
    return to_device(collate([pairs[index] for index in chosen]), next(task.parameters()).device)


def _other_patient(patients: Sequence[str]) -> int:
    """The shift that gives most pairs an image of another patient, as near to half way round as can be (neighbours may be alike); 0 where all are of one."""
    count = len(patients)
    if len(set(patients)) == 1:
        return 0
    others = [sum(patients[i] != patients[(i + shift) % count] for i in range(count)) for shift in range(count)]
    return min(range(count), key=lambda shift: (-others[shift], abs(shift - count // 2)))


def _estimates(
    values: Mapping[str, Floats], limits: Mapping[str, tuple[float, float]], patients: Sequence[str], samples: int, seed: int
) -> dict[str, Estimate]:
    return bootstrap(CaseMeans(values, limits), patients, rng=keyed_rng(seed, "med-vlm"), samples=samples)
