"""MONAI: a chain as one of its dictionary transforms, and one of its transforms as a step of a chain."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medaug.adapters.axes import axis_aligned_affine, turned, turned_geometry
from medaug.adapters.keys import KeySource, read_key
from medaug.adapters.seeding import keyed_globals
from medaug.adapters.stacking import StackedMasks, check_grids, stack_masks
from medaug.compose import Compose
from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.options import check_probability

try:
    from monai.data.meta_tensor import MetaTensor
    from monai.transforms.traits import RandomizableTrait
    from monai.transforms.transform import Transform as MonaiTransform
except ImportError as error:
    raise ImportError('this adapter needs MONAI: pip install "medaug[monai]"') from error

Entries = str | Sequence[str]
"""One entry of a MONAI dictionary, or several on one grid that go through the chain together."""


def as_monai(
    compose: Compose, *, image: Entries = "image", mask: Entries = (), probability: Entries = (), key: KeySource = "key"
) -> MonaiTransform:
    """Make a chain a MONAI dictionary transform, for `monai.transforms.Compose`, datasets and caches.

    Images and masks are `MetaTensor` (C, x, y, z) or (C, x, y), as `LoadImaged` and `EnsureChannelFirstd` make them; for the chain they are turned to (C, z, y, x),
    so -1 in its options is x as everywhere in medaug. The spacing is read from the affine of the first image. Several images are joined as channels, so the
    intensities of each are drawn as the chain draws those of channels. Images come out as float32 (or in the floating type they had), masks in their own type.
    Affines come out as MONAI's own transforms leave them: a voxel keeps the place in the patient (RAS) where its value was sampled. For a chain with a
    deformation that is the place before the deformation.

    Caches (`CacheDataset`, `PersistentDataset`) take it for what it is, random, and store only what stands before it.

    Args:
        compose: the chain.
        image: entries that are images, the first one gives the geometry.
        mask: entries that are masks of labels, on the same grid; channels are moved alike.
        probability: entries that are maps of probability, on the same grid.
        key: the entry with (seed, epoch, sample_id, view), or a function of the dictionary that gives it.

    Raises:
        AugmentationError: when called, for entries that are missing, have no affine or lie on several grids; for a sample without a key.

    Example:
        `monai.transforms.Compose([LoadImaged(names), EnsureChannelFirstd(names), as_monai(chain, mask="label", key=lambda d: (0, epoch, d["id"], 0))])`
    """
    return _ChainInMonai(compose, _names(image), _names(mask), _names(probability), key)


def from_monai(transform: Callable[[Any], Any], *, entry: str = "image", p: float = 1.0) -> "MonaiStep":
    """Make a MONAI dictionary transform an intensity step of a chain.

    Each sample reseeds it (`set_random_state`, and the process's generators while it runs) from its key, so what it draws is keyed too. It sees one sample at a
    time, a `MetaTensor` with the axes that MONAI expects, (C, x, y, z), and the spacing in its affine, and must keep the shape.

    Args:
        transform: such as `RandBiasFieldd("image", prob=1.0)`; a `monai.transforms.Compose` of them will do.
        entry: the key of its dictionary.
        p: probability that a sample is changed, beside the transform's own.

    Raises:
        AugmentationError: for something that cannot be called; when used, where the shape is changed.
    """
    return MonaiStep(transform=transform, entry=entry, p=p)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonaiStep:
    """A MONAI transform as an `IntensityTransform`; made by `from_monai`. Not for threads: the transform carries its random state."""

    transform: Callable[[Any], Any]
    entry: str = "image"
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("MonaiStep", self.p)
        if not callable(self.transform):
            raise AugmentationError("MonaiStep", f"{self.transform!r} cannot be called; give a MONAI dictionary transform")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        seeds = draws.integers("seed", 0, 2**32)
        reseed = getattr(self.transform, "set_random_state", None)
        for row, seed in enumerate(seeds.tolist()):
            x = MetaTensor(turned(image[row]), affine=axis_aligned_affine(spacing, row))
            with keyed_globals(seed):
                if reseed is not None:
                    reseed(seed=seed)
                changed = torch.as_tensor(self.transform({self.entry: x})[self.entry])
            if changed.shape != x.shape:
                raise AugmentationError(
                    draws.names[row],
                    f"{type(self.transform).__name__} made {tuple(changed.shape)} of {tuple(x.shape)}; an intensity step keeps the shape",
                )
            image[row] = turned(_plain(changed))
        return image


class _ChainInMonai(MonaiTransform, RandomizableTrait):
    """See `as_monai`."""

    def __init__(self, compose: Compose, images: Sequence[str], masks: Sequence[str], probabilities: Sequence[str], key: KeySource) -> None:
        if not images:
            raise AugmentationError("as_monai", "needs at least one image, which gives the geometry")
        self.compose = compose
        self.images, self.masks, self.probabilities, self.key = images, masks, probabilities, key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        names = [*self.images, *self.masks, *self.probabilities]
        tensors = {name: self._tensor(data, name) for name in names}
        arrays = {name: turned(_plain(tensor)) for name, tensor in tensors.items()}
        check_grids(names, list(arrays.values()), [tensor.affine for tensor in tensors.values()])
        affine = tensors[self.images[0]].affine.double().cpu()
        dims = arrays[names[0]].ndim - 1
        sample: dict[str, Any] = {
            "image": torch.cat([arrays[name] for name in self.images]),
            "spacing": torch.linalg.vector_norm(affine[:-1, :dims], dim=0).flip(0),
        }
        stacked: StackedMasks | None = None
        if self.masks:
            stacked = stack_masks(self.masks, [arrays[name] for name in self.masks])
            sample["mask"] = stacked.mask
        if self.probabilities:
            sample["probability"] = torch.cat([arrays[name].float() for name in self.probabilities])
        key = read_key({str(name): value for name, value in data.items()}, self.key)
        plan = self.compose.plan([key], tuple(sample["image"].shape[1:]), sample["spacing"])
        moved = self.compose(sample, key)
        placed = affine @ turned_geometry(plan, len(affine))
        parts = self._parts(moved["image"], arrays, self.images) | self._parts(moved.get("probability"), arrays, self.probabilities)
        if stacked is not None:
            parts |= dict(zip(self.masks, stacked.split(moved["mask"]), strict=True))
        for name, part in parts.items():
            array = turned(part)
            meta = {field: value for field, value in tensors[name].meta.items() if field != "affine"}
            result[name] = MetaTensor(array, affine=placed.clone(), meta=meta | {"spatial_shape": np.array(array.shape[1:])})
        return result

    def _tensor(self, data: Mapping[Hashable, Any], name: str) -> MetaTensor:
        if name not in data:
            raise AugmentationError("as_monai", f"finds no entry {name!r}; the sample has {', '.join(map(str, data))}")
        tensor = data[name]
        if not isinstance(tensor, MetaTensor):
            raise AugmentationError(
                "as_monai", f"finds a {type(tensor).__name__} without an affine in {name!r}; make it a MetaTensor, as LoadImaged does"
            )
        return tensor

    @staticmethod
    def _parts(joined: Tensor | None, arrays: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """The entries that were joined along the channels."""
        if joined is None:
            return {}
        return dict(zip(names, torch.split(joined, [len(arrays[name]) for name in names]), strict=True))


def _names(entries: Entries) -> tuple[str, ...]:
    return (entries,) if isinstance(entries, str) else tuple(entries)


def _plain(tensor: Tensor) -> Tensor:
    """The tensor without MONAI's class, whose every operation carries metadata along."""
    return tensor.as_subclass(Tensor)
