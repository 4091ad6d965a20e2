"""Points and boxes along a chain."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.geometry.plan import Plan
from medaug.kernels.warp_coordinates import follow_points
from medaug.resampling.chain import Chain

_FACE = 9  # places along an edge of a box whose faces may bend


def send(chain: Chain, points: Numbers, rows: npt.NDArray[np.int64]) -> Numbers:
    """Send points (n, dims) in index space along the chain of their sample, rows (n,); exact where voxels land on voxels."""
    dims = points.shape[1]
    solid = np.zeros((len(points), 3))
    solid[:, 3 - dims :] = points
    moved = follow_points(solid, rows, chain.matrices, *chain.flat, np.array(chain.backward, np.bool_), dims == 2)
    exact, whole = chain.exact
    straight = np.einsum("nij,nj->ni", whole[rows, :3, :3], solid) + whole[rows, :3, 3]
    return np.asarray(np.where(exact[rows, None], straight, moved)[:, 3 - dims :])


def source_coordinates(plan: Plan) -> Numbers:
    """Where each voxel of a plan's output reads, in the source's index space: (B, *S, dims) float64. For dense pairs of views."""
    places = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float64) for n in plan.shape], indexing="ij"), axis=-1)
    count = len(plan.spacing)
    points = np.broadcast_to(places, (count, *places.shape)).reshape(-1, plan.dims)
    return send(Chain.of(plan), points, np.repeat(np.arange(count), points.shape[0] // count)).reshape(count, *places.shape)


def move_points(chain: Chain, points: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
    """Move points (n, dims); float64 on their device."""
    return torch.from_numpy(send(chain, points.double().cpu().numpy(), rows)).to(points.device)


def move_boxes(chain: Chain, boxes: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
    """Move boxes (n, 2·dims), lowest index then one past the highest: the axis-aligned bounds of what they held, not clipped to the grid.

    Matrices and perspective keep a box's corners outermost. A deformation does not: then 9 places along each edge of every face are moved.
    """
    dims = boxes.shape[1] // 2
    corners = boxes.double().cpu().numpy().reshape(-1, 2, dims) - 0.5  # faces of voxels lie half a voxel before their centres
    steps = np.linspace(0, 1, _FACE if chain.deformed.any() else 2)
    shares = np.stack(np.meshgrid(*[steps] * dims, indexing="ij"), -1).reshape(-1, dims)
    shares = shares[((shares == 0) | (shares == 1)).any(axis=1)]
    places = corners[:, None, 0] + (corners[:, None, 1] - corners[:, None, 0]) * shares
    moved = send(chain, places.reshape(-1, dims), np.repeat(rows, len(shares))).reshape(-1, len(shares), dims)
    return torch.from_numpy(np.concatenate([moved.min(1), moved.max(1)], axis=1) + 0.5).to(boxes.device)
