"""Join transforms: one geometry, read once, then the intensities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.geometry.transform import SpatialTransform
from medaug.intensity.transform import IntensityTransform
from medaug.keyed import SampleKey
from medaug.one_of import OneOf
from medaug.resampling.chain import Chain
from medaug.resampling.places import move_boxes, move_points
from medaug.resampling.warping import Interpolation, Outside, Warper
from medaug.sample import batch_of, check_grid, ids_of, read_spacing, sample_of, say, shape_of, spacing_of

Transform = SpatialTransform | IntensityTransform | OneOf


class _Step(NamedTuple):
    """A transform, the name of its stream, and the choice that must fall on it."""

    stream: str
    transform: SpatialTransform | IntensityTransform
    spatial: bool
    choice: tuple[str, float, float, float] | None  # stream, low and high of the pick, probability that there is one

    def on(self, draws: Draws) -> Rows:
        """Samples that the choice lets through, (B,)."""
        if self.choice is None:
            return np.ones(len(draws), np.bool_)
        stream, low, high, p = self.choice
        picked = draws.child(stream).uniform("pick")
        return (picked >= low) & (picked < high) & draws.child(stream).chance("apply", p)


@dataclass(frozen=True)
class Compose:
    """A chain of transforms that acts on a sample or on a batch.

    All spatial transforms, in their order, become one plan in mm; image (linear or cubic), mask (nearest), class probabilities (linear), boxes, points and a
    prior are read along it once. The intensity transforms follow, in their order, on `image`. Each transform draws from the stream `<name>/<position>` of the
    sample's key, so a result depends on the key alone: not on the batch, its order, the worker, the rank or the number of threads.

    Content and window: `Affine`, `Flip`, `Rot90`, `Perspective`, `BSpline`, `Elastic` move content about the centre of the window as it is at their place in
    the chain; `Crop`, `Pad`, `Zoom`, `Resize`, `RandomResizedCrop` set the window and leave content where it is. A window always looks at the whole image: a
    `Pad` after a `Crop` shows again what the crop left out. `spacing` is always that of the output. `affine` follows the window exactly; where content moved
    the image no longer lies in the patient frame, and `affine` is removed (in a batch: where any sample's moved).

    Outside the field masks are 0, of several class probabilities the first is 1, one alone is 0. Boxes and points are moved, never clipped or dropped; under
    deformations to 1e-6 of the control points' distance, and boxes bound 9 places along each edge of their faces.

    Samples whose voxels land on voxels (no change, flips, quarter turns, whole crops) are copied bit for bit. Everything else is interpolated in float32;
    integer images come out as float32.

    A `prior` is read by the same transforms with the same parameters, about its own centre: onto its own grid where no transform sets the window, else onto
    the image's output grid. Its intensities are drawn from streams of their own, but `OneOf` picks
    the same for both.

    Args:
        transforms: anything that satisfies `SpatialTransform` or `IntensityTransform`, or `OneOf`.
        interpolation: of images: "linear", or "cubic" (Keys' convolution: sharper, slower, may overshoot at edges).
        outside: what images take outside their field: "minimum" of the sample's channel, "border" (the edge's value), "reflect", or a number.
        antialias: where an output voxel steps over more than two source voxels along an axis, average enough places in it that none is skipped.
        record: add `geometry` (B, dims + 1, dims + 1) float64, output index -> source index; not with deformations (use `plan`).

    Raises:
        AugmentationError: for something that is no transform, an unknown interpolation or outside.

    Example:
        `Compose([Flip(axes=(-1,)), Affine(rotation_deg=10, scale=(0.9, 1.1)), Noise(std=0.05)]).batch(batch)`
    """

    transforms: Sequence[Transform]
    interpolation: Interpolation = "linear"
    outside: Outside = "minimum"
    antialias: bool = True
    record: bool = False

    def __post_init__(self) -> None:
        for transform in self.transforms:
            if not isinstance(transform, SpatialTransform | IntensityTransform | OneOf):
                raise AugmentationError("Compose", f"{transform!r} is no transform; it needs a method `extend` or `change`")
        object.__setattr__(self, "transforms", tuple(self.transforms))
        if self.interpolation not in get_args(Interpolation):
            raise AugmentationError("Compose", f"interpolation is linear or cubic, got {self.interpolation!r}")
        if isinstance(self.outside, str) and self.outside not in ("minimum", "border", "reflect"):
            raise AugmentationError("Compose", f"outside is minimum, border, reflect or a number, got {self.outside!r}")

    def __call__(self, sample: Mapping[str, Any], key: SampleKey) -> dict[str, Any]:
        """Augment one sample.

        Args:
            sample: `image` (C, *S); where present `mask` (*S), `probability` (K, *S), `boxes` (n, 2·dims), `points` (n, dims), `spacing` (dims,) mm,
                `affine` (4, 4), `prior`. Not changed.
            key: (seed, epoch, sample_id, view).

        Returns:
            A new dict; equal, bit for bit, to the sample's row of a batch.

        Raises:
            AugmentationError: for a missing or unfit spacing, a mask on another grid, whatever a transform cannot do with this image.
        """
        return sample_of(self._augment(batch_of(sample), [key], "", None))

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Augment a batch, each sample by its own key.

        Args:
            batch: `image` (B, C, *S), `key` list of (seed, epoch, sample_id, view); where present `mask` (B, *S), `probability` (B, K, *S), lists `boxes`
                and `points`, `spacing` (B, dims) mm, `affine` (B, 4, 4), `prior`. Not changed.

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
        return self._augment(batch, [tuple(key) for key in keys], "", None)

    def plan(self, keys: Sequence[SampleKey], shape: tuple[int, ...], spacing: Tensor | Sequence[float]) -> Plan:
        """Tell where each sample's output reads, without reading; see `resampling.places.source_coordinates`.

        Args:
            keys: one (seed, epoch, sample_id, view) a sample.
            shape: (*S) of the images.
            spacing: (dims,) or (B, dims) mm.

        Raises:
            AugmentationError: for an unfit spacing, whatever a transform cannot do with this image.
        """
        draws = Draws(keys)
        space = read_spacing(spacing, draws.names)
        if len(shape) != space.shape[1]:
            raise AugmentationError(say(draws.names), f"shape {shape} does not fit {space.shape[1]} spacings")
        return self._plan(draws, tuple(shape), space)

    def invert(
        self,
        result: Tensor,
        key: SampleKey | Sequence[SampleKey],
        spacing: Tensor | Sequence[float],
        *,
        shape: tuple[int, ...] | None = None,
        fill: float = 0.0,
    ) -> Tensor:
        """Move a prediction on an augmented image back to where the image was, for test-time augmentation.

        Args:
            result: of one sample (K, *G) or (*G); of a batch, with B first, when `key` is a list. Floating point (probabilities, logits) is interpolated
                linearly, anything else (masks) takes the nearest voxel.
            key: the key, or one a sample, that the image was augmented with.
            spacing: (dims,) or (B, dims) mm of the image before augmentation.
            shape: (*S) of the image before augmentation; needed where a transform sets the window.
            fill: what floating-point voxels take that the augmented image did not show; 0 gives them no vote in a mean of probabilities. Masks take 0.

        Returns:
            On the image's grid, in the same dtype.

        Raises:
            AugmentationError: for a result that does not fit the spacing or the chain's output.
        """
        single = isinstance(key, tuple) and len(key) == 4 and isinstance(key[2], str)
        keys = cast(list[SampleKey], [key] if single else list(key))
        names = ids_of(keys)
        space = read_spacing(spacing, names)
        x = result[None] if single else result
        dims = space.shape[1]
        lead = x.ndim - 1 - dims
        if lead not in (0, 1) or len(x) != len(keys):
            raise AugmentationError(
                say(names), f"a result of shape {tuple(result.shape)} does not fit {dims} spacings and {len(keys)} key(s)"
            )
        shown = tuple(x.shape[-dims:])
        plan = self._plan(Draws(keys), shown if shape is None else tuple(shape), space)
        if plan.looked and shape is None:
            raise AugmentationError(say(names), "was augmented onto another grid; give `shape` of the image before augmentation")
        if plan.shape != shown:
            raise AugmentationError(say(names), f"a result of shape {shown} is not the {plan.shape} that this chain puts out")
        warper = Warper(chain=Chain.of(plan).inverse(), source=shown, grid=plan.source_shape, antialias=False)
        if warper.idle:
            return result
        channels = x.unsqueeze(1) if lead == 0 else x
        if x.is_floating_point():
            moved = warper.images(channels, None, outside=fill)[0]
        else:
            moved = torch.stack([warper.nearest(channel) for channel in channels.unbind(1)], dim=1)
        return moved.view(*result.shape[: result.ndim - dims], *plan.source_shape)

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        """The transforms with their streams; sorted once, for asking a runtime protocol takes as long as a small image."""
        steps = []
        for position, transform in enumerate(self.transforms):
            stream = f"{type(transform).__name__.lower()}/{position}"
            if isinstance(transform, OneOf):
                for number, (option, (low, high)) in enumerate(zip(transform.transforms, transform.bounds(), strict=True)):
                    choice = (stream, low, high, transform.p)
                    steps.append(_Step(f"{stream}/{number}", option, isinstance(option, SpatialTransform), choice))
            else:
                steps.append(_Step(stream, transform, isinstance(transform, SpatialTransform), None))
        return tuple(steps)

    @cached_property
    def _spatial(self) -> tuple[_Step, ...]:
        return tuple(step for step in self._steps if step.spatial)

    @cached_property
    def _intensity(self) -> tuple[_Step, ...]:
        return tuple(step for step in self._steps if not step.spatial)

    def _plan(self, draws: Draws, shape: tuple[int, ...], spacing: Numbers) -> Plan:
        plan = Plan.of(shape, spacing, draws.names)
        for step in self._spatial:
            plan = cast(SpatialTransform, step.transform).extend(plan, draws.child(step.stream), step.on(draws))
        return plan

    def _augment(self, batch: Mapping[str, Any], keys: Sequence[SampleKey], prefix: str, leader: Plan | None) -> dict[str, Any]:
        """Augment a batch, or a prior along the plan of its image."""
        result = dict(batch)
        given = torch.as_tensor(batch["image"])
        names = ids_of(keys)
        spacing = spacing_of(batch, names)
        image, plan, own = given, leader, Draws(keys)
        if self._spatial:
            shape, spacing = shape_of(given, spacing, names)
            shared = leader if leader is not None and leader.looked else None
            plan = shared.onto(shape, spacing) if shared else self._plan(own, shape, spacing)
            image = self._move(result, given, plan)
            spacing = plan.spacing
        image = (image if image.is_floating_point() else image.float()).contiguous()
        draws = own.child(prefix) if prefix else own
        for step in self._intensity:
            transform, stream = cast(IntensityTransform, step.transform), draws.child(step.stream)
            rows = np.flatnonzero(step.on(own) & stream.chance("apply", transform.p))
            if len(rows):
                owned = image.data_ptr() != given.data_ptr()
                image = _changed(image if owned else image.clone(), transform, stream, spacing, rows)
        result["image"] = image
        if result.get("prior") is not None:
            result["prior"] = self._augment(result["prior"], keys, f"prior/{prefix}", plan)
        return result

    def _move(self, result: dict[str, Any], image: Tensor, plan: Plan) -> Tensor:
        """Read everything spatial in `result` but the image, which is returned."""
        shape, names = plan.source_shape, plan.names
        chain = Chain.of(plan)
        warper = Warper(chain=chain, source=shape, grid=plan.shape, antialias=self.antialias)
        if self.record:
            result["geometry"] = torch.from_numpy(plan.index_matrices()).to(image.device)
        mask = None if result.get("mask") is None else check_grid("mask", torch.as_tensor(result["mask"]), 1, shape, names)
        votes = None if result.get("probability") is None else torch.as_tensor(result["probability"])
        if votes is not None:
            check_grid("probability", votes, 2, shape, names)
        if warper.idle:
            return image
        if votes is not None:
            result["probability"] = warper.probabilities(votes)
        for name, move in (("points", move_points), ("boxes", move_boxes)):
            if result.get(name) is not None:
                rows = [torch.as_tensor(row) for row in result[name]]
                owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
                moved = torch.split_with_sizes(move(chain.inverse(), torch.cat(rows), owners), [len(row) for row in rows])
                result[name] = [
                    new.to(old.dtype if old.is_floating_point() else torch.float32) for new, old in zip(moved, rows, strict=True)
                ]
        if plan.looked:
            _look(result, plan)
        if plan.moved.any():
            result.pop("affine", None)
        moved_image, moved_mask = warper.images(image, mask, self.interpolation, self.outside)
        if mask is not None:
            result["mask"] = moved_mask
        return moved_image


def _look(result: dict[str, Any], plan: Plan) -> None:
    """Make spacing and affine those of the output's window."""
    old = torch.as_tensor(result["spacing"])
    result["spacing"] = torch.from_numpy(plan.spacing.copy()).to(old.device, old.dtype if old.is_floating_point() else torch.float32)
    if result.get("affine") is not None and not plan.moved.any():
        affine = torch.as_tensor(result["affine"])
        to_source = torch.from_numpy(plan.index_matrices())
        index = torch.eye(affine.shape[-1], dtype=torch.float64).repeat(len(to_source), 1, 1)
        first = affine.shape[-1] - to_source.shape[-1]  # an image of two axes lies in the first plane of a volume
        index[:, first:, first:] = to_source
        result["affine"] = (affine.double() @ index.to(affine.device)).to(affine.dtype)


def _changed(image: Tensor, transform: IntensityTransform, draws: Draws, spacing: Numbers | None, rows: np.ndarray[Any, Any]) -> Tensor:
    """Let a transform change rows of an image that is ours, in place where it can: neighbours together, without a copy on a CPU."""
    if len(rows) == len(image):
        return transform.change(image, draws, spacing)
    if image.device.type == "cpu":
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            part = image[run[0] : run[-1] + 1]
            changed = transform.change(part, draws.rows(run), None if spacing is None else spacing[run])
            if changed.data_ptr() != part.data_ptr():
                part.copy_(changed)
        return image
    chosen = torch.from_numpy(rows).to(image.device)
    return image.index_copy_(0, chosen, transform.change(image[chosen], draws.rows(rows), None if spacing is None else spacing[rows]))
