"""From an image as it comes to the grid that the network knows, and from there back."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from meddeploy.errors import InputError
from medio import Image, axis_letters, reorient, resample, resize
from medmodels import Preprocessing


def prepare(image: Image, preprocessing: Preprocessing, in_channels: int = 1) -> Image:
    """Bring an image to the axes, spacing and (whole-image tasks) size of training. Its intensity stays in its unit.

    The steps are those that build shards: colour becomes grey (the mean, in the file's own type), axes are turned (`medio.reorient`), then
    `medio.resample` (linear, no smoothing), then `medio.resize` (linear, smoothed by a Gaussian where it shrinks).

    Args:
        image: volume ([C,] D, H, W) or film ([C,] H, W).
        preprocessing: of the bundle.
        in_channels: what the network takes.

    Returns:
        The image on its new grid.

    Raises:
        InputError: for dimensions or channels that do not fit, and for values that are not finite.
    """
    name = str(image.meta.get("path", "image"))
    dims = preprocessing.spatial_dims
    if len(image.spacing) != dims:
        raise InputError(name, f"is {len(image.spacing)}D (shape {image.array.shape}), the bundle takes {dims}D images")
    if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
        raise InputError(name, "holds values that are not finite; no answer can be trusted on it, mend the image")
    if in_channels == 1 and dims == 2 and image.array.ndim == 3 and image.array.shape[0] == 3:
        grey = image.array.mean(axis=0, dtype=np.float64)
        image = replace(image, array=(np.rint(grey) if image.array.dtype.kind in "iu" else grey).astype(image.array.dtype))
    channels = 1 if image.array.ndim == dims else image.array.shape[0]
    if channels != in_channels:
        raise InputError(name, f"has {channels} channels (shape {image.array.shape}), the bundle takes {in_channels}")
    if preprocessing.axes is not None and dims == 3:
        image = reorient(image, preprocessing.axes)
    if preprocessing.spacing_mm is not None:
        image = resample(image, spacing=preprocessing.spacing_mm)
    return resize(image, preprocessing.patch_size) if preprocessing.whole_image else image


def placed(image: Image) -> Image:
    """Give a film a frame of its own, so that grids made from it can be traced back; a volume already has one."""
    if len(image.spacing) == 3:
        return image
    return replace(image, affine=np.diag([*image.spacing, 1.0, 1.0]))


def labels_like(probabilities: npt.NDArray[np.float32], prepared: Image, image: Image) -> npt.NDArray[np.integer[Any]]:
    """Bring class probabilities back to the grid of the image that came in, and take the largest.

    Each class is interpolated linearly (nearest-neighbour interpolation of labels would cut steps into every surface); where the grids differ by
    turned axes alone, nothing is interpolated. Beyond the border voxels of the prepared grid their value counts.

    Args:
        probabilities: (K, *S) on the grid of `prepared`.
        prepared: what `prepare(placed(image))` gave.
        image: `placed`; the grid to return to.

    Returns:
        (*S of image) uint8 (int16 beyond 256 classes).
    """
    dims = len(image.spacing)
    volume = replace(prepared, array=probabilities)
    if dims == 3:
        assert image.affine is not None  # volumes always have one
        volume = reorient(volume, axis_letters(image.affine))
    assert volume.affine is not None  # `placed` saw to it
    assert image.affine is not None
    matrix = np.linalg.inv(volume.affine) @ image.affine
    scale, offset = np.diag(matrix)[:dims], matrix[:dims, 3]
    kind = np.uint8 if len(probabilities) <= 256 else np.int16
    size = image.spatial_shape
    if volume.spatial_shape == size and np.allclose(scale, 1, atol=1e-9) and np.allclose(offset, 0, atol=1e-6):
        labels: npt.NDArray[np.integer[Any]] = volume.array.argmax(0).astype(kind)
        return labels
    # One class at a time: all of them on the image's grid could be many gigabytes.
    best = np.full(size, -1.0, np.float32)
    labels = np.zeros(size, kind)
    for number, one in enumerate(volume.array):
        value = ndimage.affine_transform(one, scale, offset, output_shape=size, order=1, mode="nearest")
        better = value > best
        best[better] = value[better]
        labels[better] = number
    return labels
