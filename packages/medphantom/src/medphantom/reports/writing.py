"""A report in words: claims expressed in a style, each remembered with its place in the text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medphantom.findings.truth import Truth
from medphantom.reports.grammar import express, listed, sentence
from medphantom.reports.lexicon import LOBES, REGIONS, SHORT_LOBES, looks, term_of
from medphantom.reports.planning import Claim, plan
from medphantom.reports.statements import HEADING, Change, Report, Statement
from medphantom.reports.styles import STYLES, Style, style_of
from medphantom.reports.visibility import Modality

_TECHNIQUE = {
    "CT": "CT of the thorax without contrast.",
    "PA": "Chest radiograph, PA.",
    "AP": "Chest radiograph, AP, at the bedside.",
    "LAT": "Chest radiograph, lateral.",
}
_CHANGE_ORDER: tuple[Change, ...] = ("new", "larger", "smaller", "stable", "resolved")
_SECTIONS = ("technique", "findings", "comparison", "impression")


def write_visit_report(
    truths: Sequence[Truth],
    *,
    modality: Modality,
    rng: np.random.Generator,
    prior: Sequence[Truth] | None = None,
    days_since_prior: int | None = None,
    style: str | None = None,
    hedging: float = 0.05,
) -> Report:
    """Write the report of one picture of one visit.

    What it says is true: what it calls present or uncertain is there, what it calls absent is not. It may leave things out: what the
    picture does not show, and some absences. A film's report gives neither lobes nor diameters, a lateral one's no sides either.
    Diameters are those of the truth, to the nearest mm (halves to the even one).

    Args:
        truths: the visit's findings.
        modality: what is read.
        rng: the visit's generator for the stream "report".
        prior: the findings of the visit to compare with; None for a first visit, whose report has no comparison.
        days_since_prior: between the two.
        style: one of `STYLES`; None draws one.
        hedging: share of the well-seen findings that are called uncertain all the same.

    Returns:
        The text and its statements.

    Raises:
        PhantomError: for an unknown style.
    """
    names = tuple(STYLES)
    drawn = names[int(rng.integers(len(names)))]
    chosen = style_of(style or drawn)
    claims = plan(truths, prior, modality, rng, hedging=hedging)
    page = _Page()
    page.add(HEADING + "\n")
    writer = _Writer(chosen, modality, rng, page)
    bodies: dict[str, Callable[[], object]] = {
        "technique": lambda: page.add(_TECHNIQUE[modality]),
        "findings": lambda: writer.findings(claims),
        "comparison": lambda: writer.comparison(claims, days_since_prior),
        "impression": lambda: writer.impression(claims),
    }
    sections = {}
    for name in chosen.order:
        if name == "comparison" and prior is None:
            continue
        page.add(f"{chosen.headings[_SECTIONS.index(name)]}: ")
        start = page.length
        bodies[name]()
        sections[name] = (start, page.length)
        page.add("\n")
    return Report(text="".join(page.parts), style=chosen.name, sections=sections, statements=tuple(page.statements))


@dataclass(eq=False)
class _Page:
    parts: list[str] = field(default_factory=list)
    length: int = 0
    statements: list[Statement] = field(default_factory=list)

    def add(self, text: str) -> tuple[int, int]:
        self.parts.append(text)
        start, self.length = self.length, self.length + len(text)
        return start, self.length


@dataclass(frozen=True, eq=False)
class _Writer:
    style: Style
    modality: Modality
    rng: np.random.Generator
    page: _Page

    def findings(self, claims: Sequence[Claim]) -> None:
        claims = [claim for claim in claims if claim.change != "resolved"]
        if self.style.layout != "regions":
            self._lines(claims)
            return
        for region in REGIONS:
            here = [claim for claim in claims if term_of(claim.kind).region == region]
            self.page.add(f"\n{region}: ")
            if here:
                self._lines(here)
            else:
                self.page.add("Not remarked upon.")

    def comparison(self, claims: Sequence[Claim], days: int | None) -> None:
        since = "" if days is None else f", {days} days earlier"
        self.page.add(f"Compared with the prior study{since}.")
        compared = [claim for claim in claims if claim.change is not None]
        for claim in compared:
            truth = claim.truth or claim.earlier
            assert truth is not None  # a change is of something
            assert claim.change is not None  # chosen so above
            template = self.style.changes[_CHANGE_ORDER.index(claim.change)]
            measure = self._measure(claim.truth) if claim.change in ("larger", "smaller") else None
            slots = self._slots(truth)
            if claim.status == "uncertain":
                slots |= {"the": f"the possible {slots['np']}", "np": f"possible {slots['np']}"}
            was = self._measure(claim.earlier) if measure is not None else None
            slots["to"] = "" if measure is None or was is None else f", from {self._length(was)} to {self._length(measure)}"
            said = sentence(express(template, slots, self.rng))
            self._state(said, [self._statement(claim, truth, measure if slots["to"] else None, claim.change)])
        if not compared:
            self.page.add(" Nothing to compare.")

    def impression(self, claims: Sequence[Claim]) -> None:
        there = [claim for claim in claims if claim.truth is not None]
        if not there:
            self.page.add(sentence(express(self.style.normal, {}, self.rng)))
            return
        for number, claim in enumerate(there[:3], start=1):
            truth = claim.truth
            assert truth is not None  # chosen so above
            template = self.style.uncertain if claim.status == "uncertain" else self.style.present
            said = sentence(express(template, self._slots(truth) | {"size": ""}, self.rng))
            self._state(f"{number}. {said}" if self.style.layout == "list" else said, [self._statement(claim, truth, None, None)])

    def _lines(self, claims: Sequence[Claim]) -> None:
        number = 0
        absent = [claim for claim in claims if claim.status == "absent"]
        for claim in claims:
            truth = claim.truth
            if truth is None:
                continue
            number += 1
            measure = self._measure(truth)
            template = self.style.uncertain if claim.status == "uncertain" else self.style.present
            said = sentence(express(template, self._slots(truth), self.rng))
            self._state(self._numbered(number, said), [self._statement(claim, truth, measure, None)])
        while absent:
            # One to three kinds share a denial, as people write.
            count = 1 if self.style.layout == "list" else int(self.rng.integers(1, 4))
            some, absent = absent[:count], absent[count:]
            number += 1
            none = listed([self._noun(claim.kind) for claim in some], "or")
            said = sentence(express(self.style.absent, {"none": none}, self.rng))
            self._state(self._numbered(number, said), [Statement(finding=claim.kind, status="absent") for claim in some])

    def _numbered(self, number: int, said: str) -> str:
        return f"{number}. {said}" if self.style.layout == "list" else said

    def _state(self, said: str, statements: list[Statement]) -> None:
        if self.style.layout == "list":
            self.page.add("\n")
        elif not self.page.parts[-1].endswith((": ", "\n")):
            self.page.add(" ")
        start, end = self.page.add(said)
        self.page.statements += [replace(statement, span=(start, end)) for statement in statements]

    def _statement(self, claim: Claim, truth: Truth, measure: int | None, change: Change | None) -> Statement:
        return Statement(
            finding=claim.kind,
            status=claim.status,
            side=self._side(truth),
            lobe=self._lobe(truth),
            measure_mm=measure,
            change=change,
            tracking_id=truth.tracking_id,
        )

    def _slots(self, truth: Truth) -> dict[str, str]:
        # A film shows neither calcium nor margins as a CT does: only how much there is.
        adjectives = looks(truth) if self.modality == "CT" or truth.kind != "nodule" else ""
        np_ = f"{adjectives} {self._noun(truth.kind)}".strip()
        article = ("an " if np_[0] in "aeiou" else "a ") if term_of(truth.kind).counted else ""
        measure = self._measure(truth)
        size = "" if measure is None else express(self.style.size, {"mm": self._length(measure)}, self.rng)
        return {"a": article + np_, "np": np_, "the": f"the {np_}", "where": self._where(truth), "size": size, "to": ""}

    def _noun(self, kind: str) -> str:
        return term_of(kind).short if self.style.short else term_of(kind).noun

    def _lobe(self, truth: Truth) -> str | None:
        return truth.lobe if self.modality == "CT" else None

    def _side(self, truth: Truth) -> str | None:
        # Both sides lie over each other on a lateral film.
        return None if self.modality == "LAT" else truth.side

    def _measure(self, truth: Truth | None) -> int | None:
        if truth is None or self.modality != "CT" or not term_of(truth.kind).measured or truth.diameter_mm is None:
            return None
        return round(truth.diameter_mm)

    def _length(self, mm: int) -> str:
        return f"{mm / 10:.1f} cm" if self.style.centimetres else f"{mm} mm"

    def _where(self, truth: Truth) -> str:
        lobe = self._lobe(truth)
        if lobe is not None:
            return f" {SHORT_LOBES[lobe]}" if self.style.short else f" in the {LOBES[lobe]}"
        side = self._side(truth)
        if side is None:
            return ""
        if side == "both":
            return " bilat." if self.style.short else " on both sides"
        return f" {side[0].upper()}" if self.style.short else f" on the {side}"
