"""Scales: from the scanner's values to those that a network expects. Nothing is drawn here; p is 1 unless asked otherwise."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.intensity.rows import column, rows, single
from medaug.kernels import pointwise, serving
from medaug.kernels.ranks import ranked
from medaug.options import check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A display window: `center` - `width` / 2 becomes 0, `center` + `width` / 2 becomes 1, what lies outside is held there.

    Attributes:
        center: in the image's unit (HU for CT).
        width: in the image's unit; positive.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a width that is not positive, a p outside [0, 1].
    """

    center: float = 40.0
    width: float = 400.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Window", self.p)
        span("Window", "center", self.center)
        span("Window", "width", self.width, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        low = self.center - self.width / 2
        _mapped(rows(x, False), np.full(len(x), 1 / self.width), np.full(len(x), -low / self.width), 0.0, 1.0)
        return x.to(image.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Values held within [low, high], in the image's unit.

    Attributes:
        low: the least value.
        high: the greatest value.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for low above high, a p outside [0, 1].
    """

    low: float = -1024.0
    high: float = 3071.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Clip", self.p)
        span("Clip", "low and high", (self.low, self.high))

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        return image.clamp_(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZScore:
    """The image less its mean, over its standard deviation; a constant image becomes 0.

    Attributes:
        mean: a fixed mean in the image's unit (as that of a training set); None takes the image's own.
        std: a fixed standard deviation; None takes the image's own.
        per_channel: take statistics for each channel.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a mean without a std or the reverse, a std that is not positive, a p outside [0, 1].
    """

    mean: float | None = None
    std: float | None = None
    per_channel: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("ZScore", self.p)
        if (self.mean is None) != (self.std is None):
            raise AugmentationError("ZScore", f"needs mean and std together or neither, got mean={self.mean}, std={self.std}")
        if self.mean is not None and self.std is not None:
            span("ZScore", "mean", self.mean)
            span("ZScore", "std", self.std, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        line = rows(x, self.per_channel)
        if self.mean is not None and self.std is not None:
            mean, std = np.full(len(line), self.mean), np.full(len(line), self.std)
        else:
            _, _, mean, std = _statistics(line)
            std = np.where(std > 0, std, 1)
        _mapped(line, 1 / std, -mean / std, -np.inf, np.inf)
        return x.to(image.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """The image's own range to [low, high], what lies outside is held there; a constant image becomes `low`.

    Attributes:
        low: what the lower end of the range becomes.
        high: what the upper end becomes.
        percentiles: the ends of the range, in percent; (0, 100) are the extremes, (0.5, 99.5) leave out specks of metal or of noise.
        per_channel: take the range of each channel.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for low above high, percentiles that do not rise within [0, 100], a p outside [0, 1].
    """

    low: float = 0.0
    high: float = 1.0
    percentiles: tuple[float, float] = (0.0, 100.0)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Rescale", self.p)
        span("Rescale", "low and high", (self.low, self.high))
        span("Rescale", "percentiles", self.percentiles, low=0, high=100)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        line = rows(x, self.per_channel)
        least, most = _statistics(line)[:2] if self.percentiles == (0, 100) else percentiles(line, self.percentiles)
        scale = (self.high - self.low) / np.where(most > least, most - least, 1)
        _mapped(line, scale, self.low - least * scale, self.low, self.high)
        return x.to(image.dtype)


def percentiles(x: Tensor, percent: tuple[float, ...]) -> Numbers:
    """Percentiles of rows (R, n) float32, (K, R) float64, interpolated linearly between ranks as numpy does."""
    place = np.array(percent) / 100 * (x.shape[1] - 1)
    below = np.floor(place).astype(np.int64)
    ranks = np.concatenate([below, np.minimum(below + 1, x.shape[1] - 1)])
    if serving.loops(x.device):
        values = ranked(x.numpy(), ranks)
    else:
        values = x.sort(1).values[:, torch.from_numpy(ranks).to(x.device)].cpu().numpy()
    lower, upper = values.astype(np.float64).T.reshape(2, len(percent), -1)
    return np.asarray(lower + (upper - lower) * (place - below)[:, None])


def _statistics(x: Tensor) -> Numbers:
    """Minimum, maximum, mean and standard deviation of rows (R, n): (4, R)."""
    if serving.loops(x.device):
        return np.asarray(pointwise.statistics(x.numpy()).T)
    std, mean = torch.std_mean(x.double(), 1)
    return np.stack([v.double().cpu().numpy() for v in (x.amin(1), x.amax(1), mean, std)])


def _mapped(x: Tensor, scale: Numbers, shift: Numbers, low: float, high: float) -> None:
    """Replace rows (R, n) by x * scale + shift, held within [low, high], in place."""
    if serving.loops(x.device):
        bounds = (np.full(len(x), low, np.float32), np.full(len(x), high, np.float32))
        pointwise.linear(x.numpy(), scale.astype(np.float32), shift.astype(np.float32), *bounds)
    else:
        x.mul_(column(scale, x)).add_(column(shift, x)).clamp_(low, high)
