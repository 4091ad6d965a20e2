"""Resize an image to a grid of given size, as a whole-image network wants it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medio.affines import rescaled
from medio.geometry.resampling import sample
from medio.image import Image


def resize(image: Image, shape: Sequence[int], *, order: int = 1, threads: int = 1) -> Image:
    """Resize the spatial axes, keeping the physical extent.

    Interpolation between pixel centres; an axis that shrinks by a factor f is smoothed first by a Gaussian of standard deviation (f - 1) / 2 pixels,
    so that fine texture does not alias. Masks (`order=0`) take the nearest pixel, without smoothing.

    Args:
        image: ([C,] D, H, W) or ([C,] H, W).
        shape: new size along the spatial axes, in array order.
        order: 0 nearest, 1 linear, up to 5 spline.
        threads: how many share the slices of a volume.

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
    # The first new centre lies at (f - 1) / 2 of the old grid: the outer corners agree.
    array = sample(
        image.array, np.diag(factors), (factors - 1) / 2, tuple(shape), order, None, order > 0, np.dtype(image.array.dtype), threads
    )
    spacing = tuple(float(s * f) for s, f in zip(image.spacing, factors, strict=True))
    return replace(image, array=array, affine=rescaled(image.affine, factors), spacing=spacing)
