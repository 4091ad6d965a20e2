"""The thorax as implicit organs, and its picture on a grid: attenuation and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import HEART_FRAME, Anatomy, Nodule
from medphantom.shapes import Field, Grid, blend, capsule_distance, ellipsoid_distance, occupancy
from medphantom.vessels import Vessel

CLASSES = ("background", "lung", "heart", "spine", "rib", "vessel", "nodule")
"""Class of each label value. Soft tissue, fat, aorta and airways are drawn but are background; `rib` is the rib cage, ribs and sternum."""
LUNG, HEART, SPINE, RIB, VESSEL, NODULE = range(1, 7)

_FAT_HU, _MUSCLE_HU, _MEDIASTINUM_HU, _ABDOMEN_HU, _BLOOD_HU, _AIRWAY_HU, _DISC_HU = -100.0, 50.0, -20.0, 58.0, 42.0, -990.0, 90.0
_ROUNDNESS = 2.4  # exponent of the superellipses across
_RIBS = 11
_TRUE_RIBS = 7
_RIB_HALF_HEIGHT, _RIB_HALF_DEPTH = 6.2, 4.2


@dataclass(frozen=True, eq=False)
class Organs:
    """Distances in mm (negative inside) to what bounds the lungs; all broadcast to one shape."""

    chest: Field
    abdomen: Field
    heart: Field
    aorta: Field
    lung: Field


def organ_distances(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Organs:
    """Evaluate the organs at points or on the axes of a grid.

    Args:
        anatomy: the thorax.
        x: mm, anatomy frame, broadcasting with y and z.
        y: mm.
        z: mm.

    Returns:
        Distances; `lung` is the cavity less diaphragm, mediastinum, heart and aorta. Its sign is exact, its size is right only near the walls.
    """
    chest = _chest(anatomy, x, y, z)
    dome = _diaphragm(anatomy, x, y)
    heart = np.maximum(_heart(anatomy, x, y, z), chest + np.float32(3))
    aorta = _aorta(anatomy, x, y, z)
    # In front of the heart the lungs nearly meet; behind, the mediastinum is as wide as the spine.
    mediastinum = 7 + (anatomy.mediastinum.half_width - 7) / (1 + np.exp(-(y + 35) / 10))
    lung = np.maximum(chest + np.float32(1), dome - z)
    np.maximum(lung, mediastinum - np.abs(x), out=lung)
    np.maximum(lung, 3 - heart, out=lung)
    np.maximum(lung, 2 - aorta, out=lung)
    return Organs(chest, np.maximum(chest, z - dome), heart, aorta, lung)


def draw_thorax(
    anatomy: Anatomy, vessels: Sequence[Vessel], nodules: Sequence[Nodule], grid: Grid, texture: Field
) -> tuple[Field, npt.NDArray[np.uint8]]:
    """Draw attenuation and labels.

    Args:
        anatomy: the thorax.
        vessels: tubes of its lungs, anatomy frame.
        nodules: centres in LPS mm.
        grid: where to draw.
        texture: (D, H, W) standard scale, the tissue's unevenness.

    Returns:
        HU without noise, (D, H, W) float32, and labels, (D, H, W) uint8 as in `CLASSES`. A voxel has a class when its centre lies inside.
    """
    x, y, z = grid.axes()
    soft = grid.softness_mm
    organs = organ_distances(anatomy, x, y, z)
    body = _body(anatomy, x, y, z)
    labels = np.zeros(grid.shape, np.uint8)

    tissue = texture * np.float32(9)
    hu = np.full(grid.shape, -1000, np.float32)
    blend(hu, occupancy(body, soft), tissue + np.float32(_FAT_HU))
    blend(hu, occupancy(body + np.float32(anatomy.body.fat), soft), tissue + np.float32(_MUSCLE_HU))
    blend(hu, occupancy(organs.chest, soft), tissue + np.float32(_MEDIASTINUM_HU))
    blend(hu, occupancy(organs.abdomen, soft), tissue + np.float32(_ABDOMEN_HU))
    blend(hu, occupancy(organs.aorta, soft), _BLOOD_HU)
    _draw_airways(anatomy, grid, hu)
    blend(hu, occupancy(organs.heart, soft), tissue + np.float32(anatomy.heart.hu))
    labels[organs.heart < 0] = HEART

    # Denser where gravity pulls: about 0.3 HU a millimetre towards the back of a supine patient.
    lung_hu = texture * np.float32(18) + (np.float32(anatomy.lung_hu) + np.float32(0.3) * y)
    blend(hu, occupancy(organs.lung, soft), lung_hu)
    lung = organs.lung < 0
    labels[lung] = LUNG

    ribs = _ribs(anatomy, organs.chest, x, y, z)
    blend(hu, occupancy(ribs, soft), anatomy.skeleton.bone_hu)
    labels[ribs < 0] = RIB
    _draw_spine(anatomy, grid, hu, labels)
    _draw_vessels(vessels, organs.lung, grid, hu, labels)
    for nodule in nodules:
        _draw_nodule(anatomy, nodule, grid, hu, labels)
    return hu, labels


def _chest(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Field:
    chest = anatomy.chest
    depth = y - np.float32(chest.center_y)
    up = np.clip((z - chest.widest_z) / (chest.apex_z - chest.widest_z), 0, 1)
    closing = np.sqrt(1 - up**2.2).astype(np.float32)
    return _radial(x, depth, chest.half_width, chest.half_depth, closing)


def _body(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Field:
    body = anatomy.body
    closing = 1 - 0.35 / (1 + np.exp(-(z - body.shoulder_z - 12) / 8))
    return _radial(x, y, body.half_width, body.half_depth, closing.astype(np.float32))


def _radial(x: Field, y: Field, half_width: float, half_depth: float, closing: Field) -> Field:
    """Distance across to a superellipse that is scaled by `closing` (0 to 1) along z."""
    radius = np.maximum(np.sqrt(x * x + y * y), np.float32(0.1))
    level = ((np.abs(x) / half_width) ** _ROUNDNESS + (np.abs(y) / half_depth) ** _ROUNDNESS) ** (1 / _ROUNDNESS)
    wall = radius / np.maximum(level, np.float32(0.1 / half_width))
    return np.asarray(radius - closing * wall, np.float32)


def _diaphragm(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Height z of the domes over (x, y)."""
    chest, diaphragm = anatomy.chest, anatomy.diaphragm
    middle = 0.5 * chest.half_width
    back = ((y - (chest.center_y - 0.2 * chest.half_depth)) / (0.95 * chest.half_depth)) ** 2
    right = diaphragm.right_z - diaphragm.drop * (((x + middle) / middle) ** 2 + back)
    left = diaphragm.left_z - diaphragm.drop * (((x - middle) / middle) ** 2 + back)
    return np.maximum(right, left).astype(np.float32)


