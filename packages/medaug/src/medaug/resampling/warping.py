"""Read a batch along a chain: numba's kernel on a CPU, torch elsewhere."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medaug.draws import Numbers
from medaug.kernels.warp import warp
from medaug.kernels.warp_copies import copy_lines
from medaug.kernels.warp_sampling import BORDER, FILL, REFLECT
from medaug.resampling.chain import Chain, Whole
from medaug.resampling.dense import warp_dense

Interpolation = Literal["linear", "cubic"]
Outside = Literal["minimum", "border", "reflect"] | float
"""What a voxel takes that reads outside the image: its channel's minimum, the edge's value, the mirrored image, or a number."""

_NATIVE = {torch.int16, torch.float32, torch.float64}  # a kernel takes seconds to compile, so rarer types are cast first
_UNSIGNED = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}
_SPLIT = 1 << 16  # voxels below which a second thread costs more than it saves


@dataclass(frozen=True, slots=True, kw_only=True)
class Warper:
    """Reads everything on one grid along one chain.

    Attributes:
        chain: output index -> source index.
        source: shape of the source.
        grid: shape of the output.
        antialias: average several places in a voxel along axes where the chain steps over more than two source voxels.
        dense: take torch's path even on a CPU.
    """

    chain: Chain
    source: tuple[int, ...]
    grid: tuple[int, ...]
    antialias: bool = True
    dense: bool = False

    @property
    def idle(self) -> bool:
        """Whether every sample reads itself."""
        exact, whole = self.chain.exact
        return self.source == self.grid and bool(exact.all()) and bool((whole == np.eye(4)).all())

    def images(
        self, image: Tensor, mask: Tensor | None, interpolation: Interpolation = "linear", outside: Outside = "minimum"
    ) -> tuple[Tensor, Tensor | None]:
        """Read image (B, C, *S) of any dtype, and mask (B, *S) by the nearest voxel, 0 outside.

        Returns:
            (B, C, *G) in the image's floating dtype, float32 for integers; interpolated in float32, copied where voxels land on voxels. (B, *G) the mask.
        """
        mode = {"border": BORDER, "reflect": REFLECT}.get(outside, FILL) if isinstance(outside, str) else FILL
        if mode == FILL:
            least = outside == "minimum" and not self._covered()
            fill = _minimum(image) if least else np.full(image.shape[:2], 0.0 if isinstance(outside, str) else float(outside))
        else:
            fill = np.zeros(image.shape[:2])
        return self._warped(image, mask, interpolation == "cubic", mode, fill)

    def probabilities(self, x: Tensor) -> Tensor:
        """Read class probabilities (B, K, *S) linearly; outside, the first of several classes is certain."""
        fill = np.zeros(x.shape[:2])
        if x.shape[1] > 1:
            fill[:, 0] = 1.0
        return self._warped(x, None, False, FILL, fill)[0]

    def nearest(self, mask: Tensor) -> Tensor:
        """Read a mask (B, *S) by the nearest voxel, 0 outside."""
        empty = torch.empty((len(mask), 0, *self.source), device=mask.device)
        moved = self._warped(empty, mask, False, FILL, np.zeros((len(mask), 0)))[1]
        assert moved is not None
        return moved

    def _covered(self) -> bool:
        """Whether every place lies inside the source, told from the output's outermost places; never said of deformations."""
        if not self.chain.parallel or self.chain.deformed.any():
            return False
        joined, last = self.chain.joined, np.array(solid(self.source)) - 0.5 + 1e-6
        half = (np.array(solid(self.grid)) - 1) / 2
        middle = joined[:, :3, :3] @ half + joined[:, :3, 3]
        # half a voxel is kept in hand for the places that antialiasing reads around the outermost centres
        reach = np.abs(joined[:, :3, :3]) @ (half + 0.5 if self.antialias else half)
        return bool((middle - reach >= -0.5 - 1e-6).all() and (middle + reach <= last).all())

    def _samples(self) -> Whole:
        """Places to average in an output voxel along each axis, (B, 3): one a two source voxels, as linear interpolation reads two."""
        if not self.antialias:
            return np.ones((len(self.chain.matrices), 3), np.int64)
        joined = self.chain.joined
        slopes = joined[:, :3, :3]
        if not self.chain.parallel:
            middle = np.append((np.array(solid(self.grid)) - 1) / 2, 1.0)
            ahead, depth = joined[:, :3] @ middle, (joined[:, 3] @ middle)[:, None, None]
            slopes = (slopes * depth - ahead[:, :, None] * joined[:, 3, None, :3]) / depth**2
        return np.asarray(np.maximum(np.ceil(np.sqrt((slopes**2).sum(1)) / 2 - 1e-6), 1), np.int64)

    def _warped(self, image: Tensor, mask: Tensor | None, cubic: bool, mode: int, fill: Numbers) -> tuple[Tensor, Tensor | None]:
        kept = image.dtype if image.is_floating_point() else torch.float32
        exact, whole = self.chain.exact
        if self.dense or image.device.type != "cpu":
            return warp_dense(self.chain, exact, self._samples(), image, mask, self.grid, cubic=cubic, mode=mode, fill=fill)
        image = image if image.dtype in _NATIVE else image.float()
        count, channels = image.shape[:2]
        out = torch.empty((count, channels, *self.grid), dtype=image.dtype if image.is_floating_point() else torch.float32)
        moved = None if mask is None else torch.empty((count, *self.grid), dtype=mask.dtype)
        voxels, lines = math.prod(self.grid), count * math.prod(solid(self.grid)[:2])
        source, grid = solid(self.source), solid(self.grid)
        read = image.contiguous().numpy().reshape(count, channels, math.prod(self.source))
        written = out.numpy().reshape(count, channels, voxels)
        none = np.empty((0, 1, 1), np.uint8)
        labels = none if mask is None else _plain(mask).reshape(count, 1, math.prod(self.source))
        marked = none if moved is None else _plain(moved).reshape(count, 1, voxels)
        outside = fill.astype(written.dtype)
        kernels: list[Callable[[int, int], None]] = []
        copied = exact if mode == FILL else np.zeros_like(exact)
        if copied.any():
            if channels:
                kernels.append(lambda first, last: copy_lines(first, last, copied, whole, read, source, outside, written, grid))
            if mask is not None:
                empty = np.zeros((count, 1), labels.dtype)
                kernels.append(lambda first, last: copy_lines(first, last, copied, whole, labels, source, empty, marked, grid))
        if not copied.all():
            way = (self.chain.joined, self.chain.matrices, *self.chain.flat, np.array(self.chain.backward, np.bool_))
            samples = self._samples()
            kernels.append(
                lambda first, last: warp(
                    first, last, *way, exact, samples, cubic, mode, read, source, outside, written, grid, labels, marked
                )
            )
        threads = min(torch.get_num_threads(), lines) if count * voxels >= _SPLIT else 1
        for kernel in kernels:
            _share(kernel, lines, threads)
        return out.to(kept), moved


def _share(kernel: Callable[[int, int], None], lines: int, threads: int) -> None:
    """Run a kernel over all lines, in slabs where there are several threads."""
    if threads == 1:
        kernel(0, lines)
        return
    bounds = [lines * t // threads for t in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # of this call: a pool kept for later would not survive a fork into loader workers
        list(pool.map(kernel, bounds[:-1], bounds[1:]))


def solid(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape of three axes; 2D has one plane."""
    d, h, w = (1,) * (3 - len(shape)) + shape
    return d, h, w


def _plain(mask: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The bytes of a mask as unsigned integers: nearest reading does not look at values, and four kernels serve every dtype."""
    return mask.contiguous().view(_UNSIGNED[mask.element_size()]).numpy()


def _minimum(image: Tensor) -> Numbers:
    """Minimum of each channel, (B, C) float64."""
    if image.device.type != "cpu" or image.dtype in (torch.float16, torch.bfloat16):
        return image.flatten(2).amin(2).double().cpu().numpy()
    return np.asarray(image.numpy().reshape(*image.shape[:2], math.prod(image.shape[2:])).min(axis=2), np.float64)
