"""The same reading in torch, for devices that numba does not reach: a grid of places, then gathers."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medaug.draws import Numbers
from medaug.geometry.plan import Lattice, Rows
from medaug.kernels.warp_sampling import FILL, REFLECT
from medaug.resampling.chain import Chain, Whole

_FAR = 1e9


def warp_dense(
    chain: Chain,
    exact: Rows,
    samples: Whole,
    image: Tensor,
    mask: Tensor | None,
    grid: tuple[int, ...],
    *,
    cubic: bool,
    mode: int,
    fill: Numbers,
) -> tuple[Tensor, Tensor | None]:
    """Read image (B, C, *S) and mask (B, *S); arguments as `kernels.warp.warp` has them.

    Agrees with the kernel to 1e-4 of the image's range; nearest voxels may differ where a place is half-way between two.
    """
    kept = image.dtype if image.is_floating_point() else torch.float32
    count, channels = image.shape[:2]
    shape = (1,) * (3 - len(grid)) + tuple(image.shape[2:])
    solid = (1,) * (3 - len(grid)) + grid
    flat = image.reshape(count, channels, -1)
    middle = _folded(places(chain, solid, image.device, np.zeros((count, 3))), shape, mode)
    index, inside = _nearest(middle, shape), _inside(middle, shape, mode)
    moved = None
    if mask is not None:
        moved = mask.reshape(count, -1).gather(1, index.flatten(1))
        moved = torch.where(inside.flatten(1), moved, torch.zeros_like(moved)).view(count, *grid)
    outside = torch.from_numpy(fill).to(image.device, torch.float32).view(count, channels, 1, 1, 1)
    values = flat.float()
    out = torch.zeros((count, channels, *solid), device=image.device)
    for turn in np.ndindex(*samples.max(0)):
        # a sample that needs fewer places than another of the batch sits the later turns out
        share = np.where((np.array(turn) < samples).all(axis=1), 1.0 / samples.prod(axis=1), 0.0)
        offset = (np.minimum(turn, samples - 1) + 0.5) / samples - 0.5
        at = _folded(places(chain, solid, image.device, offset), shape, mode) if offset.any() else middle
        value = _cubic(values, at, shape) if cubic else _linear(values, at, shape)
        value = torch.where(_inside(at, shape, mode)[:, None], value, outside)
        out += value * torch.from_numpy(share).to(image.device, torch.float32).view(-1, 1, 1, 1, 1)
    result = out.to(kept).view(count, channels, *grid)
    if exact.any():
        chosen = torch.from_numpy(np.flatnonzero(exact)).to(image.device)
        read = flat[chosen].gather(2, index[chosen].flatten(1)[:, None].expand(-1, channels, -1)).to(kept)
        read = torch.where(inside[chosen].flatten(1)[:, None], read, outside[chosen].flatten(2).to(kept))
        result[chosen] = read.view(len(chosen), channels, *grid)
    return result, moved


def places(chain: Chain, grid: tuple[int, ...], device: torch.device, offset: Numbers) -> list[Tensor]:
    """Source index of each voxel, three tensors (B, D, H, W) float64; offset (B, 3) of the place in its voxel."""
    axes = [torch.arange(n, device=device, dtype=torch.float64) for n in grid]
    shift = torch.from_numpy(np.ascontiguousarray(offset)).to(device)
    c = [
        (axis[None] + shift[:, i, None]).view(-1, *[n if i == j else 1 for j, n in enumerate(grid)]).expand(-1, *grid)
        for i, axis in enumerate(axes)
    ]
    c = _projected(c, chain.matrices[:, 0])
    for k, (lattice, undo) in enumerate(zip(chain.lattices, chain.backward, strict=True)):
        c = _restored(c, lattice) if undo else [p + u for p, u in zip(c, _displacement(c, lattice), strict=True)]
        c = _projected(c, chain.matrices[:, k + 1])
    return c


def _projected(c: list[Tensor], matrices: Numbers) -> list[Tensor]:
    m = torch.from_numpy(np.ascontiguousarray(matrices)).to(c[0].device)[..., None, None, None]
    out = [m[:, i, 0] * c[0] + m[:, i, 1] * c[1] + m[:, i, 2] * c[2] + m[:, i, 3] for i in range(3)]
    if (matrices[:, 3, :3] == 0).all():
        return out
    w = m[:, 3, 0] * c[0] + m[:, 3, 1] * c[1] + m[:, 3, 2] * c[2] + m[:, 3, 3]
    return [torch.where(w > 1e-6, p / w.clamp_min(1e-6), torch.full_like(p, _FAR)) for p in out]


def _displacement(c: list[Tensor], lattice: Lattice) -> list[Tensor]:
    """B-spline displacement at places in units of the lattice."""
    coefficients = torch.from_numpy(lattice.coefficients).to(c[0].device).flatten(2)  # (B, 3, N)
    coefficients = coefficients * torch.from_numpy(lattice.active).to(c[0].device)[:, None, None]
    shape = lattice.coefficients.shape[2:]
    starts, weights = [], []
    for place, n in zip(c, shape, strict=True):
        if n == 1:
            starts.append(torch.zeros_like(place, dtype=torch.int64))
            weights.append([torch.ones_like(place)])
            continue
        g = place.clamp(1.0 - n // 2, n // 2 - 2.0)
        t = g - g.floor()
        s = 1 - t
        starts.append(g.floor().long() + n // 2 - 1)
        weights.append([s**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * s**3 - 6 * s**2 + 4) / 6, t**3 / 6])
    total = [torch.zeros_like(c[0]) for _ in range(3)]
    for a, wa in enumerate(weights[0]):
        for b, wb in enumerate(weights[1]):
            for d, wd in enumerate(weights[2]):
                index = ((starts[0] + a) * shape[1] + starts[1] + b) * shape[2] + starts[2] + d
                weight = wa * wb * wd
                for axis in range(3):
                    total[axis] += weight * coefficients[:, axis].gather(1, index.flatten(1)).view_as(weight)
    return total


def _restored(c: list[Tensor], lattice: Lattice) -> list[Tensor]:
    """Undo a deformation by the fixed point p = c - u(p), damped where it does not contract."""
    p = [x.clone() for x in c]
    for turn in range(200):
        u = _displacement(p, lattice)
        rest = [q + v - x for q, v, x in zip(p, u, c, strict=True)]
        if max(float(r.abs().max()) for r in rest) < 1e-6:
            break
        damp = 1.0 if turn < 20 else 0.5
        p = [q - damp * r for q, r in zip(p, rest, strict=True)]
    return p


def _folded(c: list[Tensor], shape: tuple[int, ...], mode: int) -> list[Tensor]:
    """Mirror places at the outer faces, where asked."""
    if mode != REFLECT:
        return c
    folded = []
    for place, n in zip(c, shape, strict=True):
        v = (place + 0.5).abs() % (2.0 * n)
        folded.append(torch.where(v > n, 2.0 * n - v, v) - 0.5)
    return folded


def _inside(c: list[Tensor], shape: tuple[int, ...], mode: int) -> Tensor:
    """(B, D, H, W) bool, up to the outer faces of the edge voxels."""
    inside = torch.ones_like(c[0], dtype=torch.bool)
    for place, n in zip(c, shape, strict=True):
        inside &= (place >= -0.5 - 1e-6) & (place <= n - 0.5 + 1e-6)
    return inside if mode == FILL else torch.ones_like(inside)


def _nearest(c: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Flat index of the nearest voxel; halves go up."""
    index = torch.zeros_like(c[0], dtype=torch.int64)
    for place, n in zip(c, shape, strict=True):
        index = index * n + (place.clamp(0, n - 1) + 0.5).floor().long().clamp(max=n - 1)
    return index


