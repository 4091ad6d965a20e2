"""Many thin tubes on a grid: each is looked at only where it may be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medphantom.shapes import Field, Grid, Region, capsule_distance, occupancy


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

    def region(self, low: npt.ArrayLike, high: npt.ArrayLike) -> Region:
        """Voxels between two corners."""
        ...

    def coordinates(self, region: Region) -> tuple[Field, Field, Field]:
        """(x, y, z) mm at a region's voxels."""
        ...


def tube_distance(tubes: Sequence[Tube], space: Space) -> Field:
    """Distance in mm to the nearest tube, negative inside; farther than a voxel's ramp from all of them it is 1000."""
    distance = np.full(space.grid.shape, 1000, np.float32)
    for region, near in _pieces(tubes, space):
        np.minimum(distance[region], near, out=distance[region])
    return distance


def tube_shares(tubes: Iterable[Tube], space: Space, extra_mm: float = 0.0) -> Field:
    """Share in [0, 1] of each voxel that lies in a tube, or within `extra_mm` of one."""
    share = np.zeros(space.grid.shape, np.float32)
    for region, near in _pieces(tubes, space, extra_mm):
        inside = occupancy(near, space.softness_mm)
        np.maximum(share[region], inside, out=share[region])
    return share


def _pieces(tubes: Iterable[Tube], space: Space, extra_mm: float = 0.0) -> Iterator[tuple[Region, Field]]:
    for tube in tubes:
        radii = (tube.radii_mm[0] + extra_mm, tube.radii_mm[1] + extra_mm)
        margin = max(radii) + space.softness_mm
        start, end = np.array(tube.start_mm, np.float32), np.array(tube.end_mm, np.float32)
        region = space.region(np.minimum(start, end) - margin, np.maximum(start, end) + margin)
        if all(s.stop > s.start for s in region):
            yield region, capsule_distance(*space.coordinates(region), start, end, radii)
