"""Binary cross entropy for several labels of which some are unknown."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def masked_bce_loss(logits: Tensor, labels: Tensor, *, positive_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross entropy over the labels that are known.

    Args:
        logits: (B, K) of any float dtype; computed in float32.
        labels: (B, K) in [0, 1], NaN where unknown; unknown labels move neither value nor gradient.
        positive_weight: (K,) factor of the positive term of each label, for rare findings; None is 1.

    Returns:
        () float32; 0 with zero gradient where no label is known.

    Raises:
        ValueError: for shapes that do not fit.
    """
    if logits.shape != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} must have one shape, (B, K)")
    with torch.autocast(logits.device.type, enabled=False):
        known = ~torch.isnan(labels)
        # NaN is replaced before the loss: NaN * 0 would still be NaN in the gradient.
        target = torch.where(known, labels, 0.0).float()
        each = binary_cross_entropy_with_logits(logits.float(), target, reduction="none", pos_weight=positive_weight)
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)
