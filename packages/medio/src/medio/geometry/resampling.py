"""Interpolation of an image on another grid."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.affines import rescaled
from medio.errors import GeometryError
from medio.geometry.axes import Axis
from medio.geometry.separable import round_to, sample_nearest, sample_weighted
from medio.image import Image

_ALIGNED = 1e-5
"""Voxels by which two grids may slant against each other, over their whole extent, and still be taken axis by axis: what float32 affines lose."""

Matrix = npt.NDArray[np.float64]


def resample(
    image: Image,
    *,
    spacing: tuple[float, ...] | None = None,
    like: Image | None = None,
    order: int = 1,
    fill: float | None = None,
    antialias: bool = False,
    dtype: npt.DTypeLike | None = None,
    threads: int = 1,
) -> Image:
    """Interpolate an image on another grid, right in world coordinates whatever the orientation.

    With `spacing`, the axes and the outer corner of the first voxel stay, and the extent is kept as nearly as whole voxels allow
    (size = round(old size * old spacing / new spacing), at least 1): the centre of the first voxel moves by half the difference of the spacings.
    With `like`, the result lies on the grid of `like`. Within half a voxel of the border the border value counts; beyond, `fill`.
    Grids whose axes run along the old ones (flipped and permuted too) are taken axis by axis, slice by slice: several times as fast as others, and with
    little memory beside the result.

    Args:
        image: volume ([C,] D, H, W), or film ([C,] H, W) for `spacing` alone.
        spacing: mm along each spatial axis, in array order.
        like: an image with the wanted affine and size.
        order: 0 nearest (masks), 1 linear, up to 5 spline. Splines may overshoot.
        fill: value outside the image; the image's minimum by default (air in CT, background in a mask).
        antialias: smooth first, where an axis shrinks by a factor f, by a Gaussian of standard deviation (f - 1) / 2 old voxels, so that fine texture does
            not alias. Off by default: a mask has nothing to smooth, and a value stays one that linear interpolation gives.
        dtype: floating type of the result, to keep the fractions of interpolated integers; the image's own by default.
        threads: how many share the work on aligned grids.

    Returns:
        An image with the new affine and spacing, of the same dtype unless told: integers are rounded to nearest, and clipped to their range.

    Raises:
        GeometryError: both or neither of `spacing` and `like`, a film with `like`, or images of different frames of reference.
        ValueError: an order that is none, antialias with order 0 or on a grid that is not aligned, a `dtype` that holds no fractions.
    """
    name = str(image.meta.get("path", "image"))
    if (spacing is None) == (like is None):
        raise GeometryError(name, "resample needs either spacing= or like=")
    kind = _check(image, order, antialias, dtype)
    if spacing is not None:
        new = _axes_like(spacing, image, name)
        size = tuple(max(1, round(n * old / s)) for n, old, s in zip(image.spatial_shape, image.spacing, new, strict=True))
        scale = np.array(new) / np.array(image.spacing)
        array = sample(image.array, np.diag(scale), (scale - 1) / 2, size, order, fill, antialias, kind, threads)
        return Image(array, rescaled(image.affine, scale), new, image.unit, image.meta)
    assert like is not None
    if image.affine is None or like.affine is None:
        raise GeometryError(name, "films have no common frame; resample each by spacing=")
    frames = {str(i.meta["frame_of_reference_uid"]) for i in (image, like) if i.meta.get("frame_of_reference_uid")}
    if len(frames) > 1:
        raise GeometryError(name, "the images have different FrameOfReferenceUID: register them first, and drop the key from meta")
    matrix = np.linalg.inv(image.affine) @ like.affine
    array = sample(image.array, matrix[:3, :3], matrix[:3, 3], like.spatial_shape, order, fill, antialias, kind, threads)
    return Image(array, like.affine.copy(), like.spacing, image.unit, image.meta)


def sample(
    array: npt.NDArray[Any],
    matrix: Matrix,
    offset: Matrix,
    size: tuple[int, ...],
    order: int,
    fill: float | None,
    antialias: bool,
    dtype: np.dtype[Any],
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Take old index = matrix @ new index + offset at every new index of a grid of `size`, channel by channel; the steps of `resample`."""
    dims = len(size)
    old = array.shape[array.ndim - dims :]
    if dims == 2:  # a film is a volume of one slice
        deep = np.eye(3)
        deep[1:, 1:] = matrix
        matrix, offset = deep, np.array([0.0, *offset])
    channels = array.reshape(-1, *((1,) * (3 - dims)), *old)
    new = (1,) * (3 - dims) + size
    out = np.empty((len(channels), *new), dtype)
    axes = _aligned(matrix, offset, new, channels.shape[1:])
    if axes is None and antialias:
        raise ValueError("antialias smooths along the old axes, and this grid is oblique to them; resample by spacing= first")
    for source, target in zip(channels, out, strict=True):
        if axes is None or (order > 0 and not _finite(source)):
            smooth = _sigmas(axes) if axes is not None and antialias else (0.0, 0.0, 0.0)
            outside = _sample_oblique(source, matrix, offset, target, order, smooth)
        else:
            outside = _sample_aligned(source, axes, target, order, antialias, threads)
        for part in outside:
            target[part] = source.min() if fill is None else fill
    return out.reshape(*array.shape[: array.ndim - dims], *size)


