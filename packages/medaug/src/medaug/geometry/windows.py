"""What the output shows: crops, pads, zooms and other grids. Content stays where it is, so `affine` stays true."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.geometry.ranges import pairs_of
from medaug.options import check_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Cut a window out, at random or in the middle. Where the image is smaller than the window, it comes to the middle and the rest is outside.

    On the image's own voxels (no `spacing_mm`, no `size` beside `size_mm`) the window lies on whole voxels, and is copied unless something else moves.

    Attributes:
        size: voxels of the output along each axis.
        size_mm: size of the window; alone it needs one spacing in the batch.
        spacing_mm: of the output, with `size`: a window of size · spacing_mm.
        random: anywhere inside, uniformly; False cuts out the middle.

    Raises:
        AugmentationError: for neither or too many of the sizes, or one that is not positive; when used, for another number of axes than the image's, or for
            shapes that differ in the batch.
    """

    sets_shape: ClassVar[bool] = True
    size: tuple[int, ...] | None = None
    size_mm: tuple[float, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    random: bool = True

    def __post_init__(self) -> None:
        if (self.size is None and self.size_mm is None) or (
            self.spacing_mm is not None and (self.size is None or self.size_mm is not None)
        ):
            raise AugmentationError("Crop", "needs `size`, `size_mm`, or `size` with one of `size_mm` and `spacing_mm`")
        for name in ("size", "size_mm", "spacing_mm"):
            _check_positive("Crop", name, getattr(self, name))

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        for value in (self.size, self.size_mm, self.spacing_mm):
            _check_axes("Crop", value, plan.dims)
        spacing = plan.spacing
        if self.size is None:
            shape = _one_shape(plan, np.array(self.size_mm) / spacing)
        else:
            shape = self.size
            if self.size_mm is not None:
                spacing = np.broadcast_to(np.array(self.size_mm) / np.array(shape), spacing.shape)
            elif self.spacing_mm is not None:
                spacing = np.broadcast_to(np.array(self.spacing_mm, np.float64), spacing.shape)
        place = draws.uniform("place", size=(plan.dims,)) if self.random else np.full(spacing.shape, 0.5)
        if spacing is plan.spacing:
            start = _whole_start(np.array(plan.shape) - np.array(shape), place, self.random)
            centre = (start + (np.array(shape) - np.array(plan.shape)) / 2) * spacing
        else:
            room = np.maximum(plan.extent_mm - spacing * np.array(shape), 0.0)
            centre = (place - 0.5) * room
        return plan.look(shape, spacing, centre)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad:
    """Widen the window by whole voxels on both sides (an odd one goes to the end) where it is smaller than asked; never cuts.

    Attributes:
        size: least voxels along each axis.
        multiple: make each axis a multiple of this, e.g. a network's stride.

    Raises:
        AugmentationError: for neither, or one that is not positive; when used, for another number of axes than the image's.
    """

    sets_shape: ClassVar[bool] = True
    size: tuple[int, ...] | None = None
    multiple: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.size is None and self.multiple is None:
            raise AugmentationError("Pad", "needs `size` or `multiple`")
        for name in ("size", "multiple"):
            _check_positive("Pad", name, getattr(self, name))

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        for value in (self.size, self.multiple):
            _check_axes("Pad", value, plan.dims)
        shape = plan.shape if self.size is None else tuple(max(a, b) for a, b in zip(plan.shape, self.size, strict=True))
        if self.multiple is not None:
            shape = tuple(-(-n // m) * m for n, m in zip(shape, self.multiple, strict=True))
        more = np.array(shape) - np.array(plan.shape)
        return plan.look(shape, plan.spacing, (more / 2 - more // 2) * plan.spacing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoom:
    """See a smaller or larger field through as many voxels: spacing changes, content does not move, `affine` stays true.

    `Affine(scale=…)` looks the same in the voxels but moves content at an unchanged spacing: use that where size in mm must vary, this where the scanner's
    field of view does.

    Attributes:
        factor: (low, high), above 1 magnifies, drawn log-uniformly; or one pair an axis.
        isotropic: one factor for all axes; False draws one an axis.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a reversed or non-positive factor, a p outside [0, 1].
    """

    factor: tuple[float, float] | tuple[tuple[float, float], ...] = (0.8, 1.25)
    isotropic: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Zoom", self.p)
        for low, high in pairs_of(self.factor):
            if not 0 < low <= high < float("inf"):
                raise AugmentationError("Zoom", f"factor needs 0 < low <= high, got ({low}, {high})")

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        pairs = np.log(np.array(pairs_of(self.factor)))
        if len(pairs) not in (1, plan.dims):
            raise AugmentationError("Zoom", f"factor has {len(pairs)} ranges, this image needs {plan.dims} (or one for all)")
        count = 1 if self.isotropic and len(pairs) == 1 else plan.dims
        factor = np.exp(pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * draws.uniform("factor", size=(count,)))
        chosen = (on & draws.chance("apply", self.p))[:, None]
        return plan.look(plan.shape, np.where(chosen, plan.spacing / factor, plan.spacing), np.zeros_like(plan.spacing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Show the same window on another grid.

    Attributes:
        shape: voxels along each axis; the spacing follows.
        spacing_mm: along each axis; the shape follows, rounded to whole voxels about the same centre, and must come out the same for the batch.

    Raises:
        AugmentationError: unless exactly one is given and positive; when used, for another number of axes than the image's, or shapes that differ in the batch.
    """

    sets_shape: ClassVar[bool] = True
    shape: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.shape is None) == (self.spacing_mm is None):
            raise AugmentationError("Resize", "needs one of `shape` and `spacing_mm`")
        for name in ("shape", "spacing_mm"):
            _check_positive("Resize", name, getattr(self, name))

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        for value in (self.shape, self.spacing_mm):
            _check_axes("Resize", value, plan.dims)
        middle = np.zeros_like(plan.spacing)
        if self.shape is not None:
            return plan.look(self.shape, plan.extent_mm / np.array(self.shape), middle)
        spacing = np.broadcast_to(np.array(self.spacing_mm, np.float64), plan.spacing.shape)
        return plan.look(_one_shape(plan, plan.extent_mm / spacing), spacing, middle)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomResizedCrop:
    """A window of random size, form and place inside the image, on a grid of a fixed shape.

    Attributes:
        shape: of the output.
        scale: (low, high) share of the image's area or volume, in (0, 1], drawn uniformly.
        ratio: (low, high) of an axis's share of the image over that of the last axis, drawn log-uniformly for each; (1, 1) keeps the image's form.
            An axis that would reach past the image is cut to it.

    Raises:
        AugmentationError: for a reversed range, a share outside (0, 1], a ratio that is not positive.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, whose crops these are, in any number of axes.
    """

    sets_shape: ClassVar[bool] = True
    shape: tuple[int, ...]
    scale: tuple[float, float] = (0.3, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        _check_positive("RandomResizedCrop", "shape", self.shape)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise AugmentationError("RandomResizedCrop", f"scale needs 0 < low <= high <= 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < float("inf"):
            raise AugmentationError("RandomResizedCrop", f"ratio needs 0 < low <= high, got {self.ratio}")

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        _check_axes("RandomResizedCrop", self.shape, plan.dims)
        volume = draws.uniform("scale", *self.scale)[:, None]
        form = np.concatenate([draws.log_uniform("ratio", *self.ratio, size=(plan.dims - 1,)), np.ones_like(volume)], axis=1)
        share = np.minimum((volume / form.prod(1, keepdims=True)) ** (1 / plan.dims) * form, 1.0)
        centre = (draws.uniform("place", size=(plan.dims,)) - 0.5) * plan.extent_mm * (1 - share)
        return plan.look(self.shape, plan.extent_mm * share / np.array(self.shape), centre)


def _whole_start(room: Numbers, place: Numbers, random: bool) -> Numbers:
    """First voxel of a window that leaves `room` voxels over, (B, dims); negative where the image is smaller."""
    return np.where(room < 0, -(-room // 2), np.floor(place * (room + 1)) if random else room // 2)


def _one_shape(plan: Plan, sizes: Numbers) -> tuple[int, ...]:
    """Round sizes (B, dims) to the batch's one shape."""
    shapes = np.maximum(np.rint(sizes), 1).astype(int)
    if (shapes != shapes[0]).any():
        raise plan.error(
            f"come out in shapes {tuple(shapes.min(0).tolist())} to {tuple(shapes.max(0).tolist())}, a batch has one; set the shape, e.g. `Crop(size=…, spacing_mm=…)`"
        )
    return tuple(int(n) for n in shapes[0])


def _check_positive(transform: str, name: str, value: tuple[float, ...] | None) -> None:
    if value is not None and not all(0 < v < float("inf") for v in value):
        raise AugmentationError(transform, f"{name} must be positive along each axis, got {value}")


def _check_axes(transform: str, value: tuple[float, ...] | None, dims: int) -> None:
    if value is not None and len(value) != dims:
        raise AugmentationError(transform, f"{value} has {len(value)} numbers, this image needs {dims}")
