"""Presets per modality and task, and chains as plain data."""

from medaug.presets.config import build, from_config, to_config
from medaug.presets.registry import list_presets, make_preset, preset_options

__all__ = ["build", "from_config", "list_presets", "make_preset", "preset_options", "to_config"]
