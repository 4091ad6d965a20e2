"""Hidden blocks of tokens: BEiT's, and I-JEPA's targets with their context."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.kernels.masks import hide_blocks
from medaug.options import Span, span
from medaug.views.masks import check_grid, first_hidden, hidden_count, hidden_counts, token_places

_MOST_BLOCKS = 32
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMask:
    """Hide blocks of random place, size and shape until the ratio is exact; the last block is cut, row-major, to make it so.

    At most 32 blocks are laid; what they leave is hidden around the last one.

    Attributes:
        ratio: share hidden, exactly `hidden_count` tokens; a number, or (low, high) to draw it for each sample as iBOT does.
        block_share: tokens of one block as a share of the grid; a number, or (low, high) to draw it.
        aspect: (low, high) of the edges' ratio to a cube's, drawn log-uniformly for each axis.

    Raises:
        AugmentationError: for a ratio outside [0, 1], shares outside (0, 1], aspects that are not positive.

    Source: Bao et al., "BEiT", ICLR 2022, algorithm 1.
    """

    ratio: Span = 0.4
    block_share: Span = (0.05, 0.2)
    aspect: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        span("BlockMask", "ratio", self.ratio, low=0, high=1)
        span("BlockMask", "block_share", self.block_share, low=0, high=1, open_low=True)
        span("BlockMask", "aspect", self.aspect, low=0, open_low=True)

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """See `MaskGenerator.draw`."""
        sizes = check_grid("BlockMask", grid)
        tokens = math.prod(sizes)
        low, high = span("BlockMask", "block_share", self.block_share)
        count = np.clip(np.rint(draws.uniform("share", low, high, (_MOST_BLOCKS,)) * tokens), 1, tokens).astype(np.int64)
        starts, extents = _blocks(count, sizes, self.aspect, draws)
        if len(sizes) == 2:
            starts, extents = (np.insert(x, 0, value, axis=-1) for x, value in ((starts, 0), (extents, 1)))
        volume = cast(tuple[int, int, int], (1, *sizes)[-3:])
        hidden = hide_blocks(starts, extents, volume, hidden_counts("BlockMask", self.ratio, tokens, draws))
        return torch.from_numpy(hidden).flatten(1).to(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class JepaMask:
    """Blocks to predict, and a context to predict them from that shares no token with any.

    Every target has the same number of tokens, and so has every context, so a batch needs no trimming to its smallest sample. A target is a block, its
    last slab cut row-major to the count; targets may overlap each other. The context is a box that grows about a random centre and leaves the targets out.

    Attributes:
        targets: blocks a sample.
        target_share: tokens of one target, a share of the grid.
        context_share: tokens of the context, a share of the grid; with all targets at most 1.
        aspect: (low, high) of the edges' ratio to a cube's, drawn log-uniformly for each axis.

    Raises:
        AugmentationError: for shares that are not positive or that do not fit together.

    Source: Assran et al., "Self-supervised learning from images with a joint-embedding predictive architecture", CVPR 2023.
    """

    targets: int = 4
    target_share: float = 0.15
    context_share: float = 0.4
    aspect: tuple[float, float] = (0.75, 1.5)

    def __post_init__(self) -> None:
        span("JepaMask", "aspect", self.aspect, low=0, open_low=True)
        fits = self.targets >= 1 and self.target_share > 0 and self.context_share > 0
        if not fits or self.targets * self.target_share + self.context_share > 1 + 1e-9:
            raise AugmentationError(
                "JepaMask",
                f"{self.targets} targets of {self.target_share} and a context of {self.context_share} must be positive and, together, at most 1",
            )

    def draw(self, grid: Sequence[int], draws: Draws, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Draw a context and its targets for each sample.

        Args:
            grid: tokens along each axis, (D, H, W) or (H, W).
            draws: B streams.
            device: of the result; the bits are those of the CPU.

        Returns:
            The context (B, N) bool, True where seen, and the targets (B, targets, N) bool, True where predicted; row-major over the grid.

        Raises:
            AugmentationError: for a grid of too few tokens to give each block one.
        """
        sizes = check_grid("JepaMask", grid)
        tokens = math.prod(sizes)
        each = hidden_count(self.target_share, tokens)
        seen = min(hidden_count(self.context_share, tokens), tokens - self.targets * each)
        if each < 1 or seen < 1:
            raise AugmentationError(
                "JepaMask", f"grid {sizes} is too small for targets of {self.target_share} and a context of {self.context_share}"
            )
        starts, extents = _blocks(np.full((len(draws), self.targets), each), sizes, self.aspect, draws)
        rank = torch.zeros((), dtype=torch.int64)
        within = torch.ones((), dtype=torch.bool)
        for axis, n in enumerate(sizes):
            # (B, targets, n) place in the block, and the tokens of the block that one step along this axis passes by
            along = torch.arange(n) - torch.from_numpy(starts[..., axis, None])
            edge, stride = (torch.from_numpy(x)[..., None] for x in (extents[..., axis], extents[..., axis + 1 :].prod(-1)))
            view = (len(draws), self.targets, *(n if i == axis else 1 for i in range(len(sizes))))
            rank = rank + (along * stride).view(view)
            within = within & ((along >= 0) & (along < edge)).view(view)
        chosen = (within & (rank < each)).flatten(2)
        size = torch.tensor(sizes, dtype=torch.float64)
        centre = torch.from_numpy(draws.uniform("centre", size=(len(sizes),))) * size - 0.5
        distance = ((token_places(sizes) - centre[:, None]) / size).abs().amax(-1)  # a distance of 1 is out of reach
        context = first_hidden(torch.where(chosen.any(1), 2.0, distance), seen)
        return context.to(device), chosen.to(device)


def _blocks(count: Whole, grid: tuple[int, ...], aspect: tuple[float, float], draws: Draws) -> tuple[Whole, Whole]:
    """Draw blocks of at least `count` (B, T) tokens, less than one slab of the first axis more: their first tokens and their extents, both (B, T, dims)."""
    dims = len(grid)
    factor = draws.log_uniform("aspect", *aspect, size=(count.shape[1], dims))
    # The product of the factors is made one: a shape says nothing about a size.
    factor = factor / np.exp(np.log(factor).mean(-1, keepdims=True))
    edge = np.rint(count[..., None] ** (1 / dims) * factor)
    extents = np.empty((*count.shape, dims), np.int64)
    left = count
    for axis in reversed(range(dims)):
        least = -(-left // math.prod(grid[:axis]))  # less, and the other axes could not hold the rest
        extents[..., axis] = np.clip(edge[..., axis], least, grid[axis]) if axis else left
        extents[..., axis] = np.maximum(extents[..., axis], 1)
        left = -(-left // extents[..., axis])
    room = np.array(grid) - extents + 1
    starts = np.floor(draws.uniform("start", size=(count.shape[1], dims)) * room).astype(np.int64)
    return starts, extents
