"""Linear maps along one axis: Gaussian blur, cosine modes, area means, interpolation and circulants, each a small matrix a sample.

Matrices instead of Fourier transforms: an FFT's last bits depend on the batch and on the number of threads, these do not.
"""

import math

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.elementwise import compiled
from medaug.kernels import axis as kernel

_NARROW = 8


def map_axis(x: Tensor, axis: int, matrices: Numbers | kernel.Floats, *, in_place: bool = False) -> Tensor:
    """Multiply every line along a spatial axis by the sample's matrix.

    Args:
        x: (B, C, *S) float32.
        axis: 0 for the first spatial axis, or counted from the end: -1.
        matrices: (B, m, n), n the length of that axis.
        in_place: x, where it is contiguous, may be overwritten; m is n then.

    Returns:
        (B, C, *S') float32 with length m along the axis; a sample's bits do not depend on the batch or on threads (CPU).
    """
    place = axis + 2 if axis >= 0 else axis + x.ndim
    if not compiled(x.device):
        return _map_axis_torch(x, place, matrices)
    x = x.contiguous()
    # A tile of lines is copied before any of them is written, so the kernel may write where it reads.
    out = x if in_place else torch.empty((*x.shape[:place], matrices.shape[1], *x.shape[place + 1 :]))
    weights = np.ascontiguousarray(matrices, np.float32)
    used = weights != 0
    first = used.argmax(2)
    last = np.where(used.any(2), used.shape[2] - used[:, :, ::-1].argmax(2), 0)
    inner = math.prod(x.shape[place + 1 :])
    kernel.map_axis(
        x.view(len(x), -1, x.shape[place], inner).numpy(), weights, first, last, out.view(len(x), -1, weights.shape[1], inner).numpy()
    )
    return out


def _map_axis_torch(x: Tensor, place: int, matrices: Numbers | kernel.Floats) -> Tensor:
    weights = torch.from_numpy(np.array(matrices, np.float32)).to(x.device)
    lines = x.movedim(place, 1)
    mapped = torch.bmm(weights, lines.flatten(2)).view(len(x), -1, *lines.shape[2:])
    return mapped.movedim(1, place).contiguous()


def gaussian_taps(sigma: Numbers, radius: int) -> Numbers:
    """Weights of a Gaussian blur, (B, 2 · radius + 1) from sigma (B,) in voxels; they sum to 1.

    From sigma 1 on they are samples of the Gaussian, cut at 4 sigma. Below that samples would miss it, so they are 17 taps whose spectrum is the Gaussian's,
    exp(-2 pi² sigma² f²), up to the Nyquist frequency; sigma 0 is the identity. Radius is at least `gaussian_radius`.
    """
    offsets = np.arange(-radius, radius + 1)
    # Each sample's cut follows its own sigma, and sums run tap after tap, so that a wider neighbour in the batch changes no bit.
    samples = np.exp(-0.5 * (offsets / np.maximum(sigma, 1)[:, None]) ** 2) * (np.abs(offsets) <= np.ceil(4 * sigma)[:, None])
    frequency = (np.arange(64) + 0.5) / 64 - 0.5
    waves = np.cos(2 * np.pi * frequency * offsets[:, None]) * (np.abs(offsets) <= _NARROW)[:, None] / 64
    spectral = (np.exp(-2 * (np.pi * sigma[:, None] * frequency) ** 2)[:, None] * waves).sum(2)
    taps = np.where((sigma < 1)[:, None], spectral, samples)
    return np.asarray(taps / np.cumsum(taps, axis=1)[:, -1:])


def gaussian_radius(sigma: Numbers) -> int:
    """Taps on either side that all of these Gaussians need."""
    return max(math.ceil(4 * float(sigma.max(initial=0))), _NARROW)


def gaussian_matrices(length: int, sigma: Numbers) -> kernel.Floats:
    """Blur by `gaussian_taps`, reflecting at the edges (d c b a | a b c d): (B, length, length) from sigma (B,) in voxels."""
    radius = gaussian_radius(sigma)
    taps = gaussian_taps(sigma, radius)
    result = np.zeros((len(sigma), length, length), np.float32)
    here = np.arange(length)
    for tap, offset in enumerate(range(-radius, radius + 1)):
        there = (here + offset) % (2 * length)
        result[:, here, np.where(there < length, there, 2 * length - 1 - there)] += taps[:, tap, None]
    return result


