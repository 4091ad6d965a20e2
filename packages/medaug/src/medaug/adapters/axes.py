"""Axes (z, y, x) of medaug as (x, y, z) of MONAI and TorchIO, and LPS as RAS."""

import torch
from torch import Tensor

from medaug.draws import Numbers


def turned(array: Tensor) -> Tensor:
    """Reverse the spatial axes of (C, *S), contiguous; twice gives the array back."""
    return array.permute(0, *range(array.ndim - 1, 0, -1)).contiguous()


def turned_geometry(geometry: Tensor, size: int) -> Tensor:
    """Reverse the axes of a matrix of indices (dims + 1, dims + 1), float64 (size, size): 2D images often carry 4x4 affines."""
    dims = len(geometry) - 1
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
