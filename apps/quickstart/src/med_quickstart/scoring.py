"""Figures on the held-out patients: predict once, keep the predictions, evaluate from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from med_quickstart.floors import pixel_floor, view_floor
from med_quickstart.learning import logits_and_labels, stored_image
from med_quickstart.pictures import picture_case
from med_quickstart.planning import Plan
from med_quickstart.stages import StageResult
from medeval import Estimate, Evaluation, compare, evaluate
from medfinetune import ClassificationTask, SegmentationTask, load_task
from medio import ShardDataset
from medrun.cli import progress

_GROUPS = {"segmentation": ("vendor", "site"), "classification": ("view", "sex")}


def predict_held_out(plan: Plan, dataset: Path, artifact: Path, folder: Path) -> StageResult:
    """Predict the held-out patients; for films also the two floors that a figure must beat to mean anything."""
    task = load_task(artifact)
    held = ShardDataset(dataset, split="test", labels=plan.classes if plan.task == "classification" else None)
    if isinstance(task, ClassificationTask):
        logits, labels = logits_and_labels(task, held)
        arrays = {"model": task.probabilities(logits).numpy().astype(np.float64), "reference": labels.numpy().astype(np.float64)}
        train = ShardDataset(dataset, split="train", labels=plan.classes)
        val = ShardDataset(dataset, split="val", labels=plan.classes)
        arrays["pixels"] = pixel_floor(train, val, held)
        if (views := view_floor(train, held)) is not None:
            arrays["view"] = views
        np.savez(folder / "predictions.npz", allow_pickle=False, **arrays)
        return {"cases": len(held), "predictions": str(folder / "predictions.npz")}
    assert isinstance(task, SegmentationTask)
    with progress(len(held), "held-out patients") as advance:
        for index in range(len(held)):
            np.savez_compressed(folder / f"{index:05d}.npz", mask=task.predict(stored_image(held, index)).mask)
            advance()
    return {"cases": len(held), "predictions": str(folder)}


def evaluate_held_out(
    plan: Plan, dataset: Path, predictions: Path, *, samples: int, seed: int, tolerance_mm: float
) -> dict[str, Evaluation]:
    """Evaluate the kept predictions: `model`, and for films the floors `pixels` and `view`."""
    held = ShardDataset(dataset, split="test", labels=plan.classes if plan.task == "classification" else None)
    common: dict[str, Any] = {
        "classes": plan.classes,
        "patients": held.patients,
        "sample_ids": held.sample_ids,
        "groups": groups_of(held, plan.task),
        "samples": samples,
        "seed": seed,
    }
    if plan.task == "classification":
        with np.load(predictions) as arrays:
            return {
                name: evaluate("classification", arrays[name], arrays["reference"], **common)
                for name in ("model", "pixels", "view")
                if name in arrays
            }
    masks = []
    for index in range(len(held)):
        with np.load(predictions / f"{index:05d}.npz") as arrays:
            masks.append(arrays["mask"])
    truth = [held.read(index, "mask") for index in range(len(held))]
    spacing = [row["spacing"] for row in held.table.to_pylist()]
    return {"model": evaluate("segmentation", masks, truth, spacing=spacing, tolerance_mm=tolerance_mm, **common)}


def groups_of(held: ShardDataset, task: str) -> dict[str, list[str]]:
    """Slices worth showing: those that the samples know and that have at least two values."""
    rows = held.table.to_pylist()
    groups = {}
    for name in _GROUPS[task]:
        values = [str(row.get(name) or dict(row["meta"] or ()).get(name, "") or "unknown") for row in rows]
        if len(set(values)) > 1:
            groups[name] = values
    return groups


def figures_of(evaluations: dict[str, Evaluation]) -> dict[str, Estimate]:
    """Every figure under a name that says the metric: `dice`, `dice/heart`, `dice[vendor=…]`, `floor_view/auroc`, `auroc_above_floor_view`."""
    found: dict[str, Estimate] = {}
    for name, evaluation in evaluations.items():
        prefix = "" if name == "model" else f"floor_{name}/"
        found.update({f"{prefix}{metric}": estimate for metric, estimate in evaluation.estimates.items()})
        for group, values in evaluation.slices.items():
            for value, estimates in values.items():
                found.update({f"{prefix}{metric}[{group}={value}]": estimate for metric, estimate in estimates.items()})
    model = evaluations["model"]
    for name, evaluation in evaluations.items():
        if name != "model" and "auroc" in model.estimates and "auroc" in evaluation.estimates:
            samples, seed = int(model.settings["samples"]), int(model.settings["seed"])
            found[f"auroc_above_floor_{name}"] = compare(model, evaluation, "auroc", samples=samples, seed=seed)
    return found


def pictures_of(plan: Plan, dataset: Path, predictions: Path, evaluation: Evaluation, count: int = 3) -> list[tuple[str, bytes]]:
    """The worst, the median and the best case of a segmentation, with contours."""
    if plan.task != "segmentation":
        return []
    held = ShardDataset(dataset, split="test")
    window = plan.preprocessing.intensity
    shown = None if window.low is None or window.high is None else (window.low, window.high)
    order = sorted(range(len(held)), key=lambda i: (_dice(evaluation.cases[i]), i))
    chosen: Sequence[tuple[str, int]] = [("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])][:count]
    pictures = []
    for name, index in chosen:
        image = stored_image(held, index)
        with np.load(predictions / f"{index:05d}.npz") as arrays:
            mask = arrays["mask"]
        drawn = picture_case(image.array[0], mask, held.read(index, "mask"), image.spacing, shown)
        pictures.append((f"{name} of {len(held)} held-out cases: {held.sample_ids[index]}; prediction solid, reference dashed", drawn))
    return pictures


def _dice(row: dict[str, Any]) -> float:
    values = [v for k, v in row.items() if k.startswith("dice/") and isinstance(v, float)]
    return sum(values) / len(values) if values else 0.0
