"""The thorax painted organ by organ into a scene."""

from functools import partial

import numpy as np

from medio.keyed import keyed_generator
from medphantom.anatomy import Anatomy
from medphantom.labels import CLASSES as ALL_CLASSES
from medphantom.materials import (
    AIR,
    AIRWAY_WALL,
    BLOOD,
    CORD,
    CORTICAL_BONE,
    DISC,
    FAT,
    FLUID,
    GLAND,
    KIDNEY,
    LIVER,
    LUMEN,
    LUNG,
    MEDIASTINAL_FAT,
    MUSCLE,
    MYOCARDIUM,
    SKIN,
    SPLEEN,
    SPONGY_BONE,
    STOMACH,
    VISCERA,
)
from medphantom.organs.skeleton import RIB_REACH_MM, SHOULDER_MM, disc_level
from medphantom.scene import Scene, Warp
from medphantom.shapes import Field, Grid, Region
from medphantom.texture import Lattice
from medphantom.vessels import grow_trees

CLASSES = ALL_CLASSES[:7]
"""Class of each basic label value. Soft tissue, fat, aorta and airways are drawn but are background; `rib` is the rib cage, ribs and sternum."""

_SKIN_MM = 2.0
_TRACHEAL_WALL_MM, _BRONCHIAL_WALL_MM = 1.5, 1.0
_INF = float("inf")


def make_scene(seed: int, index: int, anatomy: Anatomy, grid: Grid, *, warp: Warp | None = None) -> Scene:
    """Paint a patient's healthy thorax, ready for findings to be painted over it.

    Args:
        seed: names the population.
        index: the patient's number in it; vessels, airways and texture depend on these two and the anatomy alone, so every visit sees the same.
        anatomy: the thorax.
        grid: where to look.
        warp: from the visit's patient frame to the anatomy's, or None.

    Returns:
        The scene, painted.
    """
    stream = partial(keyed_generator, (seed, 0, f"phantom-{index}", 0))
    trees = grow_trees(stream("vessels"), anatomy)
    scene = Scene(anatomy, grid, warp=warp, texture=Lattice.draw(stream("texture")), vessels=trees.vessels, airways=trees.airways)
    paint_thorax(scene)
    return scene


def paint_thorax(scene: Scene) -> None:
    """Paint a healthy thorax with the scene's vessels and airways, from the skin inwards; findings are painted over it."""
    _paint_trunk(scene)
    _paint_belly(scene)
    _paint_mediastinum(scene)
    _paint_lungs(scene)
    _paint_bones(scene)
    _paint_trees(scene)


def _paint_trunk(scene: Scene) -> None:
    body, fat = scene.distance("body"), np.float32(scene.anatomy.body.fat)
    scene.paint(scene.cover(body), SKIN, label="skin")
    scene.paint(scene.cover(body + np.float32(_SKIN_MM)), FAT, label="background")
    if scene.anatomy.body.breast_size:
        region = scene.region((-_INF, -_INF, -_INF), (_INF, 0, _INF))
        scene.paint(scene.cover(scene.distance("breast", region) + np.float32(_SKIN_MM + 6)), GLAND, region, "breast")
    scene.paint(scene.cover(scene.distance("trunk") + fat), MUSCLE, label="muscle")
    cage = _cage(scene)
    scene.paint(scene.share("chest", cage), MEDIASTINAL_FAT, cage, "mediastinum")


def _paint_belly(scene: Scene) -> None:
    domes, inf = scene.anatomy.diaphragm, _INF
    cage = _cage(scene)
    for name in ("heart", "abdomen", "aorta"):
        scene.distance(name, cage)  # for all that follows: what lies within the cage is asked for again and again
    below = scene.region((-inf, -inf, -inf), (inf, inf, max(domes.right_z, domes.left_z) + scene.softness_mm))
    region = (below[0], cage[1], cage[2])
    at = scene.place(region)
    abdomen = at.distance("abdomen")
    scene.paint(scene.cover(abdomen), MUSCLE, region, "muscle")
    scene.paint(scene.cover(abdomen + np.float32(3)), VISCERA, region, "abdomen")
    for name, material in (("kidney", KIDNEY), ("spleen", SPLEEN), ("stomach", STOMACH), ("liver", LIVER)):
        scene.paint(scene.cover(at.distance(name)), material, region, name)
    scene.paint(scene.cover(at.distance("stomach_gas")), AIR, region, "stomach")


