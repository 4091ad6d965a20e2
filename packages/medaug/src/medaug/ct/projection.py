"""What a scanner measures of a slice, and what its reconstruction makes of an error in that: parallel beams over half a turn.

Source: Kak and Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, chapter 3.
"""

import math

import numpy as np
import torch
from torch import Tensor

from medaug.axis import linear_matrix, map_axis, mean_matrix
from medaug.draws import Draws, Numbers
from medaug.elementwise import compiled
from medaug.kernels import ct_projection as kernel

WATER_PER_MM = 0.0193
"""Attenuation of water at 70 keV, about the mean energy behind a patient at 120 kVp (NIST XCOM: 0.193 / cm)."""


def attenuation(hu: Tensor) -> Tensor:
    """Linear attenuation per mm of what has these HU; nothing attenuates less than a vacuum."""
    return hu.add(1000.0).mul_(WATER_PER_MM / 1000.0).clamp_min_(0.0)


def in_volume(image: Tensor, draws: Draws, spacing: Numbers | None) -> tuple[Tensor, Numbers]:
    """Check a CT image and see it as volumes: (B, 1, D, H, W) float32, D = 1 of a slice, and its in-plane pixel (B, 2) mm."""
    if spacing is None:
        raise draws.error("has no spacing, so the way of a ray through the body is unknown; give `spacing` in mm")
    if image.shape[1] != 1:
        raise draws.error(f"has {image.shape[1]} channels, but the physics of CT take one, in HU; apply it before windows are stacked")
    volume = image.float()
    return (volume.unsqueeze(2) if image.ndim == 4 else volume), spacing[:, -2:]


def coarse(volume: Tensor, pixel: Numbers, size: int, depth: int) -> tuple[Tensor, Numbers]:
    """Average a volume to at most `depth` slices of at most `size` pixels a side.

    Args:
        volume: (B, 1, D, H, W) float32.
        pixel: (B, 2) mm.
        size: of the result, rows and columns.
        depth: of the result, slices.

    Returns:
        (B, 1, d, h, w) and its pixel (B, 2) mm.
    """
    lengths = volume.shape[2:]
    counts = [min(depth, lengths[0]), min(size, lengths[1]), min(size, lengths[2])]
    # The longest strides last: each mean leaves less for the next.
    for axis in (0, 1, 2):
        if counts[axis] < lengths[axis]:
            matrix = mean_matrix(lengths[axis], counts[axis])
            volume = map_axis(volume, axis, np.broadcast_to(matrix, (len(volume), *matrix.shape)))
    return volume, pixel * [lengths[1] / counts[1], lengths[2] / counts[2]]


