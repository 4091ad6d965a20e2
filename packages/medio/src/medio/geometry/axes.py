"""Sampling along one axis as a banded matrix: interpolation is linear in the old values, and the same for every line of voxels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_NEGLIGIBLE = 1e-9
"""Weights of splines below this are dropped: of 4000 HU they move 4e-6 HU."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Neighbouring new samples, and the run of old ones that they are made of: new[start:stop] = weights @ old[first:last]."""

    start: int
    stop: int
    first: int
    last: int
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Where the samples of a new grid lie along one old axis: new sample i at old index scale * i + offset.

    Attributes:
        old: number of old samples.
        new: number of new samples.
        scale: old samples a new one; negative where the new axis runs against the old.
        offset: old index of new sample 0.
    """

    old: int
    new: int
    scale: float
    offset: float

    @property
    def is_identity(self) -> bool:
        """Whether every new sample is the old one of the same index."""
        return self.old == self.new and abs(self.scale - 1) * self.new < 1e-9 and abs(self.offset) < 1e-6

    @property
    def sigma(self) -> float:
        """Standard deviation in old samples of the smoothing against aliasing: (f - 1) / 2 where the axis shrinks by a factor f."""
        return max(0.0, (abs(self.scale) - 1) / 2)

    def positions(self) -> npt.NDArray[np.float64]:
        """Old index of every new sample, (new,), unbounded."""
        return self.scale * np.arange(self.new, dtype=np.float64) + self.offset

    def outside(self) -> npt.NDArray[np.bool_]:
        """Mark the new samples that lie more than half an old voxel beyond the outer centres, (new,)."""
        place = self.positions()
        return (place < -0.5 - 1e-6) | (place > self.old - 0.5 + 1e-6)

    def nearest(self) -> npt.NDArray[np.intp]:
        """Index of the old sample nearest to each new one, (new,); half way counts upwards, whatever the rounding of the scale."""
        return np.clip(np.floor(np.round(self.positions(), 9) + 0.5), 0, self.old - 1).astype(np.intp)

    def blocks(self, order: int, *, antialias: bool, width: int = 32) -> list[Block]:
        """Cut the matrix of this axis into dense blocks along its band.

        Args:
            order: 1 linear, 2 to 5 spline; beyond the border the border value counts.
            antialias: smooth first, where the axis shrinks by a factor f, by a Gaussian of standard deviation (f - 1) / 2 old samples.
            width: about how many old samples a block may take; blocks hold at most 16 new ones.
        """
        sigma = self.sigma if antialias else 0.0
        columns, weights = self._linear(sigma) if order == 1 else self._spline(order, sigma)
        count = max(1, min(16, int(width / max(abs(self.scale), 1e-9))))
        blocks = []
        for start in range(0, self.new, count):
            stop = min(start + count, self.new)
            used = columns[start:stop][weights[start:stop] != 0]
            first, last = int(used.min()), int(used.max()) + 1
            dense = np.zeros((stop - start, last - first))
            rows = np.broadcast_to(np.arange(stop - start)[:, None], columns[start:stop].shape)
            # A weight of nought may point outside the run; it is clipped into it and adds nothing.
            np.add.at(dense, (rows, np.clip(columns[start:stop] - first, 0, last - first - 1)), weights[start:stop])
            blocks.append(Block(start, stop, first, last, dense))
        return blocks

    def _linear(self, sigma: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        place = np.clip(self.positions(), 0, self.old - 1)
        low = np.minimum(place.astype(np.intp), max(self.old - 2, 0))
        part = place - low
        columns = np.stack([low, np.minimum(low + 1, self.old - 1)], axis=1)
        weights = np.stack([1 - part, part], axis=1)
        if sigma == 0:
            return columns, weights
        radius = int(4 * sigma + 0.5)
        steps = np.arange(-radius, radius + 1)
        kernel = np.exp(-0.5 * (steps / sigma) ** 2)
        kernel /= kernel.sum()
        spread = np.clip(columns[:, :, None] + steps, 0, self.old - 1)
        return spread.reshape(self.new, -1), (weights[:, :, None] * kernel).reshape(self.new, -1)

    def _spline(self, order: int, sigma: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        # The answer to every unit impulse is the matrix; the prefilter of a spline reaches far, but falls off by a factor of 2 to 6 a sample.
        impulses = np.eye(self.old)
        if sigma:
            impulses = ndimage.gaussian_filter1d(impulses, sigma, axis=0, mode="nearest")
        matrix = ndimage.affine_transform(  # type: ignore[call-overload]  # its stubs want a literal order
            impulses, np.array([self.scale, 1.0]), np.array([self.offset, 0.0]), (self.new, self.old), order=order, mode="nearest"
        )
        matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
        return np.broadcast_to(np.arange(self.old), matrix.shape), matrix
