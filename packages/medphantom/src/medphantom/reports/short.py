"""A radiology report from the truth: a short template, so that later text models have a reference."""

from collections.abc import Mapping, Sequence

from medphantom.anatomy import Anatomy
from medphantom.findings.nodule import Nodule
from medphantom.reports.statements import HEADING


def write_report(anatomy: Anatomy, nodules: Sequence[Nodule], findings: Mapping[str, bool]) -> str:
    """Put the truth into words.

    Args:
        anatomy: the thorax.
        nodules: those in the field of view.
        findings: `nodule` and `cardiomegaly`; the text agrees with them and says nothing else.

    Returns:
        Heading, technique, findings and impression, each a paragraph.
    """
    lines = [_nodule_line(nodule, anatomy) for nodule in nodules] or ["No pulmonary nodule."]
    ratio = f"cardiothoracic ratio {anatomy.cardiothoracic_ratio:.2f}"
    lines.append(f"The heart is enlarged, {ratio}." if findings["cardiomegaly"] else f"The heart is of normal size, {ratio}.")
    impression = []
    if findings["nodule"]:
        largest = max(nodule.diameter_mm for nodule in nodules)
        count = "One pulmonary nodule" if len(nodules) == 1 else f"{len(nodules)} pulmonary nodules, the largest"
        impression.append(f"{count} of {largest:.0f} mm.")
    if findings["cardiomegaly"]:
        impression.append("Cardiomegaly.")
    return "\n".join(
        [
            HEADING,
            "TECHNIQUE: CT of the thorax without contrast.",
            f"FINDINGS: {' '.join(lines)}",
            f"IMPRESSION: {' '.join(impression) or 'Normal thorax.'}",
        ]
    )


def _nodule_line(nodule: Nodule, anatomy: Anatomy) -> str:
    kind = "ground-glass" if nodule.hu < -300 else "solid"
    side = "left" if nodule.center_mm[0] > anatomy.table_mm[0] else "right"
    return f"A {kind} nodule of {nodule.diameter_mm:.0f} mm in the {side} lung."
