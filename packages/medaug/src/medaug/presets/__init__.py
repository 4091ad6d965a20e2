"""Presets per modality and task, by function or by name, and chains as plain data."""

from medaug.presets.config import build, from_config, to_config
from medaug.presets.ct import ct_classification, ct_detection, ct_dino, ct_mae, ct_segmentation
from medaug.presets.general import light, nnunet, registration
from medaug.presets.mr import mr_classification, mr_dino, mr_mae, mr_segmentation
from medaug.presets.registry import list_presets, make_preset, preset_options
from medaug.presets.ultrasound import ultrasound_classification, ultrasound_segmentation
from medaug.presets.xray import xray_classification, xray_detection, xray_dino, xray_mae

__all__ = [
    "build",
    "ct_classification",
    "ct_detection",
    "ct_dino",
    "ct_mae",
    "ct_segmentation",
    "from_config",
    "light",
    "list_presets",
    "make_preset",
    "mr_classification",
    "mr_dino",
    "mr_mae",
    "mr_segmentation",
    "nnunet",
    "preset_options",
    "registration",
    "to_config",
    "ultrasound_classification",
    "ultrasound_segmentation",
    "xray_classification",
    "xray_detection",
    "xray_dino",
    "xray_mae",
]
