"""Atelectasis: a lobe that has lost air and volume, or a plate of collapsed lung."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.findings.filling import fill
from medphantom.findings.finding import FindingError, check_lobe, check_range, side_of
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Point, Sample, Spot, Voxels, draw_form, draw_point, lung_region, wobble
from medphantom.findings.truth import Truth
from medphantom.materials import SOFT_TISSUE
from medphantom.organs.distances import place
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene
from medphantom.shapes import Field, ellipsoid_distance, intersection

_DIAPHRAGM_SHARE = 0.25  # of a lower lobe's fissure's way: how far its half of the diaphragm rises
_FARTHEST_MM = 130.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LobarAtelectasis:
    """A lobe that has lost a share of its volume: the fissure and, for lower lobes, the diaphragm move towards it, and it is dense.

    Attributes:
        lobe: one of `LOBES`.
        loss: share of the lobe's volume that is lost, 0 to 0.8.
        shift_mm: how far the fissure moves; see `make_lobar_atelectasis`.
        hu: attenuation of what remains.
    """

    kind: ClassVar[str] = "atelectasis"
    lobe: str
    loss: float
    shift_mm: float
    hu: float = 35.0
    tracking_id: str = "atelectasis-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_lobe(self.kind, self.lobe)
        check_range(self.kind, "loss", self.loss, 0, 0.8)
        check_range(self.kind, "shift_mm", self.shift_mm, 0, _FARTHEST_MM)

    def reshape(self, anatomy: Anatomy) -> Anatomy:
        """Move the fissures, and for a lower lobe the diaphragm, towards the lobe."""
        return _collapse(anatomy, self.lobe, self.shift_mm)

    def distance(self, at: Spot) -> Field:
        """Mm to what remains of the lobe, negative inside."""
        return at.distance(f"lung_{self.lobe}")

    def paint(self, scene: Scene) -> Truth:
        """Fill what remains of the lobe."""
        region = lung_region(scene)
        distance = self.distance(Voxels(scene, region))
        fill(scene, region, distance, scene.cover(distance), SOFT_TISSUE, "atelectasis", self.hu)
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=side_of(self.lobe),
            lobe=self.lobe,
            parameters={"form": "lobar", "loss": self.loss, "hu": self.hu},
            parents=self.parents,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateAtelectasis:
    """A thin, nearly level plate of collapsed lung above the diaphragm.

    Attributes:
        lobe: one of `LOBES`.
        center_mm: (x, y, z), anatomy frame.
        semi_axes_mm: (x, y, z).
        tilt: how steeply it rises outwards, mm per mm.
        form: names its unevenness.
    """

    kind: ClassVar[str] = "atelectasis"
    lobe: str
    center_mm: Point
    semi_axes_mm: tuple[float, float, float]
    tilt: float = 0.0
    form: int = 0
    tracking_id: str = "atelectasis-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_lobe(self.kind, self.lobe)
        if not all(a > 0 for a in self.semi_axes_mm):
            raise FindingError(f"atelectasis: semi_axes_mm must be positive, got {self.semi_axes_mm}")

    def distance(self, at: Spot) -> Field:
        """Mm to its surface, negative inside."""
        tilted = at.z - np.float32(self.tilt) * (np.abs(at.x) - np.float32(abs(self.center_mm[0]))) + wobble(at, self.form, 0.8, 40.0)
        return intersection(
            at.distance(f"lung_{self.lobe}"), ellipsoid_distance(at.x, at.y, np.asarray(tilted), self.center_mm, self.semi_axes_mm)
        )

    def paint(self, scene: Scene) -> Truth:
        """Paint the plate."""
        reach = np.array(self.semi_axes_mm) + np.array([0, 0, 4 + abs(self.tilt) * self.semi_axes_mm[0]]) + scene.softness_mm
        region = scene.region(self.center_mm - reach, self.center_mm + reach)
        distance = np.broadcast_to(self.distance(Voxels(scene, region)), scene.shape(region))
        scene.paint(scene.cover(distance), SOFT_TISSUE, region, "atelectasis")
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side=side_of(self.lobe),
            lobe=self.lobe,
            parameters={"form": "plate", "thickness_mm": 2 * self.semi_axes_mm[2], "tilt": self.tilt},
            parents=self.parents,
        )


def make_lobar_atelectasis(
    anatomy: Anatomy, *, lobe: str, loss: float, hu: float = 35.0, tracking_id: str = "atelectasis-1", sample: Sample | None = None
) -> LobarAtelectasis:
    """Solve for the fissure's way at which the lobe has lost a share of its volume.

    Args:
        anatomy: the thorax before.
        lobe: one of `LOBES`.
        loss: 0 to 0.8; cut to what a way of 130 mm reaches.
        hu: attenuation of what remains.
        tracking_id: of the finding.
        sample: points through the lungs where they are there already.

    Returns:
        The finding, `loss` as it came out on some ten thousand points.

    Raises:
        FindingError: for an unknown lobe, or a loss out of range.
    """
    check_lobe(LobarAtelectasis.kind, lobe)
    check_range(LobarAtelectasis.kind, "loss", loss, 0, 0.8)
    sample = sample or Sample.of_lungs(anatomy)
    before = _lobe_volume(sample, anatomy, lobe)
    low, high = 0.0, _FARTHEST_MM
    for _ in range(9):  # to a quarter of a millimetre
        middle = (low + high) / 2
        if _lobe_volume(sample, _collapse(anatomy, lobe, middle), lobe) > (1 - loss) * before:
            low = middle
        else:
            high = middle
    reached = 1 - _lobe_volume(sample, _collapse(anatomy, lobe, high), lobe) / before
    return LobarAtelectasis(lobe=lobe, loss=round(min(max(reached, 0.0), 0.8), 4), shift_mm=high, hu=hu, tracking_id=tracking_id)


def draw_atelectasis(
    rng: np.random.Generator, anatomy: Anatomy, sample: Sample, lobes: tuple[str, ...] = LOBES
) -> LobarAtelectasis | PlateAtelectasis:
    """Draw a plate in a lower lobe (two in three) or a collapsed lobe that lost 0.3 to 0.7 of its volume."""
    lower = tuple(lobe for lobe in lobes if lobe.endswith("lower"))
    if lower and rng.random() < 2 / 3:
        lobe = str(rng.choice(lower))
        base = (sample.at.distance(f"lung_{lobe}") < -6) & (sample.at.distance("diaphragm") < 32) & (sample.at.distance("pleura") < -14)
        if base.any():
            semi_axes = tuple(round(float(rng.uniform(*span)), 2) for span in ((22, 36), (14, 26), (1.6, 3.2)))
            return PlateAtelectasis(
                lobe=lobe,
                center_mm=draw_point(rng, sample, base),
                semi_axes_mm=(semi_axes[0], semi_axes[1], semi_axes[2]),
                tilt=round(float(rng.uniform(-0.35, 0.35)), 3),
                form=draw_form(rng),
            )
    lobe = str(rng.choice(lobes))
    return make_lobar_atelectasis(
        anatomy, lobe=lobe, loss=float(rng.uniform(0.3, 0.7)), hu=round(float(rng.uniform(15, 50)), 1), sample=sample
    )


def _collapse(anatomy: Anatomy, lobe: str, shift_mm: float) -> Anatomy:
    fissures, domes = anatomy.fissures, anatomy.diaphragm
    rise = _DIAPHRAGM_SHARE * shift_mm
    if lobe == "right_upper":
        fissures = replace(fissures, horizontal_z=fissures.horizontal_z + shift_mm, right_z=fissures.right_z + shift_mm)
    elif lobe == "right_middle":
        fissures = replace(fissures, horizontal_z=fissures.horizontal_z - shift_mm / 2, right_z=fissures.right_z + shift_mm / 2)
    elif lobe == "right_lower":
        fissures = replace(fissures, right_z=fissures.right_z - shift_mm, horizontal_z=fissures.horizontal_z - 0.3 * shift_mm)
        domes = replace(domes, right_z=domes.right_z + min(rise, 20))
    elif lobe == "left_upper":
        fissures = replace(fissures, left_z=fissures.left_z + shift_mm)
    else:
        fissures = replace(fissures, left_z=fissures.left_z - shift_mm)
        domes = replace(domes, left_z=domes.left_z + min(rise, 20))
    return replace(anatomy, fissures=fissures, diaphragm=domes)


def _lobe_volume(sample: Sample, anatomy: Anatomy, lobe: str) -> float:
    at = place(anatomy, sample.at.x, sample.at.y, sample.at.z)
    return sample.volume_ml(at.distance(f"lung_{lobe}") < 0)