def _sample_aligned(
    source: npt.NDArray[Any],
    axes: tuple[tuple[int, ...], list[Axis]],
    target: npt.NDArray[Any],
    order: int,
    antialias: bool,
    threads: int,
) -> list[Any]:
    """Fill the target axis by axis; give the parts of it that lie outside."""
    turned = source.transpose(axes[0])
    if all(axis.is_identity for axis in axes[1]):
        target[...] = turned
    elif order == 0:
        sample_nearest(turned, axes[1], target)
    else:
        sample_weighted(turned, axes[1], target, order=order, antialias=antialias, threads=threads)
    beyond = [axis.outside() for axis in axes[1]]
    return [(slice(None),) * i + (mark,) for i, mark in enumerate(beyond) if mark.any()]


def _sample_oblique(
    source: npt.NDArray[Any], matrix: Matrix, offset: Matrix, target: npt.NDArray[Any], order: int, sigmas: tuple[float, ...]
) -> list[Any]:
    """Fill the target through scipy, a few slices at a time; give the parts of it that lie outside."""
    wide = source.dtype == np.float64 or (source.dtype.kind in "iu" and source.dtype.itemsize > 2)
    kind = np.dtype(np.float64 if wide else np.float32)
    affine_transform: Any = ndimage.affine_transform  # its stubs want literal orders
    if any(sigmas):
        source = ndimage.gaussian_filter(source.astype(kind), sigmas, mode="nearest")
    if order > 1 or source.dtype == np.bool_:
        source = source.astype(kind)
    # Splines are prefiltered as a whole: one call. Others come in slabs, so that no floating-point copy of the whole is made.
    step = len(target) if order > 1 else max(1, 2_000_000 // max(1, target[0].size))
    outside: list[Any] = []
    for start in range(0, len(target), step):
        slab = target[start : start + step]
        moved = offset + matrix[:, 0] * start
        if order == 0 and slab.dtype == source.dtype:
            affine_transform(source, matrix, moved, slab.shape, slab, order=0, mode="nearest")
        else:
            values = affine_transform(source, matrix, moved, slab.shape, kind, order=order, mode="nearest")
            if slab.dtype.kind in "iu":
                values = round_to(values, slab.dtype)
            slab[...] = values > 0.5 if slab.dtype == np.bool_ else values
        mark = _outside(matrix, moved, slab.shape, source.shape)
        if mark is not None:
            whole = np.zeros(target.shape, bool) if not outside else outside[0]
            whole[start : start + step] = mark
            outside = [whole]
    return outside


def _aligned(matrix: Matrix, offset: Matrix, size: tuple[int, ...], old: tuple[int, ...]) -> tuple[tuple[int, ...], list[Axis]] | None:
    """Give the old axis behind each new one and its sampling; None where a new axis runs along none of the old."""
    source = np.abs(matrix).argmax(axis=0)
    if sorted(source) != [0, 1, 2]:
        return None
    slant = np.abs(matrix) * np.array(size)
    slant[source, range(3)] = 0
    if slant.max() > _ALIGNED:
        return None
    order = tuple(int(i) for i in source)
    return order, [Axis(old[i], n, float(matrix[i, new]), float(offset[i])) for new, (i, n) in enumerate(zip(order, size, strict=True))]


def _sigmas(axes: tuple[tuple[int, ...], list[Axis]]) -> tuple[float, ...]:
    """Give the standard deviation of the smoothing along each old axis."""
    return tuple(axes[1][axes[0].index(old)].sigma for old in range(3))


def _outside(matrix: Matrix, offset: Matrix, size: tuple[int, ...], old: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Mark the new voxels whose centre lies outside the old image, half a voxel beyond its outer centres; None where there is none."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(len(size), -1)
    reach = matrix @ corners + offset[:, None]
    limit = np.array(old) - 0.5 + 1e-6
    if (reach >= -0.5 - 1e-6).all() and (reach <= limit[:, None]).all():
        return None
    out = np.zeros(size, bool)
    grid = np.ogrid[tuple(slice(n) for n in size)]
    for row, shift, end in zip(matrix, offset, limit, strict=True):
        place = sum((m * g for m, g in zip(row, grid, strict=True) if m != 0), np.float64(shift))
        out |= (place < -0.5 - 1e-6) | (place > end)
    return out


def _finite(source: npt.NDArray[Any]) -> bool:
    # A product with a matrix spreads a NaN over a block: such values go the slower way, where it stays with its neighbours.
    if source.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(source.sum(dtype=np.float64)))


def _check(image: Image, order: int, antialias: bool, dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    if order not in range(6):
        raise ValueError(f"order must be 0 (nearest), 1 (linear) or a spline of 2 to 5, got {order}")
    if antialias and order == 0:
        raise ValueError("antialias smooths, and nearest values (order=0) cannot be smoothed; leave one of them out")
    kind = image.array.dtype if dtype is None else np.dtype(dtype)
    if dtype is not None and kind.kind != "f":
        raise ValueError(f"dtype must be a floating type, to keep the fractions, got {kind}; leave it out to keep {image.array.dtype}")
    return kind


def _axes_like(spacing: tuple[float, ...], image: Image, name: str) -> tuple[float, ...]:
    if len(spacing) != len(image.spacing) or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise GeometryError(name, f"spacing {spacing} must be {len(image.spacing)} positive numbers in mm")
    return tuple(float(s) for s in spacing)
