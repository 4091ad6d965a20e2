"""The same patient standing up or lying down: fluid and air in the pleural space find new levels."""

from collections.abc import Iterable
from dataclasses import replace

from medphantom.anatomy import Anatomy
from medphantom.findings.edema import Edema
from medphantom.findings.effusion import Effusion, make_effusion
from medphantom.findings.finding import Finding
from medphantom.findings.gravity import Posture
from medphantom.findings.pneumothorax import Pneumothorax, make_pneumothorax
from medphantom.findings.spots import Sample


def moves(finding: Finding, posture: Posture) -> bool:
    """Whether a finding lies elsewhere in the patient once the patient takes this posture."""
    return isinstance(finding, Effusion | Pneumothorax | Edema) and finding.posture != posture


def in_posture(findings: Iterable[Finding], anatomy: Anatomy, posture: Posture) -> tuple[Finding, ...]:
    """Give the findings of the patient in a posture, for a film that is taken standing of a patient whose CT is taken lying.

    Args:
        findings: in any posture.
        anatomy: with what reshapes it; organs stay where they are.
        posture: `supine` or `upright`.

    Returns:
        The findings in the same order: effusions of the same volume and pneumothoraces of the same share at their new levels, oedema that
        hangs to the new low side, and all others, also those that are in the posture already, as they are.
    """
    findings = tuple(findings)
    if not any(moves(finding, posture) for finding in findings):
        return findings
    sample = Sample.of_lungs(anatomy)
    return tuple(_turned(finding, anatomy, posture, sample) if moves(finding, posture) else finding for finding in findings)


def _turned(finding: Finding, anatomy: Anatomy, posture: Posture, sample: Sample) -> Finding:
    if isinstance(finding, Effusion):
        fluid = make_effusion(anatomy, side=finding.side, volume_ml=finding.volume_ml, posture=posture, sample=sample)
        return replace(finding, level_mm=fluid.level_mm, posture=posture)
    if isinstance(finding, Pneumothorax):
        air = make_pneumothorax(anatomy, side=finding.side, share=finding.share, posture=posture, sample=sample)
        return replace(finding, level_mm=air.level_mm, posture=posture)
    if isinstance(finding, Edema):
        return replace(finding, posture=posture)
    return finding
