"""Lung nodules: ellipsoids with a smooth, lobulated or spiculated surface, of one or two densities, with or without calcium."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from medphantom.findings.finding import FindingError, check_lobe, side_of
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Point, Spot, Voxels, form_generator
from medphantom.findings.truth import Truth
from medphantom.materials import CALCIUM, SOFT_TISSUE
from medphantom.scene import Scene
from medphantom.shapes import Field, ellipsoid_distance

Margin = Literal["smooth", "lobulated", "spiculated"]
Calcification = Literal["none", "central", "diffuse", "popcorn"]
Density = Literal["solid", "part-solid", "ground-glass"]
MARGINS: tuple[Margin, ...] = ("smooth", "lobulated", "spiculated")
CALCIFICATIONS: tuple[Calcification, ...] = ("none", "central", "diffuse", "popcorn")
DENSITIES: tuple[Density, ...] = ("solid", "part-solid", "ground-glass")

_NODULE = replace(SOFT_TISSUE, name="nodule")
_CORE_HU = 35.0
_CORE_SIZE = 0.6  # of a part-solid nodule's solid part, as a share of its diameter
_CALCIUM_SIZE = {"central": 0.45, "diffuse": 0.86}
_BUMPS = {"lobulated": (9, 7.0, 0.38), "spiculated": (16, 60.0, 0.5)}
"""Number of bumps, their concentration on the sphere (von Mises-Fisher) and their height as a share of the radius."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """A lung nodule.

    Attributes:
        center_mm: (x, y, z), LPS mm.
        semi_axes_mm: half its extent along x, y, z, in mm; bumps go out and in from there such that the volume stays the ellipsoid's.
        hu: its attenuation; about -600 to -450 for ground glass, -50 to 60 for solid ones. A part-solid one's outer part.
        margin: one of `MARGINS`.
        calcification: one of `CALCIFICATIONS`.
        density: one of `DENSITIES`, or None to go by `hu`.
        lobe: where it lies, if it is known.
        form: names where its bumps and calcium lie.
        tracking_id: its name within the patient.
        parents: tracking ids of what it came out of.
    """

    kind: ClassVar[str] = "nodule"
    center_mm: Point
    semi_axes_mm: tuple[float, float, float]
    hu: float
    margin: Margin = "smooth"
    calcification: Calcification = "none"
    density: Density | None = None
    lobe: str | None = None
    form: int = 0
    tracking_id: str = "nodule-1"
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (("margin", self.margin, MARGINS), ("calcification", self.calcification, CALCIFICATIONS)):
            if value not in known:
                raise FindingError(f"nodule: {name} must be one of {', '.join(known)}, got {value!r}")
        if self.density is not None and self.density not in DENSITIES:
            raise FindingError(f"nodule: density must be one of {', '.join(DENSITIES)} or None, got {self.density!r}")
        if self.lobe is not None:
            check_lobe(self.kind, self.lobe)
        if not all(0 < a < math.inf for a in self.semi_axes_mm):
            raise FindingError(f"nodule: semi_axes_mm must be positive, got {self.semi_axes_mm}")

    @property
    def diameter_mm(self) -> float:
        """Longest diameter of the ellipsoid."""
        return 2 * max(self.semi_axes_mm)

    @property
    def volume_ml(self) -> float:
        """Volume, 4/3 pi abc, whatever the margin."""
        return 4 / 3 * math.pi * math.prod(self.semi_axes_mm) / 1000

    @property
    def reach(self) -> float:
        """How far its surface goes out at most, as a multiple of the semi-axes."""
        return 1.0 if self.margin == "smooth" else _spikes(self.margin, self.form)[2]

    def center(self, at: Spot) -> npt.NDArray[np.float64]:
        """Centre (x, y, z) in the anatomy's frame."""
        return np.subtract(self.center_mm, at.anatomy.table_mm)

    def distance(self, at: Spot, size: float = 1.0) -> Field:
        """Mm to its surface, or to that of the same shape `size` times as large, negative inside."""
        center, semi_axes = self.center(at), size * np.array(self.semi_axes_mm)
        if self.margin == "smooth":
            return ellipsoid_distance(at.x, at.y, at.z, center, semi_axes)
        return _bumpy_distance(at, center, semi_axes, *_spikes(self.margin, self.form)[:2])

    def paint(self, scene: Scene) -> Truth:
        """Paint its tissue, its solid core and its calcium."""
        center = np.subtract(self.center_mm, scene.anatomy.table_mm)
        reach = np.array(self.semi_axes_mm) * self.reach + scene.softness_mm
        region = scene.region(center - reach, center + reach)
        at = Voxels(scene, region)
        distance = np.broadcast_to(self.distance(at), scene.shape(region))
        share = scene.cover(distance)
        scene.paint(share, _NODULE, region, "nodule", hu=self.hu)
        if self.density == "part-solid":
            scene.paint(scene.cover(self.distance(at, _CORE_SIZE)), _NODULE, region, hu=_CORE_HU)
        if self.calcification == "popcorn":
            scene.paint(np.minimum(scene.cover(self._kernels(at)), share), CALCIUM, region)
        elif self.calcification != "none":
            hu = CALCIUM.hu if self.calcification == "central" else 0.5 * CALCIUM.hu
            scene.paint(scene.cover(self.distance(at, _CALCIUM_SIZE[self.calcification])), CALCIUM, region, hu=hu)
        return measure(
            scene,
            region,
            distance,
            kind=self.kind,
            tracking_id=self.tracking_id,
            side="left" if center[0] > 0 else "right",
            lobe=self.lobe,
            diameters=True,
            outline=self._body(at) if self.margin == "spiculated" else None,
            parameters={
                "hu": self.hu,
                "margin": self.margin,
                "calcification": self.calcification,
                "density": self.density or ("ground-glass" if self.hu < -300 else "solid"),
                "volume_ml": self.volume_ml,
            },
            parents=self.parents,
        )

    def scaled(self, volume_factor: float) -> "Nodule":
        """The same nodule with its volume changed by a factor, in the same place and form."""
        a, b, c = (round(axis * volume_factor ** (1 / 3), 4) for axis in self.semi_axes_mm)
        return replace(self, semi_axes_mm=(a, b, c))

    def halves(self) -> tuple["Nodule", "Nodule"]:
        """The two parts it leaves when it splits along its longest axis; both lie within it, a gap between them.

        With the longest semi-axis as 1 the parts' are 0.4, across 0.7, their centres at -0.55 and 0.55: their farthest points lie at
        sqrt(0.94) of the whole's surface, the gap is 0.3 wide, and each has 0.4 * 0.7 * 0.7 = 0.196 of its volume.
        """
        longest = int(np.argmax(self.semi_axes_mm))
        a, b, c = (round(axis * (0.4 if i == longest else 0.7), 4) for i, axis in enumerate(self.semi_axes_mm))
        step = 0.55 * self.semi_axes_mm[longest]
        parts = []
        for name, sign in (("a", -1), ("b", 1)):
            x, y, z = (round(at + sign * step * (i == longest), 4) for i, at in enumerate(self.center_mm))
            parts.append(
                replace(
                    self,
                    center_mm=(x, y, z),
                    semi_axes_mm=(a, b, c),
                    margin="smooth",
                    tracking_id=f"{self.tracking_id}{name}",
                    parents=(self.tracking_id,),
                )
            )
        return parts[0], parts[1]

    def _body(self, at: Spot) -> Field:
        """Distance to the nodule without its spicules."""
        size = _spikes(self.margin, self.form)[1][0]
        return ellipsoid_distance(at.x, at.y, at.z, self.center(at), size * np.array(self.semi_axes_mm))

    def _kernels(self, at: Spot) -> Field:
        """Distance to the five grains of a popcorn calcification."""
        rng = form_generator(self.form + 1)
        offsets = rng.standard_normal((5, 3))
        offsets *= 0.5 / np.sqrt((offsets**2).sum(axis=1, keepdims=True))
        semi_axes = np.array(self.semi_axes_mm)
        grains = [ellipsoid_distance(at.x, at.y, at.z, self.center(at) + o * semi_axes, 0.27 * semi_axes) for o in offsets]
        return np.asarray(np.minimum.reduce(grains), np.float32)


