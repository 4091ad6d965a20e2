"""Grids in the patient: where a voxel lies, other grids, other axis orders."""

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.errors import GeometryError
from medio.image import Image

_WORLD = (("L", "R"), ("P", "A"), ("S", "I"))
"""LPS: the letter of increasing and of decreasing world x, y, z."""


def index_to_world(affine: npt.NDArray[np.float64], index: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Map array indices (..., 3) in (z, y, x) order, voxel centres at whole numbers, to LPS mm (..., 3) in (x, y, z) order."""
    return np.asarray(np.asarray(index, np.float64) @ affine[:3, :3].T + affine[:3, 3], np.float64)


def world_to_index(affine: npt.NDArray[np.float64], points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Map LPS mm (..., 3) in (x, y, z) order to array indices (..., 3) in (z, y, x) order; the inverse of `index_to_world`."""
    return index_to_world(np.asarray(np.linalg.inv(affine), np.float64), points)


def resample(
    image: Image, *, spacing: tuple[float, ...] | None = None, like: Image | None = None, order: int = 1, fill: float | None = None
) -> Image:
    """Interpolate an image on another grid, right in world coordinates whatever the orientation.

    With `spacing`, the axes and the outer corner of the first voxel stay, and the extent is kept as nearly as whole voxels allow
    (size = round(old size * old spacing / new spacing), at least 1): the centre of the first voxel moves by half the difference of the spacings.
    With `like`, the result lies on the grid of `like`. There is no smoothing before a coarser grid. Within half a voxel of the border the border value
    counts; beyond, `fill`.

    Args:
        image: volume ([C,] D, H, W), or film ([C,] H, W) for `spacing` alone.
        spacing: mm along each spatial axis, in array order.
        like: an image with the wanted affine and size.
        order: 0 nearest (masks), 1 linear, up to 5 spline. Splines may overshoot.
        fill: value outside the image; the image's minimum by default (air in CT, background in a mask).

    Returns:
        An image of the same dtype (integers are rounded to nearest, and clipped to their range) with the new affine and spacing.

    Raises:
        GeometryError: both or neither of `spacing` and `like`, a film with `like`, or images of different frames of reference.
    """
    name = str(image.meta.get("path", "image"))
    if (spacing is None) == (like is None):
        raise GeometryError(name, "resample needs either spacing= or like=")
    if spacing is not None:
        new = _axes_like(spacing, image, name)
        size = tuple(max(1, round(n * old / s)) for n, old, s in zip(image.spatial_shape, image.spacing, new, strict=True))
        scale = np.array(new) / np.array(image.spacing)
        offset = (scale - 1) / 2
        affine = None
        if image.affine is not None:
            change = np.eye(4)
            dims = len(new)
            change[:dims, :dims], change[:dims, 3] = np.diag(scale), offset
            affine = image.affine @ change
        return _sample(image, np.diag(scale), offset, size, order, fill, affine, new)
    assert like is not None
    if image.affine is None or like.affine is None:
        raise GeometryError(name, "films have no common frame; resample each by spacing=")
    frames = {str(i.meta["frame_of_reference_uid"]) for i in (image, like) if i.meta.get("frame_of_reference_uid")}
    if len(frames) > 1:
        raise GeometryError(name, "the images have different FrameOfReferenceUID: register them first, and drop the key from meta")
    matrix = np.linalg.inv(image.affine) @ like.affine
    matrix[np.abs(matrix) < 1e-9] = 0
    return _sample(image, matrix[:3, :3], matrix[:3, 3], like.spatial_shape, order, fill, like.affine.copy(), like.spacing)


def reorient(image: Image, axes: str = "SPL") -> Image:
    """Flip and permute the axes so that they run in given directions; voxels keep their values and their place in the patient.

    Args:
        image: a volume; oblique axes count as the nearest patient axis.
        axes: one letter an array axis (z, y, x order), where increasing index goes: S or I, P or A, L or R. `SPL` is that of an axial DICOM series.

    Raises:
        GeometryError: a film, or letters that do not name three different axes.
    """
    name = str(image.meta.get("path", "image"))
    if image.affine is None:
        raise GeometryError(name, "a film has no direction in the patient; it cannot be reoriented")
    wanted = [
        next(((w, -1 if pair[1] == letter else 1) for w, pair in enumerate(_WORLD) if letter in pair), (-1, 0)) for letter in axes.upper()
    ]
    if sorted(w for w, _ in wanted) != [0, 1, 2]:
        raise GeometryError(name, f"axes {axes!r} must name each of S/I, P/A and L/R once, e.g. 'SPL'")
    now = _directions(image.affine)
    source = [next(i for i, (w, _) in enumerate(now) if w == world) for world, _ in wanted]
    flips = [now[i][1] != sign for i, (_, sign) in zip(source, wanted, strict=True)]
    lead = image.array.ndim - 3
    array = image.array.transpose(*range(lead), *(lead + i for i in source))
    array = array[(slice(None),) * lead + tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for axis, (i, flip) in enumerate(zip(source, flips, strict=True)):
        change[i, axis] = -1 if flip else 1
        change[i, 3] = image.spatial_shape[i] - 1 if flip else 0
    spacing = tuple(image.spacing[i] for i in source)
    return Image(np.ascontiguousarray(array), image.affine @ change, spacing, image.unit, image.meta)


def axis_letters(affine: npt.NDArray[np.float64]) -> str:
    """Name where each array axis (z, y, x order) runs to, e.g. `SPL`; oblique axes count as the nearest patient axis."""
    return "".join(_WORLD[w][0 if sign > 0 else 1] for w, sign in _directions(affine))


def _directions(affine: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Give the world axis and sign of each array axis: the one-to-one assignment with the largest sum of cosines."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, i]) for i, w in enumerate(p)))
    return [(w, 1 if cosines[w, i] > 0 else -1) for i, w in enumerate(best)]


def _axes_like(spacing: tuple[float, ...], image: Image, name: str) -> tuple[float, ...]:
    if len(spacing) != len(image.spacing) or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise GeometryError(name, f"spacing {spacing} must be {len(image.spacing)} positive numbers in mm")
    return tuple(float(s) for s in spacing)


def _sample(
    image: Image,
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    size: tuple[int, ...],
    order: int,
    fill: float | None,
    affine: npt.NDArray[np.float64] | None,
    spacing: tuple[float, ...],
) -> Image:
    """Take old index = matrix @ new index + offset at every new index."""
    array, dims = image.array, len(size)
    if size == image.spatial_shape and np.allclose(matrix, np.eye(dims), atol=1e-9) and np.allclose(offset, 0, atol=1e-6):
        return Image(array.copy(), affine, spacing, image.unit, image.meta)
    channels = array.reshape(-1, *image.spatial_shape)
    out = np.empty((len(channels), *size), array.dtype)
    diagonal = np.diag(matrix)
    transform = diagonal if np.array_equal(matrix, np.diag(diagonal)) else matrix
    outside = _outside(matrix, offset, size, image.spatial_shape)
    wide = array.dtype == np.float64 or (array.dtype.kind in "iu" and array.dtype.itemsize > 2)
    kind = np.dtype(np.float64 if wide else np.float32)
    sample: Any = ndimage.affine_transform  # its stubs want literal orders
    for source, target in zip(channels, out, strict=True):
        if order == 0 and array.dtype != np.bool_:
            sample(source, transform, offset, size, target, order=0, mode="nearest")
        else:
            values = sample(source.astype(kind), transform, offset, size, kind, order=order, mode="nearest")
            if array.dtype.kind in "iu":
                limits = np.iinfo(array.dtype)
                values = np.clip(np.rint(values, out=values), limits.min, limits.max)
            target[...] = values > 0.5 if array.dtype == np.bool_ else values
        if outside is not None:
            target[outside] = source.min() if fill is None else fill
    return Image(out.reshape(*array.shape[: array.ndim - dims], *size), affine, spacing, image.unit, image.meta)


def _outside(
    matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], size: tuple[int, ...], old: tuple[int, ...]
) -> npt.NDArray[np.bool_] | None:
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
