"""Filling a part of a lung up to its surface."""

import numpy as np

from medphantom.materials import Material
from medphantom.scene import Scene
from medphantom.shapes import Field, Region


def fill(scene: Scene, region: Region, distance: Field, share: Field, material: Material, label: str, hu: float | None = None) -> None:
    """Paint what fills lung, so that no air is left between it and the lung's surface.

    A voxel that the lung's surface cuts was painted half lung, half wall. Over that, half a voxel of filling would leave a quarter of air:
    a dark seam. So the filling is first painted, without a label, half a voxel over the lung's surface, and then as it is.

    Args:
        scene: with the lungs painted.
        region: box of voxels.
        distance: mm to the filling's surface, negative inside.
        share: in [0, 1], of each voxel that it takes.
        material: of the filling.
        label: of the filling.
        hu: attenuation where it is not the material's.
    """
    soft = np.float32(scene.softness_mm)
    seam = np.clip(1 + scene.distance("lung", region) / soft, 0, 1)
    seam *= scene.cover(distance - soft / 2)
    scene.paint(seam, material, region, hu=hu)
    scene.paint(share, material, region, label, hu=hu)
