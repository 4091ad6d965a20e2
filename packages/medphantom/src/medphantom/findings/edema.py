"""Pulmonary oedema: fluid in the lungs' tissue, around the hila and where they hang lowest, in septa and around vessels."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from medphantom.findings.consolidation import hilum
from medphantom.findings.finding import check_range
from medphantom.findings.gravity import Posture, check_posture, depth
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Spot, Voxels, draw_form, lung_region, wobble
from medphantom.findings.truth import Truth
from medphantom.materials import FLUID
from medphantom.scene import Scene
from medphantom.shapes import Field, intersection

_MOST = 0.42  # share of the tissue that fluid takes at severity 1
_SEEN = 0.03  # share from which the mask counts it: about 25 HU
_SEPTUM_PITCH_MM, _SEPTUM_MM = 11.0, 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Edema:
    """Oedema of both lungs.

    Attributes:
        severity: 0 to 1: how much fluid; from 0.3 septal lines show, and vessels look wider the more of it there is.
        posture: how the patient is placed.
        form: names its unevenness.
    """

    kind: ClassVar[str] = "edema"
    severity: float
    posture: Posture = "supine"
    form: int = 0
    tracking_id: str = "edema-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_range(self.kind, "severity", self.severity, 0, 1)
        check_posture(self.kind, self.posture)

    def fluid(self, at: Spot) -> Field:
        """Share of the lung's tissue that is fluid, before septa and vessels."""
        hila: Field | None = None
        for sign in (-1.0, 1.0):
            x, y, z = hilum(at.anatomy, sign)
            square = (at.x - np.float32(1.5 * x)) ** 2 + (at.y - np.float32(y)) ** 2 + (at.z - np.float32(z)) ** 2
            near = np.exp(square * np.float32(-1 / (2 * 42.0**2)))
            hila = near if hila is None else np.maximum(hila, near)
        anatomy = at.anatomy
        middle, reach = (
            (anatomy.chest.center_y, anatomy.chest.half_depth) if self.posture == "supine" else (0.0, 0.8 * anatomy.chest.apex_z)
        )
        low = np.clip((depth(at, self.posture) - np.float32(middle)) * np.float32(1 / reach), 0, 1)
        uneven = 1 + wobble(at, self.form, 0.15, 30.0)
        assert hila is not None  # there are two hila
        return np.asarray(np.float32(_MOST * self.severity) * np.clip(uneven * (0.65 * hila + 0.45 * low), 0, 1), np.float32)

    def paint(self, scene: Scene) -> Truth:
        """Mix fluid into the lungs, draw septal lines near the pleura and cuffs around the vessels."""
        region = lung_region(scene)
        at = Voxels(scene, region)
        lung = scene.distance("lung", region)
        inside = scene.cover(lung)
        share = self.fluid(at)
        near = np.clip(1 + lung / 22, 0, 1)  # septa reach two centimetres in from the pleura
        lines = scene.cover(_septa(at, self.form)) * near * np.float32(0.5 * max(self.severity - 0.3, 0))
        # Vessels are wider by up to a millimetre and a half, with fluid around them.
        cuffs = scene.cover(scene.distance("vessel", region) - np.float32(1.5 * self.severity)) * np.float32(0.8 * self.severity)
        fluid = np.maximum(np.maximum(share, lines), cuffs)
        fluid *= inside
        # What is denser than fluid stays: a vessel's own tissue is not washed out.
        fluid *= 1 - scene.cover(scene.distance("vessel", region))
        scene.paint(fluid, FLUID, region)
        marked = intersection(lung, (np.float32(_SEEN) - share) * np.float32(100))
        return measure(
            scene,
            region,
            marked,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side="both",
            parameters={"severity": self.severity, "posture": self.posture},
            parents=self.parents,
        )


def draw_edema(rng: np.random.Generator) -> Edema:
    """Draw a severity of 0.2 to 1."""
    return Edema(severity=round(float(rng.uniform(0.2, 1)), 3), form=draw_form(rng))


def _septa(at: Spot, form: int) -> Field:
    """Distance to a stack of thin, wavy sheets."""
    height = (at.z + wobble(at, form + 1, 2.0, 40.0)) * np.float32(1 / _SEPTUM_PITCH_MM)
    return np.asarray(np.abs(height % 1 - np.float32(0.5)) * np.float32(_SEPTUM_PITCH_MM) - np.float32(_SEPTUM_MM), np.float32)
