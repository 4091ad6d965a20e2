"""What a report is to say, before any words: claims drawn from the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medphantom.findings.truth import Truth
from medphantom.reports.lexicon import REGIONS, SOUGHT, term_of
from medphantom.reports.statements import Change, Status
from medphantom.reports.visibility import Modality, is_shown, is_slight

_GROWTH_MM = 2.0
_GROWTH_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """One thing to say.

    Attributes:
        kind: of finding.
        status: as in `Statement`.
        truth: what it is about; None for a kind that is absent.
        change: against the prior; None without a prior.
        earlier: the same finding in the prior, or None.
    """

    kind: str
    status: Status
    truth: Truth | None = None
    change: Change | None = None
    earlier: Truth | None = None


def change_between(earlier: Truth | None, later: Truth | None) -> Change:
    """Compare a finding at two visits; one of the two may be None.

    Nodules change by 2 mm or more of diameter, other findings by a quarter or more of the volume.

    Source: 2 mm from Bankier et al., "Recommendations for measuring pulmonary nodules at CT", Radiology 2017; the quarter is ours.
    """
    if earlier is None or later is None:
        if later is not None:
            return "new"
        if earlier is not None:
            return "resolved"
        raise ValueError("change_between: a finding that is at neither visit has no change; pass one of them at least")
    if earlier.kind == "nodule":
        difference, least = (later.diameter_mm or 0.0) - (earlier.diameter_mm or 0.0), _GROWTH_MM
    else:
        difference, least = later.volume_ml - earlier.volume_ml, _GROWTH_SHARE * earlier.volume_ml
    if abs(difference) < least or difference == 0:
        return "stable"
    return "larger" if difference > 0 else "smaller"


def plan(
    truths: Sequence[Truth], prior: Sequence[Truth] | None, modality: Modality, rng: np.random.Generator, *, hedging: float
) -> tuple[Claim, ...]:
    """Choose what to say of a visit.

    Args:
        truths: the visit's findings.
        prior: those of the visit to compare with, or None.
        modality: what is read; what it does not show is not spoken of, neither as present nor as absent.
        rng: decides which slight findings are hedged and which absences are said.
        hedging: share of the well-seen findings that are called uncertain all the same.

    Returns:
        Claims in the order of the body's regions, larger findings first, absences after what is there, what has gone last.
    """
    shown = [truth for truth in truths if is_shown(truth, modality)]
    before = {truth.tracking_id: truth for truth in prior or () if is_shown(truth, modality)}
    shown.sort(key=lambda truth: (REGIONS.index(term_of(truth.kind).region), truth.kind, -truth.volume_ml, truth.tracking_id))
    claims = []
    for truth in shown:
        doubt = rng.random()
        # Nobody doubts a pacemaker.
        sure = term_of(truth.kind).region == "Devices"
        unsure = not sure and doubt < (0.7 if is_slight(truth, modality) else hedging)
        earlier = before.get(truth.tracking_id)
        # A part of what split has its parent as its past.
        earlier = earlier or next((before[parent] for parent in truth.parents if parent in before), None)
        change = None if prior is None else change_between(earlier, truth)
        claims.append(Claim(truth.kind, "uncertain" if unsure else "present", truth, change, earlier))
    there = {truth.kind for truth in truths}
    sought = [kind for kind in SOUGHT if kind not in there and not (kind == "cardiomegaly" and modality in ("AP", "LAT"))]
    sought = [kind for kind in sought if not (kind == "rib_fracture" and modality == "LAT")]
    claims += [Claim(kind, "absent") for kind in sought if rng.random() < 0.8 or kind in ("effusion", "pneumothorax")]
    now = {truth.tracking_id for truth in truths} | {parent for truth in truths for parent in truth.parents}
    claims += [Claim(truth.kind, "absent", None, "resolved", truth) for name, truth in sorted(before.items()) if name not in now]
    return tuple(claims)
