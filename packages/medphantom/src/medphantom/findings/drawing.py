"""Which findings a patient has, drawn so that they go together, and painted in the order in which they cover each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from medphantom.anatomy import CARDIOMEGALY_RATIO, Anatomy
from medphantom.findings.atelectasis import draw_atelectasis
from medphantom.findings.cardiomegaly import Cardiomegaly, draw_cardiomegaly, normal_heart
from medphantom.findings.consolidation import draw_consolidation
from medphantom.findings.device import draw_device
from medphantom.findings.edema import draw_edema
from medphantom.findings.effusion import draw_effusion
from medphantom.findings.finding import Filling, Finding, FindingError, Reshaping
from medphantom.findings.fracture import draw_rib_fracture, draw_vertebral_fracture
from medphantom.findings.nodule_drawing import draw_varied_nodules
from medphantom.findings.pneumothorax import draw_pneumothorax
from medphantom.findings.spots import Sample, Spot, form_generator
from medphantom.findings.truth import Truth
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene
from medphantom.shapes import Field

KINDS = (
    *("cardiomegaly", "edema", "consolidation", "atelectasis", "nodule", "effusion", "pneumothorax"),
    *("rib_fracture", "vertebral_fracture", "pacemaker", "central_line", "port", "tracheal_tube"),
)
"""Every kind of finding, in the order of painting: later ones cover earlier ones."""


def draw_findings(rng: np.random.Generator, anatomy: Anatomy, prevalence: Mapping[str, float]) -> tuple[Finding, ...]:
    """Draw what a patient has.

    Each kind is drawn by itself with its prevalence; a kind that has no room left (a lobe free of others) is left out. Nodules keep clear
    of what fills the lung, consolidation and collapse take different lobes, effusion and pneumothorax different sides.

    Args:
        rng: the patient's generator for the stream "findings".
        anatomy: the thorax before any finding.
        prevalence: probability of each of `KINDS`; one that is not named does not occur, except that an enlarged heart of `anatomy` counts
            where cardiomegaly is not named.

    Returns:
        The findings, in the order of painting. Paint them into a scene of `reshape(anatomy, findings)`.

    Raises:
        FindingError: for an unknown kind or a prevalence that is no probability.
    """
    for kind, share in prevalence.items():
        if kind not in KINDS:
            raise FindingError(f"draw_findings: there is no finding {kind!r}; use {', '.join(KINDS)}")
        if not 0 <= share <= 1:
            raise FindingError(f"draw_findings: the prevalence of {kind} must lie between 0 and 1, got {share}")
    # One draw for each kind, always: whether a patient has one finding does not shift the others.
    has = dict(zip(KINDS, rng.random(len(KINDS)) < [prevalence.get(kind, 0.0) for kind in KINDS], strict=True))
    streams = {kind: form_generator(int(number)) for kind, number in zip(KINDS, rng.integers(2**62, size=len(KINDS)), strict=True)}
    findings: list[Finding] = []
    if has["cardiomegaly"]:
        findings.append(draw_cardiomegaly(streams["cardiomegaly"]))
    elif "cardiomegaly" not in prevalence and anatomy.cardiothoracic_ratio > CARDIOMEGALY_RATIO:
        findings.append(Cardiomegaly(ratio=anatomy.cardiothoracic_ratio))
    if has["edema"]:
        findings.append(draw_edema(streams["edema"]))
    sized = reshape(anatomy, findings)
    sample = Sample.of_lungs(sized)
    free: tuple[str, ...] = LOBES
    if has["atelectasis"]:
        collapsed = draw_atelectasis(streams["atelectasis"], sized, sample, free)
        findings.append(collapsed)
        free = tuple(lobe for lobe in LOBES if lobe != collapsed.lobe)
        sized = reshape(anatomy, findings)
        sample = Sample.of_lungs(sized)
    if has["consolidation"]:
        findings.append(draw_consolidation(streams["consolidation"], sized, sample, free))
    side = None
    if has["effusion"]:
        effusion = draw_effusion(streams["effusion"], sized, sample)
        findings.append(effusion)
        side = effusion.side
    if has["pneumothorax"]:
        pneumothorax = draw_pneumothorax(streams["pneumothorax"], sized, sample, avoid_side=side)
        findings.append(pneumothorax)
    if has["nodule"]:
        findings += draw_varied_nodules(streams["nodule"], sized, sample, avoid=filled(findings))
    if has["rib_fracture"]:
        findings.append(draw_rib_fracture(streams["rib_fracture"], sized))
    if has["vertebral_fracture"]:
        findings.append(draw_vertebral_fracture(streams["vertebral_fracture"]))
    for kind in ("pacemaker", "central_line", "port", "tracheal_tube"):
        if has[kind]:
            findings.append(draw_device(streams[kind], kind))
    return in_order(_apart(findings))


def reshape(anatomy: Anatomy, findings: Iterable[Finding]) -> Anatomy:
    """Give the anatomy of a patient with these findings; a heart that is enlarged without being one of them becomes normal.

    Args:
        anatomy: as drawn.
        findings: all of the patient's.

    Returns:
        The anatomy that the scene is made of.
    """
    findings = tuple(findings)
    if not any(finding.kind == Cardiomegaly.kind for finding in findings):
        anatomy = normal_heart(anatomy)
    return reduce(lambda thorax, finding: finding.reshape(thorax), (f for f in findings if isinstance(f, Reshaping)), anatomy)


def filled(findings: Iterable[Finding]) -> "_Filled":
    """Distance to all that fills lung: what a new nodule keeps clear of."""
    return _Filled(tuple(f for f in findings if isinstance(f, Filling) and f.kind != "nodule"))


def paint_findings(scene: Scene, findings: Sequence[Finding]) -> tuple[Truth, ...]:
    """Paint findings in their order of covering.

    Args:
        scene: of `reshape(anatomy, findings)`, with its organs painted.
        findings: any number, in any order.

    Returns:
        The truth of each, in the order of painting.
    """
    return tuple(finding.paint(scene) for finding in in_order(findings))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings into the order of painting."""
    return tuple(sorted(findings, key=lambda finding: KINDS.index(finding.kind)))


class _Filled:
    def __init__(self, findings: tuple[Filling, ...]) -> None:
        self.findings = findings

    def __call__(self, at: Spot) -> Field:
        distances = [finding.distance(at) for finding in self.findings]
        return reduce(np.minimum, distances, np.full(np.broadcast_shapes(at.x.shape, at.y.shape, at.z.shape), 1000, np.float32))


def _apart(findings: Sequence[Finding]) -> list[Finding]:
    """One pocket for a generator or a chamber: a port on a pacemaker's side goes to the other."""
    sides = {finding.kind: finding.side for finding in findings if finding.kind in ("pacemaker", "port")}  # type: ignore[attr-defined]
    if len(sides) == 2 and sides["pacemaker"] == sides["port"]:
        other = "right" if sides["pacemaker"] == "left" else "left"
        return [replace(f, side=other) if f.kind == "port" else f for f in findings]  # type: ignore[type-var]
    return list(findings)
