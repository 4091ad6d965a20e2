"""Predictions of a task on stored samples, and their figures."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medeval import Evaluation, auroc, dice, evaluate
from medfinetune import ClassificationTask, SegmentationTask
from medio import ShardDataset
from medmodels import TrainingTask
from medrun.console import Advance
from medrun.inputs import stored_image

_GROUPS = ("site", "vendor", "view", "sex")


def validation(held: ShardDataset, names: Sequence[str], cases: int | None) -> Callable[[TrainingTask], dict[str, float]]:
    """Make the validation that chooses weights: no intervals, no surfaces, and the same cases every time.

    Args:
        held: samples of the split val.
        names: classes of the masks, or findings.
        cases: how many to take, evenly spread; None takes all.
    """
    count = len(held) if cases is None else min(cases, len(held))
    chosen = [i * len(held) // count for i in range(count)]

    def score(task: TrainingTask) -> dict[str, float]:
        if isinstance(task, ClassificationTask):
            logits, labels = logits_and_labels(task, chosen, held)
            by_label = [_auroc(logits[:, k], labels[:, k]) for k in range(len(names))]
            return {"auroc": _mean(by_label)}
        assert isinstance(task, SegmentationTask)
        overlaps: dict[str, list[float]] = {name: [] for name in names[1:]}
        for i in chosen:
            predicted, truth = task.predict(stored_image(held, i)).mask, held.read(i, "mask")
            for k, name in enumerate(names[1:], start=1):
                overlaps[name].append(dice(predicted == k, truth == k))
        by_class = {f"dice/{name}": _mean(values) for name, values in overlaps.items()}
        return {"dice": _mean(by_class.values()), **by_class}

    return score


def logits_and_labels(task: ClassificationTask, indices: Sequence[int], data: ShardDataset) -> tuple[Tensor, Tensor]:
    """Collect raw logits (N, K) and labels (N, K) of whole images."""
    logits = [list(task.predict(stored_image(data, i)).logits.values()) for i in indices]
    labels = [np.asarray(data[i]["label"], dtype=np.float32) for i in indices]
    return torch.tensor(logits, dtype=torch.float32), torch.from_numpy(np.stack(labels))


def evaluate_split(
    task: TrainingTask, data: ShardDataset, names: Sequence[str], *, samples: int, seed: int, tolerance_mm: float, advance: Advance
) -> Evaluation:
    """Predict every sample of a split and evaluate, sliced by what the samples say of themselves."""
    rows = data.table.to_pylist()
    found = {name: [str(row.get(name) or dict(row["meta"] or ()).get(name) or "unknown") for row in rows] for name in _GROUPS}
    common: dict[str, Any] = {
        "classes": names,
        "patients": data.patients,
        "sample_ids": data.sample_ids,
        "groups": {name: values for name, values in found.items() if len(set(values)) > 1},
        "samples": samples,
        "seed": seed,
    }
    if isinstance(task, ClassificationTask):
        probabilities, labels = [], []
        for i in range(len(data)):
            logits, label = logits_and_labels(task, [i], data)
            probabilities.append(task.probabilities(logits).numpy()[0])
            labels.append(label.numpy()[0])
            advance()
        return evaluate("classification", np.stack(probabilities).astype(np.float64), np.stack(labels).astype(np.float64), **common)
    assert isinstance(task, SegmentationTask)
    masks = []
    for i in range(len(data)):
        masks.append(task.predict(stored_image(data, i)).mask)
        advance()
    truth = [data.read(i, "mask") for i in range(len(data))]
    spacing = [tuple(row["spacing"]) for row in rows]
    return evaluate("segmentation", masks, truth, spacing=spacing, tolerance_mm=tolerance_mm, **common)


def _auroc(logits: Tensor, labels: Tensor) -> float:
    known = ~torch.isnan(labels)
    return auroc(logits[known].numpy(), labels[known].numpy()) if bool(known.any()) else math.nan


def _mean(values: Any) -> float:
    """Mean of the defined values: a class that no case has says nothing about the weights."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan
