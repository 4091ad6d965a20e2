"""Lesions of one sample pasted into another, where they may lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.errors import AugmentationError
from medaug.kernels.lesions import feathered, place_lesions
from medaug.options import check_probability, span
from medaug.views.partners import Partners, partners_of

_TRIES = 32
Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPaste:
    """Paste one lesion of a donor into a sample, at a random allowed place, with a soft border.

    The lesion is one connected piece of the donor's mask. The middle of its box goes to a voxel of the allowed labels; of 32 such voxels the first is taken
    where the lesion lies inside the image and on allowed labels. Where there is none, or the donor has no lesion, the sample stays as it is. The lesion keeps
    its size, shape and values: vary them beforehand, by a `Compose` on the donors.

    Attributes:
        labels: mask values of lesions.
        allowed: mask values of the sample that a lesion may cover, such as those of an organ; None: all but lesions.
        inside: least share of the lesion's voxels on allowed values.
        feather_mm: width of the border over which the donor's surroundings fade into the sample's; 0: none.
        match: add to the donor's values what makes the means over that border equal; for images without a fixed scale (MR, ultrasound), not for HU.
        label_column: of `label` that becomes 1 where a lesion was pasted; None: labels stay.
        p: probability that a sample is tried.

    Raises:
        AugmentationError: for missing labels, a share or p outside [0, 1], a negative feather.

    Source: Ghiasi et al., "Simple copy-paste", CVPR 2021; Yang et al., "TumorCP", MICCAI 2021.
    """

    labels: tuple[int, ...]
    allowed: tuple[int, ...] | None = None
    inside: float = 1.0
    feather_mm: float = 2.0
    match: bool = False
    label_column: int | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("CopyPaste", self.p)
        check_probability("CopyPaste", self.inside, "inside")
        span("CopyPaste", "feather_mm", self.feather_mm, low=0)
        if not self.labels or self.allowed == ():
            raise AugmentationError(
                "CopyPaste", f"needs the mask values of lesions and of where they may lie, got {self.labels}, {self.allowed}"
            )

    def __call__(self, batch: Mapping[str, Any], partner: Mapping[str, Any] | Sequence[int] | Tensor | None = None) -> dict[str, Any]:
        """Paste into a batch.

        Args:
            batch: `image` (B, C, *S) float, `mask` (B, *S) int, `spacing` (B, dims) mm, `key`; where present `boxes`, `label`. Not changed.
            partner: None: `batch_partners`, which depend on the batch's members; B rows; or a batch of B donors with keys of their own.

        Returns:
            A new dict with `pasted` (B,) bool. `boxes` gain the lesion's: lowest index, then one past the highest, along each axis.

        Raises:
            AugmentationError: for a missing mask or spacing, donors of another shape or spacing, a `probability` beside the mask; see `partners_of`.
        """
        partners = partners_of(batch, partner)
        others, draws = partners.batch, partners.draws
        spacing = _checked(batch, partners)
        rows = np.flatnonzero(draws.chance("paste", self.p))
        donors, masks = _volumes(others["mask"], partners.rows[rows]), _volumes(batch["mask"], rows)
        lesions, frames, found = place_lesions(
            donors,
            masks,
            np.array(self.labels, np.int64),
            np.array(self.allowed or (), np.int64),
            self.inside,
            draws.uniform("which")[rows],
            draws.uniform("where", size=(_TRIES,))[rows],
        )
        result = dict(batch)
        image, mask = (batch[name].clone(memory_format=torch.contiguous_format) for name in ("image", "mask"))
        dims = spacing.shape[1]
        boxes = None if batch.get("boxes") is None else list(batch["boxes"])
        for row, lesion, (low, high, move) in zip(rows[found], lesions[found], frames[found], strict=True):
            space = np.concatenate([np.ones(3 - dims), spacing[row]])
            source, target = _patches(low, high, move, lesion.shape, space, self.feather_mm)
            piece = np.ascontiguousarray(lesion[source])
            alpha = torch.from_numpy(feathered(piece, space, self.feather_mm)).to(image.device)
            donor = partners.rows[row]
            self._paste(image[row], others["image"][donor], alpha, source, target)
            here, there = mask[row].view(lesion.shape)[target], others["mask"][donor].reshape(lesion.shape)[source]
            here.copy_(torch.where(torch.from_numpy(piece).to(mask.device), there.to(here), here))
            if boxes is not None:
                box = torch.from_numpy(np.concatenate([(low + move)[3 - dims :], (high + move)[3 - dims :]])).to(boxes[row])
                boxes[row] = torch.cat([boxes[row], box[None]])
        pasted = np.zeros(len(draws), np.bool_)
        pasted[rows] = found
        return self._told({**result, "image": image, "mask": mask}, boxes, torch.from_numpy(pasted).to(image.device))

    def _paste(self, image: Tensor, donor: Tensor, alpha: Tensor, source: Box, target: Box) -> None:
        """Blend a donor's patch into an image (C, *S), in place."""
        volume = (len(image),) + (1,) * (4 - image.ndim) + tuple(image.shape[1:])
        here = image.view(volume)[:, *target]
        old, new = here.float(), donor.reshape(volume)[:, *source].float()
        ring = (alpha > 0) & (alpha < 1)
        if self.match and bool(ring.any()):
            new = new + (old[:, ring].mean(1) - new[:, ring].mean(1)).view(-1, 1, 1, 1)
        here.copy_(new * alpha + old * (1 - alpha))

    def _told(self, result: dict[str, Any], boxes: list[Tensor] | None, pasted: Tensor) -> dict[str, Any]:
        """Add boxes, labels and what was pasted."""
        if boxes is not None:
            result["boxes"] = boxes
        if self.label_column is not None and result.get("label") is not None:
            label = result["label"].clone()
            label[pasted, self.label_column] = 1
            result["label"] = label
        return {**result, "pasted": pasted}


