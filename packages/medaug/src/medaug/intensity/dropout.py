"""Coarse dropout: cuboids that the network must do without."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.rows import rows, single
from medaug.kernels import pointwise, serving
from medaug.kernels.cuboids import fill_cuboids
from medaug.options import Span, check_probability, span

Bounds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseDropout:
    """Axis-parallel cuboids (rectangles in 2D), anywhere in the image and partly beyond its edge, lose their content.

    Attributes:
        count: cuboids a sample; a number, or (low, high) to draw it, both included. They may overlap.
        size_mm: length of each edge; a number, or (low, high) to draw it for each edge.
        share: the same as a share of the image's extent along that edge; where neither is given, (0.05, 0.2).
        fill: what a cuboid holds then: "minimum" or "mean" of that sample's channel, or a number in the image's unit.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for both sizes at once, a reversed or senseless option; for size_mm where a sample has no spacing.

    Source: DeVries, Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    count: int | tuple[int, int] = (1, 8)
    size_mm: Span | None = None
    share: Span | None = None
    fill: Literal["minimum", "mean"] | float = "mean"
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("CoarseDropout", self.p)
        low, high = span("CoarseDropout", "count", self.count, low=0)
        if low != int(low) or high != int(high):
            raise AugmentationError("CoarseDropout", f"count needs whole numbers, got {self.count}")
        if self.fill not in ("minimum", "mean") and not isinstance(self.fill, int | float):
            raise AugmentationError("CoarseDropout", f'fill is "minimum", "mean" or a number, got {self.fill!r}')
        self._size()

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        shape = np.array(x.shape[2:])
        least, most = (int(v) for v in span("CoarseDropout", "count", self.count))
        # all that there might be are drawn, so that the number in use moves none of them
        size = draws.uniform("size", *self._size(), (most, len(shape)))
        if self.size_mm is None:
            voxels = size * shape
        elif spacing is None:
            raise draws.error("has no spacing, so size_mm means nothing; give `spacing`, or use share")
        else:
            voxels = size / spacing[:, None, :]
        centre = draws.uniform("centre", 0, 1, (most, len(shape))) * shape
        used = np.arange(most) < draws.integers("count", least, most + 1)[:, None]
        low = np.clip(np.rint(centre - voxels / 2), 0, shape).astype(np.int64)
        high = np.where(used[..., None], np.clip(np.rint(centre + voxels / 2), 0, shape), 0).astype(np.int64)
        blank(x, low, high, self._filling(x))
        return x.to(image.dtype)

    def _size(self) -> tuple[float, float]:
        if self.size_mm is not None and self.share is not None:
            raise AugmentationError("CoarseDropout", f"takes size_mm or share, got both ({self.size_mm} and {self.share}); drop one")
        if self.size_mm is not None:
            return span("CoarseDropout", "size_mm", self.size_mm, low=0, open_low=True)
        return span("CoarseDropout", "share", (0.05, 0.2) if self.share is None else self.share, low=0, high=1, open_low=True)

    def _filling(self, x: Tensor) -> Tensor:
        """What fills each channel: (B, C)."""
        if self.fill == "minimum":
            return x.flatten(2).amin(2)
        if self.fill == "mean":
            return channel_means(x)
        return torch.full(x.shape[:2], float(self.fill), device=x.device)


def channel_means(x: Tensor) -> Tensor:
    """Mean of each channel, (B, C) float32, summed in an order that the batch does not change."""
    line = rows(x, True)
    looped = serving.loops(x.device)
    mean = torch.from_numpy(pointwise.statistics(line.numpy())[:, 2]).float() if looped else line.mean(1)
    return mean.view(x.shape[:2])


def blank(x: Tensor, low: Bounds, high: Bounds, filling: Tensor) -> None:
    """Fill the voxels low <= index < high of each cuboid, in place.

    Args:
        x: (B, C, *S) float32, contiguous.
        low: (B, n, dims) first voxels.
        high: (B, n, dims) the voxels past the last; at or below `low` a cuboid is empty.
        filling: (B, C).
    """
    if serving.loops(x.device):
        lead = ((0, 0), (0, 0), (5 - x.ndim, 0))
        volume = x.view(*x.shape[:2], *(1,) * (5 - x.ndim), *x.shape[2:])
        fill_cuboids(volume.numpy(), np.pad(low, lead), np.pad(high, lead, constant_values=1), filling.numpy())
    else:
        _blank_by_torch(x, low, high, filling)


def _blank_by_torch(x: Tensor, low: Bounds, high: Bounds, filling: Tensor) -> None:
    inside = torch.ones(*low.shape[:2], *(1,) * (x.ndim - 2), dtype=torch.bool, device=x.device)
    for axis, n in enumerate(x.shape[2:]):
        at = torch.arange(n, device=x.device)
        first, past = (torch.from_numpy(v[..., axis, None]).to(x.device) for v in (low, high))
        along = (at >= first) & (at < past)
        inside = inside & along.view(*low.shape[:2], *(n if k == axis else 1 for k in range(x.ndim - 2)))
    hole = inside.any(1)[:, None]
    x.copy_(torch.where(hole, filling.view(*x.shape[:2], *(1,) * (x.ndim - 2)), x))
