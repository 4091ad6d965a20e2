"""Losses: pure functions, one family a file."""

from medfinetune.losses.dice_ce import dice_ce_loss, dice_ce_terms
from medfinetune.losses.masked_bce import masked_bce_loss

__all__ = ["dice_ce_loss", "dice_ce_terms", "masked_bce_loss"]
