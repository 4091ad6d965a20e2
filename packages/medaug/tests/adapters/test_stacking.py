"""Several masks in one, and apart again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.adapters.stacking import check_grids, stack_masks
from medaug.errors import AugmentationError


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 200)), min_size=1, max_size=4))
def test_masks_come_apart_as_they_went_in(seed, shapes):
    generator = torch.Generator().manual_seed(seed)
    dtypes = [torch.uint8, torch.int64, torch.float32, torch.int16]
    masks = [
        torch.randint(0, most, (channels, 3, 4), generator=generator).to(dtype)
        for (channels, most), dtype in zip(shapes, dtypes, strict=False)
    ]
    if torch.tensor([float(mask[c].amax()) + 1 for mask in masks for c in range(len(mask))]).log2().sum() > 62:
        return
    stacked = stack_masks([str(n) for n in range(len(masks))], masks)
    for before, after in zip(masks, stacked.split(stacked.mask), strict=True):
        assert before.dtype == after.dtype
        assert torch.equal(before, after)


def test_what_comes_in_from_outside_is_background_in_every_mask():
    masks = [torch.tensor([[3, 1]]), torch.tensor([[0, 2], [5, 5]])]
    stacked = stack_masks(["a", "b"], masks)
    assert all((part == 0).all() for part in stacked.split(torch.zeros(2, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([torch.tensor([[0.5]])], "holds fractions"),
        ([torch.tensor([[-1]])], "the label -1"),
        ([torch.full((8, 1), 2**16)], "too many combinations"),
    ],
)
def test_masks_that_are_none_are_refused_by_name(masks, message):
    with pytest.raises(AugmentationError, match=f"lesion.*{message}"):
        stack_masks(["lesion"], masks)


def test_images_on_other_grids_are_refused_by_name():
    a, b = torch.zeros(1, 3, 4), torch.zeros(1, 3, 5)
    with pytest.raises(AugmentationError, match="t2: has the shape"):
        check_grids(["t1", "t2"], [a, b], [torch.eye(4)] * 2)
    moved = torch.eye(4)
    moved[0, 3] = 0.1
    with pytest.raises(AugmentationError, match="t2: lies elsewhere"):
        check_grids(["t1", "t2"], [a, a], [torch.eye(4), moved])
