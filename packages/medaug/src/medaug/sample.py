"""What a sample and a batch hold: checks, and the way from one to the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.errors import AugmentationError
from medaug.keyed import SampleKey

_TENSORS = ("image", "mask", "probability", "spacing", "affine", "geometry")
_LISTS = ("points", "boxes")


def batch_of(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Put B = 1 before what `Compose` touches."""
    result = dict(sample)
    for name in _TENSORS:
        if sample.get(name) is not None:
            result[name] = torch.as_tensor(sample[name])[None]
    for name in _LISTS:
        if name in sample:
            result[name] = [sample[name]]
    if sample.get("prior") is not None:
        result["prior"] = batch_of(sample["prior"])
    return result


def sample_of(batch: dict[str, Any]) -> dict[str, Any]:
    """Inverse of `batch_of`."""
    for name in (*_TENSORS, *_LISTS):
        if batch.get(name) is not None:
            batch[name] = batch[name][0]
    if batch.get("prior") is not None:
        batch["prior"] = sample_of(batch["prior"])
    return batch


def spacing_of(batch: Mapping[str, Any], names: Sequence[str]) -> Numbers | None:
    """Spacing of a batch, None where it says none; see `read_spacing`."""
    return None if batch.get("spacing") is None else read_spacing(batch["spacing"], names)


def read_spacing(spacing: Any, names: Sequence[str]) -> Numbers:
    """Read spacing, (dims,) for all or (B, dims), as (B, dims) float64 mm.

    Raises:
        AugmentationError: for anything but 2 or 3 positive numbers a sample.
    """
    values = torch.as_tensor(spacing, dtype=torch.float64).cpu().numpy()
    values = np.repeat(values[None], len(names), axis=0) if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != len(names) or values.shape[1] not in (2, 3) or not (np.isfinite(values) & (values > 0)).all():
        raise AugmentationError(say(names), f"spacing must be 2 or 3 positive numbers in mm a sample, got {values.tolist()}")
    return values


def shape_of(image: Tensor, spacing: Numbers | None, names: Sequence[str]) -> tuple[tuple[int, ...], Numbers]:
    """Spatial shape of image (B, C, *S) and its spacing, which geometry cannot do without.

    Raises:
        AugmentationError: for no spacing, or one that does not fit the image.
    """
    if spacing is None:
        raise AugmentationError(say(names), "has no spacing, so millimetres mean nothing; give `spacing` along each spatial axis")
    if image.ndim != spacing.shape[1] + 2:
        raise AugmentationError(
            say(names), f"image of shape {tuple(image.shape[1:])} does not fit {spacing.shape[1]} spacings; it is (C, *S)"
        )
    return tuple(image.shape[2:]), spacing


def check_grid(name: str, x: Tensor, leading: int, shape: tuple[int, ...], names: Sequence[str]) -> Tensor:
    """Return x if it lies on the image's grid after its leading axes.

    Raises:
        AugmentationError: where it lies on another.
    """
    if tuple(x.shape[leading:]) != shape or len(x) != len(names):
        raise AugmentationError(
            say(names), f"{name} of shape {tuple(x.shape[1:])} lies on another grid than image {shape}; resample it first"
        )
    return x


def ids_of(keys: Sequence[SampleKey]) -> tuple[str, ...]:
    """Sample ids of keys."""
    return tuple(str(key[2]) for key in keys)


def say(names: Sequence[str]) -> str:
    """Name samples in an error, at most three."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
