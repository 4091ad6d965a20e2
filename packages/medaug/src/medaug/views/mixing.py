"""Mixup and CutMix: two samples become one, their labels by what is seen of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.options import check_probability, span
from medaug.views.partners import Partners, beta, partners_of

Rows = npt.NDArray[np.intp]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """Blend a sample with a partner, voxel by voxel on their grids: share * own + (1 - share) * partner's, share ~ Beta(alpha, alpha).

    Labels are blended by the same share, and are NaN where either is unknown. A `mask` becomes the blended one-hot `probability`, a `probability` is
    blended. What else a batch holds (spacing, report, meta) stays the sample's own.

    Attributes:
        alpha: of the beta distribution; small: mostly one of the two, 1: any share equally likely.
        classes: of `mask`; needed where the batch has one.
        p: probability that a sample is mixed.

    Raises:
        AugmentationError: for an alpha that is not positive, classes below 1, a p outside [0, 1].

    Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
    """

    alpha: float = 0.4
    classes: int | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Mixup", self.p)
        span("Mixup", "alpha", self.alpha, low=0, high=1e4, open_low=True)
        if self.classes is not None and self.classes < 1:
            raise AugmentationError("Mixup", f"classes counts the values of `mask`, got {self.classes}")

    def __call__(self, batch: Mapping[str, Any], partner: Mapping[str, Any] | Sequence[int] | Tensor | None = None) -> dict[str, Any]:
        """Mix a batch.

        Args:
            batch: `image` (B, C, *S) float, `key`; where present `label` (B, K), `mask` (B, *S), `probability` (B, K, *S). Not changed.
            partner: None: `batch_partners`, which depend on the batch's members; B rows; or a batch of B partners with keys of their own.

        Returns:
            A new dict, with `own_share` (B,) float64, each sample's share of itself.

        Raises:
            AugmentationError: for boxes, points or a prior, which have no blend; for images or labels that are not fit; see `partners_of`.
        """
        image, partners = _pair("Mixup", batch, partner)
        others, rows, draws = partners
        share = np.where(draws.chance("mixup", self.p), beta(draws, "mixup share", self.alpha, self.alpha), 1.0)
        result = dict(batch)
        result["image"] = _blend(image, others["image"], rows, share)
        if batch.get("mask") is not None:
            if self.classes is None:
                raise draws.error("has a mask, whose labels have no blend; give Mixup its `classes` to blend their probabilities")
            own, other = (_one_hot(m, self.classes, draws) for m in (batch["mask"], others["mask"]))
            del result["mask"]
            result["probability"] = _blend(own, other, rows, share)
        elif batch.get("probability") is not None:
            result["probability"] = _blend(batch["probability"], others["probability"], rows, share)
        return _labelled(result, partners, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMix:
    """Replace one box of a sample by the same box of a partner; masks go with it, labels by the share of voxels that stays.

    The box has the image's proportions, about a share 1 - x of its voxels with x ~ Beta(alpha, alpha), and lies wholly inside at a uniform place. Labels
    take the share that is really cut, and are NaN where either is unknown. What else a batch holds (spacing, report, meta) stays the sample's own.

    Attributes:
        alpha: of the beta distribution.
        p: probability that a sample is mixed.

    Raises:
        AugmentationError: for an alpha that is not positive, a p outside [0, 1].

    Source: Yun et al., "CutMix", ICCV 2019; there boxes are clipped at the border.
    """

    alpha: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("CutMix", self.p)
        span("CutMix", "alpha", self.alpha, low=0, high=1e4, open_low=True)

    def __call__(self, batch: Mapping[str, Any], partner: Mapping[str, Any] | Sequence[int] | Tensor | None = None) -> dict[str, Any]:
        """Mix a batch.

        Args:
            batch: `image` (B, C, *S) float, `key`; where present `label` (B, K), `mask` (B, *S), `probability` (B, K, *S). Not changed.
            partner: None: `batch_partners`, which depend on the batch's members; B rows; or a batch of B partners with keys of their own.

        Returns:
            A new dict, with `own_share` (B,) float64, each sample's share of itself.

        Raises:
            AugmentationError: for boxes, points or a prior, which a box would cut; for images or labels that are not fit; see `partners_of`.
        """
        image, partners = _pair("CutMix", batch, partner)
        draws = partners.draws
        shape = np.array(image.shape[2:])
        dims = len(shape)
        cut = np.where(draws.chance("cutmix", self.p), 1 - beta(draws, "cutmix share", self.alpha, self.alpha), 0.0)
        edge = np.rint(shape * cut[:, None] ** (1 / dims)).astype(np.int64)
        low = np.floor(draws.uniform("cutmix place", size=(dims,)) * (shape - edge + 1)).astype(np.int64)
        result = dict(batch)
        for name in ("image", "mask", "probability"):
            if batch.get(name) is not None:
                result[name] = _with_boxes(batch[name], partners.batch[name], partners.rows, low, low + edge)
        return _labelled(result, partners, 1 - edge.prod(1) / math.prod(image.shape[2:]))


def mix_labels(label: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Blend labels by share; unknown where either that counts is unknown.

    Args:
        label: (B, K), NaN where unknown.
        other: (B, K) of the partners.
        share: (B,) of `label`, in [0, 1]; at 1 and 0 only one of the two counts.

    Returns:
        (B, K) floating point.
    """
    own, others = (x if x.is_floating_point() else x.float() for x in (label, other))
    weight = share.to(own)[:, None]
    mixed = own * weight + others * (1 - weight)
    return torch.where(weight >= 1, own, torch.where(weight <= 0, others, mixed))


