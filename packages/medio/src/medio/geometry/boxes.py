"""Parts of a grid: voxels keep their values and their place in the patient."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medio.affines import shifted
from medio.errors import GeometryError
from medio.image import Image

Box = tuple[tuple[int, int], ...]
"""(start, stop) in voxels along each spatial axis, in array order; stop is excluded."""


def crop(image: Image, box: Box) -> Image:
    """Cut out a box.

    Args:
        image: ([C,] D, H, W) or ([C,] H, W).
        box: (start, stop) along each spatial axis, within the image.

    Returns:
        A copy of the voxels in the box, each where it was in the patient.

    Raises:
        GeometryError: a box that is empty, does not lie within the image, or has another number of axes.
    """
    _check_box(image, box)
    return replace(image, array=image.array[_window(box)].copy(), affine=shifted(image.affine, [start for start, _ in box]))


def pad(image: Image, margins: Sequence[tuple[int, int]], *, fill: float | None = None) -> Image:
    """Add voxels around an image.

    Args:
        image: ([C,] D, H, W) or ([C,] H, W).
        margins: (before, after) in voxels along each spatial axis, in array order.
        fill: value of the new voxels; the image's minimum by default (air in CT, background in a mask).

    Returns:
        The larger image; the old voxels lie where they were in the patient.

    Raises:
        GeometryError: negative margins, or another number of axes.
    """
    if len(margins) != len(image.spacing) or any(side < 0 for pair in margins for side in pair):
        raise GeometryError(
            _name(image), f"margins {tuple(margins)} must be {len(image.spacing)} pairs of 0 or more voxels; crop to make an image smaller"
        )
    shape = tuple(n + sum(pair) for n, pair in zip(image.spatial_shape, margins, strict=True))
    like = replace(
        image,
        array=np.empty((*image.array.shape[: -len(shape)], *shape), image.array.dtype),
        affine=shifted(image.affine, [-before for before, _ in margins]),
    )
    box = tuple((before, before + n) for (before, _), n in zip(margins, image.spatial_shape, strict=True))
    return paste_back(image, like, box=box, fill=image.array.min() if fill is None else fill)


def paste_back(result: Image, like: Image, *, box: Box | None = None, fill: float = 0) -> Image:
    """Put what was made of a cropped image back on the grid of the whole one.

    Args:
        result: an image of part of the grid of `like`, e.g. a mask predicted on the crop; its type is kept.
        like: the image that was cropped.
        box: where the part was cut out; found from the affines where it is not given.
        fill: value outside the part.

    Returns:
        An image with the array size, affine and spacing of `like`; unit and meta are those of `result`.

    Raises:
        GeometryError: the part is not on the grid of `like` (other spacing, or between voxels), does not lie within it, or is a film without `box`.
    """
    if box is None:
        box = _find_box(result, like)
    _check_box(like, box)
    size = tuple(stop - start for start, stop in box)
    if size != result.spatial_shape:
        raise GeometryError(_name(result), f"size {result.spatial_shape} does not fill the box {box}; resample it onto the crop first")
    array = np.full((*result.array.shape[: -len(size)], *like.spatial_shape), fill, result.array.dtype)
    array[_window(box)] = result.array
    return replace(result, array=array, affine=None if like.affine is None else like.affine.copy(), spacing=like.spacing)


def _find_box(result: Image, like: Image) -> Box:
    if result.affine is None or like.affine is None:
        raise GeometryError(_name(result), "a film does not know where it was cut out; pass box=")
    steps = np.linalg.inv(like.affine) @ result.affine
    start = np.rint(steps[:3, 3])
    ends = np.array([(0, n - 1) for n in result.spatial_shape])
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    apart = np.abs(steps[:3, :3] @ corners + steps[:3, 3:] - corners - start[:, None]).max()
    if apart > 1e-2:
        raise GeometryError(
            _name(result), f"is not on the grid of the whole image (off by {apart:.3g} voxels); resample(result, like=..., order=0) first"
        )
    return tuple((int(s), int(s) + n) for s, n in zip(start, result.spatial_shape, strict=True))


def _check_box(image: Image, box: Box) -> None:
    if len(box) != len(image.spacing) or not all(0 <= a < b <= n for (a, b), n in zip(box, image.spatial_shape, strict=True)):
        raise GeometryError(
            _name(image),
            f"box {box} must be {len(image.spacing)} pairs 0 <= start < stop within {image.spatial_shape}; clip it to the image",
        )


def _window(box: Box) -> tuple[Any, ...]:
    return (..., *(slice(start, stop) for start, stop in box))


def _name(image: Image) -> str:
    return str(image.meta.get("path", "image"))