def _heart(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Field:
    heart = anatomy.heart
    rows = (HEART_FRAME / np.array(heart.semi_axes)[:, None]).astype(np.float32)
    dx, dy, dz = (axis - np.float32(c) for axis, c in zip((x, y, z), heart.center, strict=True))
    level = sum(((row[0] * dx + row[1] * dy) + row[2] * dz) ** 2 for row in rows)
    distance = np.sqrt(level)
    distance -= 1
    distance *= np.float32(min(heart.semi_axes))
    return np.asarray(distance, np.float32)


def _aorta(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Field:
    """A cane: it rises from the heart, arches over to the left of the spine and descends."""
    mediastinum = anatomy.mediastinum
    rising = np.array([-8.0, anatomy.chest.center_y - 5])
    falling = np.array([mediastinum.half_width - 6, anatomy.skeleton.spine_y - anatomy.skeleton.vertebra_radius - 10])
    middle, half = (rising + falling) / 2, (falling - rising) / 2
    radius = float(np.linalg.norm(half))
    direction = half / radius
    along = (x - middle[0]) * direction[0] + (y - middle[1]) * direction[1]
    across = (x - middle[0]) * direction[1] - (y - middle[1]) * direction[0]
    # Below the arch only the distance to the two legs counts; above, the distance to their joining half ring.
    above = np.maximum(z - np.float32(mediastinum.arch_z - radius), 0)
    ring = np.sqrt((along * along).astype(np.float32) + above * above)
    ring -= np.float32(radius)
    ring *= ring
    ring += (across * across).astype(np.float32)
    return np.asarray(np.sqrt(ring, out=ring) - np.float32(mediastinum.aorta_radius), np.float32)


def _ribs(anatomy: Anatomy, chest: Field, x: Field, y: Field, z: Field) -> Field:
    """All ribs at once: a shell around the chest, cut by a stack of planes that slope down towards the front."""
    skeleton = anatomy.skeleton
    back_y = anatomy.chest.center_y + anatomy.chest.half_depth
    height = (z - np.float32(anatomy.chest.apex_z)) + (np.float32(skeleton.rib_slope) * (np.float32(back_y) - y))
    steps = height * np.float32(-1 / skeleton.rib_pitch) - np.float32(0.3 + 0.4 * skeleton.rib_phase)
    number = np.rint(steps)
    steps -= number
    steps *= np.float32(skeleton.rib_pitch)  # mm above or below the nearest rib's middle
    shell = chest - np.float32(_RIB_HALF_DEPTH + 3)
    distance = np.sqrt((steps / np.float32(_RIB_HALF_HEIGHT)) ** 2 + (shell / np.float32(_RIB_HALF_DEPTH)) ** 2)
    distance -= 1
    distance *= np.float32(_RIB_HALF_DEPTH)
    outside = np.maximum(-number, number - np.float32(_RIBS - 1)) * np.float32(100)
    np.maximum(distance, outside, out=distance)
    # False ribs end at the costal margin, ever further back.
    end = np.maximum(number - np.float32(_TRUE_RIBS - 1), 0) * np.float32(0.3 * anatomy.chest.half_depth) - np.float32(
        anatomy.chest.half_depth
    )
    np.maximum(distance, np.where(number >= _TRUE_RIBS, end - y, np.float32(-100)), out=distance)
    # Neither through the spine nor, as cartilage, to the sternum.
    gap = np.where(y > anatomy.chest.center_y, np.float32(24), np.float32(32)) - np.abs(x)
    np.maximum(distance, gap, out=distance)
    sternum = np.maximum(np.maximum(np.abs(x) - 15, np.abs(z - 12) - 58), np.maximum(np.abs(shell) - 4.5, y))
    return np.asarray(np.minimum(distance, sternum), np.float32)


def _draw_spine(anatomy: Anatomy, grid: Grid, hu: Field, labels: npt.NDArray[np.uint8]) -> None:
    skeleton = anatomy.skeleton
    radius = skeleton.vertebra_radius
    region = grid.region((-45, skeleton.spine_y - 60, -np.inf), (45, skeleton.spine_y + 70, np.inf))
    x, y, z = grid.axes(region)
    back = y - (skeleton.spine_y - skeleton.kyphosis * z * z)
    level = np.abs((z / skeleton.vertebra_pitch) % 1 - 0.5) * 2  # 0 in the middle of a vertebra, 1 in the middle of a disc
    body = np.sqrt(x * x + (back / 0.82) ** 2) - radius
    canal_y = 0.82 * radius + 9
    ring = np.abs(np.sqrt(x * x + (back - canal_y) ** 2) - 10) - 3
    spinous = np.maximum(np.maximum(np.abs(x) - 3.5, np.abs(back - canal_y - 17) - 8), (level - 0.7) * skeleton.vertebra_pitch / 2)
    transverse = np.maximum(np.maximum(np.abs(x) - radius - 14, np.abs(back - canal_y) - 4.5), (level - 0.55) * skeleton.vertebra_pitch / 2)
    transverse = np.maximum(transverse, 10 - np.abs(x))
    arch = np.minimum(np.minimum(ring, spinous), transverse)
    spine = np.minimum(body, arch).astype(np.float32)
    # A cortical shell around spongy bone; discs are soft.
    shell = np.clip(1 + np.maximum(body, -6) / 6, 0, 1)
    bone = skeleton.bone_hu * (0.42 + 0.58 * np.where(arch < body, 0.8, shell))
    value = np.where((level > 0.78) & (body < arch), _DISC_HU, bone).astype(np.float32)
    blend(hu[region], occupancy(spine, grid.softness_mm), value)
    labels[region][spine < 0] = SPINE


def _draw_airways(anatomy: Anatomy, grid: Grid, hu: Field) -> None:
    mediastinum = anatomy.mediastinum
    y = anatomy.skeleton.spine_y - anatomy.skeleton.vertebra_radius - 20
    carina = np.array([-2, y, mediastinum.carina_z], np.float32)
    radius = mediastinum.trachea_radius
    reach = mediastinum.half_width + 4
    ends = ((0, 0, 400, radius), (-reach, 6, -reach * 0.9, radius * 0.75), (reach, 6, -reach * 0.75, radius * 0.7))
    for dx, dy, dz, end_radius in ends:
        end = carina + np.array([dx, dy, dz], np.float32)
        region = grid.region(np.minimum(carina, end) - radius - 5, np.maximum(carina, end) + radius + 5)
        tube = capsule_distance(*grid.axes(region), carina, end, (end_radius, end_radius))
        blend(hu[region], occupancy(tube, grid.softness_mm), _AIRWAY_HU)


def _draw_vessels(vessels: Sequence[Vessel], lung: Field, grid: Grid, hu: Field, labels: npt.NDArray[np.uint8]) -> None:
    soft = grid.softness_mm
    share = np.zeros(grid.shape, np.float32)
    for vessel in vessels:
        margin = max(vessel.radii_mm) + soft
        start, end = np.array(vessel.start_mm, np.float32), np.array(vessel.end_mm, np.float32)
        region = grid.region(np.minimum(start, end) - margin, np.maximum(start, end) + margin)
        tube = occupancy(capsule_distance(*grid.axes(region), start, end, vessel.radii_mm), soft)
        np.maximum(share[region], tube, out=share[region])
    blend(hu, np.minimum(share, occupancy(lung, soft)), _BLOOD_HU)
    labels[(share > 0.5) & (labels == LUNG)] = VESSEL


def _draw_nodule(anatomy: Anatomy, nodule: Nodule, grid: Grid, hu: Field, labels: npt.NDArray[np.uint8]) -> None:
    center = np.subtract(nodule.center_mm, anatomy.table_mm)
    margin = np.array(nodule.semi_axes_mm) + grid.softness_mm
    region = grid.region(center - margin, center + margin)
    distance = ellipsoid_distance(*grid.axes(region), center, nodule.semi_axes_mm)
    blend(hu[region], occupancy(distance, grid.softness_mm), nodule.hu)
    labels[region][distance < 0] = NODULE
