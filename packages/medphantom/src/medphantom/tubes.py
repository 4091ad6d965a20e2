"""Many thin tubes on a grid: each is looked at only where it may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medphantom.shapes import Field, Grid, Region, capsule_distance

_WALL_MM = 2.0  # room for the wall around a lumen


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """A straight piece of a vessel or an airway, with round ends.

    Attributes:
        start_mm: (x, y, z), anatomy frame.
        end_mm: (x, y, z), anatomy frame.
        radii_mm: at the start and at the end.
    """

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    radii_mm: tuple[float, float]


class Space(Protocol):
    """Voxels at which tubes are looked at; a `Scene` is one."""

    grid: Grid

    @property
    def softness_mm(self) -> float:
        """Width of the ramp across a surface."""
        ...

    def bounds(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Boxes of voxels between two corners each."""
        ...

    def coordinates(self, region: Region) -> tuple[Field, Field, Field]:
        """(x, y, z) mm at a region's voxels."""
        ...


def tube_distance(tubes: Sequence[Tube], space: Space) -> Field:
    """Distance in mm to the nearest tube, negative inside; farther than 2 mm and a voxel's ramp from all of them it may be 1000."""
    distance = np.full(space.grid.shape, 1000, np.float32)
    if not tubes:
        return distance
    starts = np.array([tube.start_mm for tube in tubes], np.float32)
    ends = np.array([tube.end_mm for tube in tubes], np.float32)
    reach = np.array([max(tube.radii_mm) for tube in tubes], np.float32)[:, None] + np.float32(_WALL_MM + space.softness_mm)
    boxes = space.bounds(np.minimum(starts, ends) - reach, np.maximum(starts, ends) + reach)
    for i in np.flatnonzero((boxes[..., 1] > boxes[..., 0]).all(axis=1)).tolist():
        (z0, z1), (y0, y1), (x0, x1) = boxes[i].tolist()
        region = slice(z0, z1), slice(y0, y1), slice(x0, x1)
        near = capsule_distance(*space.coordinates(region), starts[i], ends[i], tubes[i].radii_mm)
        np.minimum(distance[region], near, out=distance[region])
    return distance
