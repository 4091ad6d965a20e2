"""Affine matrices between array indices (z, y, x) and the patient (x, y, z)."""

from itertools import permutations

import numpy as np
import numpy.typing as npt

WORLD_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""LPS: the letter of increasing and of decreasing world x, y, z."""


def index_to_world(affine: npt.NDArray[np.float64], index: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Map array indices (..., 3) in (z, y, x) order, voxel centres at whole numbers, to LPS mm (..., 3) in (x, y, z) order."""
    return np.asarray(np.asarray(index, np.float64) @ affine[:3, :3].T + affine[:3, 3], np.float64)


def world_to_index(affine: npt.NDArray[np.float64], points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Map LPS mm (..., 3) in (x, y, z) order to array indices (..., 3) in (z, y, x) order; the inverse of `index_to_world`."""
    return index_to_world(np.asarray(np.linalg.inv(affine), np.float64), points)


def axis_letters(affine: npt.NDArray[np.float64]) -> str:
    """Name where each array axis (z, y, x order) runs to, e.g. `SPL`; oblique axes count as the nearest patient axis."""
    return "".join(WORLD_LETTERS[w][0 if sign > 0 else 1] for w, sign in axis_directions(affine))


def axis_directions(affine: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Give the world axis and sign of each array axis: the one-to-one assignment with the largest sum of cosines."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, i]) for i, w in enumerate(p)))
    return [(w, 1 if cosines[w, i] > 0 else -1) for i, w in enumerate(best)]


def shifted(affine: npt.NDArray[np.float64] | None, offset: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
    """Give the affine of a grid whose first voxel is voxel `offset` (2 or 3 indices) of the old one; None (a film) stays None."""
    if affine is None:
        return None
    moved = affine.copy()
    step = np.asarray(offset, np.float64)
    moved[:3, 3] += affine[:3, : len(step)] @ step
    return moved


def rescaled(affine: npt.NDArray[np.float64] | None, factors: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
    """Give the affine of a grid whose voxels are `factors` times as large along each axis, with the same outer corner; None stays None."""
    if affine is None:
        return None
    factor = np.asarray(factors, np.float64)
    # The outer corner stays, so the centre of the first voxel moves by half of what a voxel grows.
    grown = affine.copy()
    grown[:3, 3] += affine[:3, : len(factor)] @ ((factor - 1) / 2)
    grown[:3, : len(factor)] *= factor
    return grown
