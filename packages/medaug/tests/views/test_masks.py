"""Hidden tokens: exact shares, the shapes they promise, row-major order, keys alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.views.blocks import BlockMask, JepaMask
from medaug.views.masks import GridMask, RandomMask, TubeMask, hidden_count, voxel_mask

GRIDS = [(7, 4), (2, 3, 5), (4, 6, 8), (1, 9, 5)]
GENERATORS = [
    RandomMask,
    lambda ratio: RandomMask(ratio=ratio, unit=2),
    BlockMask,
    lambda ratio: BlockMask(ratio=ratio, block_share=0.01),
    lambda ratio: GridMask(ratio=ratio),
]


def draws(count: int, view: int = 0) -> Draws:
    return Draws([(1, 2, f"patient-{i}", view) for i in range(count)])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GRIDS), st.sampled_from(GENERATORS), st.floats(0, 1))
def test_every_sample_hides_exactly_the_ratio(grid, make, ratio):
    mask = make(ratio=ratio).draw(grid, draws(4))
    assert mask.dtype == torch.bool
    assert mask.shape == (4, math.prod(grid))
    assert mask.sum(1).tolist() == [hidden_count(ratio, math.prod(grid))] * 4


@pytest.mark.parametrize("make", [RandomMask, BlockMask])
def test_a_drawn_ratio_is_uniform_and_as_exact_as_a_fixed_one(make):
    generator = make(ratio=(0.1, 0.5))
    count = generator.draw((8, 8, 8), draws(800)).sum(1).numpy()
    # 512 tokens: counts spread evenly from 51 to 256
    assert stats.kstest(count / 512, stats.uniform(0.1, 0.4).cdf).pvalue > 1e-3
    assert torch.equal(make(ratio=(0.3, 0.3)).draw((8, 8), draws(5)), make(ratio=0.3).draw((8, 8), draws(5)))


def test_half_a_token_is_hidden():
    # 0.5 * 5 = 2.5: halves go up; Python's own round would give 2
    assert (hidden_count(0.5, 5), hidden_count(0.75, 196), hidden_count(0.0, 9), hidden_count(1.0, 9)) == (3, 147, 0, 9)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)), st.integers(1, 5), st.sampled_from([*GENERATORS, lambda ratio: TubeMask(plane=BlockMask(ratio=ratio))]))
def test_a_mask_does_not_depend_on_the_batch(order, count, make):
    generator = make(ratio=0.4)
    whole = generator.draw((4, 6, 8), draws(5))
    some = generator.draw((4, 6, 8), draws(5).rows(np.array(order[:count])))
    assert torch.equal(some, whole[list(order[:count])])


@pytest.mark.parametrize("make", GENERATORS)
def test_samples_epochs_and_views_have_masks_of_their_own(make):
    generator = make(ratio=0.5)
    rows = torch.cat([generator.draw((6, 7, 8), draws(8, view)) for view in (0, 1)])
    assert len({row.numpy().tobytes() for row in rows}) > 8  # a lattice has 8 phases, all else more


def test_every_token_is_hidden_equally_often():
    mask = RandomMask(ratio=0.3).draw((3, 4, 5), draws(4000)).double()
    # hidden 1200 times of 4000; the sum of squares over the cells of a share p without replacement is near chi2 with N - 1 degrees, scaled by p * (1 - p)
    square = ((mask.sum(0) - 1200) ** 2 / (4000 * 0.3 * 0.7)).sum().item()
    assert stats.chi2(59).sf(square * 59 / 60) > 1e-3


def test_bricks_are_hidden_whole():
    # 8 bricks of 2 x 2 x 2 on (4, 4, 4), half hidden: 4 whole bricks
    mask = RandomMask(ratio=0.5, unit=2).draw((4, 4, 4), draws(6)).view(6, 2, 2, 2, 2, 2, 2)
    bricks = mask.permute(0, 1, 3, 5, 2, 4, 6).reshape(6, 8, 8)
    assert torch.equal(bricks.any(-1), bricks.all(-1))
    assert bricks.any(-1).sum(1).tolist() == [4] * 6


def test_bricks_of_unequal_edges_follow_the_axes_of_an_unequal_grid():
    # grid (2, 3, 5), unit (1, 3, 1): each (d, w) column along H is one brick; swapped axes would cut them
    mask = RandomMask(ratio=0.5, unit=(1, 3, 1)).draw((2, 3, 5), draws(9)).view(9, 2, 3, 5)
    assert torch.equal(mask.any(2), mask.all(2))
    assert mask.all(2).sum((1, 2)).tolist() == [5] * 9


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tube_hides_the_same_tokens_in_all_slices(axis):
    grid = (2, 3, 5)
    mask = TubeMask(plane=RandomMask(ratio=0.4), axis=axis).draw(grid, draws(7)).view(7, *grid)
    plane = math.prod(grid) // grid[axis]
    assert torch.equal(mask.any(axis + 1), mask.all(axis + 1))
    assert mask.any(axis + 1).sum((1, 2)).tolist() == [hidden_count(0.4, plane)] * 7


@pytest.mark.parametrize("grid", [(12, 15), (4, 9, 13)])
def test_a_block_that_covers_the_ratio_is_one_connected_piece(grid):
    ratio = 0.3
    mask = BlockMask(ratio=ratio, block_share=0.3).draw(grid, draws(40)).view(40, *grid).numpy()
    for row in mask:
        assert ndimage.label(row)[1] == 1
        box = np.ptp(np.argwhere(row), axis=0) + 1
        # a box of which less than one slab of the first axis is cut off
        assert row.sum() > box.prod() - box[1:].prod()


def test_blocks_reach_every_corner_of_an_unequal_grid():
    mask = BlockMask(ratio=0.3, block_share=0.1).draw((2, 3, 5), draws(300)).float().mean(0).view(2, 3, 5)
    assert mask.min() > 0.05
    assert mask.max() < 0.6


def test_more_blocks_than_are_laid_grow_the_last_one():
    # 32 blocks of one token cannot hide 90 of 100
    mask = BlockMask(ratio=0.9, block_share=0.01).draw((10, 10), draws(5))
    assert mask.sum(1).tolist() == [90] * 5


def test_the_lattice_of_a_grid_that_fits_is_shown_and_nothing_else():
    shown = ~GridMask(step=(1, 2, 3)).draw((2, 4, 6), draws(30)).view(30, 2, 4, 6)
    assert shown.sum((1, 2, 3)).tolist() == [8] * 30
    phases = set()
    for row in shown.numpy():
        first = np.argwhere(row)[0]
        expected = np.zeros((2, 4, 6), bool)
        expected[:, first[1] :: 2, first[2] :: 3] = True
        assert np.array_equal(row, expected)
        phases.add((int(first[1]), int(first[2])))
    assert len(phases) == 6


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([(14, 14), (7, 12), (4, 6, 8)]), st.integers(1, 4), st.floats(0.05, 0.15), st.floats(0.1, 0.4))
def test_jepa_contexts_and_targets_have_equal_counts_and_share_nothing(grid, targets, share, context_share):
    tokens = math.prod(grid)
    context, chosen = JepaMask(targets=targets, target_share=share, context_share=context_share).draw(grid, draws(6))
    assert chosen.shape == (6, targets, tokens)
    assert set(chosen.sum(-1).flatten().tolist()) == {hidden_count(share, tokens)}
    assert context.sum(1).tolist() == [min(hidden_count(context_share, tokens), tokens - targets * hidden_count(share, tokens))] * 6
    assert not (context & chosen.any(1)).any()
    for block in chosen.flatten(0, 1).view(-1, *grid).numpy():
        assert ndimage.label(block)[1] == 1


def test_jepa_masks_do_not_depend_on_the_batch():
    generator = JepaMask()
    whole, alone = generator.draw((6, 7), draws(5)), generator.draw((6, 7), draws(5).rows(np.array([3])))
    assert all(torch.equal(a[3:4], b) for a, b in zip(whole, alone, strict=True))


def test_voxels_of_a_token_share_its_mask_in_row_major_order():
    # grid (2, 3, 5), patches of 2 x 1 x 3: voxel (z, y, x) belongs to token ((z // 2) * 3 + y) * 5 + x // 3
    mask = RandomMask(ratio=0.5).draw((2, 3, 5), draws(2))
    voxels = voxel_mask(mask, (2, 3, 5), (4, 3, 15))
    z, y, x = np.indices((4, 3, 15))
    assert torch.equal(voxels, mask[:, torch.from_numpy((z // 2 * 3 + y) * 5 + x // 3)])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: RandomMask(ratio=1.2), "ratio needs"),
        (lambda: RandomMask(unit=0), "at least 1"),
        (lambda: RandomMask(unit=(2, 2)).draw((2, 3, 5), draws(1)), "does not fit the 3 axes"),
        (lambda: GridMask(ratio=-0.1), "ratio needs"),
        (lambda: BlockMask(block_share=0.0), "block_share"),
        (lambda: BlockMask(ratio=(0.5, 0.2)), "low <= high"),
        (lambda: BlockMask().draw((5,), draws(1)), "all positive"),
        (lambda: TubeMask(axis=3), "axis is 0, 1 or 2"),
        (lambda: TubeMask().draw((4, 4), draws(1)), "plane mask alone"),
        (lambda: JepaMask(targets=6, target_share=0.2), "at most 1"),
        (lambda: JepaMask().draw((2, 1), draws(1)), "too small"),
        (lambda: voxel_mask(torch.zeros(1, 4, dtype=torch.bool), (2, 2), (5, 4)), "do not tile"),
    ],
)
def test_what_cannot_be_hidden_is_refused_with_the_reason(call, reason):
    with pytest.raises(AugmentationError, match=reason):
        call()


@pytest.mark.gpu
@pytest.mark.parametrize("generator", [RandomMask(), RandomMask(unit=2), GridMask(), BlockMask(), TubeMask()])
def test_masks_have_the_same_bits_on_cuda(generator):
    assert torch.equal(generator.draw((4, 6, 8), draws(5), "cuda").cpu(), generator.draw((4, 6, 8), draws(5)))
