"""Intensity transforms: what changes values and leaves geometry alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medaug.errors import AugmentationError
from medaug.keyed import SampleKey, key_digest, keyed_generator
from medaug.spatial import check_probability


@runtime_checkable
class IntensityTransform(Protocol):
    """Changes values of a batch of images, each with its own keyed parameters."""

    def apply(self, image: Tensor, keys: Sequence[SampleKey], stream: str) -> Tensor:
        """Change image (B, C, *S) float; returns a new tensor, or the same one where nothing was drawn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma:
    """Contrast: the image, scaled to [0, 1] by its own minimum and maximum, to the power gamma, and scaled back.

    Attributes:
        range: (low, high) of gamma, drawn log-uniformly; below 1 brightens, above 1 darkens.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a reversed or non-positive range, a p outside [0, 1].
    """

    range: tuple[float, float] = (0.7, 1.5)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Gamma", self.p)
        low, high = self.range
        if not 0 < low <= high < math.inf:
            raise AugmentationError("Gamma", f"range needs 0 < low <= high, got {self.range}; 1 changes nothing")

    def apply(self, image: Tensor, keys: Sequence[SampleKey], stream: str) -> Tensor:
        """See `IntensityTransform.apply`."""
        low, high = math.log(self.range[0]), math.log(self.range[1])
        gammas = np.ones(len(keys))
        for row, key in enumerate(keys):
            rng = keyed_generator(key, stream)
            if rng.random() < self.p:
                gammas[row] = math.exp(low if low == high else rng.uniform(low, high))
        rows = np.flatnonzero(gammas != 1.0)
        if not len(rows):
            return image
        chosen = torch.from_numpy(rows).to(image.device)
        ones = (-1,) + (1,) * (image.ndim - 1)
        # float64: vector and scalar code paths of a float32 power differ in the last bit, so a voxel's value would depend on its place in the batch.
        x = image[chosen].double()
        least = x.flatten(1).amin(1).view(ones)
        extent = x.flatten(1).amax(1).view(ones) - least
        unit = (x - least) / extent.clamp_min(torch.finfo(torch.float64).tiny)
        changed = unit.pow(torch.from_numpy(gammas[rows]).to(image.device).view(ones)) * extent + least
        return image.index_copy(0, chosen, changed.to(image.dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Additive Gaussian noise.

    Attributes:
        std: standard deviation in the unit that the image has when it comes here (normalised images: normalised units); a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    The field is drawn by torch on the image's device: it is a pure function of the key there; CPU and CUDA draw different fields.

    Raises:
        AugmentationError: for a negative or reversed std, a p outside [0, 1].
    """

    std: float | tuple[float, float] = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Noise", self.p)
        low, high = self._bounds()
        if not 0 <= low <= high < math.inf:
            raise AugmentationError("Noise", f"std must not be negative or reversed, got {self.std}; 0 adds nothing")

    def apply(self, image: Tensor, keys: Sequence[SampleKey], stream: str) -> Tensor:
        """See `IntensityTransform.apply`."""
        low, high = self._bounds()
        result = image
        for row, key in enumerate(keys):
            rng = keyed_generator(key, stream)
            applied, std = rng.random() < self.p, low if low == high else rng.uniform(low, high)
            if not applied or std == 0:
                continue
            if result is image:
                result = image.clone()
            generator = torch.Generator(device=image.device).manual_seed(key_digest(key, f"{stream}/field"))
            field = torch.randn(image.shape[1:], generator=generator, device=image.device, dtype=torch.float32)
            # two roundings, never a fused multiply-add: the same bits whatever the tensor's length
            result[row] = (image[row] + (field * std).to(image.dtype)).to(image.dtype)
        return result

    def _bounds(self) -> tuple[float, float]:
        return (self.std, self.std) if isinstance(self.std, int | float) else self.std
