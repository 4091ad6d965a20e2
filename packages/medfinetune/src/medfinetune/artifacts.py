"""From a saved artifact back to a network, or to a task that can predict and train on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medfinetune.errors import RebuildError
from medfinetune.tasks.classification import ClassificationConfig, ClassificationTask
from medfinetune.tasks.segmentation import SegmentationConfig, SegmentationTask
from medmodels import create_model, read_artifact
from medmodels.cards import EncoderCard
from medmodels.contracts import Artifact, Backbone
from medmodels.preprocessing import Preprocessing


def load_artifact(folder: Path | str) -> Artifact:
    """Rebuild what `medmodels.save_artifact` wrote, with every weight in its place.

    Args:
        folder: the artifact, of kind encoder, segmentation or classification.

    Returns:
        The artifact; its module is in evaluation mode.

    Raises:
        medmodels.ModelError: for a folder that is no artifact, altered weights or an unknown model.
        RebuildError: for a kind that this package does not know, or weights that do not fit the network.
    """
    state, metadata = read_artifact(folder)
    card = EncoderCard.from_dict(metadata["card"])
    if metadata["kind"] == "encoder":
        backbone = _backbone(card)
        assert isinstance(backbone, nn.Module)  # every Backbone is one; a Protocol cannot say so
        _load(folder, backbone, state)
        return Artifact(
            kind="encoder",
            module=backbone.eval(),
            card=card,
            preprocessing=Preprocessing.from_dict(metadata["preprocessing"]),
            config=metadata["config"],
        )
    return _task(folder, state, metadata).eval().artifact()


def load_task(folder: Path | str) -> SegmentationTask | ClassificationTask:
    """Rebuild the task that an artifact came from, calibration included.

    Args:
        folder: an artifact of kind segmentation or classification.

    Returns:
        The task in evaluation mode; `predict` gives what it gave when it was saved.

    Raises:
        medmodels.ModelError: see `load_artifact`.
        RebuildError: see `load_artifact`; also for an encoder, which is no task.
    """
    state, metadata = read_artifact(folder)
    return _task(folder, state, metadata).eval()


def _task(folder: Path | str, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> SegmentationTask | ClassificationTask:
    kind, config = metadata["kind"], metadata["config"]
    card = EncoderCard.from_dict(metadata["card"])
    preprocessing = Preprocessing.from_dict(metadata["preprocessing"])
    if kind not in ("segmentation", "classification"):
        raise RebuildError(f"{folder}: an artifact of kind {kind!r} is no task; give one of kind segmentation or classification")
    backbone = _backbone(card)
    # The encoder's own provenance, so that an artifact of the rebuilt task says the same as this one.
    backbone.card = EncoderCard.from_dict(config["encoder"])
    task: SegmentationTask | ClassificationTask
    options: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in config["task"].items()}
    try:
        if kind == "segmentation":
            task = SegmentationTask(
                backbone,
                classes=metadata["classes"],
                preprocessing=preprocessing,
                config=SegmentationConfig(**options),
                data_fingerprint=card.data_fingerprint,
            )
        else:
            task = ClassificationTask(
                backbone,
                labels=metadata["classes"],
                preprocessing=preprocessing,
                config=ClassificationConfig(**options),
                data_fingerprint=card.data_fingerprint,
            )
    except (TypeError, ValueError) as error:
        raise RebuildError(f"{folder}: artifact.json does not describe a {kind} task of this version: {error}") from error
    _load(folder, task.network, state)
    calibration = metadata["calibration"]
    if isinstance(task, ClassificationTask) and calibration:
        task.platt_scale.copy_(torch.tensor(calibration["scale"]))
        task.platt_bias.copy_(torch.tensor(calibration["bias"]))
        task.calibrated.fill_(True)
    return task


def _backbone(card: EncoderCard) -> Backbone:
    backbone = create_model(card.arch, **card.kwargs)
    backbone.card = card
    return backbone


def _load(folder: Path | str, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RebuildError(f"{folder}: the weights do not fit the network that artifact.json describes: {reason[:300]}") from error
