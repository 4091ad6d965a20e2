"""TorchIO: a chain as one of its transforms, and one of its transforms as a step of a chain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medaug.adapters.axes import axis_aligned_affine, turned, turned_geometry
from medaug.adapters.keys import KeySource, read_key
from medaug.adapters.seeding import keyed_globals
from medaug.adapters.stacking import check_grids, stack_masks
from medaug.compose import Compose
from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan
from medaug.options import check_probability

try:
    import torchio as tio
except ImportError as error:
    raise ImportError('this adapter needs TorchIO: pip install "medaug[torchio]"') from error


def as_torchio(compose: Compose, *, include: Sequence[str] | None = None, key: KeySource = "key") -> tio.Transform:
    """Make a chain a TorchIO transform of a `Subject`.

    All its `ScalarImage`s go through as channels of one image and all its `LabelMap`s as one mask, so they must lie on one grid (else `tio.ToReferenceSpace` or
    `tio.Resample` first). Arrays (C, x, y, z) are turned to (C, z, y, x) for the chain, so -1 in its options is x as everywhere in medaug; an image of depth 1 is 2D
    for the chain. The spacing is read from the affine. Affines come out as TorchIO's own transforms leave them: where the content moved in a grid that stays (rotation, flip,
    deformation) the affine stays; where the grid changed (crop, resize) it is the new grid's, along the same directions.

    Args:
        compose: the chain.
        include: names of the images that take part; all where None.
        key: the entry of the subject with (seed, epoch, sample_id, view), or a function of the subject that gives it.

    Raises:
        AugmentationError: when called, for a subject without a scalar image, images on several grids, a subject without a key.
    """
    return _ChainInTorchIO(compose, None if include is None else tuple(include), key)


def from_torchio(transform: Callable[[Any], Any], *, p: float = 1.0) -> "TorchIOStep":
    """Make a TorchIO transform an intensity step of a chain.

    TorchIO draws from torch's global generator; while it runs, that is seeded from the sample's key and put back afterwards. The transform sees one sample at a
    time as a `Subject` with a `ScalarImage` "image": the array's axes (z, y, x) turned to TorchIO's (x, y, z), the spacing in its affine.

    Args:
        transform: such as `tio.RandomMotion()`.
        p: probability that a sample is changed, beside the transform's own.

    Raises:
        AugmentationError: for something that cannot be called; when used, where the shape is changed.
    """
    return TorchIOStep(transform=transform, p=p)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchIOStep:
    """A TorchIO transform as an `IntensityTransform`; made by `from_torchio`. Not for threads: global generators are seeded while it runs."""

    transform: Callable[[Any], Any]
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("TorchIOStep", self.p)
        if not callable(self.transform):
            raise AugmentationError("TorchIOStep", f"{self.transform!r} cannot be called; give a TorchIO transform")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        seeds = draws.integers("seed", 0, 2**32)
        flat = image.ndim == 4
        for row, seed in enumerate(seeds.tolist()):
            x = turned(image[row])[..., None] if flat else turned(image[row])
            with keyed_globals(seed):
                scalar = tio.ScalarImage(tensor=x, affine=axis_aligned_affine(spacing, row).numpy())  # type: ignore[no-untyped-call]
                subject = tio.Subject(image=scalar)
                changed = self.transform(subject)["image"].data
            if changed.shape != x.shape:
                raise AugmentationError(
                    draws.names[row],
                    f"{type(self.transform).__name__} made {tuple(changed.shape)} of {tuple(x.shape)}; an intensity step keeps the shape",
                )
            image[row] = turned(changed[..., 0] if flat else changed)
        return image


class _ChainInTorchIO(tio.Transform):
    """See `as_torchio`."""

    def __init__(self, compose: Compose, include: Sequence[str] | None, key: KeySource) -> None:
        super().__init__(include=include)
        self.compose, self.key = compose, key

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        images = subject.get_images_dict(intensity_only=False, include=self.include)
        scalars = [name for name, image in images.items() if not isinstance(image, tio.LabelMap)]
        labels = [name for name, image in images.items() if isinstance(image, tio.LabelMap)]
        if not scalars:
            raise AugmentationError(
                "as_torchio", f"finds no ScalarImage in a subject of {', '.join(images) or 'nothing'}; it gives the geometry"
            )
        names = [*scalars, *labels]
        arrays = {name: images[name].data for name in names}
        affine = torch.as_tensor(images[scalars[0]].affine, dtype=torch.float64)
        check_grids(names, list(arrays.values()), [torch.as_tensor(images[name].affine) for name in names])
        flat = arrays[names[0]].shape[-1] == 1
        dims = 2 if flat else 3
        arrays = {name: turned(array[..., 0] if flat else array) for name, array in arrays.items()}
        spacing = torch.linalg.vector_norm(affine[:3, :dims], dim=0).flip(0)
        sample: dict[str, Any] = {"image": torch.cat([arrays[name] for name in scalars]), "spacing": spacing}
        stacked = stack_masks(labels, [arrays[name] for name in labels]) if labels else None
        if stacked is not None:
            sample["mask"] = stacked.mask
        key = read_key(subject, self.key)
        plan = self.compose.plan([key], tuple(sample["image"].shape[1:]), spacing)
        moved = self.compose(sample, key)
        parts = dict(zip(scalars, torch.split(moved["image"], [len(arrays[name]) for name in scalars]), strict=True))
        if stacked is not None:
            parts |= dict(zip(labels, stacked.split(moved["mask"]), strict=True))
        placed = _placed(affine, plan)
        for name, part in parts.items():
            array = turned(part)
            images[name].set_data(array[..., None] if flat else array)
            images[name].affine = placed
        return subject


def _placed(affine: Tensor, plan: Plan) -> Any:
    """The affine of the grid that comes out, float64 numpy (4, 4)."""
    if not plan.looked:
        return affine.numpy()
    dims = plan.dims
    result = affine.clone()
    result[:3, :dims] *= torch.from_numpy((plan.spacing / plan.source_spacing)[0, ::-1].copy())
    # The new grid's centre lies where the value at its centre was sampled: chains turn and scale about it.
    centre = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    centre[:dims] = (torch.tensor(plan.shape[::-1], dtype=torch.float64) - 1) / 2
    result[:3, 3] += (affine @ turned_geometry(plan, 4) @ centre - result @ centre)[:3]
    return result.numpy()
