"""The bones: spine, ribs, sternum, clavicles, shoulder blades."""

import itertools

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.organs.place import Place
from medphantom.shapes import Field, capsule_distance, intersection, union

RIBS = 11
"""Ribs a side that the cage has room for."""
SHOULDER_MM = (-30.0, 106.0)
"""Heights z between which collar bones and shoulder blades lie."""
_TRUE_RIBS = 7
_RIB_HALF_HEIGHT, _RIB_HALF_DEPTH = 6.2, 4.2
_CANAL_MM = 9.0  # from the back of a vertebral body to the middle of the canal
_SHELL_MM = _RIB_HALF_DEPTH + 3  # from the cavity's wall to the middle of a rib
RIB_REACH_MM = 2 * _SHELL_MM
"""How far outside of the cavity's wall ribs and sternum reach at most."""


def rib(at: Place) -> Field:
    """All ribs at once: a shell around the chest, cut by a stack of planes that slope down towards the front; and the sternum."""
    skeleton, chest = at.anatomy.skeleton, at.anatomy.chest
    steps = rib_steps(at.anatomy, at.y, at.z)
    number = np.rint(steps)
    steps -= number
    steps *= np.float32(skeleton.rib_pitch / _RIB_HALF_HEIGHT)  # above or below the nearest rib's middle, in half heights
    steps *= steps
    shell = at.distance("chest") - np.float32(_SHELL_MM)
    shell *= np.float32(1 / _RIB_HALF_DEPTH)
    shell *= shell
    shell += steps
    distance = np.sqrt(shell, out=shell)
    distance -= 1
    distance *= np.float32(_RIB_HALF_DEPTH)
    # False ribs end at the costal margin, ever further back.
    end = np.maximum(number - np.float32(_TRUE_RIBS - 1), 0) * np.float32(0.3 * chest.half_depth) - np.float32(chest.half_depth)
    cut = np.where(number >= _TRUE_RIBS, end - at.y, np.float32(-100))
    np.maximum(cut, np.maximum(-number, number - np.float32(RIBS - 1)) * np.float32(100), out=cut)
    np.maximum(distance, cut, out=distance)
    # Neither through the spine nor, as cartilage, to the sternum.
    gap = np.where(at.y > chest.center_y, np.float32(24), np.float32(32)) - np.abs(at.x)
    np.maximum(distance, gap, out=distance)
    return union(distance, at.distance("sternum"))


def sternum(at: Place) -> Field:
    """The breastbone, a plate in front of the cavity."""
    plate = np.maximum(np.abs(at.x) - 15, np.abs(at.z - 12) - 58)
    return intersection(plate, np.abs(at.distance("chest") - np.float32(_SHELL_MM)) - np.float32(4.5), at.y)


def rib_steps(anatomy: Anatomy, y: Field, z: Field) -> Field:
    """How many rib pitches a point lies below the first rib's sheet; `rint` of it is the nearest rib, from 0."""
    skeleton, chest = anatomy.skeleton, anatomy.chest
    back_y = chest.center_y + chest.half_depth
    height = (z - np.float32(chest.apex_z)) + (np.float32(skeleton.rib_slope) * (np.float32(back_y) - y))
    return np.asarray(height * np.float32(-1 / skeleton.rib_pitch) - np.float32(0.3 + 0.4 * skeleton.rib_phase), np.float32)


def rib_numbers(anatomy: Anatomy, y: Field, z: Field) -> npt.NDArray[np.intp]:
    """Number of the rib, 1 to `RIBS` from above, whose sheet is nearest to each point (y, z) mm; above and below these, 0 and `RIBS` + 1."""
    return np.clip(np.rint(rib_steps(anatomy, y, z)).astype(np.intp) + 1, 0, RIBS + 1)


def vertebra(at: Place) -> Field:
    """The column of vertebral bodies and discs."""
    skeleton = at.anatomy.skeleton
    back = _behind(at)
    return np.asarray(np.sqrt(at.x * at.x + (back * np.float32(1 / 0.82)) ** 2) - np.float32(skeleton.vertebra_radius), np.float32)


