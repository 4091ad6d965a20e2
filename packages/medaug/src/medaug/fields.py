"""Noise for every voxel, from Philox4x32-10: the same words on every device."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF


def uniform_field(keys: npt.NDArray[np.uint64], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw one field a key, (B, *shape) float32 in [0, 1): voxel i is word i % 4 of block i // 4, its upper 24 bits."""
    count = math.prod(shape)
    words = _words(keys, (count + 3) // 4, device)
    return ((words >> 8).to(torch.float32) * 2.0**-24).flatten(1)[:, :count].reshape(len(keys), *shape)


def normal_field(keys: npt.NDArray[np.uint64], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw one field a key, (B, *shape) float32 standard normal: words 0, 1 and 2, 3 of a block make two pairs (Box and Muller 1958)."""
    count = math.prod(shape)
    words = _words(keys, (count + 3) // 4, device)
    unit = (words >> 8).to(torch.float32) * 2.0**-24
    radius = torch.sqrt(-2 * torch.log((unit[..., 0::2] + 2.0**-25)))
    turn = unit[..., 1::2] * (2 * math.pi)
    pairs = torch.stack([radius * torch.cos(turn), radius * torch.sin(turn)], dim=-1)
    return pairs.flatten(1)[:, :count].reshape(len(keys), *shape)


def _words(keys: npt.NDArray[np.uint64], blocks: int, device: torch.device) -> Tensor:
    """Words (B, blocks, 4) as int64 in [0, 2**32)."""
    key = torch.from_numpy(keys.view(np.int64)).to(device)[:, None]
    k0, k1 = key & _LOW, (key >> 32) & _LOW
    c0 = torch.arange(blocks, device=device, dtype=torch.int64).expand(len(keys), blocks)
    c1, c2, c3 = (torch.zeros_like(c0) for _ in range(3))
    for _ in range(10):
        # The product of two 32-bit words wraps into the sign bit of int64: shift and mask take its halves right.
        left, right = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = ((right >> 32) & _LOW) ^ c1 ^ k0, right & _LOW, ((left >> 32) & _LOW) ^ c3 ^ k1, left & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return torch.stack([c0, c1, c2, c3], dim=-1)