def _checked(batch: Mapping[str, Any], partners: Partners) -> Numbers:
    """Check what pasting needs; return the spacing (B, dims)."""
    others, draws = partners.batch, partners.draws
    image = batch["image"]
    if not image.is_floating_point():
        raise draws.error(f"image is {image.dtype}; normalise it to floating point before CopyPaste")
    for name in ("mask", "spacing"):
        if batch.get(name) is None or others.get(name) is None:
            raise draws.error(f"has no {name}, or its donor has none; CopyPaste needs it of both")
    if batch.get("probability") is not None:
        raise draws.error("has a probability, which CopyPaste does not change; paste before masks become probabilities")
    own, other = (torch.as_tensor(b["spacing"], dtype=torch.float64).cpu().numpy() for b in (batch, others))
    other = other[partners.rows]
    if own.shape != (len(image), image.ndim - 2) or own.shape != other.shape or not np.allclose(own, other, rtol=0.01):
        raise draws.error(
            f"spacing {own.tolist()} and the donors' {other.tolist()} differ; resample both to one, or the lesion changes its size"
        )
    return np.asarray(own)


def _volumes(mask: Tensor, rows: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Rows of a mask (B, *S) as (R, D, H, W), D = 1 in 2D."""
    picked = mask.cpu().numpy()[rows]
    return np.ascontiguousarray(picked.reshape((len(rows), *(1,) * (4 - picked.ndim), *picked.shape[1:])))


def _patches(low: Numbers, high: Numbers, move: Numbers, shape: tuple[int, ...], spacing: Numbers, feather_mm: float) -> tuple[Box, Box]:
    """Where the lesion and its border lie in the donor and in the sample; the border ends where either image does."""
    source, target = [], []
    for first, last, by, size, mm in zip(low.tolist(), high.tolist(), move.tolist(), shape, spacing.tolist(), strict=True):
        reach = math.floor(feather_mm / mm)
        start, stop = max(first - reach, 0, -by), min(last + reach, size, size - by)
        source.append(slice(start, stop))
        target.append(slice(start + by, stop + by))
    return tuple(source), tuple(target)
