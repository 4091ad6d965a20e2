"""Thick slices: what a coarser protocol, or a faster scan, would have shown."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.along import combine
from medaug.intensity.rows import single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceThickness:
    """Means over contiguous thick slices, interpolated linearly back to the image's own.

    A thick slice is the mean over its box profile (partial volume and all); where the first one begins is drawn. At the ends the mean goes over what lies in
    the image. Thicknesses below the image's own spacing leave it as it is, bit for bit.

    Attributes:
        thickness_mm: of the simulated slices, which touch without gap; a number, or (low, high) to draw it.
        axis: across the slices, from 0.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a non-positive or reversed thickness, a p outside [0, 1]; for a sample without spacing, an axis that the image lacks.
    """

    thickness_mm: Span = (2.0, 5.0)
    axis: int = 0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("SliceThickness", self.p)
        span("SliceThickness", "thickness_mm", self.thickness_mm, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        dims = image.ndim - 2
        if not -dims <= self.axis < dims:
            raise AugmentationError("SliceThickness", f"axis {self.axis} does not exist in {dims}D; it goes from {-dims} to {dims - 1}")
        if spacing is None:
            raise draws.error("has no spacing, so thickness_mm means nothing; give `spacing`")
        axis = self.axis % dims
        thickness = draws.uniform("thickness", *span("SliceThickness", "thickness_mm", self.thickness_mm)) / spacing[:, axis]
        x = single(image)
        index, weights = thick_table(x.shape[2 + axis], np.maximum(thickness, 1), draws.uniform("start"))
        combine(x, axis, index, weights, thickness > 1)
        return x.to(image.dtype)


def thick_table(n: int, thickness: Numbers, start: Numbers) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """Take each of n voxels from the two thick slices beside it: index (R, taps, n) and weights (R, taps, n).

    Args:
        n: voxels along the axis; voxel i fills [i, i + 1].
        thickness: (R,) in voxels.
        start: (R,) in [0, 1): the middle of the first slice lies at `start` thicknesses, at most in the middle of the image.
    """
    thick = thickness[:, None]
    # where the image is thinner than a slice or two, the middle of the first must still lie in it
    begin = np.minimum(start * thickness, n / 2)[:, None] - thick / 2
    last = np.maximum(np.floor((n - begin) / thick - 0.5), 0)  # the last slice whose middle lies in the image
    place = np.clip((np.arange(n) + 0.5 - begin) / thick - 0.5, 0, last)
    left = np.floor(place)
    fraction = place - left
    low = begin + left * thick
    first = np.maximum(np.floor(low), 0)
    # two slices touch at most so many voxels; a fixed order of sums, so more taps of another sample add zeros only
    taps = int(np.ceil(2 * thickness.max())) + 2
    voxel = first[:, None, :] + np.arange(taps)[None, :, None]
    weights = np.zeros(voxel.shape)
    for lower, share in ((low, 1 - fraction), (low + thick, fraction)):
        upper = np.minimum(lower + thick, n)
        lower = np.maximum(lower, 0)
        overlap = np.maximum(np.minimum(voxel + 1, upper[:, None]) - np.maximum(voxel, lower[:, None]), 0)
        weights += overlap * (share / np.maximum(upper - lower, 1e-9))[:, None]
    return np.minimum(voxel, n - 1).astype(np.uint32), weights.astype(np.float32)
