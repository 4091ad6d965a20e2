"""Intervals from resampling patients, not cases.

Films of one patient resemble each other: resampling films as if they were independent gives intervals that are too narrow. Here whole patients are
drawn with replacement and bring all their cases along. A draw is a row of weights, so that a statistic is computed for many draws at once.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CHUNK_ELEMENTS = 4_000_000  # of the (replicates, cases) weights held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and how far it can be trusted.

    Attributes:
        value: on the cases as they are.
        low: lower end of the interval, at most `value`.
        high: upper end of the interval, at least `value`.
        n: cases that entered.
        patients: patients they come from, what the width of the interval rests on; None where cases are independent by nature.
    """

    value: float
    low: float
    high: float
    n: int
    patients: int | None = None

    def to_dict(self) -> dict[str, float | int]:
        """`value`, `low`, `high` and `n` as plain JSON numbers."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n={self.n})"


class Statistics(Protocol):
    """What the bootstrap can put intervals around."""

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        """Every figure, by name, for weights (R, N) of the N cases: (R,) each, NaN where a replicate leaves it undefined."""
        ...

    def entered(self, metric: str) -> npt.NDArray[np.bool_]:
        """(N,) whether a case takes part in this figure."""
        ...

    def bounds(self, metric: str) -> tuple[float, float]:
        """The range that the figure cannot leave."""
        ...

    def biased(self, metric: str) -> bool:
        """Whether resampling shifts the figure (ECE), so that only the spread of the replicates is of use."""
        ...


def keyed_rng(seed: int, stream: str) -> np.random.Generator:
    """Make the generator of one seed and named stream; streams are independent, and numpy's global generator is never touched."""
    digest = hashlib.blake2b(f"{seed}:{stream}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def patient_weights(patients: Sequence[str], samples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Draw patients with replacement, and give how often each case came along.

    Args:
        patients: (N,) the patient of each case. The draw depends on the set of patients, not on the order of the cases.
        samples: replicates in all.
        rng: see `keyed_rng`.

    Yields:
        (R, N) float64 counts; the R of all chunks sum to `samples`.
    """
    names, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    count = len(names)
    rows = max(1, _CHUNK_ELEMENTS // max(len(codes), 1))
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        drawn = rng.integers(0, count, size=(size, count)) + np.arange(size)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield counts[:, codes].astype(np.float64)


def bootstrap(
    scores: Statistics,
    patients: Sequence[str],
    *,
    rng: np.random.Generator,
    samples: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Percentile intervals of every figure of `scores`, by resampling patients.

    All figures see the same draws. Replicates that leave a figure undefined (no positive case drawn) do not count for it. The
    interval always holds the value. With a single patient nothing is known about the next one: the interval is the figure's whole range.
    A figure whose every case scores alike gets an interval of no width, as a bootstrap can know nothing beyond the cases.

    Args:
        scores: the cases' scores.
        patients: (N,) the patient of each case.
        rng: see `keyed_rng`; consumed.
        samples: replicates, at least 1.
        level: coverage of the interval.

    Returns:
        By name; figures that are undefined on the cases as they are, are absent.

    Source: Efron and Tibshirani, 1993, ch. 13; Field and Welsh, J R Stat Soc B 2007 (clusters).
    """
    names = np.asarray(patients, dtype=str)
    values = {name: float(v[0]) for name, v in scores.statistics(np.ones((1, len(names)))).items()}
    replicates: dict[str, list[Floats]] = {name: [] for name, value in values.items() if math.isfinite(value)}
    for weights in patient_weights(patients, samples, rng):
        drawn = scores.statistics(weights)
        for name, parts in replicates.items():
            parts.append(drawn[name])
    result = {}
    for name, parts in replicates.items():
        inside = scores.entered(name)
        clusters = len(np.unique(names[inside]))
        bounds = scores.bounds(name)
        low, high = bounds
        if clusters > 1:
            low, high = _interval(values[name], np.concatenate(parts), level, bounds, centred=scores.biased(name))
        result[name] = Estimate(values[name], low, high, int(inside.sum()), clusters)
    return result


def difference(
    a: Statistics,
    b: Statistics,
    metric: str,
    patients: Sequence[str],
    *,
    rng: np.random.Generator,
    samples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Interval of `a - b` for one figure, both on the same cases in the same order: every draw of patients scores both.

    Args:
        a: scores of one model.
        b: scores of the other.
        metric: the figure; defined for both.
        patients: (N,) the patient of each case.
        rng: see `keyed_rng`; consumed.
        samples: replicates, at least 1.
        level: coverage of the interval.

    Returns:
        The difference; `n` counts the cases that entered either figure.
    """
    ones = np.ones((1, len(patients)))
    value = float(a.statistics(ones)[metric][0] - b.statistics(ones)[metric][0])
    parts = [a.statistics(w)[metric] - b.statistics(w)[metric] for w in patient_weights(patients, samples, rng)]
    inside = a.entered(metric) | b.entered(metric)
    clusters = len(np.unique(np.asarray(patients, dtype=str)[inside]))
    lowest, highest = a.bounds(metric)
    low, high = lowest - highest, highest - lowest
    if clusters > 1:
        low, high = _interval(value, np.concatenate(parts), level, (low, high), centred=a.biased(metric))
    return Estimate(value, low, high, int(inside.sum()), clusters)


def _interval(value: float, replicates: Floats, level: float, bounds: tuple[float, float], *, centred: bool) -> tuple[float, float]:
    defined = replicates[np.isfinite(replicates)]
    if not len(defined):
        return bounds
    if centred:
        defined = np.clip(defined - (defined.mean() - value), *bounds)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)


def mean_over_defined(parts: Mapping[str, Floats]) -> Floats:
    """Mean of several (R,) figures, replicate by replicate, over those that are defined in it; NaN where none is."""
    stacked = np.stack(list(parts.values()))
    defined = np.isfinite(stacked)
    count = defined.sum(axis=0)
    total = np.where(defined, stacked, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
