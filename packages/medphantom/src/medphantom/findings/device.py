"""Devices: pacemaker, central line, tracheal tube, port. Metal and radio-opaque plastic, the densest things in a picture."""

import itertools
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import HEART_FRAME, Anatomy
from medphantom.findings.finding import check_range, check_side
from medphantom.findings.measuring import measure
from medphantom.findings.spots import Point
from medphantom.findings.truth import Truth
from medphantom.materials import LUMEN, METAL, PLASTIC, Material
from medphantom.organs.airways import central_airways
from medphantom.organs.distances import organ_distance
from medphantom.scene import Scene
from medphantom.shapes import Field, Region, capsule_distance

Path = tuple[Point, ...]

_LEAD_MM, _LINE_MM = 1.1, 1.2
_CAN_MM = np.array([20.0, 4.0, 17.0])
_PORT_MM = 13.0
_TUBE_OUTER_MM, _TUBE_WALL_MM = 5.2, 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacemaker:
    """A generator under the collar bone, and a lead through the superior vena cava to the right ventricle's apex.

    Attributes:
        side: of the generator.
    """

    kind: ClassVar[str] = "pacemaker"
    side: str = "left"
    tracking_id: str = "pacemaker-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)

    def path(self, anatomy: Anatomy) -> Path:
        """The lead's corners, from the generator to its tip."""
        inner, top = _subclavian(anatomy, self.side)
        tip = np.array(anatomy.heart.center) + _in_heart(anatomy, (0.55, 0.30, -0.25))
        return _points(_pocket(anatomy, self.side), inner, *top, tip)

    def paint(self, scene: Scene) -> Truth:
        """Paint generator and lead."""
        center = _pocket(scene.anatomy, self.side)
        reach = _CAN_MM + scene.softness_mm
        region = scene.region(center - reach, center + reach)
        x, y, z = scene.coordinates(region)
        edges = [np.abs(p - np.float32(c)) - np.float32(h) for p, c, h in zip((x, y, z), center, _CAN_MM, strict=True)]
        can = np.maximum(np.maximum(edges[0], edges[1]), edges[2])
        return _paint_device(scene, self, [(region, can)], self.path(scene.anatomy), _LEAD_MM, METAL, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralLine:
    """A catheter from the neck into the superior vena cava.

    Attributes:
        side: of the neck it enters.
        depth_mm: how far below the carina its tip lies; about 10 to 40 is right, less is too high.
    """

    kind: ClassVar[str] = "central_line"
    side: str = "right"
    depth_mm: float = 20.0
    tracking_id: str = "central_line-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)
        check_range(self.kind, "depth_mm", self.depth_mm, -40, 80)

    def path(self, anatomy: Anatomy) -> Path:
        """The catheter's corners, from the neck to its tip."""
        sign = 1.0 if self.side == "left" else -1.0
        neck = np.array([sign * 11, anatomy.chest.center_y + 2, anatomy.chest.apex_z + 40])
        tip = np.array([_caval_x(anatomy), anatomy.chest.center_y + 2, anatomy.mediastinum.carina_z - self.depth_mm])
        return _points(neck, _caval_top(anatomy), tip)

    def paint(self, scene: Scene) -> Truth:
        """Paint the catheter."""
        return _paint_device(scene, self, [], self.path(scene.anatomy), _LINE_MM, PLASTIC, {"depth_mm": self.depth_mm})


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A metal chamber under the skin of the chest's front, with a catheter into the superior vena cava.

    Attributes:
        side: of the chamber.
    """

    kind: ClassVar[str] = "port"
    side: str = "right"
    tracking_id: str = "port-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_side(self.kind, self.side)

    def path(self, anatomy: Anatomy) -> Path:
        """The catheter's corners, from the chamber to its tip."""
        inner, top = _subclavian(anatomy, self.side)
        return _points(_pocket(anatomy, self.side), inner, *top)

    def paint(self, scene: Scene) -> Truth:
        """Paint chamber and catheter."""
        center = _pocket(scene.anatomy, self.side)
        region = scene.region(center - _PORT_MM - scene.softness_mm, center + _PORT_MM + scene.softness_mm)
        x, y, z = scene.coordinates(region)
        across = np.sqrt((x - np.float32(center[0])) ** 2 + (z - np.float32(center[2])) ** 2) - np.float32(_PORT_MM)
        chamber = np.maximum(across, np.abs(y - np.float32(center[1])) - np.float32(_CAN_MM[1]))
        return _paint_device(scene, self, [(region, chamber)], self.path(scene.anatomy), _LINE_MM, METAL, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrachealTube:
    """A tube in the trachea.

    Attributes:
        above_carina_mm: height of its tip above the carina; 30 to 70 is right, below 20 too low, below 0 in the right bronchus.
    """

    kind: ClassVar[str] = "tracheal_tube"
    above_carina_mm: float = 45.0
    tracking_id: str = "tracheal_tube-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_range(self.kind, "above_carina_mm", self.above_carina_mm, -20, 90)

    def path(self, anatomy: Anatomy) -> Path:
        """The tube's corners, from above the picture to its tip."""
        trachea, right, _ = central_airways(anatomy)
        carina, top = np.array(trachea[0]), np.array(trachea[1])
        if self.above_carina_mm >= 0:
            return _points(top, carina + np.array([0, 0, self.above_carina_mm]))
        along = np.array(right[1]) - carina
        return _points(top, carina, carina - along * (self.above_carina_mm / np.sqrt((along**2).sum())))

    def paint(self, scene: Scene) -> Truth:
        """Paint the tube's wall, and air within it."""
        radius = min(_TUBE_OUTER_MM, 0.8 * scene.anatomy.mediastinum.trachea_radius)
        path = self.path(scene.anatomy)
        truth = _paint_device(scene, self, [], path, radius, PLASTIC, {"above_carina_mm": self.above_carina_mm})
        for region, tube in _tubes(scene, path, radius - _TUBE_WALL_MM):
            scene.paint(scene.cover(tube), LUMEN, region)
        return truth


Device = Pacemaker | CentralLine | Port | TrachealTube


def draw_device(rng: np.random.Generator, kind: str) -> Device:
    """Draw a device of a kind: its side or how deep it lies, now and then too high or too low."""
    if kind == Pacemaker.kind:
        return Pacemaker(side="left" if rng.random() < 0.8 else "right")
    if kind == Port.kind:
        return Port(side="right" if rng.random() < 0.7 else "left")
    if kind == CentralLine.kind:
        return CentralLine(side="right" if rng.random() < 0.75 else "left", depth_mm=round(float(rng.uniform(-15, 50)), 1))
    return TrachealTube(above_carina_mm=round(float(rng.uniform(-12, 75)), 1))


def _paint_device(
    scene: Scene,
    device: Device,
    parts: list[tuple[Region, Field]],
    path: Path,
    radius_mm: float,
    material: Material,
    parameters: dict[str, float | str | bool],
) -> Truth:
    """Paint thick parts and a line. A line thinner than a voxel is painted as wide as one, and as much fainter as it is thinner.

    Half a voxel's diagonal is the radius at which no line slips between voxel centres, so that the mask is in one piece.
    """
    wide = max(radius_mm, 0.5 * math.hypot(*scene.grid.spacing_mm))
    faint = np.float32((radius_mm / wide) ** 2)
    distance = np.full(scene.grid.shape, 1000, np.float32)
    share = np.zeros(scene.grid.shape, np.float32)
    for region, line in _tubes(scene, path, wide):
        np.minimum(distance[region], line, out=distance[region])
        np.maximum(share[region], scene.cover(line) * faint, out=share[region])
    for region, part in parts:
        np.minimum(distance[region], part, out=distance[region])
        np.maximum(share[region], scene.cover(part), out=share[region])
    region = _around(distance < scene.softness_mm)
    scene.paint(share[region], material, region, "device")
    side = getattr(device, "side", None)
    return measure(
        scene,
        region,
        distance[region],
        kind=device.kind,
        tracking_id=device.tracking_id,
        side=side,
        parameters={"radius_mm": radius_mm, **parameters},
        parents=device.parents,
    )


def _tubes(scene: Scene, path: Path, radius_mm: float) -> list[tuple[Region, Field]]:
    reach = radius_mm + scene.softness_mm
    tubes = []
    for first, last in itertools.pairwise(path):
        start, end = np.array(first, np.float32), np.array(last, np.float32)
        region = scene.region(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        if all(s.stop > s.start for s in region):
            tubes.append((region, capsule_distance(*scene.coordinates(region), start, end, (radius_mm, radius_mm))))
    return tubes


def _around(chosen: npt.NDArray[np.bool_]) -> Region:
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(chosen.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0))
    return spans[0], spans[1], spans[2]


def _pocket(anatomy: Anatomy, side: str) -> npt.NDArray[np.float64]:
    """Where a generator or a chamber lies: below the outer part of the collar bone, in front of the ribs, 3 mm under the skin."""
    sign = 1.0 if side == "left" else -1.0
    x, z = sign * 0.5 * anatomy.chest.half_width, 50.0
    wide, deep, high = (float(half) for half in _CAN_MM)
    y = np.arange(-250, 0, 0.5, dtype=np.float32)
    inside = np.ones(len(y), bool)
    for dx in (-wide, 0.0, wide):
        for dz in (-high, 0.0, high):
            inside &= organ_distance(anatomy, "body", np.full_like(y, x + dx), y, np.full_like(y, z + dz)) < -3
    return np.array([x, float(y[inside.argmax()]) + deep, z])


def _subclavian(anatomy: Anatomy, side: str) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """The vein's bend over the first rib, and the way through the root of the neck down the superior vena cava."""
    sign = 1.0 if side == "left" else -1.0
    chest = anatomy.chest
    bend = np.array([sign * 0.42 * chest.half_width, chest.center_y - 0.35 * chest.half_depth, chest.apex_z + 6])
    root = np.array([sign * 14, chest.center_y - 8, chest.apex_z - 4])
    return bend, [root, _caval_top(anatomy), np.array([_caval_x(anatomy), chest.center_y + 2, anatomy.mediastinum.carina_z - 30])]


def _caval_top(anatomy: Anatomy) -> npt.NDArray[np.float64]:
    return np.array([_caval_x(anatomy), anatomy.chest.center_y, anatomy.mediastinum.arch_z + 18])


def _caval_x(anatomy: Anatomy) -> float:
    """Within the superior vena cava, and clear of the right lung."""
    return -(anatomy.mediastinum.half_width - 6)


def _in_heart(anatomy: Anatomy, share: Point) -> npt.NDArray[np.float64]:
    """An offset from the heart's middle, given in its own axes and as shares of these."""
    total = np.zeros(3)
    for part, axis, length in zip(share, HEART_FRAME, anatomy.heart.semi_axes, strict=True):
        total += part * length * axis
    return total


def _points(*points: npt.NDArray[np.float64]) -> Path:
    return tuple((float(x), float(y), float(z)) for x, y, z in points)
