"""Brightness: all values up or down."""

from dataclasses import dataclass

from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.intensity.rows import column, drawn, rows, single
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Brightness:
    """The image times a factor, then plus a shift.

    A factor means what it says where 0 is the value of nothing (or of the mean, after a z-score); for HU use a shift alone.

    Attributes:
        factor: without unit; a number, or (low, high) to draw it.
        shift: in the image's unit; a number, or (low, high) to draw it.
        per_channel: draw both for each channel.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a reversed pair, a negative factor, a p outside [0, 1].
    """

    factor: Span = (0.75, 1.25)
    shift: Span = 0.0
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Brightness", self.p)
        span("Brightness", "factor", self.factor, low=0)
        span("Brightness", "shift", self.shift)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        line = rows(x, self.per_channel)
        for name, value, act in (("factor", self.factor, line.mul_), ("shift", self.shift, line.add_)):
            low, high = span("Brightness", name, value)
            if (low, high) != ((1, 1) if name == "factor" else (0, 0)):
                act(column(drawn(draws, name, low, high, x, self.per_channel), line))
        return x.to(image.dtype)
