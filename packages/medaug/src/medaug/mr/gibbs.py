"""Gibbs ringing: edges that ring where k-space was cut."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.axis import weigh_frequencies_
from medaug.draws import Draws, Numbers
from medaug.mr.ghosting import check_axes
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Gibbs:
    """Keeps the central part of k-space along each axis and drops the rest, as an acquisition of fewer lines does: blur, and ringing of 9 % at edges.

    Linear, so any scale of intensity will do; the mean of the image stays.

    Attributes:
        kept: share of the frequencies kept along an axis, each axis by a draw of its own; a number, or (low, high) to draw it.
        axes: spatial axes that are cut; None is all.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a kept share outside (0, 1], an axis that the image lacks, a p outside [0, 1].

    Source: Czervionke et al., "Characteristic features of MR truncation artifacts", AJNR 9(5), 1988.
    """

    kept: Span = (0.4, 0.8)
    axes: tuple[int, ...] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Gibbs", self.p)
        span("Gibbs", "kept", self.kept, low=0, high=1, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        axes = check_axes(draws, self.axes, image.ndim - 2)
        kept = draws.uniform("kept", *span("Gibbs", "kept", self.kept), size=(len(axes),))
        result = image.float()
        for column, axis in enumerate(axes):
            length = image.shape[2 + axis]
            line = np.abs(np.fft.fftfreq(length, 1 / length))
            inside = line <= np.floor(kept[:, column, None] * (length // 2))
            result = weigh_frequencies_(result, axis, inside.astype(float))
        return result.to(image.dtype)
