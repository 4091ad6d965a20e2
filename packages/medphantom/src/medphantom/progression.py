"""What becomes of each finding from visit to visit: it stays, grows, shrinks, goes, comes, splits or merges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.errors import ScanError
from medphantom.findings.atelectasis import PlateAtelectasis
from medphantom.findings.consolidation import Consolidation, make_consolidation
from medphantom.findings.drawing import filled
from medphantom.findings.edema import Edema
from medphantom.findings.effusion import Effusion, make_effusion
from medphantom.findings.finding import Finding, Reshaping
from medphantom.findings.nodule import Nodule
from medphantom.findings.nodule_drawing import draw_varied_nodules, fits
from medphantom.findings.pneumothorax import Pneumothorax, make_pneumothorax
from medphantom.findings.spots import Avoid, Sample, Spot
from medphantom.shapes import Field

Change = Literal["stable", "growing", "shrinking", "resolved", "new", "split", "merged"]
CHANGES: tuple[Change, ...] = ("stable", "growing", "shrinking", "resolved", "new", "split", "merged")
_AT_A_VISIT = ("resolved", "new", "split", "merged")
_SPLIT_MM, _MERGED_MM = 14.0, 14.0
_NEW = 0.25
_LASTING = ("rib_fracture", "vertebral_fracture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one finding.

    Attributes:
        tracking_id: of the finding. That of a lesion that merges is the whole's: its parts come before it, named after it with `a` and
            `b`, as are those of one that splits, which come after it.
        change: one of `CHANGES`.
        doubling_days: days in which its volume (or extent) doubles, or, below 0, halves; None to keep it.
        visit: number of the visit from which it is gone, there, split or merged; from 1. 0 for what changes on no visit of its own.
    """

    tracking_id: str
    change: Change
    doubling_days: float | None = None
    visit: int = 0

    def __post_init__(self) -> None:
        if self.change not in CHANGES:
            raise ScanError(f"Fate of {self.tracking_id!r}: change must be one of {', '.join(CHANGES)}, got {self.change!r}")
        if self.doubling_days is not None and not (self.doubling_days and math.isfinite(self.doubling_days)):
            raise ScanError(f"Fate of {self.tracking_id!r}: doubling_days must not be 0 or infinite; use None for no change")
        if (self.change in _AT_A_VISIT) != (self.visit >= 1):
            raise ScanError(
                f"Fate of {self.tracking_id!r}: {self.change!r} "
                f"{'needs the number of a visit, from 1' if self.change in _AT_A_VISIT else 'has no visit of its own'}, got {self.visit}"
            )

    def factor(self, days: float) -> float:
        """Volume after some days over that before."""
        return 1.0 if self.doubling_days is None else 2.0 ** (days / self.doubling_days)


def states(findings: Sequence[Finding], fates: Sequence[Fate], days: Sequence[int], anatomy: Anatomy) -> tuple[tuple[Finding, ...], ...]:
    """Give the findings of each visit.

    Args:
        findings: all that the patient has at any time, as on the first visit or, for new and merged ones, the visit on which they appear.
        fates: of those that do not just stay.
        days: of each visit, the first 0.
        anatomy: with what reshapes it; that stays on every visit.

    Returns:
        For each visit what is there.

    Raises:
        ScanError: for a fate of no finding, a split or merger of what is no nodule, or a change of what reshapes organs.
    """
    known = {finding.tracking_id: finding for finding in findings}
    for fate in fates:
        finding = known.get(fate.tracking_id)
        if finding is None:
            raise ScanError(f"states: there is no finding {fate.tracking_id!r}; there are {', '.join(known) or 'none'}")
        if fate.change in ("split", "merged") and not isinstance(finding, Nodule):
            raise ScanError(f"states: {fate.tracking_id!r} is {finding.kind} and cannot be {fate.change}; only nodules can")
        if fate.change != "stable" and isinstance(finding, Reshaping):
            raise ScanError(f"states: {fate.tracking_id!r} shapes the anatomy, which is one for all visits; leave it stable")
    by_id = {fate.tracking_id: fate for fate in fates}
    sample = Sample.of_lungs(anatomy)
    visits = []
    for visit, day in enumerate(days):
        there: list[Finding] = []
        for finding in findings:
            what = by_id.get(finding.tracking_id)
            there += [finding] if what is None else _state(finding, what, visit, day, days, anatomy, sample)
        visits.append(tuple(there))
    return tuple(visits)


