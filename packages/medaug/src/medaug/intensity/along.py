"""One axis at a time: what blurs, thick slices and coarse grids have in common. Compiled loops on the CPU, dense matrices elsewhere.

A row is a sample, or a channel of one: images are (B, C, *S), and parameters come for R = B or R = B * C rows.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.kernels import filters, serving
from medaug.kernels.tables import gaussian

TRUNCATE = 4.0
"""Standard deviations at which a Gaussian ends, as in scipy."""


def smooth(image: Tensor, sigma: Numbers) -> None:
    """Smooth by a Gaussian, in place; edges repeat their voxel (scipy's mode "nearest").

    Args:
        image: (B, C, *S) float32, contiguous.
        sigma: (R, dims) in voxels; below 1/8 an axis stays as it is.
    """
    for axis in range(image.ndim - 2):
        # a copy: of broadcast and of strided arrays numba would compile a loop each
        weights, radius = gaussian(sigma[:, axis].copy(), TRUNCATE)
        taps = weights.shape[1]
        if taps == 1:
            continue
        view = _view(image, axis, len(sigma))
        if serving.loops(image.device):
            filters.symmetric(view.numpy(), weights, radius)
        else:
            offsets = np.arange(1 - taps, taps)
            n = view.shape[2]
            index = np.clip(np.arange(n)[None, :] + offsets[:, None], 0, n - 1)
            both = np.repeat(weights[:, np.abs(offsets), None], n, axis=2)
            _combine_by_torch(view, np.broadcast_to(index.astype(np.uint32), both.shape), both)


def combine(
    image: Tensor, axis: int, index: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], active: npt.NDArray[np.bool_]
) -> None:
    """Replace voxel i along an axis by the sum over taps t of weights[t, i] * voxel index[t, i], in place.

    Args:
        image: (B, C, *S) float32, contiguous.
        axis: spatial, from 0.
        index: (R, taps, n), at least two taps.
        weights: (R, taps, n).
        active: (R,); False leaves a row as it is, bit for bit.
    """
    if not active.any():
        return
    view = _view(image, axis, len(active))
    if serving.loops(image.device):
        filters.tabled(view.numpy(), np.ascontiguousarray(index), np.ascontiguousarray(weights), active)
    else:
        _combine_by_torch(view, index, weights, active)


def _view(image: Tensor, axis: int, rows: int) -> Tensor:
    """See (B, C, *S) as (R, outer, n, inner)."""
    space = image.shape[2:]
    return image.view(rows, -1, space[axis], math.prod(space[axis + 1 :]))


def _combine_by_torch(
    view: Tensor, index: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], active: npt.NDArray[np.bool_] | None = None
) -> None:
    rows, n = len(view), view.shape[2]
    at = torch.from_numpy(index.astype(np.int64)).to(view.device)
    matrix = torch.zeros(rows, n, n, device=view.device)
    matrix.scatter_add_(2, at.transpose(1, 2), torch.from_numpy(weights.copy()).to(view.device).transpose(1, 2))
    mixed = torch.matmul(matrix[:, None], view)
    if active is not None:
        mixed = torch.where(torch.from_numpy(active).to(view.device)[:, None, None, None], mixed, view)
    view.copy_(mixed)
