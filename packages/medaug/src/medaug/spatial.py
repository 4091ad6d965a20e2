"""Spatial transforms: each draws one matrix in millimetres about the centre of the grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from medaug.errors import AugmentationError
from medaug.options import check_probability

Matrix = npt.NDArray[np.float64]
Range = float | tuple[float, float] | tuple[tuple[float, float], ...]
"""r draws uniformly in [-r, r]; (low, high) in that; ((low, high), …) gives each axis its own."""


@runtime_checkable
class SpatialTransform(Protocol):
    """Moves the content of an image; says so as a matrix."""

    def matrix(self, rng: np.random.Generator, dims: int) -> Matrix:
        """Draw a homogeneous matrix (dims + 1, dims + 1), float64.

        It maps where content is to where it goes, in mm along the array's axes (z, y, x or y, x) with the origin at the centre of the grid.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scale along the array's axes, then rotate, then translate: `q = R S p + t` about the centre of the grid.

    Attributes:
        rotation_deg: angles in degrees. In 3D one about each of z, y, x, applied x first; a positive angle about z turns +y towards +x, about y turns
            +x towards +z, about x turns +z towards +y. In 2D one, which turns +y towards +x.
        scale: (low, high) factor, above 1 magnifies, drawn log-uniformly so that shrinking and growing are equally likely; or one pair an axis.
        translation_mm: shift of the content along each axis.
        isotropic: one scale for all axes; False draws one an axis.
        p: probability that the transform is applied.

    Raises:
        AugmentationError: for a range that is reversed, a scale that is not positive, a p outside [0, 1].
    """

    rotation_deg: Range = 0.0
    scale: tuple[float, float] | tuple[tuple[float, float], ...] = (1.0, 1.0)
    translation_mm: Range = 0.0
    isotropic: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Affine", self.p)
        for name in ("rotation_deg", "scale", "translation_mm"):
            for low, high in _pairs(getattr(self, name)):
                if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                    raise AugmentationError("Affine", f"{name} needs finite low <= high, got ({low}, {high})")
                if name == "scale" and low <= 0:
                    raise AugmentationError("Affine", f"scale must be positive, got ({low}, {high}); 1 keeps the size")
        if isinstance(self.scale, int | float):
            raise AugmentationError(
                "Affine", f"scale needs (low, high), got {self.scale}; write ({self.scale}, {self.scale}) for a fixed factor"
            )

    def matrix(self, rng: np.random.Generator, dims: int) -> Matrix:
        """Draw the matrix, see `SpatialTransform.matrix`."""
        applied = rng.random() < self.p
        angles = _draw(rng, "rotation_deg", self.rotation_deg, 3 if dims == 3 else 1)
        logs = tuple((math.log(low), math.log(high)) for low, high in _pairs(self.scale))
        if self.isotropic and len(logs) == 1:
            scales = np.repeat(np.exp(_draw(rng, "scale", logs[0], 1)), dims)
        else:
            scales = np.exp(_draw(rng, "scale", logs if len(logs) > 1 else logs[0], dims))
        shift = _draw(rng, "translation_mm", self.translation_mm, dims)
        result = np.eye(dims + 1)
        if applied:
            result[:dims, :dims] = _rotation(np.deg2rad(angles), dims) * scales
            result[:dims, dims] = shift
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Mirror about the centre of the grid, each axis on its own with probability `p`; exact, without interpolation, unless joined by another transform.

    Attributes:
        axes: spatial axes that may flip: 0 is z in 3D and y in 2D; negative ones count from the end, so -1 is x.
        p: probability of each axis.

    Raises:
        AugmentationError: for no axes or a p outside [0, 1]; when used, for an axis that the image lacks.
    """

    axes: tuple[int, ...]
    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability("Flip", self.p)
        if not self.axes:
            raise AugmentationError("Flip", "axes is empty; name at least one, e.g. (-1,) for x")

    def matrix(self, rng: np.random.Generator, dims: int) -> Matrix:
        """Draw the matrix, see `SpatialTransform.matrix`."""
        result = np.eye(dims + 1)
        for axis in self.axes:
            if not -dims <= axis < dims:
                raise AugmentationError("Flip", f"axis {axis} does not exist in {dims}D; axes run from 0 to {dims - 1}")
            if rng.random() < self.p:
                result[axis % dims, axis % dims] *= -1.0
        return result


def _pairs(value: Range) -> tuple[tuple[float, float], ...]:
    """Every (low, high) in a range; one pair where it serves all axes."""
    if isinstance(value, int | float):
        return ((-abs(value), abs(value)),)
    if len(value) == 2 and isinstance(value[0], int | float) and isinstance(value[1], int | float):
        return ((float(value[0]), float(value[1])),)
    return tuple((float(pair[0]), float(pair[1])) for pair in value if isinstance(pair, Sequence))


def _draw(rng: np.random.Generator, name: str, value: Range, count: int) -> Matrix:
    """Draw `count` uniform numbers."""
    pairs = _pairs(value)
    if len(pairs) == 1:
        pairs = pairs * count
    if len(pairs) != count:
        raise AugmentationError("Affine", f"{name} has {len(pairs)} ranges, this image needs {count} (or one for all)")
    return np.array([low if low == high else rng.uniform(low, high) for low, high in pairs])


def _rotation(radians: Matrix, dims: int) -> Matrix:
    """Rotation matrix (dims, dims) of the angles in the order of the axes (z, y, x), or of one angle in 2D."""
    if dims == 2:
        c, s = math.cos(radians[0]), math.sin(radians[0])
        return np.array([[c, -s], [s, c]])
    result = np.eye(3)
    for axis, angle in enumerate(radians):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[b, b] = turn[c, c] = math.cos(angle)
        turn[c, b], turn[b, c] = math.sin(angle), -math.sin(angle)
        result = result @ turn
    return result
