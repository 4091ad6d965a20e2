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
        (n, 2) corners each as (row, column), at half numbers; outer borders and those of holes alike.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    # A border bends where one or three of the four pixels around a corner are inside; where two touch across the corner, two bends meet.
    copies = (a ^ b ^ c ^ d).astype(np.int64) + 2 * ((a == d) & (b == c) & (a != b))
    rows, columns = np.nonzero(copies)
    count = copies[rows, columns]
    rows, columns = np.repeat(rows, count), np.repeat(columns, count)
    # Along every row of corners the border runs from the first bend to the second, the third to the fourth, …; down every column likewise.
    across = (np.arange(len(rows)) ^ 1).tolist()
    by_column = np.lexsort((rows, columns))
    below = np.empty(len(rows), np.int64)
    below[by_column[0::2]], below[by_column[1::2]] = by_column[1::2], by_column[0::2]
    down = below.tolist()
    corners = np.stack([rows, columns], axis=1).astype(np.float64) - 0.5
    seen = bytearray(len(rows))
    polygons = []
    for start in range(len(rows)):
        loop, here = [], start
        while not seen[here]:
            there = across[here]
            loop += [here, there]
            seen[here] = seen[there] = 1
            here = down[there]
        if loop:
            polygons.append(corners[loop])
    return polygons
