"""What lies below the diaphragm: liver, spleen, stomach, kidneys."""

import numpy as np

from medphantom.organs.place import Place
from medphantom.shapes import Field, ellipsoid_distance, intersection, union

_WALL_MM = np.float32(3)


def liver(at: Place) -> Field:
    """The liver fills the right dome and tapers across the middle."""
    organ = at.anatomy.belly
    chest, domes = at.anatomy.chest, at.anatomy.diaphragm
    width, depth = chest.half_width, chest.half_depth
    center = (-0.42 * width, chest.center_y - 0.02 * depth, domes.right_z - 42 * organ.liver_size)
    semi_axes = (0.62 * width * organ.liver_size, 0.95 * depth, 78 * organ.liver_size)
    right = ellipsoid_distance(at.x, at.y, at.z, center, semi_axes)
    left_center = (0.12 * width, chest.center_y - 0.45 * depth, domes.right_z - 38 * organ.liver_size)
    left = ellipsoid_distance(at.x, at.y, at.z, left_center, (0.38 * width * organ.liver_size, 0.40 * depth, 34 * organ.liver_size))
    return intersection(union(right, left), at.distance("abdomen") + _WALL_MM, 2 - at.distance("aorta"))


def spleen(at: Place) -> Field:
    """The spleen lies at the left, behind."""
    organ, chest = at.anatomy.belly, at.anatomy.chest
    center = (0.66 * chest.half_width, chest.center_y + 0.40 * chest.half_depth, at.anatomy.diaphragm.left_z - 52)
    semi_axes = np.array([26.0, 36.0, 44.0]) * organ.spleen_size
    return intersection(ellipsoid_distance(at.x, at.y, at.z, center, semi_axes), at.distance("abdomen") + _WALL_MM)


def stomach(at: Place) -> Field:
    """The stomach, below the left dome in front, with its content."""
    organ, chest = at.anatomy.belly, at.anatomy.chest
    center = (0.46 * chest.half_width, chest.center_y - 0.22 * chest.half_depth, at.anatomy.diaphragm.left_z - 44)
    semi_axes = np.array([36.0, 34.0, 42.0]) * organ.stomach_size
    distance = ellipsoid_distance(at.x, at.y, at.z, center, semi_axes)
    return intersection(distance, at.distance("abdomen") + _WALL_MM, 2 - at.distance("liver"), 2 - at.distance("spleen"))


def stomach_gas(at: Place) -> Field:
    """The gas in the stomach: in front, where it rises to in a patient who lies on the back."""
    organ, chest = at.anatomy.belly, at.anatomy.chest
    level = chest.center_y - 0.22 * chest.half_depth - (1 - 2 * organ.gas_share) * 34 * organ.stomach_size
    return intersection(at.distance("stomach") + _WALL_MM, at.y - np.float32(level))


def kidney(at: Place) -> Field:
    """Both kidneys, beside the spine; the right one stands lower."""
    chest, domes = at.anatomy.chest, at.anatomy.diaphragm
    back = chest.center_y + 0.42 * chest.half_depth
    right = ellipsoid_distance(at.x, at.y, at.z, (-55.0, back, domes.right_z - 132), (25.0, 22.0, 50.0))
    left = ellipsoid_distance(at.x, at.y, at.z, (55.0, back, domes.left_z - 112), (25.0, 22.0, 50.0))
    return intersection(union(right, left), at.distance("abdomen") + _WALL_MM, 2 - at.distance("liver"), 2 - at.distance("spleen"))
