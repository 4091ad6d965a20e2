import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medpretrain import PretrainError, random_patch_mask

KEYS = [(0, 3, f"patient{i}", 0) for i in range(6)]


@given(grid=st.tuples(*[st.integers(1, 6)] * 3), ratio=st.floats(0.05, 0.95), dims=st.integers(2, 3))
def test_every_row_hides_exactly_the_share_asked_for(grid, ratio, dims):
    patches = int(torch.tensor(grid[:dims]).prod())
    hidden = round(ratio * patches)
    if not 0 < hidden < patches:
        with pytest.raises(PretrainError, match=f"hides {hidden} of {patches} patches"):
            random_patch_mask(grid[:dims], ratio, KEYS)
        return
    mask = random_patch_mask(grid[:dims], ratio, KEYS)
    assert (mask.dtype, mask.shape) == (torch.bool, (6, patches))
    assert mask.sum(dim=1).tolist() == [hidden] * 6


def test_a_mask_depends_on_its_key_alone_not_on_the_batch_or_the_global_generator():
    whole = random_patch_mask((4, 5, 6), 0.75, KEYS)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    backwards = random_patch_mask((4, 5, 6), 0.75, KEYS[::-1])
    assert torch.equal(backwards.flip(0), whole)
    assert torch.equal(torch.get_rng_state(), before)
    for i, key in enumerate(KEYS):
        assert torch.equal(random_patch_mask((4, 5, 6), 0.75, [key])[0], whole[i])
    assert len({tuple(row.tolist()) for row in whole}) == len(KEYS)


@pytest.mark.parametrize("other", [(1, 3, "patient0", 0), (0, 4, "patient0", 0), (0, 3, "patient00", 0), (0, 3, "patient0", 1)])
def test_each_part_of_the_key_and_the_stream_change_the_mask(other):
    first = random_patch_mask((8, 8), 0.5, KEYS[:1])
    assert not torch.equal(first, random_patch_mask((8, 8), 0.5, [other]))
    assert not torch.equal(first, random_patch_mask((8, 8), 0.5, KEYS[:1], stream="teacher"))


def test_every_patch_is_hidden_as_often_as_every_other():
    # 16 patches, 4 hidden, 4000 keys: each is hidden 1000 times on average with deviation sqrt(4000 * 0.25 * 0.75) = 27.4; allow 5 of them.
    mask = random_patch_mask((4, 4), 0.25, [(0, epoch, "a", 0) for epoch in range(4000)])
    assert (mask.sum(dim=0) - 1000).abs().max() < 5 * 27.4
