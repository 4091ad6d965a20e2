"""Where a film's rays run: parallel or from a focus, from behind (PA), from the front (AP) or from the side (LAT)."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from medphantom.findings.gravity import Posture
from medphantom.shapes import Field, Grid, Region

WATER_PER_MM = 0.0193
"""Linear attenuation of water at about 70 keV, 1/mm (NIST XCOM: 0.193 / cm)."""

# Of each view: the volume's axis along the beam (in z, y, x), on which side of the patient the detector stands, and the axis of the film's columns.
_AXES = {"PA": (1, -1, 2), "AP": (1, 1, 2), "LAT": (2, 1, 1)}
_DETECTOR_MM = {"PA": 170.0, "AP": 170.0, "LAT": 215.0}
_SHARPNESS = 0.5  # voxels that project within this share of a pixel of each other are added up before they are magnified


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One film's geometry, and how the patient is placed for it. The focus and the middle of the film lie level with the middle of the grid.

    Films are shown head up. On PA and AP the patient's left is at the right; on LAT, the left side at the detector, the back is at the right.

    Attributes:
        position: `PA`, `AP` or `LAT`, as DICOM's View Position (LAT stands for LL, left lateral).
        source_mm: from the focus to the detector, or None for parallel rays.
        detector_mm: from the middle of the grid to the detector, or None for as much as keeps it outside of the patient.
        pixel_mm: distance between the film's pixels (rows, columns), or None for the voxels'.
        posture: `supine` for what the CT shows; `upright` for a patient who stands up for the film, so that pleural fluid and air find new
            levels. Organs stay where they are.
    """

    position: Literal["PA", "AP", "LAT"] = "PA"
    source_mm: float | None = None
    detector_mm: float | None = None
    pixel_mm: tuple[float, float] | None = None
    posture: Posture = "supine"

    def __post_init__(self) -> None:
        if self.position not in _AXES:
            raise ValueError(f"View: position must be one of {', '.join(_AXES)}, got {self.position!r}")
        if not 0 < self.middle_mm < math.inf:
            raise ValueError(f"View {self.position}: detector_mm must be a positive distance, got {self.detector_mm}")
        if self.source_mm is not None and not 2 * self.middle_mm < self.source_mm < math.inf:
            raise ValueError(
                f"View {self.position}: source_mm {self.source_mm} puts the focus too near; it must be more than twice detector_mm {self.middle_mm}"
            )
        if self.pixel_mm is not None and not all(0 < p < math.inf for p in self.pixel_mm):
            raise ValueError(f"View {self.position}: pixel_mm must be two positive lengths, got {self.pixel_mm}")
        if self.posture not in ("supine", "upright"):
            raise ValueError(f"View {self.position}: posture must be 'supine' or 'upright', got {self.posture!r}")

    @property
    def middle_mm(self) -> float:
        """From the middle of the grid to the detector."""
        return _DETECTOR_MM[self.position] if self.detector_mm is None else self.detector_mm

    def magnification(self, toward_detector_mm: float = 0.0) -> float:
        """How much larger than life something looks that lies so many mm from the middle of the grid, towards the detector."""
        if self.source_mm is None:
            return 1.0
        return self.source_mm / (self.source_mm - self.middle_mm + toward_detector_mm)

    def pixels(self, grid: Grid) -> tuple[float, float]:
        """Distance in mm between the film's pixels, (rows, columns), at the detector."""
        return self.pixel_mm or (grid.spacing_mm[0], grid.spacing_mm[_AXES[self.position][2]])

    def shape(self, grid: Grid) -> tuple[int, int]:
        """Pixels of the film, (rows, columns): it holds the shadow of the grid's middle plane."""
        across = _AXES[self.position][2]
        rows, columns = self.pixels(grid)
        scale = self.magnification()
        height, width = (grid.shape[axis] * grid.spacing_mm[axis] * scale for axis in (0, across))
        return max(round(height / rows), 1), max(round(width / columns), 1)

    def points(self, grid: Grid, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Project points.

        Args:
            grid: as looked at.
            points_mm: (n, 3) mm in (x, y, z) from the grid's middle.

        Returns:
            (n, 2) row and column, 0 in the middle of the first pixel; rows count from the head.
        """
        along, side, across = _AXES[self.position]
        xyz = np.asarray(points_mm, np.float64)
        toward = xyz[:, 2 - along] * side
        scale = 1.0 if self.source_mm is None else self.source_mm / (self.source_mm - self.middle_mm + toward)
        (rows, columns), (high, wide) = self.shape(grid), self.pixels(grid)
        row = (rows - 1) / 2 - xyz[:, 2] * scale / high
        column = (columns - 1) / 2 + xyz[:, 2 - across] * scale / wide
        return np.stack([row, column], axis=1)

    def box(self, grid: Grid, mask: npt.NDArray[np.bool_], region: Region | None = None) -> tuple[int, int, int, int] | None:
        """Box of a mask's shadow.

        Args:
            grid: as looked at.
            mask: bool, of the region's shape: the voxels inside.
            region: box of voxels that the mask covers, or None for the whole grid.

        Returns:
            (row0, column0, row1, column1) in pixels, half open, cut to the film; None where nothing of it falls on the film.
        """
        z, y, x = (axis[s] for axis, s in zip((grid.z, grid.y, grid.x), region or (slice(None),) * 3, strict=True))
        inside = np.nonzero(mask)
        if not len(inside[0]):
            return None
        middles = np.stack([x[inside[2]], y[inside[1]], z[inside[0]]], axis=1).astype(np.float64)
        half = np.array(grid.spacing_mm[::-1]) / 2
        corners = [self.points(grid, middles + half * sign) for sign in _CORNERS]
        low = np.floor(np.min([c.min(axis=0) for c in corners], axis=0) + 0.5)
        high = np.ceil(np.max([c.max(axis=0) for c in corners], axis=0) + 0.5)
        (r0, c0), (r1, c1) = np.maximum(low, 0), np.minimum(high, self.shape(grid))
        return (int(r0), int(c0), int(r1), int(c1)) if r1 > r0 and c1 > c0 else None

    def project(self, density: Field, grid: Grid, *, endless: bool = False) -> Field:
        """Add up a density along the rays.

        Args:
            density: (D, H, W), a quantity per mm.
            grid: where it lies.
            endless: whether it goes on above and below the grid as in the last slices, so that slanting rays do not lose it there;
                otherwise nothing lies outside of the grid.

        Returns:
            (rows, columns) float32, its integral along each ray, as the film is shown: rows from head to feet.

        A ray is followed from plane to plane across the beam, linear between voxels. Planes that a pixel cannot tell apart are added up first.
        """
        along, side, _ = _AXES[self.position]
        step = grid.spacing_mm[along]
        if self.source_mm is None:
            total = density.sum(axis=along, dtype=np.float64).astype(np.float32)
            return self._film(total, grid, 1.0, endless)[::-1] * np.float32(step)
        depths = (grid.z, grid.y, grid.x)[along]
        count = self._planes_at_once(grid)
        film = np.zeros(self.shape(grid), np.float32)
        for first in range(0, len(depths), count):
            slab = tuple(slice(first, first + count) if axis == along else slice(None) for axis in range(3))
            middle = float(depths[first : first + count].mean()) * side
            film += self._film(density[slab].sum(axis=along), grid, self.magnification(middle), endless)
        rows, columns = self._from_middle(grid)
        # Rays away from the middle cross each plane aslant.
        slant = np.sqrt(1 + (rows[:, None] / self.source_mm) ** 2 + (columns / self.source_mm) ** 2)
        return np.asarray((film * (slant * step).astype(np.float32))[::-1], np.float32)

    def _planes_at_once(self, grid: Grid) -> int:
        """Planes whose magnifications differ by less than a share of a pixel at the film's corner."""
        along, _, across = _AXES[self.position]
        assert self.source_mm is not None
        reach = max(grid.shape[a] * grid.spacing_mm[a] for a in (0, across)) / 2
        # d(shadow) / d(depth) is about reach * magnification / source; half of a slab's depth may move it by so much.
        depth = 2 * _SHARPNESS * min(self.pixels(grid)) * self.source_mm / (reach * self.magnification() ** 2)
        return max(1, int(depth / grid.spacing_mm[along]))

    def _from_middle(self, grid: Grid) -> tuple[Field, Field]:
        """Mm of the film's rows (feet first) and columns from its middle."""
        rows, columns = ((np.arange(n) - (n - 1) / 2) * p for n, p in zip(self.shape(grid), self.pixels(grid), strict=True))
        return rows.astype(np.float32), columns.astype(np.float32)

    def _film(self, plane: Field, grid: Grid, scale: float, endless: bool) -> Field:
        """Magnify a plane's values onto the film, feet first."""
        across = _AXES[self.position][2]
        rows, columns = self._from_middle(grid)
        for axis, (target, source) in enumerate(((rows, grid.z), (columns, (grid.z, grid.y, grid.x)[across]))):
            plane = _interpolate(plane, axis, target / np.float32(scale), source, endless and axis == 0)
        return plane


STANDING = View(position="PA", source_mm=1800, posture="upright")
"""The usual film of a patient who can stand."""
BEDSIDE = View(position="AP", source_mm=1100)
"""The film of a patient in bed: the heart, far from the detector and near the focus, looks larger."""
LATERAL = View(position="LAT", source_mm=1800, posture="upright")
"""The second film of a patient who can stand."""
PARALLEL = View()
"""Parallel rays through the patient as the CT shows it: the film's columns and rows are the volume's."""


def with_pixels(view: View, pixel_mm: tuple[float, float]) -> View:
    """The same view on a detector with other pixels (rows, columns) in mm."""
    return replace(view, pixel_mm=pixel_mm)


def attenuation(hu: npt.NDArray[np.number]) -> Field:
    """Linear attenuation in 1/mm from HU, any shape: HU = 1000 (mu / mu_water - 1); below air nothing is left."""
    density = np.asarray(hu, np.float32) * np.float32(WATER_PER_MM / 1000)
    density += np.float32(WATER_PER_MM)
    return np.asarray(np.maximum(density, 0, out=density), np.float32)


_CORNERS = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])


def _interpolate(plane: Field, axis: int, target: Field, source: Field, endless: bool) -> Field:
    """Look up positions in mm along one axis of a plane whose rows or columns lie at `source` mm.

    Half a voxel past the edge the edge's value still counts; further on it does where the plane is endless, else nothing is there.
    """
    step = float(source[1] - source[0])
    position = (target - source[0]) / np.float32(step)
    inside = endless | ((position > -0.5) & (position < len(source) - 0.5))
    low = np.clip(np.floor(position).astype(np.intp), 0, len(source) - 2)
    share = np.clip(position - low, 0, 1)
    shape = (-1, 1) if axis == 0 else (1, -1)
    left, right = ((1 - share) * inside).reshape(shape), (share * inside).reshape(shape)
    return np.asarray(plane.take(low, axis) * left + plane.take(low + 1, axis) * right, np.float32)
