"""Projection images: DICOM CR, DX, MG and the like, PNG and JPEG; one plane, no place in the patient."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import apply_modality_lut

from medio.atomic import replacing
from medio.dicom.instances import Instance
from medio.dicom.pixels import frames
from medio.dicom.rescale import rescale_slices
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.image import Image

FILM_MODALITIES = frozenset({"CR", "DX", "MG", "RG", "RF", "XA", "IO", "PX", "SC", "OT", "US", "ES", "XC", "OP", "GM", "DG"})
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def read_dicom_film(instance: Instance, meta: Mapping[str, Any], spacing: tuple[float, ...] | None) -> Image:
    """Read one projection image.

    Args:
        instance: the file.
        meta: what to keep of the header.
        spacing: (row, column) mm; needed where the file has none, and preferred where given.

    Returns:
        (H, W), or (3, H, W) for colour; affine None. Bright means dense: MONOCHROME1 is inverted within BitsStored. `meta["spacing_source"]` names where the
        spacing comes from: `ImagerPixelSpacing` is measured at the detector, so lengths in the patient are smaller by the magnification.

    Raises:
        GeometryError: no spacing.
        UnsupportedError: several frames (cine).
        CorruptFileError: pixels that do not decode.
    """
    header = instance.header
    if instance.frame_count > 1:
        raise UnsupportedError(
            instance.path, f"{instance.frame_count} frames without a position each (cine); only single films and placed slices are read"
        )
    stored = next(frames(instance))
    if stored.ndim == 3:
        array: npt.NDArray[Any] = np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    elif (header.get("ModalityLUTSequence") or [{}])[0].get("LUTDescriptor"):
        array = np.asarray(apply_modality_lut(stored, header))
    else:
        if header.get("PhotometricInterpretation") == "MONOCHROME1":
            bits = int(header.get("BitsStored") or header.BitsAllocated)
            # The complement within BitsStored: largest value becomes smallest, for signed values (-1 - v) too.
            stored = np.invert(stored) if stored.dtype.kind == "i" else stored.dtype.type(2**bits - 1) - stored
        slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
        array = stored if (slope, intercept) == (1, 0) else rescale_slices(stored[None], [slope], [intercept])[0]
    found, source = _film_spacing(instance)
    chosen = spacing or found
    if chosen is None:
        raise GeometryError(instance.path, "has no positive PixelSpacing or ImagerPixelSpacing; pass spacing=(row, column) in mm")
    extra = {
        "spacing_source": "argument" if spacing else source,
        "paths": (str(instance.path),),
        "sop_instance_uids": (str(header.get("SOPInstanceUID", "")),),
    }
    return Image(array, None, _two(chosen, instance.path), "", {**meta, **extra})


def read_raster(path: Path, spacing: tuple[float, ...] | None) -> Image:
    """Read a PNG or JPEG of 8 or 16 bit.

    Args:
        path: the file.
        spacing: (row, column) mm; these formats carry none that can be trusted.

    Returns:
        (H, W) uint8 or uint16, or (3, H, W) where the channels differ; affine None.

    Raises:
        GeometryError: no spacing given.
        CorruptFileError: the file does not decode.
        UnsupportedError: transparency.
    """
    if spacing is None:
        raise GeometryError(path, f"a {path.suffix[1:].upper()} file carries no pixel spacing; pass spacing=(row, column) in mm")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(path, f"cannot be opened ({error.strerror})") from error
    decode = imagecodecs.png_decode if path.suffix.lower() == ".png" else imagecodecs.jpeg_decode
    try:
        pixels: npt.NDArray[Any] = decode(data)
    except Exception as error:  # the codecs have their own errors
        raise CorruptFileError(
            path, f"{len(data)} bytes that do not decode as {path.suffix[1:].upper()} ({error}); fetch it again or exclude it"
        ) from error
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise UnsupportedError(path, "has transparent pixels, whose value is not defined; flatten it first")
        pixels = pixels[..., :-1]
    if pixels.ndim == 3:
        grey = bool((pixels == pixels[..., :1]).all())
        pixels = np.ascontiguousarray(pixels[..., 0] if grey else np.moveaxis(pixels, -1, 0))
    return Image(pixels, None, _two(spacing, path), "", {"path": str(path), "spacing_source": "argument"})


def write_png(image: Image, path: Path) -> None:
    """Write a film as PNG, 8 bit where every value fits, else 16 bit; the spacing is not kept.

    Args:
        image: (H, W), (1, H, W), or (3, H, W) for colour; whole numbers in 0 to 65535.
        path: ends in .png.

    Raises:
        UnsupportedError: a volume, fractions, or values out of range.
    """
    array = image.array
    if len(image.spacing) != 2 or (array.ndim == 3 and array.shape[0] not in (1, 3)):
        raise UnsupportedError(path, f"a PNG holds one plane, not an array of shape {array.shape}; write .nii.gz or one slice")
    if array.dtype.kind not in "iub" or array.min() < 0 or array.max() > 65535:
        raise UnsupportedError(path, f"a PNG holds whole numbers in 0 to 65535, not {array.dtype}; window and convert the values first")
    wide = array.dtype not in (np.uint8, np.bool_) and (array.dtype == np.uint16 or int(array.max()) > 255)
    array = array.astype(np.uint16 if wide else np.uint8)
    if array.ndim == 3:
        array = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    with replacing(path) as partial:
        partial.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))


def _film_spacing(instance: Instance) -> tuple[tuple[float, ...] | None, str]:
    for keyword in _SPACINGS:
        value = instance.header.get(keyword)
        if value and all(float(v) > 0 for v in value):
            return tuple(float(v) for v in value), keyword
    return None, ""


def _two(spacing: tuple[float, ...], path: Path) -> tuple[float, float]:
    if len(spacing) != 2:
        raise GeometryError(path, f"a film needs spacing (row, column), got {spacing}")
    return float(spacing[0]), float(spacing[1])
