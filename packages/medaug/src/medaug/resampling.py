"""One resampling of a batch through one matrix a sample.

Normalised coordinates are grid_sample's with `align_corners=False`: u = (2 i + 1) / n - 1, so that -1 and 1 are the outer faces of the first and last voxel,
0 is the centre of the grid, and an axis of one voxel is no special case.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

Matrices = npt.NDArray[np.float64]


class Resampler:
    """Moves the content of a batch by one matrix a sample; builds the sampling grid once for all that shares it.

    Args:
        matrices: (B, dims + 1, dims + 1) mm about the centre of the grid: where content is -> where it goes.
        spacing: (B, dims) mm.
        shape: (D, H, W) or (H, W) of the grid.
        device: where the data is.

    Samples whose matrix is the identity come back bit for bit; those that only flip are flipped by index; only the rest is interpolated.
    Voxels whose source lies outside the grid's outer faces take the fill.
    """

    def __init__(self, matrices: Matrices, spacing: Matrices, shape: tuple[int, ...], device: torch.device) -> None:
        self._matrices = matrices
        self._spacing = spacing
        self._shape = shape
        self._device = device
        dims = len(shape)
        linear = matrices[:, :dims, :dims]
        exact = (np.abs(matrices) == np.eye(dims + 1)).all(axis=(1, 2))
        self._flips = exact[:, None] & (np.diagonal(linear, axis1=1, axis2=2) < 0)
        self._rows = np.flatnonzero(~exact)
        self.identity = bool(exact.all() and not self._flips.any())
        if len(self._rows):
            self._grid, self._inside = self._sampling_grid()

    def linear(self, x: Tensor, fill: float | None = None) -> Tensor:
        """Resample x (B, C, *S) float by linear interpolation; `fill` outside, where None each channel's own minimum."""
        x = self._flipped(x)
        if not len(self._rows):
            return x
        rows = torch.from_numpy(self._rows).to(self._device)
        chosen = x[rows]
        moved = grid_sample(chosen.float(), self._grid, mode="bilinear", padding_mode="border", align_corners=False).to(x.dtype)
        outside = (
            chosen.flatten(2).amin(2).view(chosen.shape[:2] + (1,) * len(self._shape)) if fill is None else torch.full_like(moved, fill)
        )
        return x.index_copy(0, rows, torch.where(self._inside[:, None], moved, outside))

    def nearest(self, x: Tensor) -> Tensor:
        """Resample x (B, *S) of any dtype by the nearest voxel, 0 outside; values and dtype are kept."""
        x = self._flipped(x)
        if not len(self._rows):
            return x
        rows = torch.from_numpy(self._rows).to(self._device)
        index = torch.zeros(self._inside.shape, dtype=torch.int64, device=self._device)
        for axis, n in enumerate(self._shape):
            u = self._grid[..., len(self._shape) - 1 - axis]
            index = index * n + (((u + 1) * n - 1) / 2).round_().clamp_(0, n - 1).long()
        moved = x[rows].flatten(1).gather(1, index.flatten(1)).view(self._inside.shape)
        return x.index_copy(0, rows, torch.where(self._inside, moved, torch.zeros_like(moved)))

    def points(self, points: Tensor, row: Tensor) -> Tensor:
        """Move points (n, dims) in index space (voxel centres on integers); row (n,) says which sample each is of."""
        dims = len(self._shape)
        matrices = torch.from_numpy(self._matrices).to(points.device)[row]
        spacing = torch.from_numpy(self._spacing).to(points.device)[row]
        centre = (torch.tensor(self._shape, dtype=torch.float64, device=points.device) - 1) / 2
        mm = (points.double() - centre) * spacing
        moved = (matrices[:, :dims, :dims] * mm[:, None, :]).sum(-1) + matrices[:, :dims, dims]
        still = (matrices == torch.eye(dims + 1, dtype=torch.float64, device=points.device)).flatten(1).all(1)
        return torch.where(still[:, None], points.double(), moved / spacing + centre)

    def boxes(self, boxes: Tensor, row: Tensor) -> Tensor:
        """Move boxes (n, 2·dims), lower corner then upper corner in index space: the axis-aligned bounds of the moved corners, not clipped to the grid."""
        dims = len(self._shape)
        picks = torch.cartesian_prod(*[torch.tensor([axis, axis + dims], device=boxes.device) for axis in range(dims)])
        corners = boxes[:, picks]  # (n, 2**dims, dims)
        moved = self.points(corners.reshape(-1, dims), row.repeat_interleave(len(picks))).view(corners.shape)
        return torch.cat([moved.amin(1), moved.amax(1)], dim=1)

    def _flipped(self, x: Tensor) -> Tensor:
        """Flip the samples that ask for it, axis by axis."""
        for axis in range(len(self._shape)):
            wanted = self._flips[:, axis]
            if wanted.any():
                flipped = x.flip(x.ndim - len(self._shape) + axis)
                choose = torch.from_numpy(wanted).to(x.device).view((-1,) + (1,) * (x.ndim - 1))
                x = flipped if wanted.all() else torch.where(choose, flipped, x)
        return x

    def _sampling_grid(self) -> tuple[Tensor, Tensor]:
        """Where each output voxel reads: (R, *S, dims) normalised, x first as grid_sample wants; and (R, *S) bool, inside the field."""
        dims = len(self._shape)
        inverse = np.stack([np.linalg.inv(matrix) for matrix in self._matrices[self._rows]])
        half = self._spacing[self._rows] * np.array(self._shape) / 2  # (R, dims) half the field, mm
        theta = inverse[:, :dims, :dims] * half[:, None, :] / half[:, :, None]
        shift = inverse[:, :dims, dims] / half
        places = [(2 * np.arange(n) + 1) / n - 1 for n in self._shape]
        grid = torch.empty((len(self._rows), *self._shape, dims), device=self._device)
        inside = torch.ones((len(self._rows), *self._shape), dtype=torch.bool, device=self._device)
        for i in range(dims):
            # separable: sums of (R, n_j) vectors; adds alone, so every batch gives the same bits
            u: Tensor | float = 0.0
            for j in range(dims):
                part = theta[:, i, j, None] * places[j] + (shift[:, i, None] if j == 0 else 0.0)
                view = [len(self._rows)] + [self._shape[k] if k == j else 1 for k in range(dims)]
                u = torch.from_numpy(part.astype(np.float32)).to(self._device).view(view) + u
            assert isinstance(u, Tensor)
            grid[..., dims - 1 - i] = u
            inside &= u.abs() <= 1 + 1e-6
        return grid, inside
