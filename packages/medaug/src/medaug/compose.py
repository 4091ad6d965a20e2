"""Join transforms: one geometry, resampled once, then the intensities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from medaug.errors import AugmentationError
from medaug.draws import Draws
from medaug.intensity.transform import IntensityTransform
from medaug.keyed import SampleKey, keyed_generator
from medaug.resampling import Matrices, Resampler
from medaug.spatial import SpatialTransform

Transform = SpatialTransform | IntensityTransform


@dataclass(frozen=True)
class Compose:
    """A chain of transforms that acts on a sample or on a batch.

    All spatial transforms, in their order, become one matrix in mm; image (linear), mask (nearest), boxes, points and a prior go through it once.
    The intensity transforms follow, in their order, on `image`. Each transform draws from the stream `<name>/<position>` of the sample's key, so a result
    depends on the key alone: not on the batch, its order, the worker or the rank.

    What leaves the field is lost; what enters it takes the minimum of that sample's channel in the image and 0 in the mask. Boxes and points are moved,
    never clipped or dropped. The grid stays where it was while the content moves, so the image no longer lies in the patient frame: `affine` is removed
    unless nothing moved (in a batch: unless no sample moved). `spacing` stays true of the grid.

    A `prior` is moved by the same matrix, about its own centre and by its own spacing; its intensities are drawn from streams of their own.

    Args:
        transforms: `Affine`, `Flip`, `Gamma`, `Noise`, or anything that satisfies `SpatialTransform` or `IntensityTransform`.

    Example:
        `Compose([Flip(axes=(-1,)), Affine(rotation_deg=10, scale=(0.9, 1.1)), Noise(std=0.05)]).batch(batch)`
    """

    transforms: Sequence[Transform]

    def __post_init__(self) -> None:
        for transform in self.transforms:
            if not isinstance(transform, SpatialTransform | IntensityTransform):
                raise AugmentationError("Compose", f"{transform!r} is no transform; it needs a method `matrix` or `apply`")
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def __call__(self, sample: Mapping[str, Any], key: SampleKey) -> dict[str, Any]:
        """Augment one sample.

        Args:
            sample: `image` (C, *S) float; where present `mask` (*S), `boxes` (n, 2·dims), `points` (n, dims), `spacing` (dims,) mm, `prior`. Not changed.
            key: (seed, epoch, sample_id, view).

        Returns:
            A new dict; equal, bit for bit, to the sample's row of a batch.

        Raises:
            AugmentationError: for a missing or unfit spacing, an image that is not floating point, a mask of another size.
        """
        return _unbatched(self._augment(_batched(sample), [key], ""))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Augment a batch, each sample by its own key.

        Args:
            batch: `image` (B, C, *S) float, `key` list of (seed, epoch, sample_id, view); where present `mask` (B, *S), lists `boxes` and `points`,
                `spacing` (B, dims) mm, `prior`. Not changed.

        Returns:
            A new dict, on the same device.

        Raises:
            AugmentationError: as `__call__`, or for a batch without keys.
        """
        keys = batch.get("key")
        if keys is None or len(keys) != len(batch["image"]):
            raise AugmentationError(
                "batch", f"needs one `key` (seed, epoch, sample_id, view) a sample, got {None if keys is None else len(keys)}"
            )
        return self._augment(batch, [tuple(key) for key in keys], "")

    def invert(
        self, result: Tensor, key: SampleKey | Sequence[SampleKey], spacing: Tensor | Sequence[float], *, fill: float = 0.0
    ) -> Tensor:
        """Move a prediction on an augmented image back to where the image was, for test-time augmentation.

        Args:
            result: of one sample (K, *S) or (*S); of a batch, with B first, when `key` is a list. Floating point (probabilities, logits) is interpolated
                linearly, anything else (masks) takes the nearest voxel.
            key: the key, or one a sample, that the image was augmented with.
            spacing: (dims,) or (B, dims) mm of the image.
            fill: what floating-point voxels take that the augmented image did not show; 0 gives them no vote in a mean of probabilities. Masks take 0.

        Returns:
            Same shape and dtype.

        Raises:
            AugmentationError: for a result that does not fit the spacing.
        """
        single = isinstance(key, tuple) and len(key) == 4 and isinstance(key[2], str)
        keys = cast(list[SampleKey], [key] if single else list(key))
        space = _spacing(spacing, len(keys), keys)
        x = result[None] if single else result
        dims = space.shape[1]
        lead = x.ndim - 1 - dims
        if lead not in (0, 1) or len(x) != len(keys):
            raise AugmentationError(
                _names(keys), f"a result of shape {tuple(result.shape)} does not fit {dims} spacings and {len(keys)} key(s)"
            )
        shape = tuple(x.shape[-dims:])
        inverse = np.stack([np.linalg.inv(matrix) for matrix in self._matrices(keys, dims)])
        channels = x.unsqueeze(1) if lead == 0 else x
        mover = Resampler(inverse, space, shape, x.device)
        if mover.identity:
            return result
        if x.is_floating_point():
            moved = mover.linear(channels, fill)
        else:
            moved = torch.stack([mover.nearest(channel) for channel in channels.unbind(1)], dim=1)
        return moved.view(result.shape)

    def _matrices(self, keys: Sequence[SampleKey], dims: int) -> Matrices:
        """One matrix a sample: (B, dims + 1, dims + 1)."""
        result = np.repeat(np.eye(dims + 1)[None], len(keys), axis=0)
        for stream, transform in self._streams():
            if isinstance(transform, SpatialTransform):
                for row, key in enumerate(keys):
                    result[row] = transform.matrix(keyed_generator(key, stream), dims) @ result[row]
        return result

    def _streams(self) -> list[tuple[str, Transform]]:
        return [(f"{type(t).__name__.lower()}/{position}", t) for position, t in enumerate(self.transforms)]

    def _augment(self, batch: Mapping[str, Any], keys: Sequence[SampleKey], prefix: str) -> dict[str, Any]:
        result = dict(batch)
        image = torch.as_tensor(batch["image"])
        if not image.is_floating_point():
            raise AugmentationError(_names(keys), f"image is {image.dtype}; normalise it to floating point before augmentation")
        if any(isinstance(t, SpatialTransform) for t in self.transforms):
            image = self._move(result, image, keys)
        draws = Draws(keys).child(prefix) if prefix else Draws(keys)
        spacing = None if result.get("spacing") is None else _spacing(result["spacing"], len(keys), keys)
        for stream, transform in self._streams():
            if isinstance(transform, IntensityTransform):
                image = _changed(image, transform, draws.child(stream), spacing)
        result["image"] = image
        if result.get("prior") is not None:
            result["prior"] = self._augment(result["prior"], keys, f"prior/{prefix}")
        return result

    def _move(self, result: dict[str, Any], image: Tensor, keys: Sequence[SampleKey]) -> Tensor:
        """Resample everything spatial in `result` but the image, which is returned."""
        if result.get("spacing") is None:
            raise AugmentationError(_names(keys), "has no spacing, so millimetres mean nothing; give `spacing` along each spatial axis")
        spacing = _spacing(result["spacing"], len(keys), keys)
        dims = spacing.shape[1]
        shape = tuple(image.shape[2:])
        if len(shape) != dims:
            raise AugmentationError(_names(keys), f"image of shape {tuple(image.shape[1:])} does not fit {dims} spacings; it is (C, *S)")
        mover = Resampler(self._matrices(keys, dims), spacing, shape, image.device)
        if mover.identity:
            return image
        if "mask" in result:
            mask = torch.as_tensor(result["mask"])
            if mask.shape[1:] != shape:
                raise AugmentationError(
                    _names(keys), f"mask of shape {tuple(mask.shape[1:])} lies on another grid than image {shape}; resample it first"
                )
            result["mask"] = mover.nearest(mask)
        for name, move in (("points", mover.points), ("boxes", mover.boxes)):
            if name in result:
                rows = [torch.as_tensor(row) for row in result[name]]
                index = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(row) for row in rows])).to(rows[0].device)
                moved = torch.split_with_sizes(move(torch.cat(rows), index), [len(row) for row in rows])
                result[name] = [
                    new.to(old.dtype if old.is_floating_point() else torch.float32) for new, old in zip(moved, rows, strict=True)
                ]
        result.pop("affine", None)
        return mover.linear(image)


