"""How tumours respond, by sums of diameters from visit to visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from medphantom.findings.truth import Truth

Category = Literal["CR", "PR", "SD", "PD", "NN"]
"""Complete or partial response, stable or progressive disease; NN is neither complete response nor progression, without targets."""
MEASURABLE_MM = 10.0
_TARGETS_AN_ORGAN = 2
_PARTIAL, _PROGRESS, _PROGRESS_MM = 0.30, 0.20, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The response on one visit.

    Attributes:
        category: overall.
        sum_mm: of the targets' longest diameters, with what came out of them.
        baseline_mm: the sum on the first visit.
        nadir_mm: the smallest sum before this visit, the first one included.
        new_lesions: tracking ids of lesions that no earlier lesion became.
    """

    category: Category
    sum_mm: float
    baseline_mm: float
    nadir_mm: float
    new_lesions: tuple[str, ...]


def choose_targets(truths: Sequence[Truth]) -> tuple[str, ...]:
    """Choose the target lesions on the first visit: the largest nodules of at least 10 mm, two at most, as both lungs are one organ.

    Args:
        truths: of the first visit.

    Returns:
        Tracking ids, the largest first.

    Source: Eisenhauer et al., "New response evaluation criteria in solid tumours: RECIST 1.1", Eur J Cancer 2009, 3.1 and 4.1.
    """
    lesions = [t for t in truths if t.kind == "nodule" and (t.diameter_mm or 0) >= MEASURABLE_MM]
    return tuple(t.tracking_id for t in sorted(lesions, key=lambda t: (-(t.diameter_mm or 0), t.tracking_id))[:_TARGETS_AN_ORGAN])


def respond(visits: Sequence[Sequence[Truth]], targets: Sequence[str] | None = None) -> tuple[Response | None, ...]:
    """Say the response on every visit after the first.

    Args:
        visits: the truths of each visit, in order.
        targets: tracking ids, or None to choose them on the first visit.

    Returns:
        One for each visit: None for the first, and where neither the first visit nor a later one has a lesion.

    Source: RECIST 1.1 as above, 4.3 to 4.4: PR is a sum at least 30 % below the first visit's; PD one at least 20 % and 5 mm above the
        smallest, or a new lesion; CR is that nothing is left. The parts of a target that split are added up; what targets merged into
        counts once (appendix II). Other lesions than targets keep a response from being complete; how much they grow is not judged.
    """
    if not visits:
        return ()
    lesions = [[t for t in truths if t.kind == "nodule" and t.seen] for truths in visits]
    targets = choose_targets(visits[0]) if targets is None else targets
    roots: dict[str, frozenset[str]] = {t.tracking_id: frozenset([t.tracking_id]) for t in lesions[0]}
    sums = [_sum(lesions[0], roots, targets)]
    responses: list[Response | None] = [None]
    ever = bool(lesions[0])
    for now in lesions[1:]:
        new = []
        for truth in now:
            known = [roots[name] for name in (truth.tracking_id, *truth.parents) if name in roots]
            if not known:
                new.append(truth.tracking_id)
            roots[truth.tracking_id] = frozenset().union(*known) if known else frozenset([truth.tracking_id])
        ever = ever or bool(now)
        total, nadir = _sum(now, roots, targets), min(sums)
        sums.append(total)
        responses.append(
            Response(
                category=_category(total, sums[0], nadir, len(now), bool(targets), bool(new)),
                sum_mm=total,
                baseline_mm=sums[0],
                nadir_mm=nadir,
                new_lesions=tuple(new),
            )
            if ever
            else None
        )
    return tuple(responses)


def _category(total: float, baseline: float, nadir: float, left: int, measured: bool, new: bool) -> Category:
    if new or (measured and total - nadir >= _PROGRESS_MM and total >= (1 + _PROGRESS) * nadir):
        return "PD"
    if not left:
        return "CR"
    if not measured:
        return "NN"
    return "PR" if total <= (1 - _PARTIAL) * baseline else "SD"


def _sum(truths: Sequence[Truth], roots: Mapping[str, frozenset[str]], targets: Sequence[str]) -> float:
    return sum((t.diameter_mm or 0.0) for t in truths if roots[t.tracking_id] & set(targets))