def blur_(x: Tensor, sigma: Numbers, axes: tuple[int, ...]) -> Tensor:
    """Gaussian blur along the named spatial axes, x overwritten where it can be; sigma (B, len(axes)) in voxels. See `gaussian_taps`."""
    for column, axis in enumerate(axes):
        x = map_axis(x, axis, gaussian_matrices(x.shape[axis + 2 if axis >= 0 else axis], sigma[:, column]), in_place=True)
    return x


def cosine_modes(length: int, count: int) -> Numbers:
    """Orthonormal cosine modes (DCT-II) of a line, (count, length): smooth fields without a slope at the edges."""
    modes = np.cos(np.pi / length * (np.arange(length) + 0.5) * np.arange(count)[:, None]) * math.sqrt(2 / length)
    modes[0] = math.sqrt(1 / length)
    return np.asarray(modes)


def wide_blur(x: Tensor, sigma: Numbers, axes: tuple[int, ...]) -> Tensor:
    """Gaussian blur, reflecting at the edges, for a sigma of many voxels: only the cosine modes that it keeps above 1e-6 are computed.

    Args:
        x: (B, C, *S) float32.
        sigma: (B, len(axes)) voxels; the fewer modes, the wider.
        axes: spatial axes.
    """
    for column, axis in enumerate(axes):
        length = x.shape[axis + 2 if axis >= 0 else axis]
        wave = np.pi / length * np.arange(length) * sigma[:, column, None]
        kept = np.exp(-0.5 * wave**2) * (wave < math.sqrt(2 * math.log(1e6)))
        count = int((kept > 0).sum(1).max())
        modes = cosine_modes(length, count)
        down = modes * (kept[:, :count, None] > 0)
        x = map_axis(x, axis, down)
        x = map_axis(x, axis, (modes * kept[:, :count, None]).transpose(0, 2, 1))
    return x


def mean_matrix(length: int, count: int) -> Numbers:
    """Means over `count` equal parts of a line, (count, length); a voxel that two parts share counts for each by its share."""
    edges = np.linspace(0, length, count + 1)
    voxel = np.arange(length)
    overlap = np.minimum(edges[1:, None], voxel + 1) - np.maximum(edges[:-1, None], voxel)
    return np.asarray(np.maximum(overlap, 0) * count / length)


def linear_matrix(count: int, length: int) -> Numbers:
    """Linear interpolation from the means of `mean_matrix` back to the line, (length, count); constant beyond the outer centres."""
    place = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(count)), 0))


def weigh_frequencies_(x: Tensor, axis: int, weights: Numbers) -> Tensor:
    """Give the real part of ifft(weights · fft(line)) for every line along a spatial axis; x is overwritten where it can be.

    Args:
        x: (B, C, *S) float32.
        axis: spatial axis, as for `map_axis`.
        weights: (B, n), real, in the order of `numpy.fft.fftfreq`.

    Returns:
        (B, C, *S) float32; bits as of `map_axis`.
    """
    place = axis + 2 if axis >= 0 else axis + x.ndim
    n = x.shape[place]
    # Real weights have an even kernel once the imaginary part is dropped, so the circulant does not change when both of its axes are reversed.
    kernels = np.stack([np.fft.ifft(row).real for row in weights])
    matrices = kernels[:, (np.arange(n)[:, None] - np.arange(n)) % n]
    if not compiled(x.device):
        return _map_axis_torch(x, place, matrices)
    half = (n + 1) // 2
    near, far = matrices[:, :half, :half], matrices[:, :half, ::-1][:, :, :half]
    even, odd = (near + far) / 2, (near - far) / 2
    if n % 2:
        # The middle of an odd line is its own mirror: its plus counts it twice, its minus is 0.
        even[:, :, -1] /= 2
    x = x.contiguous()
    inner = math.prod(x.shape[place + 1 :])
    lines = (len(x), -1, n, inner)
    kernel.map_mirrored(
        x.view(lines).numpy(), np.ascontiguousarray(even, np.float32), np.ascontiguousarray(odd, np.float32), x.view(lines).numpy()
    )
    return x
