"""Ghosts: copies of the patient along the phase-encoding axis."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.axis import weigh_frequencies_
from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Ghosting:
    """Weakens every n-th line of k-space along one axis, which leaves n faint copies of the image, evenly apart.

    Linear, so any scale of intensity will do; the mean of the image stays. The result is the real part, which may be slightly negative.

    Attributes:
        count: (low, high) of n, both taken.
        intensity: share of their signal that the lines lose; a number, or (low, high) to draw it.
        center: share of the lines, about the centre of k-space, that keep their signal; the central line always does.
        axes: spatial axes to draw the phase-encoding axis from; None is all.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a count below 2, an intensity or centre outside [0, 1], no axis, a p outside [0, 1].

    Source: Wood and Henkelman, "MR image artifacts from periodic motion", Medical Physics 12(2), 1985.
    """

    count: tuple[int, int] = (2, 8)
    intensity: Span = (0.2, 0.7)
    center: Span = 0.02
    axes: tuple[int, ...] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Ghosting", self.p)
        span("Ghosting", "count", self.count, low=2)
        span("Ghosting", "intensity", self.intensity, low=0, high=1)
        span("Ghosting", "center", self.center, low=0, high=1)
        if self.axes is not None and not self.axes:
            raise AugmentationError("Ghosting", "axes is empty; name a spatial axis, or None for all")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        count = draws.integers("count", int(self.count[0]), int(self.count[1]) + 1)
        intensity = draws.uniform("intensity", *span("Ghosting", "intensity", self.intensity))
        centre = draws.uniform("center", *span("Ghosting", "center", self.center))
        known = check_axes(draws, self.axes, image.ndim - 2)
        axis = np.array(known)[draws.integers("axis", 0, len(known))]
        result = image.float()
        for each in np.unique(axis):
            rows = np.flatnonzero(axis == each)
            weights = line_weights(image.shape[2 + each], count[rows], intensity[rows], centre[rows])
            chosen = torch.from_numpy(rows).to(image.device)
            result.index_copy_(0, chosen, weigh_frequencies_(result[chosen], int(each), weights))
        return result.to(image.dtype)


def check_axes(draws: Draws, axes: tuple[int, ...] | None, dims: int) -> tuple[int, ...]:
    """Count axes from the first spatial one; None is all. Raise for an axis that the image lacks."""
    known = tuple(range(dims)) if axes is None else axes
    if any(not -dims <= axis < dims for axis in known):
        raise draws.error(f"has {dims} spatial axes, but axes={axes} names another; count from 0 or from -1")
    return tuple(axis % dims for axis in known)


def line_weights(length: int, count: npt.NDArray[np.int64], intensity: Numbers, centre: Numbers) -> Numbers:
    """Weights of the lines of k-space, (B, length), zero frequency first."""
    # Lines are counted from the lowest frequency on, as they are acquired.
    line = np.arange(length)
    ghosted = line % count[:, None] == 0
    half = np.round(centre * length).astype(int)[:, None] // 2
    kept = ((line >= length // 2 - half) & (line < length // 2 + half)) | (line == length // 2)
    weights = np.where(ghosted & ~kept, 1 - intensity[:, None], 1.0)
    return np.fft.ifftshift(weights, axes=1)
