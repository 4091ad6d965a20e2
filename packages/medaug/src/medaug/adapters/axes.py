"""Axes (z, y, x) of medaug as (x, y, z) of MONAI and TorchIO, and LPS as RAS."""

from dataclasses import replace

import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.geometry.plan import Plan


def turned(array: Tensor) -> Tensor:
    """Reverse the spatial axes of (C, *S), contiguous; twice gives the array back."""
    return array.permute(0, *range(array.ndim - 1, 0, -1)).contiguous()


def turned_geometry(plan: Plan, size: int) -> Tensor:
    """Tell where one sample's output reads, deformations left aside: output index -> source index with the axes reversed, float64 (size, size).

    `size` is that of an affine: 2D images often carry 4x4 ones.
    """
    geometry = torch.from_numpy(replace(plan, lattices=(), matrices=(_product(plan),)).index_matrices()[0])
    dims = plan.dims
    result = torch.eye(size, dtype=torch.float64)
    result[:dims, :dims] = geometry[:dims, :dims].flip(0, 1)
    result[:dims, -1] = geometry[:dims, -1].flip(0)
    return result


def axis_aligned_affine(spacing: Numbers | None, row: int) -> Tensor:
    """The affine (x, y, z, 1) to RAS mm, float64 (4, 4), of a sample that has only a spacing: x and y grow to the left and to the back, z upwards."""
    result = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    if spacing is not None:
        dims = spacing.shape[1]
        result[range(dims), range(dims)] *= torch.from_numpy(spacing[row][::-1].copy())
    return result


def _product(plan: Plan) -> Numbers:
    """All matrices of a plan as one."""
    result = plan.matrices[0]
    for matrix in plan.matrices[1:]:
        result = matrix @ result
    return result
