"""Polygons to pixels and back, by the centre of the pixel and the even-odd rule."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def fill_polygons(polygons: Sequence[npt.NDArray[np.float64]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose centre lies inside an odd number of polygons.

    A polygon inside another is a hole, and so is what a keyhole (one outline that runs in along a channel and back) leaves out. A centre on an edge counts to the
    polygon on its right or below, so polygons that share an edge share no pixel.

    Args:
        polygons: (n, 2) vertices each as (row, column), centres of pixels at whole numbers; closed by themselves. They may reach outside.
        shape: (H, W).

    Returns:
        (H, W).
    """
    height, width = shape
    toggles = np.zeros((height, width + 1), np.uint8)
    if polygons:
        start = np.concatenate(polygons)
        end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
        # From the upper end to the lower, whichever way the edge runs: the two banks of a channel then cross a row at the very same column.
        down = (start[:, 0] <= end[:, 0])[:, None]
        top, bottom = np.where(down, start, end), np.where(down, end, start)
        # Each edge crosses the rows in [top, bottom): half open, so that a vertex counts once.
        first, last = (np.clip(np.ceil(ends[:, 0]), 0, height).astype(np.int64) for ends in (top, bottom))
        count = last - first
        edge = np.repeat(np.arange(len(start)), count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        top, bottom = top[edge], bottom[edge]
        column = top[:, 1] + (row - top[:, 0]) / (bottom[:, 0] - top[:, 0]) * (bottom[:, 1] - top[:, 1])
        np.add.at(toggles, (row, np.clip(np.ceil(column), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(toggles[:, :width], axis=1, dtype=np.uint8) & 1, np.bool_)


def outline_mask(mask: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
    """Trace the borders of a mask along the edges of its pixels; `fill_polygons` gives the mask back exactly.

    Args:
        mask: (H, W), true inside.

    Returns:
        (n, 2) corners each as (row, column), at half numbers; outer borders and those of holes alike. Regions that touch at a corner alone are kept apart.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    # Directed pixel edges with the inside on the right hand side, from corner to corner; corner (i, j) is the upper left of padded pixel (i, j).
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    across = padded[1:, :] != padded[:-1, :]
    for i, j in np.argwhere(across):
        a, b = (int(i) + 1, int(j)), (int(i) + 1, int(j) + 1)
        begin, end = (a, b) if padded[i + 1, j] else (b, a)
        following.setdefault(begin, []).append(end)
    beside = padded[:, 1:] != padded[:, :-1]
    for i, j in np.argwhere(beside):
        a, b = (int(i), int(j) + 1), (int(i) + 1, int(j) + 1)
        begin, end = (b, a) if padded[i, j + 1] else (a, b)
        following.setdefault(begin, []).append(end)
    polygons = []
    while following:
        start = next(iter(following))
        loop, here, came = [start], start, (0, 0)
        while True:
            choices = following[here]
            # At a corner that two regions share, turn right: stay with the region that was followed.
            right = (here[0] + came[1], here[1] - came[0])
            chosen = choices.index(right) if right in choices else 0
            there = choices.pop(chosen)
            if not choices:
                del following[here]
            came, here = (there[0] - here[0], there[1] - here[1]), there
            if here == start:
                break
            loop.append(here)
        points = np.array(loop, np.float64)
        bent = (np.diff(points, axis=0, append=points[:1]) != np.diff(points, axis=0, prepend=points[-1:])).any(axis=1)
        polygons.append(points[bent] - 1.5)
    return polygons