def spine(at: Place) -> Field:
    """Bodies, discs and arches."""
    skeleton = at.anatomy.skeleton
    level = disc_level(at.anatomy, at.z)
    canal = _behind(at) - np.float32(0.82 * skeleton.vertebra_radius + _CANAL_MM)
    ring = np.abs(np.sqrt(at.x * at.x + canal * canal) - 10) - 3
    half_pitch = np.float32(skeleton.vertebra_pitch / 2)
    spinous = np.maximum(np.maximum(np.abs(at.x) - np.float32(3.5), np.abs(canal - 17) - 8), (level - np.float32(0.7)) * half_pitch)
    wings = np.maximum(np.abs(at.x) - np.float32(skeleton.vertebra_radius + 14), 10 - np.abs(at.x))
    wings = np.maximum(np.maximum(wings, np.abs(canal) - np.float32(4.5)), (level - np.float32(0.55)) * half_pitch)
    arch = np.minimum(np.minimum(ring, spinous), wings)
    return np.asarray(np.minimum(at.distance("vertebra"), arch), np.float32)


def canal(at: Place) -> Field:
    """The spinal canal within the arches."""
    return _around_canal(at, 7.0)


def cord(at: Place) -> Field:
    """The spinal cord, in the middle of the canal."""
    return _around_canal(at, 4.5)


def disc_level(anatomy: Anatomy, z: Field) -> Field:
    """0 at the height of a vertebra's middle, 1 at that of a disc's."""
    return np.asarray(np.abs((z / np.float32(anatomy.skeleton.vertebra_pitch)) % 1 - np.float32(0.5)) * 2, np.float32)


def clavicle(at: Place) -> Field:
    """Both collar bones: from the top of the sternum outwards, up and back, in a flat S."""
    chest = at.anatomy.chest
    z = 70.0 + at.anatomy.skeleton.clavicle_rise
    front = chest.center_y - chest.half_depth
    side = np.abs(at.x)
    points = (
        (18.0, front + 8, z - 12),
        (0.50 * chest.half_width, front + 16, z + 4),
        (0.80 * chest.half_width, front + 42, z + 14),
        (1.05 * chest.half_width, front + 54, z + 16),
    )
    distance = np.full(np.broadcast_shapes(at.x.shape, at.y.shape, at.z.shape), 1000, np.float32)
    for start, end in itertools.pairwise(points):
        piece = capsule_distance(side, at.y, at.z, np.array(start, np.float32), np.array(end, np.float32), (5.5, 5.0))
        np.minimum(distance, piece, out=distance)
    # Outside the cavity's wall and its ribs, and under the skin.
    return intersection(distance, np.float32(_SHELL_MM + _RIB_HALF_DEPTH + 2) - at.distance("chest"), at.distance("body") + np.float32(4))


def scapula(at: Place) -> Field:
    """Both shoulder blades: thin plates behind the ribs, thicker at their outer edge."""
    chest = at.anatomy.chest
    middle = np.float32(_SHELL_MM + _RIB_HALF_DEPTH + 8)
    side = np.abs(at.x)
    across = (side - np.float32(0.74 * chest.half_width)) * np.float32(1 / 34)
    down = (at.z - np.float32(38)) * np.float32(1 / 62)
    # A triangle with its tip below: narrower the lower.
    outline = (np.maximum(np.abs(across) - (1 + np.minimum(down, 0)) * np.float32(0.6) - np.float32(0.25), np.abs(down) - 1)) * 34
    sheet = np.abs(at.distance("chest") - middle) - (np.float32(2.2) + 2 * np.clip(across, 0, 1))
    plate = np.maximum(np.maximum(outline, sheet), np.float32(chest.center_y) - at.y)
    return np.asarray(np.maximum(plate, at.distance("body") + np.float32(4)), np.float32)


def _around_canal(at: Place, radius: float) -> Field:
    off = _behind(at) - np.float32(0.82 * at.anatomy.skeleton.vertebra_radius + _CANAL_MM)
    return np.asarray(np.sqrt(at.x * at.x + off * off) - np.float32(radius), np.float32)


def _behind(at: Place) -> Field:
    """Mm behind the middle of the vertebral bodies, along their curve."""
    skeleton = at.anatomy.skeleton
    return np.asarray(at.y - (np.float32(skeleton.spine_y) - np.float32(skeleton.kyphosis) * at.z * at.z), np.float32)
