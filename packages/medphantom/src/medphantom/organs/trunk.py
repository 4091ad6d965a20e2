"""The trunk: its outline, the thoracic cavity, the domes of the diaphragm, and what lies below them."""

import numpy as np

from medphantom.organs.place import Place
from medphantom.shapes import Field, ellipsoid_distance, intersection, union

_ROUNDNESS = 2.4  # exponent of the superellipses across


def body(at: Place) -> Field:
    """The skin's surface: trunk and breasts."""
    return union(at.distance("trunk"), at.distance("breast")) if at.anatomy.body.breast_size else at.distance("trunk")


def breast(at: Place) -> Field:
    """Both breasts; far away from everything where `breast_size` is 0."""
    outline = at.anatomy.body
    if not outline.breast_size:
        return np.full(np.broadcast_shapes(at.x.shape, at.y.shape, at.z.shape), 1000, np.float32)
    size = outline.breast_size
    center = (0.46 * at.anatomy.chest.half_width, -0.84 * outline.half_depth, -8.0)
    return ellipsoid_distance(np.abs(at.x), at.y, at.z, center, (52 * size, 34 * size, 54 * size))


def trunk(at: Place) -> Field:
    """The trunk's outline without breasts."""
    outline = at.anatomy.body
    closing = 1 - 0.35 / (1 + np.exp(-(at.z - outline.shoulder_z - 12) / 8))
    return _radial(at.x, at.y, outline.half_width, outline.half_depth, closing.astype(np.float32))


def chest(at: Place) -> Field:
    """The cavity within the ribs; below the diaphragm it goes on as the belly's."""
    cavity = at.anatomy.chest
    up = np.clip((at.z - cavity.widest_z) / (cavity.apex_z - cavity.widest_z), 0, 1)
    closing = np.sqrt(1 - up**2.2).astype(np.float32)
    return _radial(at.x, at.y - np.float32(cavity.center_y), cavity.half_width, cavity.half_depth, closing)


def diaphragm(at: Place) -> Field:
    """Height above the domes in mm: negative below them. Its size is measured along z, its sign is exact."""
    return np.asarray(at.z - _dome(at), np.float32)


def abdomen(at: Place) -> Field:
    """The cavity below the diaphragm and the heart, which rests on it."""
    return intersection(at.distance("chest"), at.distance("diaphragm"), 2 - at.distance("heart"))


def _dome(at: Place) -> Field:
    cavity, domes = at.anatomy.chest, at.anatomy.diaphragm
    middle = 0.5 * cavity.half_width
    back = ((at.y - (cavity.center_y - 0.2 * cavity.half_depth)) / (0.95 * cavity.half_depth)) ** 2
    right = domes.right_z - domes.drop * (((at.x + middle) / middle) ** 2 + back)
    left = domes.left_z - domes.drop * (((at.x - middle) / middle) ** 2 + back)
    return np.maximum(right, left).astype(np.float32)


def _radial(x: Field, y: Field, half_width: float, half_depth: float, closing: Field) -> Field:
    """Distance across to a superellipse that is scaled by `closing` (0 to 1) along z."""
    radius = np.maximum(np.sqrt(x * x + y * y), np.float32(0.1))
    level = ((np.abs(x) / half_width) ** _ROUNDNESS + (np.abs(y) / half_depth) ** _ROUNDNESS) ** (1 / _ROUNDNESS)
    wall = radius / np.maximum(level, np.float32(0.1 / half_width))
    return np.asarray(radius - closing * wall, np.float32)
