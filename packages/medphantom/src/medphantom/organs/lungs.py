"""The lungs, their lobes and the fissures between these."""

import numpy as np

from medphantom.organs.place import Place
from medphantom.shapes import Field, intersection

LOBES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_lower")
"""The five lobes; the left lung has no middle one."""


def lung(at: Place) -> Field:
    """Both lungs: the cavity less diaphragm, mediastinum, heart and aorta. The sign is exact, the size right only near the walls."""
    middle = at.anatomy.mediastinum
    # In front of the heart the lungs nearly meet; behind, the mediastinum is as wide as the spine, and above the aorta's arch less wide.
    narrowing = 1 - np.float32(0.35) / (1 + np.exp((np.float32(middle.arch_z + 14) - at.z) * np.float32(0.1)))
    width = np.float32(middle.half_width - 7) / (1 + np.exp((at.y + 35) * np.float32(-0.1)))
    between = np.asarray(7 + width * narrowing - np.abs(at.x), np.float32)
    return intersection(at.distance("pleura"), between, 3 - at.distance("heart"), 2 - at.distance("aorta"))


def pleura(at: Place) -> Field:
    """The outer wall of the lungs, along ribs and diaphragm, as if there were no mediastinum: negative inside."""
    return intersection(at.distance("chest") + np.float32(1), -at.distance("diaphragm"))


def lung_right(at: Place) -> Field:
    """The right lung (x < 0)."""
    return intersection(at.distance("lung"), at.x)


def lung_left(at: Place) -> Field:
    """The left lung (x > 0)."""
    return intersection(at.distance("lung"), -at.x)


def fissure_right(at: Place) -> Field:
    """Distance to the right oblique fissure: negative below and behind it."""
    fissures = at.anatomy.fissures
    return _oblique(at, fissures.right_z, fissures.right_slope)


def fissure_left(at: Place) -> Field:
    """Distance to the left oblique fissure: negative below and behind it."""
    fissures = at.anatomy.fissures
    return _oblique(at, fissures.left_z, fissures.left_slope)


def fissure_horizontal(at: Place) -> Field:
    """Distance to the right lung's horizontal fissure: negative below it."""
    fissures = at.anatomy.fissures
    # It sinks a little towards the side and the front.
    side = (at.x + np.float32(0.5 * at.anatomy.chest.half_width)) * np.float32(1 / at.anatomy.chest.half_width)
    return np.asarray(at.z - np.float32(fissures.horizontal_z) - 8 * side + 5 * side * side, np.float32)


def lung_right_upper(at: Place) -> Field:
    """Above the right oblique and the horizontal fissure."""
    return intersection(at.distance("lung_right"), -at.distance("fissure_right"), -at.distance("fissure_horizontal"))


def lung_right_middle(at: Place) -> Field:
    """In front of the oblique fissure, below the horizontal one."""
    return intersection(at.distance("lung_right"), -at.distance("fissure_right"), at.distance("fissure_horizontal"))


def lung_right_lower(at: Place) -> Field:
    """Behind and below the right oblique fissure."""
    return intersection(at.distance("lung_right"), at.distance("fissure_right"))


def lung_left_upper(at: Place) -> Field:
    """In front of and above the left oblique fissure, with the lingula."""
    return intersection(at.distance("lung_left"), -at.distance("fissure_left"))


def lung_left_lower(at: Place) -> Field:
    """Behind and below the left oblique fissure."""
    return intersection(at.distance("lung_left"), at.distance("fissure_left"))


def _oblique(at: Place, height: float, slope: float) -> Field:
    """A sheet that falls from high behind to low in front, bulging a little forwards in the middle."""
    chest = at.anatomy.chest
    back = (at.y - np.float32(chest.center_y)) * np.float32(1 / chest.half_depth)
    sheet = np.float32(height) + np.float32(slope * chest.half_depth) * back - 6 * back * back
    return np.asarray((at.z - sheet) * np.float32(1 / np.hypot(1, slope)), np.float32)
