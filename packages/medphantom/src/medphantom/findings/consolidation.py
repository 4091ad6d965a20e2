"""Consolidation: a part of a lobe whose air has given way to fluid, with bronchi that may still hold air."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.findings.filling import fill
from medphantom.findings.finding import check_lobe, check_range, side_of
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Point, Sample, Spot, Voxels, draw_form, draw_point, form_generator, lung_region, wobble
from medphantom.findings.truth import Truth
from medphantom.materials import LUMEN, SOFT_TISSUE
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene
from medphantom.shapes import Field, capsule_distance, intersection

_EDGE_MM = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidation:
    """A lobe, or a part of it around a focus, filled.

    Attributes:
        lobe: one of `LOBES`.
        share: of the lobe's volume that is filled, 0 to 1.
        focus_mm: (x, y, z), anatomy frame, from which it spreads.
        radius_mm: how far; see `make_consolidation`. Infinite for a whole lobe.
        hu: attenuation.
        air_bronchograms: whether bronchi in it still hold air.
        form: names its uneven edge and its bronchi.
    """

    kind: ClassVar[str] = "consolidation"
    lobe: str
    share: float
    focus_mm: Point
    radius_mm: float
    hu: float = 30.0
    air_bronchograms: bool = False
    form: int = 0
    tracking_id: str = "consolidation-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_lobe(self.kind, self.lobe)
        check_range(self.kind, "share", self.share, 0, 1)
        check_range(self.kind, "hu", self.hu, -400, 150)

    def distance(self, at: Spot) -> Field:
        """Mm to its surface, negative inside."""
        lobe = at.distance(f"lung_{self.lobe}")
        if self.radius_mm == float("inf"):
            return lobe
        return intersection(lobe, _spread(at, self.focus_mm, self.form) - np.float32(self.radius_mm))

    def paint(self, scene: Scene) -> Truth:
        """Fill the lung; towards the rest of the lobe the edge is soft, at fissures and pleura it is sharp."""
        region = lung_region(scene)
        at = Voxels(scene, region)
        distance = self.distance(at)
        share = scene.cover(distance)
        if self.radius_mm != float("inf"):
            edge = (np.float32(self.radius_mm) - _spread(at, self.focus_mm, self.form)) * np.float32(1 / _EDGE_MM) + np.float32(0.5)
            share = np.minimum(scene.cover(at.distance(f"lung_{self.lobe}")), np.clip(edge, 0, 1))
        fill(scene, region, distance, share, SOFT_TISSUE, "consolidation", self.hu)
        if self.air_bronchograms:
            scene.paint(np.minimum(share, scene.cover(self._bronchi(at))), LUMEN, region)
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=side_of(self.lobe),
            lobe=self.lobe,
            parameters={"share": self.share, "hu": self.hu, "air_bronchograms": self.air_bronchograms},
            parents=self.parents,
        )

    def _bronchi(self, at: Spot) -> Field:
        """Distance to bronchi that fan out from the hilum around the line to the focus."""
        sign = 1.0 if side_of(self.lobe) == "left" else -1.0
        start = hilum(at.anatomy, sign)
        rng = form_generator(self.form + 1)
        along = np.subtract(self.focus_mm, start)
        tubes = []
        for _ in range(6):
            turn = along * rng.uniform(0.7, 1.3) + rng.normal(0, 0.35 * np.sqrt((along**2).sum()), 3)
            end = (start + turn).astype(np.float32)
            tubes.append(capsule_distance(at.x, at.y, at.z, start.astype(np.float32), end, (2.8, 1.3)))
        return np.asarray(np.minimum.reduce(tubes), np.float32)


def hilum(anatomy: Anatomy, sign: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where vessels and bronchi enter a lung, (x, y, z) mm: the left one for a positive sign."""
    mediastinum = anatomy.mediastinum
    return np.array([sign * (mediastinum.half_width + 4), 12.0, mediastinum.carina_z - 22])


def make_consolidation(
    anatomy: Anatomy,
    *,
    lobe: str,
    share: float,
    focus_mm: Point,
    hu: float = 30.0,
    air_bronchograms: bool = False,
    form: int = 0,
    tracking_id: str = "consolidation-1",
    sample: Sample | None = None,
) -> Consolidation:
    """Solve for the radius within which a share of the lobe lies.

    Args:
        anatomy: the thorax.
        lobe: one of `LOBES`.
        share: of the lobe's volume, 0 to 1.
        focus_mm: (x, y, z), anatomy frame.
        hu: attenuation.
        air_bronchograms: whether bronchi in it still hold air.
        form: names its uneven edge and its bronchi.
        tracking_id: of the finding.
        sample: points through the lungs where they are there already.

    Returns:
        The consolidation.

    Raises:
        FindingError: for an unknown lobe, or a share out of range.
    """
    check_lobe(Consolidation.kind, lobe)
    check_range(Consolidation.kind, "share", share, 0, 1)
    sample = sample or Sample.of_lungs(anatomy)
    inside = sample.at.distance(f"lung_{lobe}") < 0
    radius = sample.level(inside, _spread(sample.at, focus_mm, form), share * sample.volume_ml(inside))
    return Consolidation(
        lobe=lobe,
        share=share,
        focus_mm=focus_mm,
        radius_mm=radius,
        hu=hu,
        air_bronchograms=air_bronchograms,
        form=form,
        tracking_id=tracking_id,
    )


def draw_consolidation(rng: np.random.Generator, anatomy: Anatomy, sample: Sample, lobes: tuple[str, ...] = LOBES) -> Consolidation:
    """Draw a lobe, a focus in it, and a share of 0.15 to 1."""
    lobe = str(rng.choice(lobes))
    return make_consolidation(
        anatomy,
        lobe=lobe,
        share=round(0.15 + 0.85 * float(rng.beta(1.3, 1.6)), 3),
        focus_mm=draw_point(rng, sample, sample.at.distance(f"lung_{lobe}") < -6),
        hu=round(float(rng.uniform(5, 50)), 1),
        air_bronchograms=bool(rng.random() < 0.5),
        form=draw_form(rng),
        sample=sample,
    )


def _spread(at: Spot, focus_mm: Point, form: int) -> Field:
    """Distance from the focus, uneven by some mm."""
    x, y, z = (np.float32(c) for c in focus_mm)
    return np.asarray(np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (at.z - z) ** 2) + wobble(at, form, 4.0, 38.0), np.float32)
