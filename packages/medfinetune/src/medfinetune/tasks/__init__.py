"""Tasks: a network, its loss and its `predict`; one task a file."""

from medfinetune.tasks.classification import ClassificationConfig, ClassificationTask
from medfinetune.tasks.segmentation import SegmentationConfig, SegmentationTask

__all__ = ["ClassificationConfig", "ClassificationTask", "SegmentationConfig", "SegmentationTask"]
