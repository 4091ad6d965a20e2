"""Several images and masks of one grid as one of each, and apart again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medaug.errors import AugmentationError


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedMasks:
    """Masks as one: a label of `mask` is a digit of each mask's own base, so a nearest-voxel resampling moves all of them alike and 0 stays 0 in all.

    Attributes:
        mask: (*S) int64.
        bases: one more than the greatest label of each channel.
        counts: channels of each mask.
        dtypes: of each mask.
    """

    mask: Tensor
    bases: tuple[int, ...]
    counts: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]

    def split(self, mask: Tensor) -> list[Tensor]:
        """Take a resampled `mask` (*S) apart: one (channels, *S) a mask, in its dtype."""
        digits = []
        for base in self.bases:
            digits.append(mask % base)
            mask = torch.div(mask, base, rounding_mode="floor")
        parts = torch.split(torch.stack(digits), list(self.counts))
        return [part.to(dtype) for part, dtype in zip(parts, self.dtypes, strict=True)]


def stack_masks(names: Sequence[str], masks: Sequence[Tensor]) -> StackedMasks:
    """Join masks (channels, *S) of one grid.

    Args:
        names: of the masks, for errors.
        masks: whole numbers from 0 in any dtype.

    Raises:
        AugmentationError: for labels that are negative or no whole numbers, for more combinations than an int64 counts.
    """
    bases: list[int] = []
    for name, mask in zip(names, masks, strict=True):
        if mask.is_floating_point() and not torch.equal(mask, mask.round()):
            raise AugmentationError(name, "holds fractions, so it is no mask of labels; give probabilities as `probability`")
        for channel in mask:
            if channel.amin() < 0:
                raise AugmentationError(
                    name, f"holds the label {int(channel.amin())}; labels start at 0, which is what comes in from outside"
                )
            bases.append(int(channel.amax()) + 1)
    if math.prod(bases) >= 2**63:
        raise AugmentationError(
            ", ".join(names), "hold too many combinations of labels for one mask; number the labels from 0 without gaps"
        )
    channels = [channel for mask in masks for channel in mask]
    joined = torch.zeros_like(channels[0], dtype=torch.int64)
    for channel, base in zip(reversed(channels), reversed(bases), strict=True):
        joined = joined * base + channel.to(torch.int64)
    return StackedMasks(
        mask=joined, bases=tuple(bases), counts=tuple(len(mask) for mask in masks), dtypes=tuple(mask.dtype for mask in masks)
    )


def check_grids(names: Sequence[str], arrays: Sequence[Tensor], affines: Sequence[Tensor]) -> None:
    """Raise AugmentationError unless all (C, *S) lie on one grid: same shape, affines equal to a thousandth of a millimetre."""
    for name, array, affine in zip(names[1:], arrays[1:], affines[1:], strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise AugmentationError(
                name, f"has the shape {tuple(array.shape[1:])}, {names[0]} has {tuple(arrays[0].shape[1:])}; resample it to that grid first"
            )
        if not torch.allclose(affine.double(), affines[0].double(), rtol=0, atol=1e-3):
            raise AugmentationError(name, f"lies elsewhere than {names[0]}: their affines differ; resample it to that grid first")
