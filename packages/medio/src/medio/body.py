"""Cut the air, and as well as may be the table, from around a patient."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.errors import GeometryError
from medio.geometry.boxes import Box, crop
from medio.geometry.resampling import resample
from medio.image import Image

AIR_HU = -500.0
"""Half way between air and water: the surface of the skin in CT."""
_COARSE_MM = 3.0
_OPENING_MM = 6.0
"""Shells of tables, cushions and cables are thinner than twice this, trunks, heads and limbs are not."""
_SHARE = 0.25
"""A part counts as body from this share of the largest on: both legs, not the head rest."""


def crop_to_body(image: Image, *, margin_mm: float = 0.0, threshold: float | None = None) -> tuple[Image, Box]:
    """Crop a volume to the box around the patient.

    On a grid of about 3 mm, what is brighter than the threshold is opened by 6 mm, which parts the patient from the table and removes whatever is thin; the
    largest part stays, with every other of at least a quarter of its volume (legs), and grows back by the opening. In MR there is no table, but skin that dark
    bone parts from the brain: gaps of up to 12 mm are closed first. The faces of the box are then found at full resolution, in the voxels within one coarse
    voxel of that region. A box never cuts into a part that counts as body; it may take in a table that is nearer to the skin than two coarse voxels. Arms that
    lie apart from a trunk do not reach a quarter of it, and may be cut.

    Args:
        image: a volume ([C,] D, H, W); the first channel decides.
        margin_mm: kept around the body on each side, where the image has it.
        threshold: what is brighter is body; by default -500 for CT, else half way from the mean of the background to the threshold of Otsu. An image counts as
            CT where its unit is HU, or where it has air below -500, as a CT without a unit (NIfTI) has.

    Returns:
        The cropped image, each voxel where it was in the patient, and the box (start, stop) along each axis, in array order, of the image given. A result on the
        crop goes back with `paste_back(result, image)`.

    Raises:
        GeometryError: a film, or a volume with nothing brighter than the threshold that outlasts the opening.
        ValueError: a negative margin.

    Source: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9, 1979.
    """
    name = str(image.meta.get("path", "image"))
    if len(image.spacing) != 3:
        raise GeometryError(name, "crop_to_body takes a volume, not a film; crop a film by its box")
    if margin_mm < 0:
        raise ValueError(f"margin_mm must be 0 or more, got {margin_mm}")
    voxels = image.array if image.array.ndim == 3 else image.array[0]
    single = Image(voxels, image.affine, image.spacing)
    coarse = resample(single, spacing=tuple(max(s, _COARSE_MM) for s in image.spacing), antialias=True, dtype=np.float32)
    is_ct = image.unit == "HU" or bool(np.nanpercentile(coarse.array, 1) < AIR_HU)
    level = threshold if threshold is not None else AIR_HU if is_ct else _background_level(coarse.array)
    bright = coarse.array > level
    body = _body(bright if is_ct else _closed(bright, coarse.spacing), coarse.spacing)
    if not body.any():
        raise GeometryError(name, f"nothing larger than {2 * _OPENING_MM:g} mm is brighter than {level:g}; pass threshold=")
    box = _faces(voxels, level, ndimage.binary_dilation(body, np.ones((3, 3, 3), bool)))
    margins = [int(np.ceil(margin_mm / s - 1e-9)) for s in image.spacing]
    box = tuple((max(0, a - m), min(n, b + m)) for (a, b), m, n in zip(box, margins, voxels.shape, strict=True))
    return crop(image, box), box


def _body(bright: npt.NDArray[np.bool_], spacing: Sequence[float]) -> npt.NDArray[np.bool_]:
    # Outside the array counts as more of the same: a body that reaches the border is not opened there.
    depth: Any = ndimage.distance_transform_edt(bright, sampling=spacing)
    # In a volume smaller than the opening, what is there is deep as far as it can be.
    core = depth > min(_OPENING_MM, 0.5 * float(depth.max()))
    labels, count = ndimage.label(core)
    if count == 0:
        return np.zeros_like(bright)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= _SHARE * sizes.max())
    away: Any = ndimage.distance_transform_edt(~np.isin(labels, kept), sampling=spacing)
    # One coarse voxel beyond the opening: it blunts the tips.
    return np.asarray(bright & (away <= _OPENING_MM + max(spacing)))


def _closed(bright: npt.NDArray[np.bool_], spacing: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Close gaps of up to twice the opening, and fill what they enclose."""
    gap: Any = ndimage.distance_transform_edt(~bright, sampling=spacing)
    wide = gap <= _OPENING_MM
    depth: Any = ndimage.distance_transform_edt(wide, sampling=spacing)
    return np.asarray(ndimage.binary_fill_holes((depth > _OPENING_MM) | bright))


def _faces(voxels: npt.NDArray[Any], level: float, near: npt.NDArray[np.bool_]) -> Box:
    """Find the box around the voxels above a level in a coarse region."""
    z_of, y_of, x_of = (
        np.minimum(((np.arange(n) + 0.5) * c / n).astype(np.intp), c - 1) for n, c in zip(voxels.shape, near.shape, strict=True)
    )
    hits = [np.zeros(n, bool) for n in voxels.shape]
    for z, coarse_z in enumerate(z_of):
        rows, columns = near[coarse_z].any(axis=1)[y_of], near[coarse_z].any(axis=0)[x_of]
        if not rows.any():
            continue
        y0, y1 = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
        x0, x1 = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
        bright = (voxels[z, y0:y1, x0:x1] > level) & near[coarse_z][y_of[y0:y1]][:, x_of[x0:x1]]
        hits[0][z] = bright.any()
        hits[1][y0:y1] |= bright.any(axis=1)
        hits[2][x0:x1] |= bright.any(axis=0)
    return tuple((int(hit.argmax()), len(hit) - int(hit[::-1].argmax())) for hit in hits)


def _background_level(values: npt.NDArray[Any]) -> float:
    """Half way from the mean of the dark class of Otsu to its threshold: dim skin is body too."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 0.0)
    if low == high:
        return float(low)
    counts, edges = np.histogram(finite.clip(low, high), bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    dark = counts.cumsum()
    bright = dark[-1] - dark
    total = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_dark, mean_bright = total / dark, (total[-1] - total) / bright
        between = np.nan_to_num(dark * bright * (mean_dark - mean_bright) ** 2, nan=0.0)
    best = int(between.argmax())
    return float((mean_dark[best] + edges[best + 1]) / 2)
