import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medpretrain import PretrainError, patchify, unpatchify


@given(
    dims=st.integers(2, 3),
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    grid=st.tuples(*[st.integers(1, 4)] * 3),
    patch=st.tuples(*[st.integers(1, 4)] * 3),
)
def test_patches_put_together_are_the_image(dims, batch, channels, grid, patch):
    size = tuple(g * p for g, p in zip(grid[:dims], patch[:dims], strict=True))
    image = torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(0))
    patches = patchify(image, patch[:dims])
    assert patches.shape[:2] == (batch, torch.tensor(grid[:dims]).prod())
    assert torch.equal(unpatchify(patches, patch[:dims], size), image)


def test_patches_run_row_major_z_slowest_and_channels_fastest():
    # Grid 2 x 3 x 4 of patches (2, 1, 3), two channels. Patch index (1 * 3 + 2) * 4 + 3 = 23 covers z 2:4, y 2:3, x 9:12.
    image = torch.arange(2 * 4 * 3 * 12).reshape(1, 2, 4, 3, 12)
    patches = patchify(image, (2, 1, 3))
    expected = [int(image[0, c, z, 2, x]) for z in (2, 3) for x in (9, 10, 11) for c in (0, 1)]
    assert patches[0, 23].tolist() == expected
    # one step along x is one patch, along y four, along z twelve
    assert patches[0, 1, 0] == image[0, 0, 0, 0, 3]
    assert patches[0, 4, 0] == image[0, 0, 0, 1, 0]
    assert patches[0, 12, 0] == image[0, 0, 2, 0, 0]


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(PretrainError, match=r"patches of \(4, 4\) do not divide an image of \(8, 10\); pad it"):
        patchify(torch.zeros(1, 1, 8, 10), (4, 4))
    for patches, size in ((torch.zeros(1, 3, 16), (8, 8)), (torch.zeros(1, 4, 15), (8, 8)), (torch.zeros(1, 4, 16), (8, 10))):
        with pytest.raises(PretrainError, match="do not make an image"):
            unpatchify(patches, (4, 4), size)