def _pair(name: str, batch: Mapping[str, Any], partner: Mapping[str, Any] | Sequence[int] | Tensor | None) -> tuple[Tensor, Partners]:
    """Check a batch and line up its partners."""
    partners = partners_of(batch, partner)
    others, draws = partners.batch, partners.draws
    image: Tensor = batch["image"]
    if not image.is_floating_point():
        raise draws.error(f"image is {image.dtype}; normalise it to floating point before {name}")
    for key in ("boxes", "points"):
        if any(len(row) for row in batch.get(key) or ()):
            raise draws.error(f"{key} cannot be mixed; leave {name} out of detection")
    if batch.get("prior") is not None:
        raise draws.error(f"has a prior, and two pairs make no pair; leave {name} out of tasks with a prior")
    for key in ("label", "mask", "probability"):
        if batch.get(key) is not None and (others.get(key) is None or others[key].shape != batch[key].shape):
            raise draws.error(f"the partners' {key} is missing or of another shape than {tuple(batch[key].shape)}; give it to them too")
    return image, partners


def _blend(own: Tensor, others: Tensor, partner: Rows, share: Numbers) -> Tensor:
    """Blend the samples whose share is below one; the others keep their bits."""
    rows = np.flatnonzero(share < 1)
    if not len(rows):
        return own
    index, other = (torch.from_numpy(x).to(own.device) for x in (rows, partner[rows]))
    weight = torch.from_numpy(share[rows]).to(own.device, torch.float32).view((-1,) + (1,) * (own.ndim - 1))
    mixed = own[index].float().mul_(weight).add_(others[other].float().mul_(1 - weight)).to(own.dtype)
    return mixed if len(rows) == len(own) else own.index_copy(0, index, mixed)


def _one_hot(mask: Tensor, classes: int, draws: Draws) -> Tensor:
    """(B, *S) whole numbers -> (B, classes, *S) float32."""
    if mask.numel() and not 0 <= int(mask.min()) <= int(mask.max()) < classes:
        raise draws.error(f"mask holds {int(mask.min())} to {int(mask.max())}; Mixup was told of {classes} classes, 0 to {classes - 1}")
    values = torch.arange(classes, device=mask.device, dtype=mask.dtype).view((1, -1) + (1,) * (mask.ndim - 1))
    return (mask[:, None] == values).float()


def _with_boxes(own: Tensor, others: Tensor, partner: Rows, low: Whole, high: Whole) -> Tensor:
    """Copy the boxes [low, high) of (B, dims) from the partners; sample by sample, since no two boxes are alike and most voxels stay."""
    result = own.clone()
    for row in np.flatnonzero((high > low).all(1)):
        box: tuple[slice | EllipsisType, ...] = (..., *(slice(a, b) for a, b in zip(low[row].tolist(), high[row].tolist(), strict=True)))
        result[row][box] = others[partner[row]][box]
    return result


def _labelled(result: dict[str, Any], partners: Partners, share: Numbers) -> dict[str, Any]:
    """Add the mixed labels and the share."""
    own_share = torch.from_numpy(share).to(result["image"].device)
    label = result.get("label")
    if label is not None:
        if label.ndim != 2:
            raise partners.draws.error(f"label of shape {tuple(label.shape)} cannot be mixed; it is (B, K), one column a class")
        result["label"] = mix_labels(label, partners.batch["label"][torch.from_numpy(partners.rows).to(label.device)], own_share)
    return {**result, "own_share": own_share}
