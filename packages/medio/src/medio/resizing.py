"""Resize an image to a grid of given size, as a whole-image network wants it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.image import Image


def resize(image: Image, shape: Sequence[int]) -> Image:
    """Resize the spatial axes, keeping the physical extent.

    Linear interpolation between pixel centres; an axis that shrinks by a factor f is smoothed first by a Gaussian of standard deviation (f - 1) / 2 pixels,
    so that fine texture does not alias.

    Args:
        image: ([C,] D, H, W) or ([C,] H, W).
        shape: new size along the spatial axes, in array order.

    Returns:
        The image on the new grid: integers are rounded and keep their type, spacing and affine follow. The image itself where the size is the same.

    Raises:
        ValueError: where `shape` does not give one positive size a spatial axis.
    """
    dims, old = len(image.spacing), image.spatial_shape
    if len(shape) != dims or min(shape) < 1:
        raise ValueError(f"shape must give {dims} positive sizes, got {tuple(shape)}")
    if tuple(shape) == old:
        return image
    factors = np.array(old, dtype=np.float64) / np.array(shape, dtype=np.float64)
    leading = image.array.shape[: image.array.ndim - dims]
    channels = image.array.reshape(-1, *old)
    resized = np.stack([_resize_one(channel, shape, factors) for channel in channels]).reshape(*leading, *shape)
    if image.array.dtype.kind in "iu":
        limits = np.iinfo(image.array.dtype)
        resized = np.clip(np.rint(resized), limits.min, limits.max)
    affine = image.affine
    if affine is not None:
        affine = affine.copy()
        # The outer corner stays, so the centre of the first pixel moves by half of what a pixel grows.
        affine[:3, 3] += affine[:3, :dims] @ ((factors - 1) / 2)
        affine[:3, :dims] *= factors
    spacing = tuple(float(s * f) for s, f in zip(image.spacing, factors, strict=True))
    return replace(image, array=resized.astype(image.array.dtype), affine=affine, spacing=spacing)


def _resize_one(channel: npt.NDArray[Any], shape: Sequence[int], factors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(channel.astype(np.float64), np.maximum(0, (factors - 1) / 2), mode="nearest")
    # Pixel centres: new index i lies at (i + 0.5) * f - 0.5 of the old grid.
    result: npt.NDArray[np.float64] = ndimage.affine_transform(
        smooth, factors, offset=(factors - 1) / 2, output_shape=tuple(shape), order=1, mode="nearest"
    )
    return result
