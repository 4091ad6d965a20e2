"""Objectives: modules that an engine can train."""

from medpretrain.objectives.mae import MAEConfig, MaskedAutoencoder

__all__ = ["MAEConfig", "MaskedAutoencoder"]
