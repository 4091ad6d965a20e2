"""Plane waves on a grid."""

import numpy as np
import torch
from torch import Tensor

from medaug.axis import map_axis
from medaug.draws import Numbers


def plane_waves(
    shape: tuple[int, ...], frequency: Numbers, amplitude: Numbers, phase: Numbers, device: torch.device | str = "cpu"
) -> Tensor:
    """Sum plane waves, one axis after the other instead of a cosine a voxel.

    Args:
        shape: spatial shape.
        frequency: (B, waves, dims) cycles a voxel.
        amplitude: (B, waves).
        phase: (B, waves) radians at index 0.
        device: where the field is made.

    Returns:
        (B, 1, *shape) float32: the sum of amplitude · cos(2π frequency · index + phase).
    """
    turns = [np.exp(2j * np.pi * frequency[:, :, axis, None] * np.arange(length)) for axis, length in enumerate(shape)]
    leading = (amplitude * np.exp(1j * phase))[:, :, None] * turns[0]
    if len(shape) == 3:
        leading = leading[:, :, :, None] * turns[1][:, :, None, :]
    # cos(a + b) = cos a cos b - sin a sin b: each wave is two rows of a matrix along the last axis.
    rows = np.concatenate([leading.real, -leading.imag], axis=1).astype(np.float32)
    columns = np.concatenate([turns[-1].real, turns[-1].imag], axis=1)
    field = torch.from_numpy(np.moveaxis(rows, 1, -1)[:, None].copy()).to(device)
    return map_axis(field, -1, columns.transpose(0, 2, 1))
