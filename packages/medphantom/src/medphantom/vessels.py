"""Vessels of the lungs: two trees that fork outwards from the hila."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medphantom.tubes import Tube

Points = npt.NDArray[np.float64]

_STEMS = 10
_GENERATIONS = 11
_THINNEST_MM = 1.1


def grow_vessels(rng: np.random.Generator, lung_distance: Callable[[Points], npt.NDArray[np.floating]], hilum_z: float) -> tuple[Tube, ...]:
    """Grow both trees.

    Args:
        rng: the patient's generator for the stream "vessels".
        lung_distance: mm from (n, 3) points (x, y, z) to the lung's surface, negative inside.
        hilum_z: height of the hila in mm.

    Returns:
        The tubes; those after the first of a stem end inside the lung.
    """
    vessels: list[Tube] = []
    for side in (-1.0, 1.0):
        points = np.tile([side * 26.0, 12.0, hilum_z], (_STEMS, 1)) + rng.normal(0, 3, (_STEMS, 3))
        turn = np.linspace(-1.5, 1.5, _STEMS) + rng.normal(0, 0.1, _STEMS)
        directions = np.stack([np.full(_STEMS, side * 0.8), rng.normal(0.0, 0.7, _STEMS), 1.6 * np.sin(turn)], axis=1)
        radii = rng.uniform(3.4, 5.6, _STEMS)
        for generation in range(_GENERATIONS):
            ends = points + _unit(directions) * rng.uniform(9, 15, (len(points), 1))
            end_radii = radii * 0.95
            # A stem starts in the mediastinum; from there on what would leave the lung ends.
            inside = lung_distance(ends) < (6 if generation == 0 else -3)
            kept = np.flatnonzero(inside & (radii > _THINNEST_MM))
            vessels += [
                Tube(start_mm=_triple(points[i]), end_mm=_triple(ends[i]), radii_mm=(float(radii[i]), float(end_radii[i]))) for i in kept
            ]
            points, directions, radii = _fork(rng, ends[kept], _unit(directions[kept]), end_radii[kept])
            if not len(points):
                break
    return tuple(vessels)


def _fork(rng: np.random.Generator, points: Points, directions: Points, radii: Points) -> tuple[Points, Points, Points]:
    """Part each end in two: one goes nearly on, the other, thinner, turns off."""
    on = directions + rng.normal(0, 0.18, directions.shape)
    off = directions + rng.normal(0, 0.65, directions.shape)
    forks = rng.random(len(points)) < 0.62
    return (
        np.concatenate([points, points[forks]]),
        np.concatenate([on, off[forks]]),
        np.concatenate([np.where(forks, radii * 0.88, radii * 0.96), radii[forks] * 0.72]),
    )


def _unit(vectors: Points) -> Points:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def _triple(point: Points) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
