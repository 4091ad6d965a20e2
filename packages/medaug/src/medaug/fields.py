"""Noise for every voxel, from Philox4x32-10: the same words on every device. Compiled loops on the CPU, tensors elsewhere."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.kernels import noise, serving
from medaug.kernels.lattice import spread

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.float64]

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF
_BLOCKS = 1 << 20
"""Blocks of words that are made at once by tensors."""


def uniform_field(keys: Keys, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw one field a key, (B, *shape) float32 in [0, 1): voxel i is word i % 4 of block i // 4, its upper 24 bits."""
    if not serving.loops(device):
        return _uniform_by_torch(keys, shape, device)
    out = np.empty((len(keys), math.prod(shape)), np.float32)
    noise.uniform_rows(keys, out)
    return torch.from_numpy(out).view(len(keys), *shape)


def normal_field(keys: Keys, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw one field a key, (B, *shape) float32 standard normal: words 0, 1 and 2, 3 of a block make two pairs (Box and Muller 1958)."""
    if not serving.loops(device):
        return _normal_by_torch(keys, shape, device)
    out = np.empty((len(keys), math.prod(shape)), np.float32)
    noise.normals(keys, out)
    return torch.from_numpy(out).view(len(keys), *shape)


def smooth_field(keys: Keys, shape: tuple[int, ...], sigma: Numbers, device: torch.device) -> Tensor:
    """Draw one smooth standard normal field a key, (B, *shape) float32.

    A cubic B-spline through white noise on a lattice: the spline is the Gaussian's stand-in, with the same variance when knots lie sqrt(3) sigma apart. Every
    voxel is divided by the norm of its weights, so that its variance is exactly 1.

    Args:
        keys: (B,).
        shape: two or three spatial axes.
        sigma: (B, dims) of the Gaussian in voxels; knots are never closer than one voxel.
        device: where to make it.
    """
    axes = ((1, *shape) if len(shape) == 2 else shape)[-3:]
    step = np.ones((len(keys), 3))
    step[:, 3 - len(shape) :] = np.maximum(sigma * math.sqrt(3), 1)
    length = np.array(axes)
    counts = np.where(length > 1, np.ceil((length - 1) / step).astype(np.int64) + 4, 1)
    place = np.arange(max(axes))[None, None] / step[:, :, None]
    # rounding must not carry the last voxel past the last four knots
    first = np.minimum(np.floor(place).astype(np.int64), np.maximum(counts - 4, 0)[:, :, None])
    f = place - first
    weights = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, 3 * (1 - f) ** 3 - 6 * (1 - f) ** 2 + 4, f**3], axis=-1) / 6
    weights[counts == 1] = (1, 0, 0, 0)
    first[counts == 1] = 0
    weights /= np.sqrt((weights**2).sum(-1, keepdims=True))
    knots = (int(counts.prod(1).max()),)
    if not serving.loops(device):
        return _spread_by_torch(_normal_by_torch(keys, knots, device), counts, first, weights, axes).view(len(keys), *shape)
    out = np.empty((len(keys), *axes), np.float32)
    spread(normal_field(keys, knots, device).numpy(), counts, first, weights.astype(np.float32), out)
    return torch.from_numpy(out).view(len(keys), *shape)


def add_normal(image: Tensor, keys: Keys, std: Numbers) -> None:
    """Add `normal_field` times std (B, C) to image (B, C, *S) float32, in place."""
    if not serving.loops(image.device):
        image.add_(_normal_by_torch(keys, tuple(image.shape[1:]), image.device) * _beside(std, image))
    else:
        noise.add_normals(image.flatten(2).numpy(), keys, std.astype(np.float32))


def make_rician(image: Tensor, real: Keys, imaginary: Keys, std: Numbers) -> None:
    """Replace image (B, C, *S) float32 by its magnitude with `normal_field` times std (B, C) in both parts, in place."""
    if not serving.loops(image.device):
        _rician_by_torch(image, real, imaginary, std)
    else:
        noise.rician(image.flatten(2).numpy(), real, imaginary, std.astype(np.float32))


def make_poisson(image: Tensor, normal: Keys, uniform: Keys, counts: Numbers, zero: float) -> None:
    """Replace image (B, C, *S) float32 by Poisson counts of mean counts (B,) * (image - zero), in the image's unit, in place."""
    if not serving.loops(image.device):
        _poisson_by_torch(image, normal, uniform, counts, zero)
    else:
        noise.poisson(image.flatten(1).numpy(), normal, uniform, counts.astype(np.float32), np.float32(zero))


def _beside(values: Numbers, image: Tensor) -> Tensor:
    """(B, C) or (B,) as float32 that broadcasts over the image (B, C, *S)."""
    return torch.from_numpy(values.astype(np.float32)).to(image.device).view(*values.shape, *(1,) * (image.ndim - values.ndim))


def _rician_by_torch(image: Tensor, real: Keys, imaginary: Keys, std: Numbers) -> None:
    shape, scale = tuple(image.shape[1:]), _beside(std, image)
    image.add_(_normal_by_torch(real, shape, image.device) * scale).square_()
    image.add_((_normal_by_torch(imaginary, shape, image.device) * scale).square_()).sqrt_()


def _poisson_by_torch(image: Tensor, normal: Keys, uniform: Keys, counts: Numbers, zero: float) -> None:
    shape, scale = tuple(image.shape[1:]), _beside(counts, image)
    mean = (image - zero) * scale
    z, u = _normal_by_torch(normal, shape, image.device), _uniform_by_torch(uniform, shape, image.device)
    held = mean.clamp_min(float(noise.FEW))
    square = z * z
    many = held + held.sqrt() * z + (1 / 3 + square / 6) + z * (-1 / 36 - square / 72) / held.sqrt()
    many = (many + (-8 / 405 + square * (7 / 810 + square / 270)) / held).floor().clamp_min(0)
    held = mean.clamp(0, float(noise.FEW))
    chance = torch.exp(-held)
    total, few = chance.clone(), torch.zeros_like(chance)
    for count in range(1, 65):
        few += u >= total
        chance = chance * held / count
        total += chance
    few = torch.where(mean.isnan(), mean, few)
    image.copy_(torch.where(mean >= float(noise.FEW), many, few) / scale + zero)


def _spread_by_torch(
    knots: Tensor, counts: npt.NDArray[np.int64], first: npt.NDArray[np.int64], weights: Numbers, axes: tuple[int, ...]
) -> Tensor:
    """`kernels.lattice.spread` by dense matrices: (B, *axes)."""
    most = counts.max(0)
    place = np.zeros((len(counts), *most), np.int64)
    for axis in range(3):
        stride = counts[:, axis + 1 :].prod(1)[:, None]
        place += (np.minimum(np.arange(most[axis])[None], counts[:, axis, None] - 1) * stride).reshape(
            -1, *np.eye(3, dtype=np.int64)[axis] * (most - 1) + 1
        )
    field = knots.gather(1, torch.from_numpy(place.reshape(len(counts), -1)).to(knots.device)).view(len(counts), *most)
    for axis in (2, 1, 0):
        matrix = np.zeros((len(counts), axes[axis], max(most[axis], 4)), np.float32)
        taps = first[:, axis, : axes[axis], None] + np.arange(4)
        np.put_along_axis(matrix, taps, weights[:, axis, : axes[axis]].astype(np.float32), axis=2)
        dense = torch.from_numpy(matrix[..., : most[axis]]).to(knots.device)
        moved = field.movedim(axis + 1, 1)
        field = torch.bmm(dense, moved.flatten(2)).view(len(counts), axes[axis], *moved.shape[2:]).movedim(1, axis + 1)
    return field.contiguous()


def _uniform_by_torch(keys: Keys, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return _filled(keys, shape, device, _units)


def _normal_by_torch(keys: Keys, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return _filled(keys, shape, device, _normals)


def _filled(keys: Keys, shape: tuple[int, ...], device: torch.device, numbers: Callable[[Tensor], Tensor]) -> Tensor:
    """Fill (B, *shape) with what `numbers` makes of words, some blocks at a time: the words of a field need a dozen times its memory."""
    count = math.prod(shape)
    out = torch.empty(len(keys), count, device=device)
    step = max(_BLOCKS // len(keys), 1)
    for start in range(0, (count + 3) // 4, step):
        piece = out[:, 4 * start : 4 * (start + step)]
        piece.copy_(numbers(_words(keys, start, min(start + step, (count + 3) // 4), device)).flatten(1)[:, : piece.shape[1]])
    return out.view(len(keys), *shape)


def _units(words: Tensor) -> Tensor:
    return (words >> 8).to(torch.float32) * 2.0**-24


def _normals(words: Tensor) -> Tensor:
    unit = _units(words)
    radius = torch.sqrt(-2 * torch.log(unit[..., 0::2] + 2.0**-25))
    turn = unit[..., 1::2] * (2 * math.pi)
    return torch.stack([radius * torch.cos(turn), radius * torch.sin(turn)], dim=-1)


def _words(keys: Keys, start: int, stop: int, device: torch.device) -> Tensor:
    """Words (B, stop - start, 4) of blocks as int64 in [0, 2**32)."""
    key = torch.from_numpy(keys.view(np.int64)).to(device)[:, None]
    k0, k1 = key & _LOW, (key >> 32) & _LOW
    c0 = torch.arange(start, stop, device=device, dtype=torch.int64).expand(len(keys), stop - start)
    c1, c2, c3 = (torch.zeros_like(c0) for _ in range(3))
    for _ in range(10):
        # The product of two 32-bit words wraps into the sign bit of int64: shift and mask take its halves right.
        left, right = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = ((right >> 32) & _LOW) ^ c1 ^ k0, right & _LOW, ((left >> 32) & _LOW) ^ c3 ^ k1, left & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return torch.stack([c0, c1, c2, c3], dim=-1)