def _linear(values: Tensor, c: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    grid = torch.stack([((2 * place.clamp(-1.0, n) + 1) / n - 1).float() for place, n in zip(c, shape, strict=True)][::-1], dim=-1)
    return grid_sample(values.view(*values.shape[:2], *shape), grid, mode="bilinear", padding_mode="border", align_corners=False)


def _cubic(values: Tensor, c: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Keys' cubic convolution, a = -0.5, edges repeated."""
    taps: list[list[tuple[Tensor, Tensor]]] = []
    for place, n in zip(c, shape, strict=True):
        v = place.clamp(0, n - 1)
        cell = v.floor().clamp(max=max(n - 2, 0))
        t = (v - cell).float()
        s = 1 - t
        weights = [-0.5 * t * s * s, 0.5 * (t * t * (3 * t - 5) + 2), 0.5 * (s * s * (3 * s - 5) + 2), -0.5 * s * t * t]
        index = cell.long()
        taps.append(
            [(torch.ones_like(t), index)] if n == 1 else [((index + a - 1).clamp(0, n - 1), w)[::-1] for a, w in enumerate(weights)]
        )
    out = torch.zeros((*values.shape[:2], *c[0].shape[1:]), device=values.device)
    for wa, ia in taps[0]:
        for wb, ib in taps[1]:
            for wd, id_ in taps[2]:
                index = ((ia * shape[1] + ib) * shape[2] + id_).flatten(1)[:, None].expand(-1, values.shape[1], -1)
                out += values.gather(2, index).view_as(out) * (wa * wb * wd)[:, None]
    return out
