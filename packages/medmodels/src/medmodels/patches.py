"""The grid of patches over an image, in 2D and 3D."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

from medmodels.errors import ModelError


def per_axis(value: int | Sequence[int], spatial_dims: int, name: str) -> tuple[int, ...]:
    """Spell a size out for every spatial axis.

    Args:
        value: one positive integer for all axes, or one an axis in the order (z, y, x) or (y, x).
        spatial_dims: 2 or 3.
        name: what the value is, for the error.

    Raises:
        ModelError: for another number of axes or a number below 1.
    """
    sizes = (value,) * spatial_dims if isinstance(value, int) else tuple(int(n) for n in value)
    if len(sizes) != spatial_dims or min(sizes) < 1:
        raise ModelError(f"{name} needs one positive integer or {spatial_dims} of them, got {value}")
    return sizes


def patch_grid(size: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Count the patches along each axis that cover an image of `size`; the last patch may reach past its end."""
    return tuple(-(-n // p) for n, p in zip(size, patch, strict=True))


def pad_to_multiple(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Extend x (B, C, *S) at the far end of each axis to whole patches, repeating the border; x itself where it already fits."""
    size = x.shape[2:]
    extra = [g * p - n for g, p, n in zip(patch_grid(size, patch), patch, size, strict=True)]
    if not any(extra):
        return x
    return pad(x, [n for e in reversed(extra) for n in (0, e)], mode="replicate")


def check_image(x: Tensor, spatial_dims: int, in_channels: int) -> None:
    """Raise ModelError unless x is (B, in_channels, *S) with `spatial_dims` spatial axes."""
    if x.ndim != spatial_dims + 2 or x.shape[1] != in_channels:
        axes = "D, H, W" if spatial_dims == 3 else "H, W"
        raise ModelError(f"expected an image (B, {in_channels}, {axes}), got {tuple(x.shape)}")


def check_mask(mask: Tensor, batch: int, grid: Sequence[int]) -> None:
    """Raise ModelError unless mask is bool (B, N) over the row-major patch grid."""
    patches = 1
    for n in grid:
        patches *= n
    if str(mask.dtype) != "torch.bool" or tuple(mask.shape) != (batch, patches):
        raise ModelError(f"expected a bool mask ({batch}, {patches}) over the grid {tuple(grid)}, got {mask.dtype} {tuple(mask.shape)}")
