"""Images to patches and back, in 2D and 3D."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from medpretrain.errors import PretrainError


def patchify(image: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut an image into patches.

    Args:
        image: (B, C, *S), each axis a multiple of the patch.
        patch: pixels of a patch along (z, y, x) or (y, x).

    Returns:
        (B, N, P): patches row-major over the grid (z slowest, x fastest); in a patch pixels row-major, channels fastest.

    Raises:
        PretrainError: where the patch does not divide the image.
    """
    size = tuple(image.shape[2:])
    if len(size) != len(patch) or any(n % p for n, p in zip(size, patch, strict=True)):
        raise PretrainError(f"patches of {tuple(patch)} do not divide an image of {size}; pad it with medmodels.pad_to_multiple")
    dims = len(size)
    split = [n for length, p in zip(size, patch, strict=True) for n in (length // p, p)]
    x = image.reshape(*image.shape[:2], *split)
    grid_axes = [2 + 2 * i for i in range(dims)]
    pixel_axes = [3 + 2 * i for i in range(dims)]
    return x.permute(0, *grid_axes, *pixel_axes, 1).reshape(len(image), prod(split[::2]), -1)


def unpatchify(patches: Tensor, patch: Sequence[int], size: Sequence[int]) -> Tensor:
    """Put patches together, the inverse of `patchify`.

    Args:
        patches: (B, N, P).
        patch: pixels of a patch along each axis.
        size: of the image, each axis a multiple of the patch.

    Returns:
        (B, C, *size).

    Raises:
        PretrainError: where number or length of the patches do not fit.
    """
    grid = tuple(n // p for n, p in zip(size, patch, strict=True))
    if prod(grid) * prod(patch) != prod(size) or patches.shape[1] != prod(grid) or patches.shape[2] % prod(patch):
        raise PretrainError(f"patches {tuple(patches.shape)} of {tuple(patch)} do not make an image of {tuple(size)}")
    dims = len(grid)
    x = patches.reshape(len(patches), *grid, *patch, -1)
    axes = [n for i in range(dims) for n in (1 + i, 1 + dims + i)]
    return x.permute(0, 1 + 2 * dims, *axes).reshape(len(patches), -1, *size)
