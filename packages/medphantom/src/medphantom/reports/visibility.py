"""What a film shows of what a CT shows, and what is so slight that a reader hedges."""

from typing import Literal

from medphantom.findings.truth import Truth

Modality = Literal["CT", "PA", "AP", "LAT"]
"""What was read: a CT, or a film in one of three views."""

_SMALLEST_NODULE_MM = {"solid": 9.0, "part-solid": 12.0}
_SMALLEST_EFFUSION_ML = {"PA": 175.0, "AP": 300.0, "LAT": 75.0}
_UNSEEN_ON = {
    "cardiomegaly": ("LAT",),
    "rib_fracture": ("LAT",),
    "vertebral_fracture": ("PA", "AP"),
}


def is_shown(truth: Truth, modality: Modality) -> bool:
    """Whether a reader of this picture could see the finding.

    Args:
        truth: the finding; one of which no voxel lies in the field of view is never shown.
        modality: what is read.

    Source: pleural fluid from Collins et al., "Minimal detectable pleural effusions", Radiology 1972 (175 ml upright; 75 ml on a
        lateral view). The other limits are ours, roughly what readers of films miss.
    """
    if truth.box is None:
        return False
    if modality == "CT":
        return True
    if modality in _UNSEEN_ON.get(truth.kind, ()):
        return False
    if truth.kind == "nodule":
        smallest = _SMALLEST_NODULE_MM.get(str(truth.parameters.get("density", "solid")))
        return smallest is not None and (truth.diameter_mm or 0) >= smallest
    if truth.kind == "effusion":
        return truth.volume_ml >= _SMALLEST_EFFUSION_ML[modality]
    if truth.kind == "pneumothorax":
        return float(truth.parameters.get("share", 1)) >= 0.1
    if truth.kind == "edema":
        return float(truth.parameters.get("severity", 1)) >= 0.3
    return True


def is_slight(truth: Truth, modality: Modality) -> bool:
    """Whether a reader who sees the finding would still hedge."""
    on_film = modality != "CT"
    if truth.kind == "nodule":
        return (truth.diameter_mm or 0) < (14 if on_film else 5)
    if truth.kind == "effusion":
        return truth.volume_ml < (350 if on_film else 40)
    if truth.kind == "edema":
        return float(truth.parameters.get("severity", 1)) < (0.5 if on_film else 0.2)
    if truth.kind == "rib_fracture":
        return on_film
    # The heart lies nearer the tube on an AP film, which magnifies it.
    return truth.kind == "cardiomegaly" and modality == "AP"
