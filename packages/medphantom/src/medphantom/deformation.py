"""How a patient lies and breathes on another day: a smooth, invertible map between two visits, known at every point."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.errors import ScanError
from medphantom.shapes import Field, Grid

Vector = tuple[float, float, float]
"""(x, y, z) in mm."""
_MOST_STRETCH = 0.75
_ROUNDS = 60
_TOLERANCE_MM = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Swelling:
    """A smooth local shift: a Gaussian bump.

    Attributes:
        center_mm: (x, y, z).
        shift_mm: (x, y, z), in its middle.
        width_mm: standard deviation.
    """

    center_mm: Vector
    shift_mm: Vector
    width_mm: float

    @property
    def stretch(self) -> float:
        """Bound of its gradient's norm: |shift| exp(-1/2) / width, the steepest slope of a Gaussian."""
        return math.hypot(*self.shift_mm) * math.exp(-0.5) / self.width_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Breathing:
    """The diaphragm's way up or down, felt less towards the apex and towards the back.

    Attributes:
        shift_mm: along z at the diaphragm; positive where the visit's tissue lies lower than the first visit's, i.e. for a deeper breath.
        middle_z: mm: height at which half of the way is left.
        fall_mm: over which it falls along z.
        back_y: mm: depth at which half of the way is left.
        back_mm: over which it falls along y.
        widening: forward shift of the front wall as a share of the diaphragm's way.
    """

    shift_mm: float
    middle_z: float
    fall_mm: float
    back_y: float
    back_mm: float
    widening: float = 0.25

    @property
    def stretch(self) -> float:
        """Bound of its gradient's norm: a logistic's steepest slope is 1 / (4 scale), along z and along y, for each of two components."""
        steepest = math.hypot(1 / (4 * self.fall_mm), 1 / (4 * self.back_mm))
        return abs(self.shift_mm) * math.hypot(1, self.widening) * steepest


@dataclass(frozen=True, slots=True, kw_only=True)
class Deformation:
    """From a visit's patient frame to the first visit's: breathing and local shifts, then a rigid change of pose.

    Points are in mm of the anatomy's frame, (x to the left, y to posterior, z to superior); shifts are the same in LPS, which differs by a
    constant. With p on the visit, the tissue lay on the first visit at R (p + u(p)) + t. The local part's gradient is bounded below 0.75 in
    norm, so that the map has an inverse and a positive Jacobian everywhere.

    Attributes:
        breathing: the diaphragm's way, or None.
        swellings: local shifts.
        rotation: (x, y, z) turn vector in radians, about the origin: its length is the angle.
        translation_mm: (x, y, z).
    """

    breathing: Breathing | None = None
    swellings: tuple[Swelling, ...] = ()
    rotation: Vector = (0.0, 0.0, 0.0)
    translation_mm: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.stretch > _MOST_STRETCH:
            raise ScanError(
                f"Deformation: its local part stretches by up to {self.stretch:.2f} and may fold; "
                f"smaller shifts or greater widths bring that to {_MOST_STRETCH} or less"
            )

    @property
    def stretch(self) -> float:
        """Bound of the norm of the local part's gradient: that of breathing plus those of the swellings."""
        return (self.breathing.stretch if self.breathing else 0.0) + sum(s.stretch for s in self.swellings)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return not self.swellings and self.breathing is None and not any(self.rotation) and not any(self.translation_mm)

    def __call__(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Map points of the visit to the first visit: a scene's warp.

        Args:
            x: mm, float32, broadcasting with y and z.
            y: mm.
            z: mm.

        Returns:
            (x, y, z) in mm, float32 of the common shape.
        """
        u, v, w = (a + s for a, s in zip((x, y, z), self._local(x, y, z), strict=True))
        return self._turned(u, v, w, _rotation(self.rotation))

    def inverse(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Map points of the first visit to this one, to 0.0001 mm in double precision.

        Args:
            x: mm, broadcasting with y and z.
            y: mm.
            z: mm.

        Returns:
            (x, y, z) in mm, float64 of the common shape.
        """
        back = _rotation(self.rotation).T
        moved = [np.asarray(np.asarray(a, np.float64) - t) for a, t in zip((x, y, z), self.translation_mm, strict=True)]
        goal = [row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2] for row in back]
        points = goal
        # The local part contracts, so p = goal - u(p) converges to its one solution.
        for _ in range(_ROUNDS):
            after = [g - s for g, s in zip(goal, self._local(*points), strict=True)]
            step = max(float(np.abs(a - p).max(initial=0)) for a, p in zip(after, points, strict=True))
            points = after
            if step < _TOLERANCE_MM * (1 - _MOST_STRETCH):
                break
        return points[0], points[1], points[2]

    def displacement_mm(self, grid: Grid) -> npt.NDArray[np.float32]:
        """How far each voxel's tissue lies from where it lay on the first visit.

        Args:
            grid: the visit's voxels.

        Returns:
            (D, H, W, 3) float32, (x, y, z) LPS mm: position on the first visit less position on this one.
        """
        x, y, z = grid.axes()
        return _stacked(grid, self(x, y, z))

    def inverse_displacement_mm(self, grid: Grid) -> npt.NDArray[np.float32]:
        """How far each voxel's tissue of the first visit moved until this one.

        Args:
            grid: the first visit's voxels.

        Returns:
            (D, H, W, 3) float32, (x, y, z) LPS mm: position on this visit less position on the first.
        """
        x, y, z = grid.axes()
        return _stacked(grid, self.inverse(x, y, z))

    def volume_change(self, x: Field, y: Field, z: Field) -> Field:
        """Jacobian's determinant at points of the visit: volume on the first visit over volume on this one; 1 where nothing is stretched.

        Args:
            x: mm, broadcasting with y and z.
            y: mm.
            z: mm.

        Returns:
            Of the common shape, by central differences over 2 mm.
        """
        h = np.float32(1)
        zero = np.float32(0)
        columns = []
        for dx, dy, dz in ((h, zero, zero), (zero, h, zero), (zero, zero, h)):
            ahead, behind = self(x + dx, y + dy, z + dz), self(x - dx, y - dy, z - dz)
            columns.append([(a - b) / 2 for a, b in zip(ahead, behind, strict=True)])
        (a, b, c), (d, e, f), (g, i, j) = columns
        return np.asarray(a * (e * j - f * i) - d * (b * j - c * i) + g * (b * f - c * e))

    def jacobian(self, grid: Grid) -> npt.NDArray[np.float32]:
        """`volume_change` at the visit's voxels, (D, H, W) float32."""
        return np.asarray(self.volume_change(*grid.axes()), np.float32)

    def _local(self, x: Field, y: Field, z: Field) -> list[Field]:
        shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
        shifts = [np.zeros(shape, np.result_type(x, np.float32)) for _ in range(3)]
        if self.breathing is not None:
            b = self.breathing
            kind = shifts[0].dtype.type
            low = 1 / (1 + np.exp((z - kind(b.middle_z)) * kind(1 / b.fall_mm)))
            front = 1 / (1 + np.exp((y - kind(b.back_y)) * kind(1 / b.back_mm)))
            way = kind(b.shift_mm) * low * front
            shifts[2] += way
            shifts[1] += kind(b.widening) * way
        for swelling in self.swellings:
            bump = _bump(x, swelling.center_mm[0], swelling.width_mm) * _bump(y, swelling.center_mm[1], swelling.width_mm)
            bump = bump * _bump(z, swelling.center_mm[2], swelling.width_mm)
            for shift, size in zip(shifts, swelling.shift_mm, strict=True):
                shift += shift.dtype.type(size) * bump
        return shifts

    def _turned(self, x: Field, y: Field, z: Field, turn: npt.NDArray[np.float64]) -> tuple[Field, Field, Field]:
        kind = x.dtype.type
        rows = [kind(r[0]) * x + kind(r[1]) * y + kind(r[2]) * z + kind(t) for r, t in zip(turn, self.translation_mm, strict=True)]
        return rows[0], rows[1], rows[2]


