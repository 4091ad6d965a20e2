"""Which patches are hidden: drawn from the sample's key alone."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from medmodels import SampleKey, keyed_generator
from medpretrain.errors import PretrainError


def random_patch_mask(grid: Sequence[int], ratio: float, keys: Sequence[SampleKey], stream: str = "mask") -> Tensor:
    """Hide a fixed share of each image's patches, uniformly at random.

    Args:
        grid: patches along each axis; N is their product.
        ratio: share to hide, between 0 and 1.
        keys: (seed, epoch, sample_id, view) of each image; a row depends on its key, the grid, the ratio and the stream, on nothing else.
        stream: name of the draw; another one is independent.

    Returns:
        (B, N) bool on CPU, True is hidden; exactly round(ratio * N) are in every row.

    Raises:
        PretrainError: where that would hide none or all.

    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022.
    """
    patches = prod(grid)
    hidden = round(ratio * patches)
    if not 0 < hidden < patches:
        raise PretrainError(
            f"a mask ratio of {ratio} hides {hidden} of {patches} patches (grid {tuple(grid)}); use a smaller patch, a larger image or another ratio"
        )
    mask = torch.zeros(len(keys), patches, dtype=torch.bool)
    for row, key in zip(mask, keys, strict=True):
        row[torch.randperm(patches, generator=keyed_generator(key, stream))[:hidden]] = True
    return mask
