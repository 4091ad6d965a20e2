"""Projection images: DICOM CR, DX, MG and the like; one plane, no place in the patient."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.frame import Frame
from medio.dicom.instances import Instance
from medio.dicom.luts import modality_table, voi_of
from medio.dicom.padding import padding_of
from medio.dicom.pixels import frames
from medio.dicom.projection import projection_spacing
from medio.dicom.rescale import rescale_slices
from medio.errors import GeometryError, UnsupportedError
from medio.image import Image

FILM_MODALITIES = frozenset({"CR", "DX", "MG", "RG", "RF", "XA", "IO", "PX", "SC", "OT", "US", "ES", "XC", "OP", "GM", "DG", "NM"})
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def read_dicom_film(instance: Instance, meta: Mapping[str, Any], spacing: tuple[float, ...] | None) -> Image:
    """Read one projection image.

    Args:
        instance: the file.
        meta: what to keep of the header.
        spacing: (row, column) mm; needed where the file has none, and preferred where given.

    Returns:
        (H, W), or (3, H, W) for colour; affine None. Bright means dense: MONOCHROME1 is inverted within BitsStored. `meta` says how the spacing came about, see
        `film_meta`.

    Raises:
        GeometryError: no spacing.
        UnsupportedError: several frames (cine).
        CorruptFileError: pixels that do not decode.
    """
    if instance.frame_count > 1:
        raise UnsupportedError(
            instance.path, f"{instance.frame_count} frames without a position each (cine): read them with medio.read_cine(path)"
        )
    extra, chosen = film_meta(instance, spacing)
    array = film_values(next(frames(instance)), instance)
    return Image(array, None, chosen, "", {**meta, **extra})


def film_meta(instance: Instance, spacing: tuple[float, ...] | None) -> tuple[dict[str, Any], tuple[float, float]]:
    """Return what `Image.meta` says of a film beside its header, and its spacing (row, column) mm.

    `spacing_source` names the element that the spacing comes from, or `argument`; `spacing_plane` where it is measured (see `ProjectionSpacing`);
    `magnification` how many times larger the patient appears there, None where not known: lengths in the patient are smaller by it; `voi` the windows;
    `padding` the (lowest, highest) value that means no image, None where not said.

    Raises:
        GeometryError: no spacing in the file and none given, or not two numbers.
    """
    header = instance.header
    found = projection_spacing(header)
    chosen = spacing or found.spacing
    if chosen is None:
        raise GeometryError(instance.path, "has no positive PixelSpacing or ImagerPixelSpacing; pass spacing=(row, column) in mm")
    flip = _flip(instance)
    voi = voi_of(whole_frame(instance))
    if flip is not None:
        voi = replace(voi, slope=-1.0, intercept=flip, inverted=True)
    padding = padding_of(header)
    if padding is not None and modality_table(header, instance.path) is None:
        slope, intercept = _rescale(header)
        ends = [value * slope + intercept for value in padding]
        ends = ends if flip is None else [flip - value for value in ends]
        padding = (min(ends), max(ends))
    elif padding is not None:
        padding = None
    extra = {
        "spacing_source": "argument" if spacing else found.source,
        "spacing_plane": "argument" if spacing else found.plane,
        "magnification": None if spacing else found.magnification,
        "voi": voi,
        "padding": padding,
        "paths": (str(instance.path),),
        "sop_instance_uids": (str(header.get("SOPInstanceUID", "")),),
    }
    return extra, _two(chosen, instance.path)


def film_values(stored: npt.NDArray[Any], instance: Instance) -> npt.NDArray[Any]:
    """Turn one stored frame, (H, W) or (H, W, 3), into real values, bright where dense; colour to (3, H, W).

    Raises:
        CorruptFileError: a Modality LUT that makes no sense.
    """
    if stored.ndim == 3:
        return np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    header = instance.header
    table = modality_table(header, instance.path)
    inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
    if table is not None:
        values = table(stored)
        return np.asarray(2**table.bits - 1 - values if inverted else values, np.uint16)
    if inverted:
        bits = int(header.get("BitsStored") or header.BitsAllocated)
        # The complement within BitsStored: largest value becomes smallest, for signed values (-1 - v) too.
        stored = np.invert(stored) if stored.dtype.kind == "i" else stored.dtype.type(2**bits - 1) - stored
    slope, intercept = _rescale(header)
    return stored if (slope, intercept) == (1, 0) else rescale_slices(stored[None], [slope], [intercept])[0]


def whole_frame(instance: Instance) -> Frame:
    """Return a film as a frame without a place, to look up what its header says."""
    header = instance.header
    nowhere = np.zeros(0)
    size = (int(header.Rows), int(header.Columns))
    groups = [group for name in _GROUPS for group in (header.get(name) or [])[:1]]
    return Frame(instance, 0, nowhere, nowhere, (0.0, 0.0), None, None, _rescale(header)[1], "", size, "", None, (*groups, header))


def _rescale(header: Any) -> tuple[float, float]:
    return float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)


def _flip(instance: Instance) -> float | None:
    """Return what inverted values and the file's own add up to, None where values are not inverted."""
    header = instance.header
    if header.get("PhotometricInterpretation") != "MONOCHROME1":
        return None
    table = modality_table(header, instance.path)
    if table is not None:
        return float(2**table.bits - 1)
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    slope, intercept = _rescale(header)
    return slope * (-1 if header.get("PixelRepresentation") else 2**bits - 1) + 2 * intercept


def _two(spacing: tuple[float, ...], path: Path) -> tuple[float, float]:
    if len(spacing) != 2:
        raise GeometryError(path, f"a film needs spacing (row, column), got {spacing}")
    return float(spacing[0]), float(spacing[1])
