"""Words for findings: what each is called, where it is looked for, and how its looks are described."""

from dataclasses import dataclass

from medphantom.findings.truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Words for one kind of finding.

    Attributes:
        noun: its name, singular.
        plural: its name, plural; the same for what is not counted.
        short: as in notes.
        counted: whether it takes an article.
        region: the heading of a structured report that it comes under.
        measured: whether reports give its diameter.
    """

    noun: str
    plural: str
    short: str
    counted: bool
    region: str
    measured: bool = False


TERMS = {
    "nodule": Term(noun="pulmonary nodule", plural="pulmonary nodules", short="nodule", counted=True, region="Lungs", measured=True),
    "consolidation": Term(noun="consolidation", plural="consolidation", short="consolidation", counted=False, region="Lungs"),
    "atelectasis": Term(noun="atelectasis", plural="atelectasis", short="atelectasis", counted=False, region="Lungs"),
    "edema": Term(noun="pulmonary oedema", plural="pulmonary oedema", short="oedema", counted=False, region="Lungs"),
    "effusion": Term(noun="pleural effusion", plural="pleural effusions", short="effusion", counted=True, region="Pleura"),
    "pneumothorax": Term(noun="pneumothorax", plural="pneumothoraces", short="PTX", counted=True, region="Pleura"),
    "cardiomegaly": Term(noun="cardiomegaly", plural="cardiomegaly", short="cardiomegaly", counted=False, region="Heart"),
    "rib_fracture": Term(noun="rib fracture", plural="rib fractures", short="rib fx", counted=True, region="Bones"),
    "vertebral_fracture": Term(noun="vertebral fracture", plural="vertebral fractures", short="vertebral fx", counted=True, region="Bones"),
    "pacemaker": Term(noun="pacemaker", plural="pacemakers", short="pacemaker", counted=True, region="Devices"),
    "central_line": Term(noun="central venous line", plural="central venous lines", short="CVL", counted=True, region="Devices"),
    "tracheal_tube": Term(noun="endotracheal tube", plural="endotracheal tubes", short="ETT", counted=True, region="Devices"),
    "port": Term(noun="port catheter", plural="port catheters", short="port", counted=True, region="Devices"),
}
REGIONS = ("Lungs", "Pleura", "Heart", "Bones", "Devices")
SOUGHT = ("nodule", "consolidation", "effusion", "pneumothorax", "cardiomegaly", "rib_fracture")
"""Kinds that a report speaks of also where they are absent."""

LOBES = {
    "right_upper": "right upper lobe",
    "right_middle": "right middle lobe",
    "right_lower": "right lower lobe",
    "left_upper": "left upper lobe",
    "left_lower": "left lower lobe",
}
SHORT_LOBES = {name: "".join(word[0] for word in words.split()).upper() for name, words in LOBES.items()}


def term_of(kind: str) -> Term:
    """Words for a kind; one that is not listed is called by its own name."""
    name = kind.replace("_", " ")
    return TERMS.get(kind) or Term(noun=name, plural=f"{name}s", short=name, counted=True, region="Lungs")


def looks(truth: Truth) -> str:
    """Adjectives for a finding, from its parameters; empty where nothing is to be said."""
    return " ".join(word for word in _adjectives(truth) if word)


def _adjectives(truth: Truth) -> tuple[str, ...]:
    if truth.kind == "nodule":
        margin, density, calcification = (truth.parameters.get(name) for name in ("margin", "density", "calcification"))
        calcified = "calcified" if calcification not in (None, "none") else ""
        return margin if margin in ("spiculated", "lobulated") else "", calcified, str(density or "")
    if truth.kind == "effusion":
        return ("small" if truth.volume_ml < 300 else "moderate" if truth.volume_ml < 1000 else "large",)
    if truth.kind == "pneumothorax":
        share = float(truth.parameters.get("share", 0))
        return ("small" if share < 0.15 else "moderate" if share < 0.4 else "large",)
    if truth.kind == "edema":
        severity = float(truth.parameters.get("severity", 0))
        return ("mild" if severity < 0.4 else "moderate" if severity < 0.7 else "severe",)
    return ("",)
