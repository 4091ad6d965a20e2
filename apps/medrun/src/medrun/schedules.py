"""Learning rates as pure functions of progress."""

import math
from typing import Literal

from medmodels.contracts import Progress

Schedule = Literal["cosine", "linear", "constant"]


def learning_rate_factor(progress: Progress, schedule: Schedule, warmup: float, final: float) -> float:
    """Share of the peak learning rate that the step after `progress.step` finished ones takes.

    Args:
        progress: steps done, and their number in all.
        schedule: how the rate falls after the warm-up, from 1 to `final`.
        warmup: share of the run during which the rate rises linearly; the first step takes 1/n of the peak, the n-th the peak.
        final: share of the peak that the last step comes down to; without effect for `constant`.

    Returns:
        A factor in (0, 1].
    """
    warm = round(warmup * progress.max_steps)
    if progress.step < warm:
        return (progress.step + 1) / warm
    if schedule == "constant":
        return 1.0
    done = (progress.step - warm) / max(progress.max_steps - warm, 1)
    if schedule == "linear":
        return final + (1 - final) * (1 - done)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
