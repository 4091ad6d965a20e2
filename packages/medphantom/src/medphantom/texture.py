"""Unevenness of tissue: smooth noise that belongs to the anatomy, so that every grid and every visit sees the same."""

from dataclasses import dataclass

import numpy as np

from medphantom.shapes import Field

_POINTS, _PITCH_MM = 48, 11.0


@dataclass(frozen=True, eq=False, slots=True)
class Lattice:
    """Noise at the points of a coarse lattice centred on the anatomy's origin, linear between them.

    Attributes:
        values: (n, n, n) float32 in (z, y, x), about N(0, 1).
    """

    values: Field

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Lattice":
        """Draw from the patient's stream "texture"."""
        return cls(rng.standard_normal((_POINTS,) * 3, np.float32))

    def at(self, x: Field, y: Field, z: Field) -> Field:
        """Look up points.

        Args:
            x: mm, anatomy frame, float32; broadcasts with y and z.
            y: mm.
            z: mm.

        Returns:
            Of the points' common shape, float32. Outside of the lattice the value at its edge.
        """
        if x.shape[:-1] == (1, 1) and (y.shape[0], y.shape[-1]) == (1, 1) and z.shape[1:] == (1, 1):
            return self._on_axes(x.ravel(), y.ravel(), z.ravel())
        lows, shares = zip(*(_position(c, len(self.values)) for c in (z, y, x)), strict=True)
        (z0, y0, x0), (w, v, u) = lows, shares
        flat, n = self.values.ravel(), len(self.values)
        base = (z0 * n + y0) * n + x0
        levels = []
        for dz in (0, n * n):
            rows = [flat[base + (dz + dy)] * (1 - u) + flat[base + (dz + dy + 1)] * u for dy in (0, n)]
            levels.append(rows[0] * (1 - v) + rows[1] * v)
        return np.asarray(levels[0] * (1 - w) + levels[1] * w, np.float32)

    def _on_axes(self, x: Field, y: Field, z: Field) -> Field:
        """The same on the axes of a grid, one axis after the other."""
        field = self.values
        for axis, coordinates in ((2, x), (1, y), (0, z)):
            low, share = _position(coordinates, len(self.values))
            share = share.reshape([-1 if i == axis else 1 for i in range(3)])
            field = field.take(low, axis) * (1 - share) + field.take(low + 1, axis) * share
        return field


def _position(coordinates: Field, points: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.intp]], Field]:
    """Lattice point below each coordinate, and how far past it."""
    position = np.clip(coordinates / np.float32(_PITCH_MM) + (points - 1) / 2, 0, points - 1.001)
    low = position.astype(np.intp)
    return low, (position - low).astype(np.float32)
