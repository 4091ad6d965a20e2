"""Losses: pure functions of tensors."""

from medpretrain.losses.mae import mae_loss

__all__ = ["mae_loss"]
