"""Pleural effusion: fluid that gathers where the pleural space is lowest."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.findings.filling import fill
from medphantom.findings.finding import check_range, check_side
from medphantom.findings.gravity import Posture, check_posture, depth, meniscus
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Sample, Spot, Voxels, lung_region
from medphantom.findings.truth import Truth
from medphantom.materials import FLUID
from medphantom.scene import Scene
from medphantom.shapes import Field, intersection

_RISE_MM = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effusion:
    """Free fluid of one pleural space, with a level.

    Attributes:
        side: `left` or `right`.
        volume_ml: of the fluid; the level follows from it. At most nine tenths of what the side holds.
        level_mm: depth of the level along gravity (y of a supine patient, -z of an upright one); see `make_effusion`.
        posture: how the patient is placed.
    """

    kind: ClassVar[str] = "effusion"
    side: str
    volume_ml: float
    level_mm: float
    posture: Posture = "supine"
    tracking_id: str = "effusion-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)
        check_posture(self.kind, self.posture)
        check_range(self.kind, "volume_ml", self.volume_ml, 0, 6000)

    def distance(self, at: Spot) -> Field:
        """Mm to the fluid's surface, negative inside."""
        over = np.float32(self.level_mm) - depth(at, self.posture) - meniscus(at, _RISE_MM)
        return intersection(at.distance(f"lung_{self.side}"), over)

    def paint(self, scene: Scene) -> Truth:
        """Fill the space below the level with fluid."""
        region = lung_region(scene)
        distance = self.distance(Voxels(scene, region))
        fill(scene, region, distance, scene.cover(distance), FLUID, "effusion")
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=self.side,
            parameters={"volume_ml": self.volume_ml, "level_mm": self.level_mm, "posture": self.posture},
            parents=self.parents,
        )


def make_effusion(
    anatomy: Anatomy,
    *,
    side: str,
    volume_ml: float,
    posture: Posture = "supine",
    tracking_id: str = "effusion-1",
    sample: Sample | None = None,
) -> Effusion:
    """Solve for the level at which a pleural space holds a volume.

    Args:
        anatomy: the thorax.
        side: `left` or `right`.
        volume_ml: of the fluid; cut to nine tenths of what the side holds.
        posture: how the patient is placed.
        tracking_id: of the finding.
        sample: points through the lungs where they are there already.

    Returns:
        The effusion.

    Raises:
        FindingError: for an unknown side or posture, or a negative volume.
    """
    check_side(Effusion.kind, side)
    check_posture(Effusion.kind, posture)
    sample = sample or Sample.of_lungs(anatomy)
    inside = sample.at.distance(f"lung_{side}") < 0
    volume_ml = round(min(volume_ml, 0.9 * sample.volume_ml(inside)), 1)
    # The deepest points fill first: the level is where the depth, with the meniscus' climb, has enough below it.
    height = -(depth(sample.at, posture) + meniscus(sample.at, _RISE_MM))
    level = -sample.level(inside, height, volume_ml)
    return Effusion(side=side, volume_ml=volume_ml, level_mm=level, posture=posture, tracking_id=tracking_id)


def draw_effusion(rng: np.random.Generator, anatomy: Anatomy, sample: Sample) -> Effusion:
    """Draw a side and 80 to 1200 ml, small ones more often."""
    side = str(rng.choice(["left", "right"]))
    return make_effusion(anatomy, side=side, volume_ml=80 + 1120 * float(rng.beta(1.2, 3)), sample=sample)
