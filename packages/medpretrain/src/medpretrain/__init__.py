"""Self-supervised objectives for 2D and 3D medical images."""

from medpretrain.errors import PretrainError
from medpretrain.losses.mae import mae_loss
from medpretrain.masking import random_patch_mask
from medpretrain.objectives.mae import MAEConfig, MaskedAutoencoder
from medpretrain.patches import patchify, unpatchify

__all__ = ["MAEConfig", "MaskedAutoencoder", "PretrainError", "mae_loss", "patchify", "random_patch_mask", "unpatchify"]
