"""How far people accept results, and each other."""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from medeval.bootstrap import Estimate, bootstrap, keyed_rng
from medeval.errors import LengthError, ValueRangeError

Floats = npt.NDArray[np.float64]


def proportion(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """A share of independent cases with its Wilson interval.

    Unlike a bootstrap it keeps an honest width when all cases agree: 10 of 10 gives 0.72 to 1, not 1 to 1.

    Args:
        successes: cases that count, 0 to n.
        n: independent cases, at least 1.
        level: coverage of the interval.

    Returns:
        The share, with `n` cases.

    Raises:
        ValueRangeError: when successes do not lie between 0 and n, or n is 0.

    Source: Wilson, J Am Stat Assoc 1927.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueRangeError("proportion", f"{successes} of {n} is no share; give at least one case")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # At 0 and n of n the interval ends exactly there; rounding must not push it past.
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two readers over the same cases: agreement beyond what their habits alone would give.

    Args:
        first: one verdict a case.
        second: the other reader's, in the same order.

    Returns:
        1 for full agreement, 0 for chance, below 0 for less; NaN (undefined) when both gave one and the same verdict throughout.

    Raises:
        LengthError: when the lengths differ or no case is given.

    Source: Cohen, Educ Psychol Meas 1960.
    """
    if len(first) != len(second) or not first:
        raise LengthError("cohen_kappa", f"{len(first)} and {len(second)} verdicts; give both readers' verdicts on the same cases")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(first.count(verdict) * second.count(verdict) for verdict in set(first)) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def kappa_interval(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    patients: Sequence[str] | None = None,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate | None:
    """`cohen_kappa` with its bootstrap interval.

    Args:
        first: one verdict a case.
        second: the other reader's, in the same order.
        patients: (N,) the patient of each case; every case is its own where None.
        samples: bootstrap replicates; those in which both give one verdict throughout are left out.
        seed: of the bootstrap.
        level: coverage of the interval.

    Returns:
        The estimate, or None where kappa is undefined.

    Raises:
        LengthError: when the lengths differ or no case is given.
    """
    if math.isnan(cohen_kappa(first, second)):
        return None
    verdicts = sorted({*first, *second}, key=repr)
    index = {verdict: i for i, verdict in enumerate(verdicts)}
    cells = np.zeros((len(first), len(verdicts), len(verdicts)))
    cells[np.arange(len(first)), [index[v] for v in first], [index[v] for v in second]] = 1
    names = [str(i) for i in range(len(first))] if patients is None else list(patients)
    return bootstrap(_Kappa(cells), names, rng=keyed_rng(seed, "kappa"), samples=samples, level=level)["kappa"]


class _Kappa:
    """Cross tables (N, V, V) of one case each; satisfies `bootstrap.Statistics`."""

    def __init__(self, cells: Floats) -> None:
        self.cells = cells

    def statistics(self, weights: Floats) -> dict[str, Floats]:
        tables = np.tensordot(weights, self.cells, axes=1) / weights.sum(axis=1)[:, None, None]
        observed = np.einsum("rvv->r", tables)
        chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
        # Full agreement on one verdict leaves 0 / 0, up to the rounding of the shares.
        defined = chance < 1 - 1e-12
        return {"kappa": np.asarray(np.divide(observed - chance, 1 - chance, out=np.full_like(chance, np.nan), where=defined))}

    def entered(self, metric: str) -> npt.NDArray[np.bool_]:
        return np.ones(len(self.cells), dtype=bool)

    def bounds(self, metric: str) -> tuple[float, float]:
        return (-1.0, 1.0)

    def biased(self, metric: str) -> bool:
        return False
