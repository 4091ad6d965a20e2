"""Global and local views of a sample, each cropped and augmented in one resampling, with the geometry that ties them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medaug.compose import Compose
from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.keyed import SampleKey
from medaug.options import span
from medaug.sample import batch_of, sample_of, shape_of, spacing_of
from medaug.views.pairs import view_keys
from medaug.views.partners import batch_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class CropViews:
    """Views of one kind, such as the global or the local ones of DINO.

    The window has a random size, form and place inside the image. Where it is longer than the image, the image comes to its middle. Content that `augment`
    turns or shifts brings the outside in, as in any `Compose`.

    Attributes:
        shape: voxels of the output along each axis.
        count: views of this kind.
        scale: (low, high) share of the image's area or volume, in (0, 1], drawn uniformly; the window has the image's form but for `ratio`. This, or `size_mm`.
        size_mm: (low, high) edge of the window, drawn uniformly; the window is a cube but for `ratio`.
        ratio: (low, high) of an axis's share over that of the last axis, drawn log-uniformly for each; (1, 1) varies nothing. By `scale`, an axis that would
            reach past the image is cut to it.
        overlap: part of the shorter edge, along each axis, that the window has at least in common with the window of the very first view, in [0, 1];
            None: no such bond.
        augment: what happens to these views besides, spatial and intensity; what sets the output's shape has no place here.

    Raises:
        AugmentationError: for neither or both of `scale` and `size_mm`, or options out of range.
    """

    shape: tuple[int, ...]
    count: int = 1
    scale: tuple[float, float] | None = None
    size_mm: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    overlap: float | None = None
    augment: Compose = field(default_factory=lambda: Compose([]))

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.size_mm is None):
            raise AugmentationError("CropViews", "needs one of `scale` (share of the image) and `size_mm` (edge)")
        if self.count < 1 or len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise AugmentationError(
                "CropViews", f"needs a shape of 2 or 3 positive sizes and at least one view, got {self.shape}, {self.count}"
            )
        span("CropViews", "scale", self.scale or 1.0, low=0, high=1, open_low=True)
        span("CropViews", "size_mm", self.size_mm or 1.0, low=0, open_low=True)
        span("CropViews", "ratio", self.ratio, low=0, open_low=True)
        span("CropViews", "overlap", self.overlap or 0.0, low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiCrop:
    """Several views of every sample, for contrastive learning and self-distillation.

    View i of n takes the key (seed, epoch, sample_id, view * n + i), so each has draws of its own; windows are drawn from the sample's own key, since views
    that overlap must know of each other.

    Attributes:
        views: kinds of views, in the order in which they come out; the first view of the first kind is the one that `overlap` refers to.

    Raises:
        AugmentationError: without views, or for kinds of 2D and 3D together.

    Example:
        `MultiCrop(views=(CropViews(shape=(96, 96, 96), count=2, scale=(0.3, 1)), CropViews(shape=(48, 48, 48), count=6, size_mm=(30, 60), overlap=0.5)))`

    Source: Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", NeurIPS 2020.
    """

    views: tuple[CropViews, ...]

    def __post_init__(self) -> None:
        if len({len(kind.shape) for kind in self.views}) != 1:
            raise AugmentationError("MultiCrop", f"needs views, all 2D or all 3D, got shapes {[kind.shape for kind in self.views]}")

    def __call__(self, sample: Mapping[str, Any], key: SampleKey) -> list[dict[str, Any]]:
        """Make the views of one sample: `batch` of a batch of one, bit for bit.

        Args:
            sample: `image` (C, *S), `spacing` (dims,) mm; where present what `Compose` takes. Not changed.
            key: (seed, epoch, sample_id, view).

        Returns:
            One dict a view, as `batch` gives them, without the axis B.

        Raises:
            AugmentationError: see `batch`.
        """
        return [{**sample_of(view), "key": view["key"][0]} for view in self.batch({**batch_of(sample), "key": [key]})]

    def batch(self, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make the views of a batch.

        Args:
            batch: `image` (B, C, *S), `spacing` (B, dims) mm, `key`; where present what `Compose` takes. Not changed.

        Returns:
            One batch a view: what `Compose.batch` gives, with the view's `key`, its `spacing`, and `geometry` (B, dims + 1, dims + 1), output index -> index
            in `batch`, flips and rotations included.

        Raises:
            AugmentationError: for a missing key or spacing, an image of other axes than the views; for a view whose `augment` deforms: no matrix tells that.
        """
        keys = batch_keys(batch)
        draws = Draws(keys).child("multicrop")
        shape, spacing = shape_of(batch["image"], spacing_of(batch, draws.names), draws.names)
        if len(shape) != len(self.views[0].shape):
            raise draws.error(f"image {shape} has not as many axes as the views {self.views[0].shape}; give views for {len(shape)}D")
        extent = spacing * np.array(shape)
        kinds = [kind for kind in self.views for _ in range(kind.count)]
        first: tuple[Numbers, Numbers] | None = None
        result = []
        for number, kind in enumerate(kinds):
            size, start = _window(kind, extent, draws.child(str(number)), first)
            first = first or (size, start)
            window = _Window(kind.shape, size / np.array(kind.shape), start + (size - extent) / 2)
            chain = replace(kind.augment, transforms=(window, *kind.augment.transforms), record=True)
            view = chain.batch({**batch, "key": view_keys(keys, number, len(kinds))})
            if tuple(view["image"].shape[2:]) != kind.shape:
                raise draws.error(
                    f"view {number} came out in shape {tuple(view['image'].shape[2:])}, not {kind.shape}; take windows out of `augment`"
                )
            result.append(view)
        return result


@dataclass(frozen=True, slots=True)
class _Window:
    """Windows that are known: the grid's shape, spacing (B, dims) mm, and centre (B, dims) mm from the image's."""

    shape: tuple[int, ...]
    spacing: Numbers
    centre: Numbers
    p: float = 1.0

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        return plan.look(self.shape, self.spacing, self.centre)


def _window(kind: CropViews, extent: Numbers, draws: Draws, first: tuple[Numbers, Numbers] | None) -> tuple[Numbers, Numbers]:
    """Draw windows in mm: their sizes and starts from the image's first face, both (B, dims)."""
    dims = extent.shape[1]
    form = np.concatenate([draws.log_uniform("ratio", *kind.ratio, size=(dims - 1,)), np.ones((len(extent), 1))], axis=1)
    form = form / form.prod(1, keepdims=True) ** (1 / dims)
    if kind.scale is not None:
        share = draws.uniform("scale", *kind.scale)[:, None] ** (1 / dims)
        size = np.minimum(share * form, 1.0) * extent
    else:
        assert kind.size_mm is not None
        size = draws.uniform("size_mm", *kind.size_mm)[:, None] * form
    room = extent - size
    low, high = np.minimum(room / 2, 0.0), np.where(room < 0, room / 2, room)
    if kind.overlap is not None and first is not None:
        other, start = first
        common = kind.overlap * np.minimum(size, other)
        # Inside the image there is always such a place: the one where the shorter of both lies within the longer.
        bound_low, bound_high = np.maximum(low, start + common - size), np.minimum(high, start + other - common)
        low, high = np.where(room < 0, low, bound_low), np.where(room < 0, high, bound_high)
    return size, low + draws.uniform("place", size=(dims,)) * (high - low)
