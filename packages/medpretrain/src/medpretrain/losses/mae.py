"""MAE: mean squared error on the hidden patches, in units of each patch's own spread."""

import torch
from torch import Tensor

from medpretrain.errors import PretrainError

EPSILON = 1e-6
"""Added to a patch's variance, so that a flat patch stays finite."""


def mae_loss(prediction: Tensor, target: Tensor, mask: Tensor, normalize: bool = True) -> Tensor:
    """Mean squared error over hidden patches.

    Args:
        prediction: (B, N, P).
        target: (B, N, P), the image's patches; see `patchify`.
        mask: (B, N) bool, True is hidden; a visible patch has no part in value or gradient.
        normalize: compare with (target - mean) / sqrt(variance + 1e-6), mean and unbiased variance of each patch.

    Returns:
        () at least float32, lower is better.

    Raises:
        PretrainError: where shapes differ, nothing is hidden, or patches of one value are to be normalised.

    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, sections 3 and 4.
    """
    if prediction.shape != target.shape or mask.shape != target.shape[:2]:
        raise PretrainError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and mask {tuple(mask.shape)} must be (B, N, P) twice and (B, N)"
        )
    if not bool(mask.any()):
        raise PretrainError("nothing is hidden, so there is nothing to learn; raise the mask ratio")
    if normalize and target.shape[2] < 2:
        raise PretrainError("a patch of one value has no spread; use a larger patch or normalize=False")
    with torch.autocast(prediction.device.type, enabled=False):
        wide = torch.promote_types(prediction.dtype, torch.float32)
        hidden = target[mask].to(wide)
        if normalize:
            mean, spread = patch_statistics(hidden)
            hidden = (hidden - mean) / spread
        return (prediction[mask].to(wide) - hidden).square().mean()


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(unbiased variance + 1e-6) of patches (..., P), each (..., 1)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + EPSILON).sqrt()
