"""Down, for what flows in the pleural space: to the back of a patient who lies on it, to the feet of one who stands."""

from typing import Literal

import numpy as np

from medphantom.findings.finding import FindingError
from medphantom.findings.spots import Spot
from medphantom.shapes import Field

Posture = Literal["supine", "upright"]
"""How the patient is placed when the picture is taken."""
_MENISCUS_MM = np.float32(8)


def depth(at: Spot, posture: Posture) -> Field:
    """Mm along gravity: a greater value lies lower."""
    return at.y if posture == "supine" else -at.z


def meniscus(at: Spot, rise_mm: float) -> Field:
    """How far the level of what lies against the pleura climbs at each point: `rise_mm` at the wall, falling over 8 mm."""
    return np.asarray(np.float32(rise_mm) * np.exp(np.minimum(at.distance("pleura"), 0) / _MENISCUS_MM), np.float32)


def check_posture(kind: str, posture: str) -> None:
    """Refuse what is not a posture."""
    if posture not in ("supine", "upright"):
        raise FindingError(f"{kind}: posture must be 'supine' or 'upright', got {posture!r}")