def draw_deformation(rng: np.random.Generator, anatomy: Anatomy, strength: float = 1.0) -> Deformation:
    """Draw another day's breath and pose.

    Args:
        rng: the visit's generator for the stream "deformation".
        anatomy: the thorax.
        strength: 1 for a diaphragm up to 14 mm higher or lower, a turn of up to 3 degrees, and a table up to 8 mm off; 0 for none.
            At most 1.5.

    Returns:
        The map from the visit to the first one.
    """
    if not 0 <= strength <= 1.5:
        raise ScanError(f"draw_deformation: strength must lie between 0 and 1.5, got {strength}")
    if strength == 0:
        return Deformation()
    chest = anatomy.chest
    breathing = Breathing(
        shift_mm=float(rng.uniform(-14, 14)) * strength,
        middle_z=float(rng.uniform(-40, 0)),
        fall_mm=32.0,
        back_y=anatomy.skeleton.spine_y - 45,
        back_mm=18.0,
        widening=float(rng.uniform(0.15, 0.35)),
    )
    low = np.array([-chest.half_width, chest.center_y - chest.half_depth, anatomy.diaphragm.left_z])
    high = np.array([chest.half_width, chest.center_y + chest.half_depth, chest.apex_z])
    swellings = []
    for _ in range(4):
        center, shift = rng.uniform(low, high), rng.normal(0, 1.4 * strength, 3).clip(-3, 3)
        swellings.append(Swelling(center_mm=_vector(center), shift_mm=_vector(shift), width_mm=float(rng.uniform(38, 60))))
    axis = rng.standard_normal(3)
    axis /= np.sqrt((axis**2).sum())
    return Deformation(
        breathing=breathing,
        swellings=tuple(swellings),
        rotation=_vector(axis * math.radians(3) * strength * rng.uniform(0, 1)),
        translation_mm=_vector(rng.uniform(-8, 8, 3) * strength),
    )


def _bump(axis: Field, center: float, width: float) -> Field:
    kind = axis.dtype.type
    return np.asarray(np.exp(((axis - kind(center)) * kind(1 / width)) ** 2 * kind(-0.5)))


def _rotation(vector: Vector) -> npt.NDArray[np.float64]:
    """The matrix of a turn vector. Source: Rodrigues' formula."""
    angle = math.hypot(*vector)
    if angle == 0:
        return np.eye(3)
    x, y, z = (c / angle for c in vector)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    outer = np.array([[x * x, x * y, x * z], [x * y, y * y, y * z], [x * z, y * z, z * z]])
    return math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * outer


def _stacked(grid: Grid, moved: tuple[Field, Field, Field]) -> npt.NDArray[np.float32]:
    shifts = np.empty((*grid.shape, 3), np.float32)
    for i, (there, here) in enumerate(zip(moved, grid.axes(), strict=True)):
        shifts[..., i] = there - here
    return shifts


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
