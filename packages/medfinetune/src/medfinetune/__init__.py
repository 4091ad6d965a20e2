"""Clinical tasks on any backbone: segmentation and classification."""

from medfinetune import losses
from medfinetune.artifacts import load_artifact, load_task
from medfinetune.calibration import fit_platt, platt_notes
from medfinetune.errors import BatchError, FinetuneError, RebuildError
from medfinetune.losses import dice_ce_loss, dice_ce_terms, masked_bce_loss
from medfinetune.networks import ClassificationNetwork, SegmentationNetwork
from medfinetune.optimisation import param_groups
from medfinetune.results import ClassificationResult, HasGeometry, SegmentationResult
from medfinetune.tasks import ClassificationConfig, ClassificationTask, SegmentationConfig, SegmentationTask

__all__ = [
    "BatchError",
    "ClassificationConfig",
    "ClassificationNetwork",
    "ClassificationResult",
    "ClassificationTask",
    "FinetuneError",
    "HasGeometry",
    "RebuildError",
    "SegmentationConfig",
    "SegmentationNetwork",
    "SegmentationResult",
    "SegmentationTask",
    "dice_ce_loss",
    "dice_ce_terms",
    "fit_platt",
    "load_artifact",
    "load_task",
    "losses",
    "masked_bce_loss",
    "param_groups",
    "platt_notes",
]