def _paint_mediastinum(scene: Scene) -> None:
    anatomy = scene.anatomy
    middle = anatomy.mediastinum.half_width + 14
    cage, between = _cage(scene), scene.region((-middle, -_INF, -_INF), (middle, _INF, _INF))
    region = (cage[0], cage[1], between[2])
    for name in ("vena_cava", "pulmonary_trunk", "aorta"):
        scene.paint(scene.share(name, region), BLOOD, region, name)
    region = (slice(None), cage[1], between[2])  # the windpipe goes on to the neck
    trachea = scene.distance("trachea", region)
    scene.paint(scene.cover(trachea - np.float32(_TRACHEAL_WALL_MM)), AIRWAY_WALL, region)
    scene.paint(scene.cover(trachea), LUMEN, region, "airway")
    center, half = np.array(anatomy.heart.center), max(anatomy.heart.semi_axes) + scene.softness_mm
    region = scene.region(center - half, center + half)
    heart = scene.share("heart", region)
    scene.paint(heart, MYOCARDIUM, region, "heart", hu=_around(scene, region, anatomy.heart.hu, MYOCARDIUM.texture))
    for name in ("atria", "ventricle_right", "ventricle_left"):
        scene.paint(np.minimum(scene.share(name, region), heart), BLOOD, region)


def _paint_lungs(scene: Scene) -> None:
    cage = _cage(scene)
    lung = scene.distance("lung", cage)
    # Denser where gravity pulls: about 0.3 HU a millimetre towards the back of a supine patient.
    hu = _around(scene, cage, scene.anatomy.lung_hu, LUNG.texture) + np.float32(0.3) * scene.coordinates(cage)[1]
    scene.paint(scene.cover(lung), LUNG, cage, "lung", hu=hu)


def _paint_bones(scene: Scene) -> None:
    skeleton = scene.anatomy.skeleton
    bone_hu = skeleton.bone_hu
    chest = scene.anatomy.chest
    wide, deep, z = chest.half_width + 40, chest.half_depth + 40, SHOULDER_MM
    behind = scene.region((-wide, chest.center_y, z[0]), (wide, chest.center_y + deep, z[1]))
    before = scene.region((-wide, chest.center_y - deep, z[0]), (wide, chest.center_y, z[1]))
    for name, region in (("scapula", behind), ("clavicle", before), ("rib", _cage(scene))):
        scene.paint(scene.share(name, region), CORTICAL_BONE, region, name, hu=bone_hu)
    region = scene.region((-45, skeleton.spine_y - 60, -_INF), (45, skeleton.spine_y + 70, _INF))
    spine, vertebra = scene.distance("spine", region), scene.distance("vertebra", region)
    level = disc_level(scene.anatomy, scene.coordinates(region)[2])
    # A cortical shell around spongy bone; discs are soft.
    shell = np.clip(1 + np.maximum(vertebra, -6) / 6, 0, 1)
    bone = np.float32(bone_hu) * (np.float32(0.42) + np.float32(0.58) * np.where(spine < vertebra, np.float32(0.8), shell))
    disc = (level > 0.78) & (vertebra <= spine)
    scene.paint(scene.share("canal", region), FLUID, region)
    scene.paint(scene.share("cord", region), CORD, region, "spinal_cord")
    scene.paint(scene.cover(spine), SPONGY_BONE, region, "spine", hu=np.where(disc, np.float32(DISC.hu), bone))


def _paint_trees(scene: Scene) -> None:
    cage = _cage(scene)
    lung = scene.share("lung", cage)
    scene.paint(np.minimum(scene.share("vessel", cage), lung), BLOOD, cage, "vessel")
    lumen = scene.distance("airway", cage)
    scene.paint(np.minimum(scene.cover(lumen - np.float32(_BRONCHIAL_WALL_MM)), lung), AIRWAY_WALL, cage)
    scene.paint(np.minimum(scene.cover(lumen), lung), LUMEN, cage, "airway")


def _cage(scene: Scene) -> Region:
    """The voxels of chest and belly with their walls and ribs."""
    chest = scene.anatomy.chest
    wall = RIB_REACH_MM + scene.softness_mm
    half_width, half_depth = chest.half_width + wall, chest.half_depth + wall
    return scene.region((-half_width, chest.center_y - half_depth, -_INF), (half_width, chest.center_y + half_depth, chest.apex_z + wall))


def _around(scene: Scene, region: Region, hu: float, texture: float) -> Field:
    return np.asarray(scene.texture(region) * np.float32(texture) + np.float32(hu), np.float32)
