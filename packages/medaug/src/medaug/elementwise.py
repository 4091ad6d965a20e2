"""Steps that many transforms share, written so that a voxel's bits depend on its value alone."""

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.kernels.axis import row_means

_COMPILED = ("cpu",)


def compiled(device: torch.device) -> bool:
    """Whether numba's loops reach tensors of this device; torch's own operations serve the others."""
    return device.type in _COMPILED


def per_sample(values: Numbers, image: Tensor) -> Tensor:
    """Turn (B,) numbers into float32 that broadcast over the batch `image`."""
    return torch.from_numpy(np.asarray(values, np.float32)).to(image.device).view((-1,) + (1,) * (image.ndim - 1))


def value_range(image: Tensor) -> tuple[Tensor, Tensor]:
    """Least value and extent (at least a tiny one) of each sample over its channels and voxels, both (B, 1, …)."""
    ones = (-1,) + (1,) * (image.ndim - 1)
    flat = image.flatten(1)
    least = flat.amin(1)
    return least.view(ones), (flat.amax(1) - least).clamp_min(torch.finfo(torch.float32).tiny).view(ones)


def exp_(x: Tensor) -> Tensor:
    """Exponential in place. On the CPU by numpy: its vector code and its tail are the same code, torch's are not."""
    if not compiled(x.device):
        return x.exp_()
    np.exp(x.numpy(), out=x.numpy())
    return x


def log_(x: Tensor) -> Tensor:
    """Natural logarithm in place; see `exp_`."""
    if not compiled(x.device):
        return x.log_()
    np.log(x.numpy(), out=x.numpy())
    return x


def smooth_step_(x: Tensor) -> Tensor:
    """Rise from 0 at x <= 0 to 1 at x >= 1 with no slope at either end, 3x² - 2x³, in place."""
    rest = x.clamp_(0, 1).mul(-2).add_(3)
    return x.mul_(x).mul_(rest)


def mean_magnitude(image: Tensor) -> Tensor:
    """Mean of |x| of each sample's channel, (B, C, 1, …) float32."""
    flat = image.flatten(0, 1).flatten(1)
    means = torch.from_numpy(row_means(flat.contiguous().numpy())) if compiled(image.device) else flat.double().abs().mean(1)
    return means.float().view(image.shape[:2] + (1,) * (image.ndim - 2))