def draw_fates(
    rng: np.random.Generator, anatomy: Anatomy, findings: Sequence[Finding], days: Sequence[int], *, merging: bool = True
) -> tuple[tuple[Finding, ...], tuple[Fate, ...]]:
    """Draw what becomes of findings, and now and then (a patient in four) a new nodule.

    Args:
        rng: the patient's generator for the stream "fates".
        anatomy: with what reshapes it.
        findings: those of the first visit.
        days: of each visit, the first 0.
        merging: whether a nodule may be drawn as one that two merge into, so that the first visit has the two.

    Returns:
        The findings with new ones added, and a fate for each. Whatever grows keeps within the lungs and apart from the rest.
    """
    if len(days) < 2:
        return tuple(findings), tuple(Fate(tracking_id=f.tracking_id, change="stable") for f in findings)
    fates = {f.tracking_id: _draw_fate(rng, f, len(days)) for f in findings if not isinstance(f, Nodule)}
    fluid = [f for f in findings if f.tracking_id in fates]
    later = states(fluid, tuple(fates.values()), days, anatomy)
    taken = filled({id(f): f for visit in later for f in visit}.values())
    nodules = [f for f in findings if isinstance(f, Nodule)]
    for nodule in nodules:
        fate = _draw_nodule_fate(rng, nodule, days, merging)
        largest = nodule.scaled(max(1.0, fate.factor(days[-1])))
        grows = fate.change in ("growing", "merged")
        if grows and not fits(largest, anatomy, _clear(taken, [n for n in nodules if n is not nodule])):
            fate = Fate(tracking_id=nodule.tracking_id, change="stable")
        fates[nodule.tracking_id] = fate
        if grows and fate.change != "stable":
            nodules[nodules.index(nodule)] = largest  # what comes next keeps clear of it as it will be
    added: tuple[Nodule, ...] = ()
    if rng.random() < _NEW:
        sample = Sample.of_lungs(anatomy)
        added = draw_varied_nodules(
            rng, anatomy, sample, avoid=taken, count=1, others=tuple(nodules), first_number=_next_number([f.tracking_id for f in findings])
        )
        for nodule in added:
            # Room for 1.45 times the size was kept free, i.e. for three times the volume.
            visit = int(rng.integers(1, len(days)))
            slowest = (days[-1] - days[visit]) / math.log2(2.9)
            doubling = round(max(float(rng.uniform(60, 240)), slowest), 1)
            largest = nodule.scaled(2 ** ((days[-1] - days[visit]) / doubling))
            roomy = fits(largest, anatomy, _clear(taken, nodules))
            fates[nodule.tracking_id] = Fate(
                tracking_id=nodule.tracking_id, change="new", doubling_days=doubling if roomy else None, visit=visit
            )
    everything = (*findings, *added)
    return everything, tuple(fates[f.tracking_id] for f in everything)


def _next_number(names: Sequence[str]) -> int:
    return 1 + max((int(name.split("-")[1]) for name in names if name.startswith("nodule-")), default=0)


def _clear(taken: Avoid, nodules: Sequence[Nodule]) -> Avoid:
    """Distance to what fills the lung and to nodules."""

    def distance(at: Spot) -> Field:
        parts = [nodule.distance(at) for nodule in nodules]
        return np.asarray(np.minimum.reduce([*parts, *([taken(at)] if taken else [])]), np.float32)

    return distance if nodules or taken else None


def _state(finding: Finding, fate: Fate, visit: int, day: int, days: Sequence[int], anatomy: Anatomy, sample: Sample) -> list[Finding]:
    if fate.change == "resolved" and visit >= fate.visit:
        return []
    if fate.change == "new":
        return [] if visit < fate.visit else [_sized(finding, fate.factor(day - days[fate.visit]), anatomy, sample)]
    if fate.change in ("split", "merged"):
        assert isinstance(finding, Nodule)  # `states` refuses others
        return _parted(finding, fate, visit, day, days)
    return [_sized(finding, fate.factor(day), anatomy, sample)]