def fine(field: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Interpolate a coarse field (B, 1, d, h, w) linearly to (B, 1, *shape)."""
    for axis in (2, 1, 0):
        if field.shape[2 + axis] < shape[axis]:
            matrix = linear_matrix(field.shape[2 + axis], shape[axis])
            field = map_axis(field, axis, np.broadcast_to(matrix, (len(field), *matrix.shape)))
    return field


def detector(shape: tuple[int, int], pixel: Numbers) -> tuple[int, Numbers]:
    """Bins that cover the diagonal of a slice, a number that depends on its shape alone, and their pitch (N,) in mm."""
    bins = math.ceil(math.hypot(*shape)) + 3
    return bins, np.hypot(shape[0] * pixel[:, 0], shape[1] * pixel[:, 1]) / (bins - 3)


def project(slices: Tensor, pixel: Numbers, angles: int) -> Tensor:
    """Integrate slices along parallel rays.

    Args:
        slices: (N, H, W) float32 per mm.
        pixel: (N, 2) mm.
        angles: number of views, evenly over half a turn.

    Returns:
        (N, angles, bins), without unit; bins as `detector` says.
    """
    bins, pitch = detector((slices.shape[1], slices.shape[2]), pixel)
    cosine, sine = _views(angles)
    if not compiled(slices.device):
        return _project_torch(slices, pixel, bins, pitch, angles)
    out = torch.empty(len(slices), angles, bins)
    kernel.project(slices.contiguous().numpy(), pixel, cosine, sine, pitch, out.numpy())
    return out


def backproject(sinogram: Tensor, shape: tuple[int, int], pixel: Numbers) -> Tensor:
    """Average over the views what each voxel's ray holds: (N, A, T) to (N, *shape)."""
    _, pitch = detector(shape, pixel)
    cosine, sine = _views(sinogram.shape[1])
    if not compiled(sinogram.device):
        return _backproject_torch(sinogram, shape, pixel, pitch)
    out = torch.empty(len(sinogram), *shape)
    kernel.backproject(sinogram.contiguous().numpy(), pixel, cosine, sine, pitch, out.numpy())
    return out


def reconstruct(sinogram: Tensor, shape: tuple[int, int], pixel: Numbers) -> Tensor:
    """Filtered backprojection with the ramp of Ramachandran and Lakshminarayanan: (N, A, T) line integrals to (N, *shape) per mm."""
    bins, pitch = detector(shape, pixel)
    lag = np.arange(bins)[:, None] - np.arange(bins)
    ramp = np.where(lag % 2 == 1, -1 / np.maximum(np.pi**2 * lag.astype(float) ** 2, 1), 0.0) + np.where(lag == 0, 0.25, 0.0)
    filtered = map_axis(sinogram[:, None], -1, ramp / pitch[:, None, None])[:, 0]
    return backproject(filtered, shape, pixel).mul_(math.pi)


def _views(angles: int) -> tuple[Numbers, Numbers]:
    turn = np.arange(angles) * np.pi / angles
    return np.cos(turn), np.sin(turn)


def _centred(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.float64, device=device) - 0.5 * (count - 1)


def _project_torch(slices: Tensor, pixel: Numbers, bins: int, pitch: Numbers, angles: int) -> Tensor:
    height, width = slices.shape[1:]
    dy, dx, step = (torch.from_numpy(v.copy()).to(slices.device)[:, None, None] for v in (pixel[:, 0], pixel[:, 1], pitch))
    t = _centred(bins, slices.device) * step  # (N, 1, bins)
    rows = (_centred(height, slices.device) * dy.squeeze(-1))[:, :, None]  # (N, H, 1)
    columns = (_centred(width, slices.device) * dx.squeeze(-1))[:, :, None]
    out = []
    for c, s in zip(*_views(angles), strict=True):
        # Which axis is marched depends on the pixel's aspect, so both are computed and each sample takes its own.
        along_rows = _lines(slices, (t - rows * s) / (c if abs(c) > 1e-9 else 1e-9) / dx + 0.5 * (width - 1)) * (
            dy[:, 0] / max(abs(c), 1e-9)
        )
        down = slices.transpose(1, 2)
        along_columns = _lines(down, (t - columns * c) / (s if abs(s) > 1e-9 else 1e-9) / dy + 0.5 * (height - 1)) * (
            dx[:, 0] / max(abs(s), 1e-9)
        )
        out.append(torch.where(abs(s) * dy[:, 0] > abs(c) * dx[:, 0], along_columns, along_rows))
    return torch.stack(out, dim=1).float()


def _lines(lines: Tensor, place: Tensor) -> Tensor:
    """Sum over lines (N, L, n) of their values at place (N, L, T), 0 beyond the ends: (N, T)."""
    n = lines.shape[2]
    left = place.floor()
    total = torch.zeros_like(place)
    for shift in (0, 1):
        index = left + shift
        inside = (index >= 0) & (index < n)
        total += lines.double().gather(2, index.clamp(0, n - 1).long()) * (1 - (place - index).abs()) * inside
    return total.sum(1)


def _backproject_torch(sinogram: Tensor, shape: tuple[int, int], pixel: Numbers, pitch: Numbers) -> Tensor:
    bins = sinogram.shape[2]
    dy, dx, step = (torch.from_numpy(v.copy()).to(sinogram.device)[:, None, None] for v in (pixel[:, 0], pixel[:, 1], pitch))
    y = _centred(shape[0], sinogram.device)[:, None] * dy
    x = _centred(shape[1], sinogram.device) * dx
    out = torch.zeros(len(sinogram), *shape, device=sinogram.device)
    for line, c, s in zip(sinogram.unbind(1), *_views(sinogram.shape[1]), strict=True):
        place = ((x * c + y * s) / step + 0.5 * (bins - 1)).clamp(0, bins - 1.001).flatten(1)
        left = place.long()
        low, high = line.gather(1, left), line.gather(1, left + 1)
        out += (low + (place - left).float() * (high - low)).view(out.shape)
    return out / sinogram.shape[1]
