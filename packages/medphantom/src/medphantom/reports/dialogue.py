"""Questions about a visit, with answers from its truth: pairs to instruct a vision-language model with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medphantom.findings.truth import Truth
from medphantom.reports.lexicon import LOBES, SOUGHT, term_of
from medphantom.reports.planning import change_between
from medphantom.reports.statements import Report
from medphantom.reports.visibility import Modality, is_shown

Kind = Literal["presence", "side", "size", "comparison", "count", "summary", "extraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QA:
    """A question about a picture, or an instruction, and its answer.

    Attributes:
        question: in words.
        answer: in words; JSON for `extraction`.
        kind: of question.
        finding: kind of finding that it asks about; empty for those about all.
    """

    question: str
    answer: str
    kind: Kind
    finding: str = ""


def dialogue(
    truths: Sequence[Truth], *, modality: Modality, report: Report | None = None, prior: Sequence[Truth] | None = None
) -> tuple[QA, ...]:
    """Ask about one picture of one visit.

    Nothing is asked whose answer the picture does not show: where a film hides a finding, it is not asked about.

    Args:
        truths: the visit's findings.
        modality: what is looked at.
        report: of the same picture; its text is what is summed up and extracted from. None leaves these two out.
        prior: findings of the visit to compare with, or None.

    Returns:
        Pairs of presence, count, side, size, comparison, summary and extraction, in this order, without randomness.
    """
    shown = [truth for truth in truths if is_shown(truth, modality)]
    hidden = {truth.kind for truth in truths if not is_shown(truth, modality)}
    kinds = [kind for kind in dict.fromkeys((*SOUGHT, *(truth.kind for truth in shown))) if kind not in hidden]
    if modality != "CT":
        # What a view cannot show at all cannot be denied on it either.
        blind = {"PA": (), "AP": ("cardiomegaly",), "LAT": ("cardiomegaly", "rib_fracture")}[modality]
        kinds = [kind for kind in kinds if kind not in blind]
    pairs: list[QA] = []
    for kind in kinds:
        these = [truth for truth in shown if truth.kind == kind]
        pairs += _about(kind, these, modality)
    if prior is not None:
        pairs += _compared(truths, prior, modality)
    if report is not None:
        pairs.append(QA(question="Summarise the report in one line.", answer=_one_line(report), kind="summary"))
        said = [{k: v for k, v in s.as_dict().items() if k not in ("span", "tracking_id")} for s in report.statements]
        question = f"Extract every statement of this report as JSON.\n\n{report.text}"
        pairs.append(QA(question=question, answer=json.dumps(said), kind="extraction"))
    return tuple(pairs)


def _about(kind: str, these: Sequence[Truth], modality: Modality) -> list[QA]:
    term = term_of(kind)
    asked = f"Is there {'a ' if term.counted else ''}{term.noun}?"
    pairs = [QA(question=asked, answer="Yes." if these else "No.", kind="presence", finding=kind)]
    if term.counted:
        pairs.append(QA(question=f"How many {term.plural} are there?", answer=str(len(these)), kind="count", finding=kind))
    # Both sides lie over each other on a lateral film.
    if len(these) == 1 and these[0].side is not None and modality != "LAT":
        side = "On both sides." if these[0].side == "both" else f"On the {these[0].side}."
        pairs.append(QA(question=f"On which side is the {term.noun}?", answer=side, kind="side", finding=kind))
    if modality == "CT" and term.measured:
        sized = [truth for truth in these if truth.diameter_mm is not None]
        for truth in sized:
            # Only what the question tells apart from its like is asked about.
            if sum(truth.lobe == other.lobe for other in sized) == 1:
                where = f" in the {LOBES[truth.lobe]}" if truth.lobe else ""
                size = f"{round(truth.diameter_mm or 0)} mm."
                pairs.append(QA(question=f"How large is the {term.noun}{where}?", answer=size, kind="size", finding=kind))
    return pairs


def _compared(truths: Sequence[Truth], prior: Sequence[Truth], modality: Modality) -> list[QA]:
    now, before = ({t.tracking_id: t for t in some if is_shown(t, modality)} for some in (truths, prior))
    names = {t.tracking_id for t in truths}
    pairs = []
    for kind in dict.fromkeys(truth.kind for truth in (*now.values(), *before.values())):
        ids = [i for i in dict.fromkeys((*now, *before)) if (now.get(i) or before[i]).kind == kind]
        # A finding that this picture merely no longer shows has not gone; what split or merged has no single past.
        ids = [i for i in ids if (i in now or i not in names) and not (i in now and now[i].parents)]
        gone = {parent for truth in truths for parent in truth.parents}
        words = [change_between(before.get(i), now.get(i)) for i in ids if i not in gone]
        if not words:
            continue
        term = term_of(kind)
        question = (
            f"How {'has' if len(words) == 1 else 'have'} the {term.noun if len(words) == 1 else term.plural} changed since the prior?"
        )
        answer = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words)) if len(words) > 1 else words[0]
        pairs.append(QA(question=question, answer=f"{answer[0].upper()}{answer[1:]}.", kind="comparison", finding=kind))
    return pairs


def _one_line(report: Report) -> str:
    return " ".join(report.section("impression").split())
