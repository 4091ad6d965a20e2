"""The trachea and the main bronchi."""

import numpy as np

from medphantom.anatomy import Anatomy
from medphantom.organs.place import Place
from medphantom.shapes import Field, capsule_distance

Piece = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float]]
"""Start, end (x, y, z) and radii in mm of a straight tube."""


def trachea(at: Place) -> Field:
    """The lumen of trachea and main bronchi."""
    pieces = central_airways(at.anatomy)
    distance = _tube(at, pieces[0])
    for piece in pieces[1:]:
        np.minimum(distance, _tube(at, piece), out=distance)
    return distance


def central_airways(anatomy: Anatomy) -> tuple[Piece, Piece, Piece]:
    """Trachea, right and left main bronchus: the right one is shorter, wider and steeper."""
    mediastinum, skeleton = anatomy.mediastinum, anatomy.skeleton
    x, y, z = -2.0, skeleton.spine_y - skeleton.vertebra_radius - 20, mediastinum.carina_z
    reach, radius = mediastinum.half_width + 4, mediastinum.trachea_radius
    return (
        ((x, y, z), (x, y, z + 400), (radius, radius)),
        ((x, y, z), (x - reach, y + 6, z - 0.9 * reach), (radius * 0.75, radius * 0.75)),
        ((x, y, z), (x + reach, y + 6, z - 0.75 * reach), (radius * 0.7, radius * 0.7)),
    )


def _tube(at: Place, piece: Piece) -> Field:
    start, end, radii = piece
    return capsule_distance(at.x, at.y, at.z, np.array(start, np.float32), np.array(end, np.float32), radii)
