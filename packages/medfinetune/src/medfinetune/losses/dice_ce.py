"""Soft Dice plus cross entropy: overlap of each structure, and a gradient for each voxel."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from medmodels.contracts import Gather


def _identity(x: Tensor) -> Tensor:
    return x


def dice_ce_loss(
    logits: Tensor,
    target: Tensor,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    batch_dice: bool = False,
    include_background: bool = False,
    ignore_index: int = -1,
    smooth: float = 1e-5,
    gather: Gather = _identity,
) -> Tensor:
    """Weighted sum of the two terms of `dice_ce_terms`, which says how each is made and what the other arguments mean.

    Args:
        logits: (B, K, *S).
        target: (B, *S) integer labels, `ignore_index` where unknown.
        dice_weight: weight of the Dice term.
        ce_weight: weight of the cross entropy.
        batch_dice: see `dice_ce_terms`.
        include_background: see `dice_ce_terms`.
        ignore_index: see `dice_ce_terms`.
        smooth: see `dice_ce_terms`.
        gather: see `dice_ce_terms`.

    Returns:
        () float32.
    """
    dice, cross_entropy = dice_ce_terms(
        logits,
        target,
        batch_dice=batch_dice,
        include_background=include_background,
        ignore_index=ignore_index,
        smooth=smooth,
        gather=gather,
    )
    return dice_weight * dice + ce_weight * cross_entropy


def dice_ce_terms(
    logits: Tensor,
    target: Tensor,
    *,
    batch_dice: bool = False,
    include_background: bool = False,
    ignore_index: int = -1,
    smooth: float = 1e-5,
    gather: Gather = _identity,
) -> tuple[Tensor, Tensor]:
    """Soft Dice loss and cross entropy over known voxels.

    The Dice term of a class is 1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth) over the known voxels of one image, or of the
    whole batch with `batch_dice`; the mean runs over those (image, class) pairs, or classes, that occur in `target`. A class without a
    single target voxel has no overlap to win and would only add a constant near 1; cross entropy alone pushes it down.

    Args:
        logits: (B, K, *S) of any float dtype; computed in float32.
        target: (B, *S) integer labels 0..K-1, `ignore_index` where unknown.
        batch_dice: sum overlaps over the batch before the ratio: steadier where structures are small or often absent.
        include_background: count class 0 in the Dice term.
        ignore_index: label of unknown voxels; they move neither value nor gradient.
        smooth: keeps the ratio finite.
        gather: collects a (B, K) tensor over ranks, with gradient; used with `batch_dice` only.

    Returns:
        The Dice term and the cross entropy (a mean over known voxels), both () float32 and 0 for a confident perfect prediction. Without
        any known voxel both are 0, with zero gradient.

    Raises:
        ValueError: for shapes that do not fit, or a single class.

    Source: Milletari et al., "V-Net", 3DV 2016 (soft Dice); Isensee et al., "nnU-Net", Nature Methods 2021 (sum with cross entropy, batch Dice).
    """
    if logits.shape[0] != target.shape[0] or logits.shape[2:] != target.shape[1:]:
        raise ValueError(f"logits {tuple(logits.shape)} need a target of shape (B, *S), got {tuple(target.shape)}")
    classes = logits.shape[1]
    if classes < 2:
        raise ValueError("Dice with cross entropy needs at least 2 classes, background first; got 1")
    with torch.autocast(logits.device.type, enabled=False):
        log_p = log_softmax(logits.float(), dim=1)
        known = target != ignore_index
        label = torch.where(known, target, 0).long()
        nll = -log_p.gather(1, label.unsqueeze(1)).squeeze(1)
        cross_entropy = torch.where(known, nll, 0.0).sum() / known.sum().clamp(min=1)

        weight = known.unsqueeze(1).float()
        p = log_p.exp() * weight
        t = one_hot(label, classes).movedim(-1, 1).float() * weight
        space = tuple(range(2, logits.ndim))
        overlap, mass, size = (p * t).sum(space), p.sum(space), t.sum(space)  # (B, K) each
        if batch_dice:
            overlap, mass, size = (gather(x).sum(0, keepdim=True) for x in (overlap, mass, size))
        dice = 1 - (2 * overlap + smooth) / (mass + size + smooth)
        present = size > 0
        if not include_background:
            dice, present = dice[:, 1:], present[:, 1:]
        dice_term = torch.where(present, dice, 0.0).sum() / present.sum().clamp(min=1)
    return dice_term, cross_entropy
