"""Low resolution: as if the image had been stored on a coarser grid."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.along import combine
from medaug.intensity.rows import single
from medaug.kernels.tables import coarse
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class LowResolution:
    """The nearest voxels of a coarser grid, interpolated linearly back to the image's own.

    Attributes:
        factor: coarse grid points for each voxel along an axis, in (0, 1]; a number, or (low, high) to draw it.
        axes: the axes that lose resolution, from 0; None for all.
        per_axis: draw a factor for each axis.
        per_channel: draw for each channel.
        p_channel: probability that a channel of a changed sample loses resolution.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a factor outside (0, 1] or reversed, a p outside [0, 1], an axis that the image lacks.

    Source: the low-resolution augmentation of nnU-Net, Isensee et al., Nat Methods 18, 2021.
    """

    factor: Span = (0.5, 1.0)
    axes: tuple[int, ...] | None = None
    per_axis: bool = False
    per_channel: bool = False
    p_channel: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("LowResolution", self.p)
        check_probability("LowResolution", self.p_channel, "p_channel")
        span("LowResolution", "factor", self.factor, low=0, high=1, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        channels, dims = x.shape[1], x.ndim - 2
        axes = tuple(range(dims)) if self.axes is None else tuple(axis % dims if -dims <= axis < dims else -1 for axis in self.axes)
        if -1 in axes:
            raise AugmentationError("LowResolution", f"axes {self.axes} do not all exist in {dims}D; they go from {-dims} to {dims - 1}")
        own = self.per_channel or self.p_channel < 1
        bounds = span("LowResolution", "factor", self.factor)
        factor = draws.uniform("factor", *bounds, (channels if self.per_channel else 1, dims if self.per_axis else 1))
        factor = np.broadcast_to(factor, (len(x), channels if own else 1, dims))
        if own:
            factor = np.where(draws.chance("channel", self.p_channel, (channels,))[..., None], factor, 1)
        factor = factor.reshape(-1, dims)
        for axis in axes:
            n = x.shape[2 + axis]
            points = np.maximum(np.rint(n * factor[:, axis]).astype(np.int64), 1)
            combine(x, axis, *coarse(n, points), points < n)
        return x.to(image.dtype)
