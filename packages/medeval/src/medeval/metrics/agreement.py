"""How far people accept results, and each other."""

from collections.abc import Hashable, Sequence
from statistics import NormalDist

from medeval.bootstrap import Estimate
from medeval.errors import LengthError, ValueRangeError


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
