"""The heart, its chambers, and the great vessels."""

import numpy as np

from medphantom.anatomy import HEART_FRAME
from medphantom.organs.place import Place
from medphantom.shapes import Field, capsule_distance, intersection, union


def heart(at: Place) -> Field:
    """The heart within its sac."""
    shape = at.anatomy.heart
    along, across, up = _heart_axes(at)
    distance = np.sqrt(along * along + across * across + up * up)
    distance -= 1
    distance *= np.float32(min(shape.semi_axes))
    return intersection(distance, at.distance("chest") + np.float32(3))


def ventricle_left(at: Place) -> Field:
    """The left ventricle's cavity: towards the apex, behind."""
    return _chamber(at, (0.22, -0.28, -0.10), (0.50, 0.34, 0.40))


def ventricle_right(at: Place) -> Field:
    """The right ventricle's cavity: in front, to the right of the septum."""
    return _chamber(at, (0.10, 0.48, -0.15), (0.55, 0.30, 0.48))


def atria(at: Place) -> Field:
    """Both atria's cavities, at the base."""
    left = _chamber(at, (-0.52, -0.35, 0.22), (0.30, 0.36, 0.36))
    right = _chamber(at, (-0.50, 0.42, 0.05), (0.32, 0.34, 0.45))
    return union(left, right)


def aorta(at: Place) -> Field:
    """A cane: it rises from the middle of the heart, arches over to the left of the spine and descends."""
    mediastinum, skeleton = at.anatomy.mediastinum, at.anatomy.skeleton
    rising = np.array([-8.0, at.anatomy.chest.center_y - 5])
    falling = np.array([mediastinum.half_width - 6, skeleton.spine_y - skeleton.vertebra_radius - 10])
    middle, half = (rising + falling) / 2, (falling - rising) / 2
    radius = float(np.hypot(*half))
    direction = half / radius
    along = (at.x - middle[0]) * direction[0] + (at.y - middle[1]) * direction[1]
    across = (at.x - middle[0]) * direction[1] - (at.y - middle[1]) * direction[0]
    # Below the arch only the distance to the two legs counts; above, the distance to their joining half ring.
    above = np.maximum(at.z - np.float32(mediastinum.arch_z - radius), 0)
    ring = np.sqrt((along * along).astype(np.float32) + above * above)
    ring -= np.float32(radius)
    ring *= ring
    ring += (across * across).astype(np.float32)
    distance = np.sqrt(ring, out=ring) - np.float32(mediastinum.aorta_radius)
    return intersection(distance, np.where(along < 0, np.float32(at.anatomy.heart.center[2]) - at.z, np.float32(-1000)))


def pulmonary_trunk(at: Place) -> Field:
    """The trunk in front of the aorta's root, and its two branches towards the hila."""
    carina_z, center_y = at.anatomy.mediastinum.carina_z, at.anatomy.chest.center_y
    root = (14.0, center_y - 22.0, carina_z - 48)
    fork = (12.0, center_y + 4.0, carina_z - 16)
    distance = _tube(at, root, fork, (12.0, 12.0))
    for end in ((-30.0, center_y + 16, carina_z - 22), (32.0, center_y + 20, carina_z - 12)):
        np.minimum(distance, _tube(at, fork, end, (10.0, 8.0)), out=distance)
    return distance


def vena_cava(at: Place) -> Field:
    """The superior vena cava, to the right of the rising aorta."""
    center_y, top = at.anatomy.chest.center_y, at.anatomy.mediastinum.arch_z + 22
    return _tube(at, (-23.0, center_y - 2, top), (-22.0, center_y, at.anatomy.mediastinum.carina_z - 40), (7.5, 8.5))


def _heart_axes(at: Place) -> tuple[Field, Field, Field]:
    """Coordinates along the heart's own axes, in its semi-axes."""
    shape = at.anatomy.heart
    rows = (HEART_FRAME / np.array(shape.semi_axes)[:, None]).astype(np.float32)
    dx, dy, dz = (axis - np.float32(c) for axis, c in zip((at.x, at.y, at.z), shape.center, strict=True))
    along, across, up = ((row[0] * dx + row[1] * dy) + row[2] * dz for row in rows)
    return along, across, up


def _chamber(at: Place, center: tuple[float, float, float], semi_axes: tuple[float, float, float]) -> Field:
    """An ellipsoid in the heart's own frame, measured in shares of the heart's semi-axes."""
    level = sum(((axis - c) * np.float32(1 / a)) ** 2 for axis, c, a in zip(_heart_axes(at), center, semi_axes, strict=True))
    size = min(semi_axes) * min(at.anatomy.heart.semi_axes)
    return np.asarray((np.sqrt(level) - 1) * np.float32(size), np.float32)


def _tube(at: Place, start: tuple[float, float, float], end: tuple[float, float, float], radii: tuple[float, float]) -> Field:
    return capsule_distance(at.x, at.y, at.z, np.array(start, np.float32), np.array(end, np.float32), radii)