def side_of_nodule(nodule: Nodule, table_mm: Point) -> str:
    """The side it lies on."""
    return side_of(nodule.lobe) if nodule.lobe else "left" if nodule.center_mm[0] > table_mm[0] else "right"


def spread_directions(count: int) -> npt.NDArray[np.float64]:
    """Spread unit vectors evenly over the sphere along a golden spiral, (count, 3)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)


@lru_cache(maxsize=64)
def _spikes(margin: str, form: int) -> tuple[npt.NDArray[np.float32], tuple[float, float, float], float]:
    """Directions of the bumps; radius between them, height, concentration, such that the mean cube of radii is 1; the largest radius."""
    count, concentration, height = _BUMPS[margin]
    tips = form_generator(form).standard_normal((count, 3))
    tips /= np.sqrt((tips**2).sum(axis=1, keepdims=True))
    around = spread_directions(4000)
    cosine = (around[:, None] * tips).sum(axis=2)
    bumps = np.exp(concentration * (cosine - 1)).max(axis=1)  # notched where two meet
    radius = 1 + height * bumps
    base = float((radius**3).mean() ** (-1 / 3))
    return tips.astype(np.float32), (base, base * height, concentration), float(base * (1 + height))


def _bumpy_distance(
    at: Spot,
    center: npt.NDArray[np.float64],
    semi_axes: npt.NDArray[np.float64],
    tips: npt.NDArray[np.float32],
    shape: tuple[float, float, float],
) -> Field:
    """Distance, to first order, to a star-shaped surface: (radius - surface's radius) over the slope of that."""
    base, height, concentration = (np.float32(s) for s in shape)
    d = [(p - np.float32(c)) / np.float32(a) for p, c, a in zip((at.x, at.y, at.z), center, semi_axes, strict=True)]
    radius = np.maximum(np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), np.float32(1e-3))
    u = [c / radius for c in d]
    # The nearest tip alone lifts the surface; the slope across the ray comes from it too.
    cosine, nearest = np.full(radius.shape, -2, np.float32), np.zeros(radius.shape, np.intp)
    for number, tip in enumerate(tips):
        towards = u[0] * tip[0] + u[1] * tip[1] + u[2] * tip[2]
        nearer = towards > cosine
        np.copyto(cosine, towards, where=nearer)
        np.copyto(nearest, number, where=nearer)
    bump = height * np.exp(concentration * (cosine - 1))
    surface = base + bump
    pull = [concentration * bump * (tips[nearest, i] - cosine * u[i]) for i in range(3)]
    slope = sum(((c - p / radius) / np.float32(a)) ** 2 for c, p, a in zip(u, pull, semi_axes, strict=True))
    return np.asarray((radius - surface) / np.sqrt(slope), np.float32)
