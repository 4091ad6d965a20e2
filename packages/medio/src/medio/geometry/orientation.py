"""Other axis orders of the same voxels."""

import numpy as np

from medio.affines import WORLD_LETTERS, axis_directions
from medio.errors import GeometryError
from medio.image import Image


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
        next(((w, -1 if pair[1] == letter else 1) for w, pair in enumerate(WORLD_LETTERS) if letter in pair), (-1, 0))
        for letter in axes.upper()
    ]
    if sorted(w for w, _ in wanted) != [0, 1, 2]:
        raise GeometryError(name, f"axes {axes!r} must name each of S/I, P/A and L/R once, e.g. 'SPL'")
    now = axis_directions(image.affine)
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