def _changed(image: Tensor, transform: IntensityTransform, draws: Draws, spacing: Matrices | None) -> Tensor:
    """Let a transform change the samples that its probability picks; `image` itself is not touched."""
    rows = np.flatnonzero(draws.chance("apply", transform.p))
    if not len(rows):
        return image
    if len(rows) == len(image):
        return transform.change(image.clone(), draws, spacing)
    chosen = torch.from_numpy(rows).to(image.device)
    changed = transform.change(image[chosen], draws.rows(rows), None if spacing is None else spacing[rows])
    return image.index_copy(0, chosen, changed)


def _batched(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Put B = 1 before what `Compose` touches."""
    result = dict(sample)
    for name in ("image", "mask", "spacing"):
        if sample.get(name) is not None:
            result[name] = torch.as_tensor(sample[name])[None]
    for name in ("points", "boxes"):
        if name in sample:
            result[name] = [sample[name]]
    if sample.get("prior") is not None:
        result["prior"] = _batched(sample["prior"])
    return result


def _unbatched(batch: dict[str, Any]) -> dict[str, Any]:
    """Inverse of `_batched`."""
    for name in ("image", "mask", "spacing", "points", "boxes"):
        if batch.get(name) is not None:
            batch[name] = batch[name][0]
    if batch.get("prior") is not None:
        batch["prior"] = _unbatched(batch["prior"])
    return batch


def _spacing(spacing: Tensor | Sequence[float], count: int, keys: Sequence[SampleKey]) -> Matrices:
    """Spacing as (B, dims) float64."""
    values = torch.as_tensor(spacing, dtype=torch.float64).cpu().numpy()
    values = np.broadcast_to(values, (count, values.shape[-1])) if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != count or values.shape[1] not in (2, 3) or not (np.isfinite(values) & (values > 0)).all():
        raise AugmentationError(_names(keys), f"spacing must be 2 or 3 positive numbers in mm a sample, got {values.tolist()}")
    return values


def _names(keys: Sequence[SampleKey]) -> str:
    """Sample ids for an error, at most three."""
    ids = [str(key[2]) for key in keys]
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
