"""Pneumothorax: air that gathers where the pleural space is highest, and a lung that falls back from the wall."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.findings.finding import check_range, check_side
from medphantom.findings.gravity import Posture, check_posture, depth, meniscus
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Sample, Spot, Voxels, lung_region
from medphantom.findings.truth import Truth
from medphantom.materials import AIR, SOFT_TISSUE
from medphantom.scene import Scene
from medphantom.shapes import Field, intersection

_RIM_MM = 14.0
_PLEURA_MM = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pneumothorax:
    """Air in one pleural space.

    Attributes:
        side: `left` or `right`.
        share: of the side's lung volume that the air takes, 0 to 0.9.
        level_mm: depth along gravity above which air is; see `make_pneumothorax`.
        posture: how the patient is placed: supine it lies in front, upright at the apex.
    """

    kind: ClassVar[str] = "pneumothorax"
    side: str
    share: float
    level_mm: float
    posture: Posture = "supine"
    tracking_id: str = "pneumothorax-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)
        check_posture(self.kind, self.posture)
        check_range(self.kind, "share", self.share, 0, 0.9)

    def distance(self, at: Spot) -> Field:
        """Mm to the air's surface, negative inside."""
        under = depth(at, self.posture) - meniscus(at, _RIM_MM) - np.float32(self.level_mm)
        return intersection(at.distance(f"lung_{self.side}"), under)

    def paint(self, scene: Scene) -> Truth:
        """Fill the space with air and draw the pleura as a thin line between it and the lung."""
        region = lung_region(scene)
        at = Voxels(scene, region)
        distance = self.distance(at)
        line = intersection(distance - np.float32(_PLEURA_MM), at.distance(f"lung_{self.side}"))
        scene.paint(scene.cover(line), SOFT_TISSUE, region)
        scene.paint(scene.cover(distance), AIR, region, "pneumothorax")
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=self.side,
            parameters={"share": self.share, "level_mm": self.level_mm, "posture": self.posture},
            parents=self.parents,
        )


def make_pneumothorax(
    anatomy: Anatomy,
    *,
    side: str,
    share: float,
    posture: Posture = "supine",
    tracking_id: str = "pneumothorax-1",
    sample: Sample | None = None,
) -> Pneumothorax:
    """Solve for the level above which the air of a pneumothorax takes a share of the side's lung volume.

    Args:
        anatomy: the thorax.
        side: `left` or `right`.
        share: 0 to 0.9.
        posture: how the patient is placed.
        tracking_id: of the finding.
        sample: points through the lungs where they are there already.

    Returns:
        The pneumothorax.

    Raises:
        FindingError: for an unknown side or posture, or a share out of range.
    """
    check_side(Pneumothorax.kind, side)
    check_posture(Pneumothorax.kind, posture)
    check_range(Pneumothorax.kind, "share", share, 0, 0.9)
    sample = sample or Sample.of_lungs(anatomy)
    inside = sample.at.distance(f"lung_{side}") < 0
    height = depth(sample.at, posture) - meniscus(sample.at, _RIM_MM)
    level = sample.level(inside, height, share * sample.volume_ml(inside))
    return Pneumothorax(side=side, share=share, level_mm=level, posture=posture, tracking_id=tracking_id)


def draw_pneumothorax(rng: np.random.Generator, anatomy: Anatomy, sample: Sample, avoid_side: str | None = None) -> Pneumothorax:
    """Draw a side other than `avoid_side` and a share of 0.05 to 0.5, small ones more often."""
    side = str(rng.choice([side for side in ("left", "right") if side != avoid_side]))
    return make_pneumothorax(anatomy, side=side, share=round(0.05 + 0.45 * float(rng.beta(1.2, 2.5)), 3), sample=sample)
