"""Smooth implicit shapes on a voxel grid: distances in mm, negative inside, turned into fractions of a voxel.

Coordinates are the anatomy's own: x to the patient's left, y to posterior, z to superior, in mm from the middle of the thorax.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""Distances or fractions at points or voxels."""
Region = tuple[slice, slice, slice]
"""A box of voxels, in (z, y, x)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel centres along the three axes, centred on the thorax.

    Attributes:
        z: (D,) mm, to superior.
        y: (H,) mm, to posterior.
        x: (W,) mm, to the left.
        spacing_mm: (z, y, x).
    """

    z: Field
    y: Field
    x: Field
    spacing_mm: tuple[float, float, float]

    @classmethod
    def centred(cls, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> "Grid":
        """Make the grid of `shape` (D, H, W) voxels whose middle is the origin."""
        z, y, x = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True))
        return cls(z.astype(np.float32), y.astype(np.float32), x.astype(np.float32), spacing_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def softness_mm(self) -> float:
        """Width of the ramp from 0 to 1 across a surface: the side of a cube as large as a voxel."""
        return float(np.prod(self.spacing_mm) ** (1 / 3))

    def axes(self, region: Region = (slice(None), slice(None), slice(None))) -> tuple[Field, Field, Field]:
        """Coordinates (x, y, z) of a box of voxels, shaped to broadcast to (D, H, W)."""
        return self.x[None, None, region[2]], self.y[None, region[1], None], self.z[region[0], None, None]

    def region(self, low: npt.ArrayLike, high: npt.ArrayLike) -> Region:
        """Find the voxels whose centres lie between two corners (x, y, z) in mm; may be empty."""
        (z0, z1), (y0, y1), (x0, x1) = self.bounds(np.atleast_2d(low), np.atleast_2d(high))[0].tolist()
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)

    def bounds(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Find many such boxes at once: corners (n, 3) in (x, y, z) mm to starts and stops (n, 3, 2) along (z, y, x)."""
        lows, highs = np.asarray(low, np.float32), np.asarray(high, np.float32)
        pairs = [
            np.stack([np.searchsorted(axis, lows[:, 2 - i], "left"), np.searchsorted(axis, highs[:, 2 - i], "right")], axis=1)
            for i, axis in enumerate((self.z, self.y, self.x))
        ]
        return np.stack(pairs, axis=1)


def occupancy(distance: Field, softness_mm: float) -> Field:
    """Share of a voxel that lies inside a surface: a linear ramp one voxel wide, 1/2 on the surface.

    Args:
        distance: mm, negative inside, any shape.
        softness_mm: width of the ramp.

    Returns:
        float32 in [0, 1], of the shape of `distance`.
    """
    share = distance * np.float32(-1 / softness_mm)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def ellipsoid_distance(x: Field, y: Field, z: Field, center: npt.ArrayLike, semi_axes: npt.ArrayLike) -> Field:
    """Distance to an axis-parallel ellipsoid, to first order near its surface; the sign is exact.

    Args:
        x: mm, broadcasting with y and z to the result.
        y: mm.
        z: mm.
        center: (3,) mm, in (x, y, z).
        semi_axes: (3,) mm, in (x, y, z).

    Returns:
        mm, negative inside.
    """
    (cx, cy, cz), (ax, ay, az) = np.asarray(center, np.float32), np.asarray(semi_axes, np.float32)
    u, v, w = (x - cx) / ax, (y - cy) / ay, (z - cz) / az
    level = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / ax) ** 2 + (v / ay) ** 2 + (w / az) ** 2)
    # distance = (level - 1) / |gradient of level|, and |gradient of level| = slope / level
    return np.asarray((level - 1) * level / np.maximum(slope, np.float32(1e-6)) - (level == 0) * min(ax, ay, az), np.float32)


def capsule_distance(x: Field, y: Field, z: Field, start: Field, end: Field, radii: tuple[float, float]) -> Field:
    """Distance to a tube whose radius runs linearly from `start` to `end`, with round ends.

    Args:
        x: mm, broadcasting with y and z to the result.
        y: mm.
        z: mm.
        start: (3,) mm, in (x, y, z).
        end: (3,) mm, in (x, y, z), apart from `start`.
        radii: mm, at the start and at the end.

    Returns:
        mm, negative inside.
    """
    axis = end - start
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) * np.float32(1 / float((axis * axis).sum())), 0, 1)
    across = dx - along * axis[0]
    across *= across
    across += (dy - along * axis[1]) ** 2
    across += (dz - along * axis[2]) ** 2
    across = np.sqrt(across, out=across)
    across -= np.float32(radii[0]) + along * np.float32(radii[1] - radii[0])
    return np.asarray(across, np.float32)


def union(*distances: Field) -> Field:
    """Distance to what lies in any of several shapes, given the distances to each; a new array."""
    return reduce(np.minimum, distances[1:], np.asarray(distances[0]))


def intersection(*distances: Field) -> Field:
    """Distance to what lies in all of several shapes, given the distances to each; exact in sign, a bound far from the surface; a new array."""
    return reduce(np.maximum, distances[1:], np.asarray(distances[0]))


def blend(hu: Field, share: Field, value: float | Field) -> None:
    """Mix `value` into `hu` in place, in proportion to `share`."""
    change: npt.NDArray[Any] = value - hu
    change *= share
    hu += change
