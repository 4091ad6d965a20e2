"""Fractures: a rib with a gap and a step, a vertebra that has lost height."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.findings.finding import check_range, check_side
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Spot, Voxels
from medphantom.findings.truth import Truth
from medphantom.materials import CORTICAL_BONE, SOFT_TISSUE
from medphantom.organs.distances import organ_distance
from medphantom.organs.skeleton import RIBS, rib_numbers, rib_steps
from medphantom.scene import Scene
from medphantom.shapes import Field, Region, intersection, union

_FRAGMENT_MM = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RibFracture:
    """A break of one rib at its side: a gap, and a piece in front of it that stands out by a step.

    Attributes:
        side: `left` or `right`.
        rib: its number, 1 to `RIBS` from above.
        y_mm: where along the rib, anatomy frame; between the rib's angle behind and its front.
        gap_mm: between the ends, 1 to 8.
        step_mm: how far the piece in front stands outwards, 0 to 8.
    """

    kind: ClassVar[str] = "rib_fracture"
    side: str
    rib: int
    y_mm: float
    gap_mm: float
    step_mm: float
    tracking_id: str = "rib_fracture-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)
        check_range(self.kind, "rib", self.rib, 1, RIBS)
        check_range(self.kind, "gap_mm", self.gap_mm, 1, 8)
        check_range(self.kind, "step_mm", self.step_mm, 0, 8)

    def paint(self, scene: Scene) -> Truth:
        """Replace the rib at the gap and along the piece by soft tissue, and paint the piece again, further out."""
        region = self._region(scene)
        at = Voxels(scene, region)
        bone = self._bone(at, 0.0)
        gap = np.abs(at.y - np.float32(self.y_mm)) - np.float32(self.gap_mm / 2)
        # The piece runs forwards (to smaller y) from the gap.
        front = np.float32(self.y_mm - self.gap_mm / 2)
        piece = np.maximum(at.y - front, (front - np.float32(_FRAGMENT_MM)) - at.y)
        moved = intersection(self._bone(at, self.step_mm), piece)
        emptied = intersection(bone, union(gap, piece))
        scene.paint(scene.cover(emptied), SOFT_TISSUE, region, "fracture")
        scene.paint(scene.cover(moved), CORTICAL_BONE, region, "rib", hu=scene.anatomy.skeleton.bone_hu)
        return measure(
            scene,
            region,
            union(emptied, moved),
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=self.side,
            parameters={"rib": float(self.rib), "gap_mm": self.gap_mm, "step_mm": self.step_mm, "y_mm": self.y_mm},
            parents=self.parents,
        )

    def _bone(self, at: Spot, outward_mm: float) -> Field:
        """Distance to this rib alone, moved outwards (sideways) by some mm."""
        sign = np.float32(1 if self.side == "left" else -1)
        x = np.asarray(at.x - sign * np.float32(outward_mm), np.float32)
        # A voxel's ramp beyond the surface belongs to the rib whose sheet is nearest too: ribs lie farther apart than that.
        other = np.where(rib_numbers(at.anatomy, at.y, at.z) == self.rib, np.float32(-100), np.float32(100))
        return intersection(organ_distance(at.anatomy, "rib", x, at.y, at.z), other, -sign * at.x)

    def _region(self, scene: Scene) -> Region:
        anatomy = scene.anatomy
        chest, pitch, slope = anatomy.chest, anatomy.skeleton.rib_pitch, anatomy.skeleton.rib_slope
        y0, y1 = self.y_mm - self.gap_mm / 2 - _FRAGMENT_MM - 4, self.y_mm + self.gap_mm / 2 + 4
        # rib_steps falls by 1 for each pitch of height: the middle of this rib lies where it is its number less 1.
        steps_at_0 = float(rib_steps(anatomy, np.full(1, self.y_mm, np.float32), np.zeros(1, np.float32))[0])
        middle = (steps_at_0 - (self.rib - 1)) * pitch
        rise = 0.5 * pitch + slope * (y1 - y0)
        edge = chest.half_width + 12 + self.step_mm
        x0, x1 = (0.0, edge) if self.side == "left" else (-edge, 0.0)
        return scene.region((x0, y0, middle - rise), (x1, y1, middle + rise))


@dataclass(frozen=True, slots=True, kw_only=True)
class VertebralFracture:
    """A vertebra whose front has sunk in: a wedge.

    Attributes:
        vertebra: which: it spans the heights from this to the next multiple of the anatomy's `vertebra_pitch` (0 starts at the middle).
        height_loss: share of the height that is lost in front, 0.15 to 0.7; behind a third of that.
    """

    kind: ClassVar[str] = "vertebral_fracture"
    vertebra: int
    height_loss: float
    tracking_id: str = "vertebral_fracture-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_range(self.kind, "height_loss", self.height_loss, 0.15, 0.7)

    def paint(self, scene: Scene) -> Truth:
        """Paint what has sunk as soft as a disc, and the pressed bone below it as a dense band."""
        skeleton = scene.anatomy.skeleton
        pitch, radius = skeleton.vertebra_pitch, skeleton.vertebra_radius
        low, high = self.vertebra * pitch, (self.vertebra + 1) * pitch
        back = skeleton.spine_y - skeleton.kyphosis * max(abs(low), abs(high)) ** 2
        region = scene.region((-radius - 3, back - radius - 3, low - 3), (radius + 3, skeleton.spine_y + radius + 3, high + 3))
        at = Voxels(scene, region)
        body = at.distance("vertebra")
        middle = np.float32(skeleton.spine_y) - np.float32(skeleton.kyphosis) * at.z * at.z
        front = np.clip((middle + np.float32(0.82 * radius) - at.y) * np.float32(1 / (1.64 * radius)), 0, 1)
        # Bone ends where the disc's level of 0.78 begins, i.e. a ninth of the pitch from the boundary.
        top = np.float32(high - 0.11 * pitch)
        plate = top - np.float32(self.height_loss * 0.78 * pitch) * (np.float32(1 / 3) + np.float32(2 / 3) * front)
        sunk = intersection(body, plate - at.z, at.z - top)
        band = intersection(body, np.abs(at.z - plate + 2) - 2)
        scene.paint(scene.cover(band), CORTICAL_BONE, region, "spine", hu=0.8 * skeleton.bone_hu)
        scene.paint(scene.cover(sunk), SOFT_TISSUE, region, "fracture")
        return measure(
            scene,
            region,
            union(sunk, band),
            kind=self.kind,
            tracking_id=self.tracking_id,
            parameters={"vertebra": float(self.vertebra), "height_loss": self.height_loss},
            parents=self.parents,
        )


def draw_rib_fracture(rng: np.random.Generator, anatomy: Anatomy) -> RibFracture:
    """Draw a side, a rib of the third to the eighth, a place at its side, a gap of 2 to 5 mm and a step of 1 to 6 mm."""
    chest = anatomy.chest
    return RibFracture(
        side=str(rng.choice(["left", "right"])),
        rib=int(rng.integers(3, 9)),
        y_mm=round(chest.center_y + chest.half_depth * float(rng.uniform(-0.2, 0.45)), 2),
        gap_mm=round(float(rng.uniform(2, 5)), 2),
        step_mm=round(float(rng.uniform(1, 6)), 2),
    )


def draw_vertebral_fracture(rng: np.random.Generator) -> VertebralFracture:
    """Draw a vertebra of the middle or lower chest and a loss of height of 0.2 to 0.6."""
    return VertebralFracture(vertebra=int(rng.integers(-3, 2)), height_loss=round(float(rng.uniform(0.2, 0.6)), 3))
