"""The two trainings: an encoder without labels, then the clinical task from it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from med_quickstart.pictures import picture_reconstruction
from med_quickstart.planning import Plan
from med_quickstart.stages import StageResult
from medaug import Affine, Compose, Gamma, Noise
from medeval import evaluate
from medfinetune import ClassificationTask, SegmentationConfig, SegmentationTask, load_task
from medio import Crop, Image, ShardDataset, collate
from medmodels import create_model, load_encoder, save_artifact
from medmodels.contracts import Backbone, TrainingTask
from medpretrain import MaskedAutoencoder
from medrun.data import Normalize, TrainData
from medrun.engine import fit
from medrun.engine_config import EngineConfig
from medrun.seeding import seed_everything

Tracker = Callable[[], Any]
"""Opens the run's tracker when first called: a run whose trainings are done needs none."""


def pretrain(plan: Plan, dataset: Path, folder: Path, *, seed: int, workers: int, tracker: Tracker) -> StageResult:
    """Learn an encoder by masked autoencoding on the training patients' images, without their labels."""
    data = training_data(plan, dataset, keys=("image",))
    seed_everything(seed)
    task = MaskedAutoencoder(new_backbone(plan), plan.preprocessing, data_fingerprint=data.version)
    session = tracker()
    config = EngineConfig(
        out=folder,
        name="pretrain",
        max_steps=plan.pretrain_steps,
        lr=plan.lr,
        warmup=0.1,
        checkpoint_every=_every(plan.pretrain_steps),
        seed=seed,
        tracker="none" if session is None else "clearml",
    )
    train = TrainData(dataset=data, batch_size=plan.batch_size, seed=seed, workers=workers, augment=augmentation(plan, noise=False))
    result = fit(task, train, config=config, tracker=session)
    picture_reconstruction(task, collate([data[0]]), folder / "reconstruction.png")
    return {"encoder": str(result.artifact), "steps": result.step}


def finetune(plan: Plan, dataset: Path, encoder: Path | None, folder: Path, *, seed: int, workers: int, tracker: Tracker) -> StageResult:
    """Learn the task from the encoder, keep the weights that do best on the validation patients, calibrate on them."""
    labels = plan.classes if plan.task == "classification" else None
    data = training_data(plan, dataset, labels=labels)
    held = ShardDataset(dataset, split="val", labels=labels)
    seed_everything(seed + 1)
    backbone, matched = new_backbone(plan), 0.0
    if encoder is not None:
        _, report = load_encoder(encoder, into=backbone, expect=plan.preprocessing)
        matched = report.fraction
    task = build_task(plan, backbone, data)
    session = tracker()
    config = EngineConfig(
        out=folder,
        name="finetune",
        max_steps=plan.steps,
        lr=plan.lr,
        seed=seed,
        validate_every=max(1, plan.steps // 4),
        checkpoint_every=_every(plan.steps),
        monitor=_MONITOR[plan.task],
        tracker="none" if session is None else "clearml",
    )
    train = TrainData(dataset=data, batch_size=plan.batch_size, seed=seed, workers=workers, augment=augmentation(plan))
    result = fit(task, train, validate=validation(held, plan.classes), config=config, tracker=session)
    artifact, notes = result.artifact, []
    if plan.task == "classification":
        # The weights that did best are on disk; calibrate those, and keep them beside the run's own.
        best = load_task(artifact)
        assert isinstance(best, ClassificationTask)
        notes = list(best.calibrate(*logits_and_labels(best, held)))
        artifact = save_artifact(best.artifact(), folder / "calibrated")
    return {"artifact": str(artifact), "steps": result.step, "encoder_matched": matched, "notes": notes}


def new_backbone(plan: Plan) -> Backbone:
    """The plan's encoder with random weights."""
    return create_model(plan.model, spatial_dims=plan.preprocessing.spatial_dims, in_channels=1)


def build_task(plan: Plan, backbone: Backbone, data: ShardDataset) -> TrainingTask:
    """The clinical task on an encoder."""
    if plan.task == "classification":
        return ClassificationTask(backbone, labels=plan.classes, preprocessing=plan.preprocessing, data_fingerprint=data.version)
    return SegmentationTask(
        backbone,
        classes=plan.classes,
        preprocessing=plan.preprocessing,
        config=SegmentationConfig(overlap=0.25),
        data_fingerprint=data.version,
    )


def training_data(
    plan: Plan, dataset: Path, *, keys: Sequence[str] = ("image", "mask"), labels: Sequence[str] | None = None
) -> ShardDataset:
    """Normalised crops (or whole films) of the training patients."""
    crop = None if plan.preprocessing.whole_image else Crop(plan.preprocessing.patch_size, foreground=0.5 if "mask" in keys else 0.0)
    return ShardDataset(dataset, split="train", keys=keys, labels=labels, crop=crop, transform=Normalize(plan.preprocessing))


def augmentation(plan: Plan, *, noise: bool = True) -> Any:
    """What training shows of each image; in mm and degrees."""
    moved = 8.0 if plan.task == "classification" else 4.0
    extent = Affine(rotation_deg=12.0, scale=(0.88, 1.14), translation_mm=moved)
    # A painted patch should be the anatomy's, not the noise's: pretraining only moves the image.
    return Compose([extent, Gamma(range=(0.8, 1.25), p=0.5), Noise(std=(0.0, 0.1), p=0.5)] if noise else [extent]).batch


def validation(held: ShardDataset, classes: Sequence[str]) -> Callable[[TrainingTask], dict[str, float]]:
    """How well a task does on the validation patients, without intervals: it only chooses weights."""

    def score(task: TrainingTask) -> dict[str, float]:
        if isinstance(task, ClassificationTask):
            logits, labels = logits_and_labels(task, held)
            found = evaluate(
                "classification", torch.sigmoid(logits).numpy(), labels.numpy(), classes=classes, patients=held.patients, samples=1
            )
            # With few patients a finding may be absent from one side; a run without any AUROC is told apart by its loss.
            return {"auroc": found.estimates["auroc"].value if "auroc" in found.estimates else 0.5}
        assert isinstance(task, SegmentationTask)
        images = [stored_image(held, i) for i in range(len(held))]
        masks = [task.predict(image).mask for image in images]
        truth = [held.read(i, "mask") for i in range(len(held))]
        spacing = [image.spacing for image in images]
        found = evaluate("segmentation", masks, truth, classes=classes, patients=held.patients, spacing=spacing, samples=1)
        return {"dice": found.estimates["dice"].value}

    return score


def logits_and_labels(task: ClassificationTask, data: ShardDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw logits (N, K) and labels (N, K) of every film of a dataset."""
    logits = [list(task.predict(stored_image(data, i)).logits.values()) for i in range(len(data))]
    return torch.tensor(logits, dtype=torch.float32), torch.from_numpy(np.stack([data[i]["label"] for i in range(len(data))])).float()


def stored_image(data: ShardDataset, index: int) -> Image:
    """One whole image as stored, with its geometry; intensity untouched."""
    sample = data[index]
    return Image(sample["image"], sample.get("affine"), tuple(float(s) for s in sample["spacing"]))


def _every(steps: int) -> int:
    """Steps between checkpoints: a killed run loses a tenth of a training at most."""
    return max(1, steps // 10)


_MONITOR = {"segmentation": "dice", "classification": "auroc"}