def _parted(nodule: Nodule, fate: Fate, visit: int, day: int, days: Sequence[int]) -> list[Finding]:
    turn = days[fate.visit] if fate.visit < len(days) else day
    first, second = nodule.halves()
    if fate.change == "split":
        if visit < fate.visit:
            return [nodule.scaled(fate.factor(day))]
        # The parts lie within the whole as it was on the last visit before, and change from there.
        first, second = nodule.scaled(fate.factor(days[fate.visit - 1])).halves()
        return [part.scaled(fate.factor(day - turn)) for part in (first, second)]
    if visit < fate.visit:
        # They grow towards each other: as large as they get at the turn, smaller before.
        return [replace(part, parents=()).scaled(min(fate.factor(day - turn), 1.0)) for part in (first, second)]
    return [replace(nodule, parents=(first.tracking_id, second.tracking_id)).scaled(fate.factor(day - turn))]


def _sized(finding: Finding, factor: float, anatomy: Anatomy, sample: Sample) -> Finding:
    """The finding with its volume or extent changed by a factor, within what it can be; a kind that has none stays."""
    if factor == 1:
        return finding
    if isinstance(finding, Nodule):
        return finding.scaled(factor)
    if isinstance(finding, Effusion):
        changed = make_effusion(anatomy, side=finding.side, volume_ml=finding.volume_ml * factor, posture=finding.posture, sample=sample)
        return replace(changed, tracking_id=finding.tracking_id, parents=finding.parents)
    if isinstance(finding, Pneumothorax):
        share = min(finding.share * factor, 0.9)
        air = make_pneumothorax(anatomy, side=finding.side, share=share, posture=finding.posture, sample=sample)
        return replace(air, tracking_id=finding.tracking_id, parents=finding.parents)
    if isinstance(finding, Consolidation):
        share = min(finding.share * factor, 1.0)
        solved = make_consolidation(anatomy, lobe=finding.lobe, share=share, focus_mm=finding.focus_mm, form=finding.form, sample=sample)
        return replace(finding, share=share, radius_mm=solved.radius_mm)
    if isinstance(finding, Edema):
        return replace(finding, severity=min(finding.severity * factor, 1.0))
    if isinstance(finding, PlateAtelectasis):
        a, b, c = (round(axis * factor ** (1 / 3), 4) for axis in finding.semi_axes_mm)
        return replace(finding, semi_axes_mm=(a, b, c))
    return finding


def _draw_fate(rng: np.random.Generator, finding: Finding, visits: int) -> Fate:
    """Fluid comes and goes within weeks; a device may be taken out; bones and hearts stay."""
    kind, days, visit = rng.random(), float(rng.uniform(30, 150)), int(rng.integers(1, visits))
    name = finding.tracking_id
    if isinstance(finding, Reshaping) or finding.kind in _LASTING or kind < 0.3:
        return Fate(tracking_id=name, change="stable")
    sized = isinstance(finding, Effusion | Pneumothorax | Consolidation | Edema | PlateAtelectasis)
    if sized and kind < 0.5:
        return Fate(tracking_id=name, change="growing", doubling_days=round(3 * days, 1))
    if sized and kind < 0.75:
        return Fate(tracking_id=name, change="shrinking", doubling_days=-round(days, 1))
    if kind < 0.6:
        return Fate(tracking_id=name, change="stable")
    return Fate(tracking_id=name, change="resolved", visit=visit)


def _draw_nodule_fate(rng: np.random.Generator, nodule: Nodule, days: Sequence[int], merging: bool) -> Fate:
    kind, speed, visit = rng.random(), float(rng.uniform(0, 1)), int(rng.integers(1, len(days)))
    doubling = round(60 * (400 / 60) ** speed, 1)
    name = nodule.tracking_id
    if kind < 0.08 and nodule.diameter_mm >= _SPLIT_MM:
        return Fate(tracking_id=name, change="split", visit=visit)
    if 0.08 <= kind < 0.16 and merging and nodule.diameter_mm >= _MERGED_MM:
        return Fate(tracking_id=name, change="merged", doubling_days=max(doubling, 200.0), visit=visit)
    if kind < 0.4:
        return Fate(tracking_id=name, change="growing", doubling_days=doubling)
    if kind < 0.6:
        return Fate(tracking_id=name, change="shrinking", doubling_days=-doubling)
    if kind < 0.7:
        return Fate(tracking_id=name, change="resolved", visit=visit)
    return Fate(tracking_id=name, change="stable")
