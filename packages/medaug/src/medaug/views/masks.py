"""Which tokens a masked model does not see: an exact share of each sample, chosen by its key.

Tokens are row-major over the grid (D, H, W) or (H, W): token ((d * H) + h) * W + w. True is hidden.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.options import Span, span

Counts = npt.NDArray[np.int64]


@runtime_checkable
class MaskGenerator(Protocol):
    """Hides an exact number of tokens in every sample: the same in all, unless the ratio is drawn."""

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """Draw one mask a sample.

        Args:
            grid: tokens along each axis, (D, H, W) or (H, W).
            draws: B streams; several masks of one sample need a `child` each.
            device: of the result; the bits are those of the CPU.

        Returns:
            (B, N) bool, True where hidden; row-major over the grid.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomMask:
    """Hide tokens at random: MAE, and SimMIM with a `unit`.

    Attributes:
        ratio: share hidden, exactly `hidden_count` tokens; a number, or (low, high) to draw it for each sample as iBOT does.
        unit: edge, in tokens along each axis, of the bricks that are hidden whole (a number for all axes). Where the count asks for it, one brick is hidden in
            part; where the grid is no multiple, bricks at the far edges are smaller.

    Raises:
        AugmentationError: for a ratio outside [0, 1] or reversed, a unit below 1.

    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022; Xie et al., "SimMIM", CVPR 2022.
    """

    ratio: Span = 0.75
    unit: int | tuple[int, ...] = 1

    def __post_init__(self) -> None:
        span("RandomMask", "ratio", self.ratio, low=0, high=1)
        _check_edges("RandomMask", "unit", self.unit)

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """See `MaskGenerator.draw`."""
        sizes = check_grid("RandomMask", grid)
        unit = _edges("RandomMask", "unit", self.unit, sizes)
        bricks = tuple(-(-n // edge) for n, edge in zip(sizes, unit, strict=True))
        order = draws.uniform_field("order", (math.prod(bricks),), device)
        if math.prod(unit) > 1:
            # Equal numbers are taken in the order of the tokens, so ranks, not the numbers, are spread: two bricks never share a rank.
            order = order.argsort(dim=1, stable=True).argsort(dim=1, stable=True)[:, _brick_of_token(sizes, unit, bricks, device)]
        return first_hidden(order, hidden_counts("RandomMask", self.ratio, math.prod(sizes), draws))


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMask:
    """Show a regular lattice of tokens, one in `step` along each axis, at a phase drawn for each sample; hide the rest.

    Where the ratio or the grid does not fit the lattice, tokens of the lattice are hidden, or others shown, at random until the ratio is exact.

    Attributes:
        ratio: share hidden; None: what the lattice leaves on a grid that is a multiple of it, 1 - 1 / product of steps.
        step: along each axis (a number for all axes).

    Raises:
        AugmentationError: for a ratio outside [0, 1], a step below 1.

    Source: the grid-wise sampling of He et al., CVPR 2022, figure 6.
    """

    ratio: float | None = None
    step: int | tuple[int, ...] = 2

    def __post_init__(self) -> None:
        if self.ratio is not None:
            span("GridMask", "ratio", self.ratio, low=0, high=1)
        _check_edges("GridMask", "step", self.step)

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """See `MaskGenerator.draw`."""
        sizes = check_grid("GridMask", grid)
        step = _edges("GridMask", "step", self.step, sizes)
        phase = torch.stack(
            [torch.from_numpy(draws.integers(f"phase{i}", 0, min(s, n))) for i, (s, n) in enumerate(zip(step, sizes, strict=True))], dim=1
        ).to(device)
        place = token_places(sizes, device)  # (N, dims)
        shown = ((place[None] - phase[:, None]) % torch.tensor(step, device=device) == 0).all(-1)
        ratio = 1 - 1 / math.prod(step) if self.ratio is None else self.ratio
        # Numbers lie in [0, 1): adding one puts the lattice behind all others, so it is hidden last.
        order = draws.uniform_field("order", (math.prod(sizes),), device).double() + shown
        return first_hidden(order, hidden_count(ratio, math.prod(sizes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeMask:
    """Hide the same in-plane tokens in every slice, so that a neighbouring slice does not give them away.

    Attributes:
        plane: the generator of the in-plane mask.
        axis: across which the mask is constant; 0: slices along D.

    Raises:
        AugmentationError: for an axis other than 0, 1, 2; in `draw`, for a grid that is not 3D.

    Source: Tong et al., "VideoMAE", NeurIPS 2022.
    """

    plane: MaskGenerator = field(default_factory=RandomMask)
    axis: int = 0

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise AugmentationError("TubeMask", f"axis is 0, 1 or 2 (D, H or W), got {self.axis}")

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """See `MaskGenerator.draw`."""
        sizes = check_grid("TubeMask", grid)
        if len(sizes) != 3:
            raise AugmentationError("TubeMask", f"needs a grid (D, H, W), got {sizes}; use its plane mask alone in 2D")
        plane = tuple(n for axis, n in enumerate(sizes) if axis != self.axis)
        mask = self.plane.draw(plane, draws.child("plane"), device).view(-1, *plane)
        return mask.unsqueeze(1 + self.axis).expand(-1, *sizes).reshape(len(draws), -1)


def hidden_count(ratio: float, tokens: int) -> int:
    """Return how many of so many tokens a ratio hides: the nearest whole number, halves up."""
    return math.floor(ratio * tokens + 0.5)


def voxel_mask(mask: Tensor, grid: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Spread a mask of tokens over their voxels.

    Args:
        mask: (B, N) bool, row-major over the grid.
        grid: tokens along each axis.
        shape: voxels along each axis, a multiple of the grid.

    Returns:
        (B, *shape) bool.

    Raises:
        AugmentationError: for a shape that is no multiple of the grid, a mask of another number of tokens.
    """
    sizes, voxels = check_grid("voxel_mask", grid), tuple(shape)
    if len(voxels) != len(sizes) or any(v % n for v, n in zip(voxels, sizes, strict=True)) or mask.shape[1] != math.prod(sizes):
        raise AugmentationError(
            "voxel_mask", f"{mask.shape[1]} tokens on grid {sizes} do not tile {voxels}; give a shape that is a multiple"
        )
    spread = mask.view(-1, *sizes)
    for axis, (v, n) in enumerate(zip(voxels, sizes, strict=True)):
        spread = spread.repeat_interleave(v // n, dim=axis + 1)
    return spread


def hidden_counts(generator: str, ratio: Span, tokens: int, draws: Draws) -> Counts:
    """Draw how many tokens each sample hides: `hidden_count` of its ratio, (B,) int64."""
    low, high = span(generator, "ratio", ratio, low=0, high=1)
    return np.floor(draws.uniform("ratio", low, high) * tokens + 0.5).astype(np.int64)


def check_grid(generator: str, grid: Sequence[int]) -> tuple[int, ...]:
    """Read a grid as a tuple; raise AugmentationError unless it has 2 or 3 positive sizes."""
    sizes = tuple(int(n) for n in grid)
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise AugmentationError(generator, f"a grid of tokens is (D, H, W) or (H, W), all positive, got {sizes}")
    return sizes


def token_places(grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Return the place of each token in the grid: (N, dims) int64, row-major."""
    return torch.stack(torch.meshgrid(*[torch.arange(n, device=device) for n in grid], indexing="ij"), dim=-1).flatten(0, -2)


def first_hidden(order: Tensor, count: int | Counts) -> Tensor:
    """Hide the `count` (for all, or (B,)) tokens of least order in each row of (B, N); of equals the earlier token."""
    turn = order.argsort(dim=1, stable=True)
    limit = torch.as_tensor(count, device=order.device).reshape(-1, 1)
    hidden = (torch.arange(order.shape[1], device=order.device) < limit).expand(order.shape)
    return torch.zeros(order.shape, dtype=torch.bool, device=order.device).scatter_(1, turn, hidden)


def _brick_of_token(grid: tuple[int, ...], unit: tuple[int, ...], bricks: tuple[int, ...], device: torch.device | str) -> Tensor:
    """Which brick each token belongs to, (N,) int64."""
    result = torch.zeros(math.prod(grid), dtype=torch.int64, device=device)
    for place, edge, count in zip(token_places(grid, device).unbind(1), unit, bricks, strict=True):
        result = result * count + place // edge
    return result


def _check_edges(generator: str, name: str, value: int | tuple[int, ...]) -> None:
    edges = (value,) if isinstance(value, int) else value
    if not edges or min(edges) < 1:
        raise AugmentationError(generator, f"{name} is a number of tokens of at least 1, or one an axis, got {value}")


def _edges(generator: str, name: str, value: int | tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, ...]:
    edges = (value,) * len(grid) if isinstance(value, int) else value
    if len(edges) != len(grid):
        raise AugmentationError(
            generator, f"{name} {value} does not fit the {len(grid)} axes of grid {grid}; give one number, or one an axis"
        )
    return edges
