"""Interpolation on grids whose axes run along the old ones: axis by axis, in blocks that stay in the cache.

A volume is taken slice by slice, as the new values need them (16-bit integers are converted a slice at a time): no copy of the whole in floating point is
made. Every step is the product of a small dense matrix, cut from the band of its axis, with contiguous voxels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.geometry.axes import Axis, Block

_SMALL_PRODUCT = 262_144
"""Multiplications up to which OpenBLAS stays on the calling thread: workers of a loader must not each start a team."""

Voxels = npt.NDArray[Any]


def sample_nearest(source: Voxels, axes: Sequence[Axis], out: Voxels) -> None:
    """Take the nearest old voxel for every new one.

    Args:
        source: (D, H, W), any type.
        axes: one an axis.
        out: (D', H', W') of the same type, filled here.
    """
    z_of, rows, columns = (axis.nearest() for axis in axes)
    all_rows, all_columns = (axis.is_identity for axis in axes[1:])
    for z, old in enumerate(z_of):
        if z and old == z_of[z - 1]:
            out[z] = out[z - 1]
            continue
        plane = source[old] if all_rows else source[old].take(rows, axis=0)
        out[z] = plane if all_columns else plane.take(columns, axis=1)


def sample_weighted(source: Voxels, axes: Sequence[Axis], out: Voxels, *, order: int, antialias: bool, threads: int = 1) -> None:
    """Interpolate, and round where the new type is whole.

    Args:
        source: (D, H, W), finite.
        axes: one an axis.
        out: (D', H', W'), C-contiguous, filled here.
        order: 1 linear, 2 to 5 spline.
        antialias: whether axes that shrink are smoothed first.
        threads: how many share the new slices.
    """
    wide = source.dtype == np.float64 or (source.dtype.kind in "iu" and source.dtype.itemsize > 2)
    plan = _Plan(axes, order, antialias, np.dtype(np.float64 if wide else np.float32))
    blocks = plan.z_blocks
    threads = min(threads, len(blocks))
    shares = [blocks[len(blocks) * i // threads : len(blocks) * (i + 1) // threads] for i in range(threads)]
    if threads <= 1:
        plan.run(source, blocks, out)
        return
    with ThreadPoolExecutor(threads) as pool:
        # list(): an error in a thread is raised here
        list(pool.map(lambda share: plan.run(source, share, out), shares))


class _Plan:
    """The matrices of three axes, in the order that costs least: z comes first where it shrinks, last where it grows."""

    def __init__(self, axes: Sequence[Axis], order: int, antialias: bool, kind: np.dtype[Any]) -> None:
        self.axes, self.kind, self.order = axes, kind, order
        z, y, x = axes
        # A slice of the old volume costs memory and time: fewer of them a block for z than for the axes within a slice.
        self.z_blocks = _blocks(z, order, antialias, kind, width=4)
        self.y_blocks = [] if y.is_identity else _blocks(y, order, antialias, kind, width=32)
        self.x_blocks = [] if x.is_identity else _blocks(x, order, antialias, kind, width=32)
        self.z_first = z.new < z.old
        self.y_first = y.new * x.old <= y.old * x.new

    def run(self, source: Voxels, z_blocks: Sequence[Block], out: Voxels) -> None:
        """Fill the new slices of some blocks of the z axis."""
        z, y, x = self.axes
        inner = (y.old, x.old) if self.z_first else (y.new, x.new)
        depth = max((b.last - b.first for b in z_blocks), default=0)
        window = np.empty((depth, *inner), self.kind)  # the old slices of a block, after the step within the slice or before it
        flat = window.reshape(depth, -1)
        scratch = self._scratch()
        most = max((b.stop - b.start for b in z_blocks), default=0)
        mixed = np.empty((most, *inner) if self.z_first else (most, 4096), self.kind)
        held = range(0)
        for block in z_blocks:
            held = self._fill(source, window, held, block, scratch)
            used = flat[: block.last - block.first]
            count = block.stop - block.start
            if self.z_first:
                planes = mixed[:count].reshape(count, -1)
                for part in _parts(flat.shape[1], block.weights.size):
                    np.matmul(block.weights, used[:, part], out=planes[:, part])
                for z_new, plane in enumerate(mixed[:count], block.start):
                    self._finish(self._within(plane, scratch), out[z_new])
                continue
            target = out.reshape(len(out), -1)[block.start : block.stop]
            for part in _parts(flat.shape[1], block.weights.size):
                values = used[:, part]
                if not z.is_identity:
                    values = np.matmul(block.weights, values, out=mixed[:count, : part.stop - part.start])
                self._finish(values, target[:, part])

    def _fill(self, source: Voxels, window: Voxels, held: range, block: Block, scratch: list[Voxels]) -> range:
        """Bring the window to the old slices of a block: those that it holds move, the others are made."""
        wanted = range(block.first, block.last)
        both = range(max(held.start, wanted.start), min(held.stop, wanted.stop))
        if both:
            window[both.start - wanted.start : both.stop - wanted.start] = window[both.start - held.start : both.stop - held.start]
        for k in wanted:
            if k in both:
                continue
            if self.z_first:
                window[k - wanted.start] = source[k]
            else:
                np.copyto(scratch[0], source[k], casting="unsafe")
                window[k - wanted.start] = self._within(scratch[0], scratch)
        return wanted

    def _scratch(self) -> list[Voxels]:
        _, y, x = self.axes
        middle = (y.new, x.old) if self.y_first else (y.old, x.new)
        return [np.empty(shape, self.kind) for shape in ((y.old, x.old), middle, (y.new, x.new))]

    def _within(self, plane: Voxels, scratch: list[Voxels]) -> Voxels:
        """Interpolate one slice along y and x."""
        _, middle, last = scratch
        if not self.x_blocks:
            return _down(self.y_blocks, plane, last) if self.y_blocks else plane
        if not self.y_blocks:
            return _across(self.x_blocks, plane, last)
        if self.y_first:
            return _across(self.x_blocks, _down(self.y_blocks, plane, middle), last)
        return _down(self.y_blocks, _across(self.x_blocks, plane, middle), last)

    def _finish(self, values: Voxels, target: Voxels) -> None:
        if target.dtype == np.bool_:
            np.greater(values, 0.5, out=target)
        elif target.dtype.kind in "iu":
            np.copyto(target, round_to(values, target.dtype, bounded=self.order == 1 and target.dtype.itemsize < 4), casting="unsafe")
        else:
            np.copyto(target, values, casting="unsafe")


def round_to(values: Voxels, dtype: np.dtype[Any], *, bounded: bool = False) -> Voxels:
    """Round floating-point values to whole numbers that an integer type holds.

    Args:
        values: any shape, finite.
        dtype: the integer type.
        bounded: the values are known to lie within its range.
    """
    whole = np.rint(values)
    if bounded:
        return whole
    limits = np.iinfo(dtype)
    top = values.dtype.type(limits.max)
    # 2**63 - 1 has no float64: the next one below does.
    top = np.nextafter(top, values.dtype.type(0)) if int(top) > limits.max else top
    return np.clip(whole, limits.min, top, out=whole)


def _blocks(axis: Axis, order: int, antialias: bool, kind: np.dtype[Any], width: int) -> list[Block]:
    return [
        Block(b.start, b.stop, b.first, b.last, np.ascontiguousarray(b.weights, kind))
        for b in axis.blocks(order, antialias=antialias, width=width)
    ]


def _down(blocks: Sequence[Block], plane: Voxels, out: Voxels) -> Voxels:
    """Apply the matrix of y to a slice (H, W)."""
    for b in blocks:
        for part in _parts(plane.shape[1], b.weights.size):
            np.matmul(b.weights, plane[b.first : b.last, part], out=out[b.start : b.stop, part])
    return out


def _across(blocks: Sequence[Block], plane: Voxels, out: Voxels) -> Voxels:
    """Apply the matrix of x to a slice (H, W)."""
    for b in blocks:
        weights = b.weights.T
        for part in _parts(plane.shape[0], b.weights.size):
            np.matmul(plane[part, b.first : b.last], weights, out=out[part, b.start : b.stop])
    return out


def _parts(length: int, factor: int) -> list[slice]:
    """Cut a length so that each product stays small."""
    step = min(4096, max(64, _SMALL_PRODUCT // factor // 64 * 64))
    return [slice(i, min(i + step, length)) for i in range(0, length, step)]
