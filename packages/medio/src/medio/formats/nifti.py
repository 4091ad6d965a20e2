"""NIfTI in and out: RAS and (x, y, z) in the file, LPS and (z, y, x) here.

Source: NIfTI-1.1 header, sections on orientation (methods 2 and 3), scaling and units.
"""

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.image import Image

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, its own inverse
_REVERSE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])  # (z, y, x, 1) to (x, y, z, 1), its own inverse
_nifti_image: Any = nibabel.Nifti1Image  # nibabel ships no full types
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


def read_nifti(path: Path) -> Image:
    """Read a NIfTI-1 or NIfTI-2 volume.

    Args:
        path: .nii or .nii.gz.

    Returns:
        (D, H, W), or (C, D, H, W) for a fourth (or fifth) dimension. Integers stay as stored; scaled ones become int16 where exact, else float32.
        The affine is the sform where its code is set, else the qform. Lengths in metres or micrometres become mm; unknown units are mm.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: not NIfTI, or cut short.
        GeometryError: neither sform nor qform is set, or the one that is set is singular.
    """
    if not path.is_file():
        raise MissingFileError(path, "no such file")
    try:
        image: Any = nibabel.load(path)
        header = image.header
        codes = int(header["sform_code"]), int(header["qform_code"])
        affine = np.array(image.affine, np.float64)
    except Exception as error:  # nibabel raises what the header makes it raise
        raise CorruptFileError(path, f"not a readable NIfTI header ({_short(error)}); fetch it again or exclude it") from error
    if codes == (0, 0):
        raise GeometryError(
            path, "sform_code and qform_code are both 0: nothing says where or how large a voxel is; set one, e.g. from the original DICOM"
        )
    affine[:3] *= _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    array = _read_array(image, path)
    affine = _FLIP @ affine @ _REVERSE
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * max(float(np.prod(spacing)), 1e-12):
        raise GeometryError(path, f"{'sform' if codes[0] else 'qform'} is singular; correct it, e.g. from the original DICOM")
    meta = {"path": str(path), "sform_code": codes[0], "qform_code": codes[1]}
    return Image(array, affine, (float(spacing[0]), float(spacing[1]), float(spacing[2])), "", meta)


def write_nifti(image: Image, path: Path) -> None:
    """Write a volume as NIfTI-1; the file appears whole or not at all.

    The array is kept bit for bit (bool as uint8, float16 as float32). The affine is kept to float32, all that the format holds: as sform, and as qform too where it has no shear.

    Args:
        image: (D, H, W) or (C, D, H, W); channels become the fourth dimension.
        path: .nii or .nii.gz.

    Raises:
        GeometryError: a film, which has no place in the patient.
        UnsupportedError: a type of value that NIfTI does not have.
    """
    if image.affine is None or len(image.spacing) != 3:
        raise GeometryError(path, "NIfTI needs a volume with an affine; write films as .png")
    array = image.array
    array = array.astype({"b": np.uint8, "f": np.float32}[array.dtype.kind]) if array.dtype in (np.bool_, np.float16) else array
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise UnsupportedError(path, f"NIfTI here holds integers and floats, not {array.dtype}")
    array = array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.transpose(2, 1, 0)
    affine = _FLIP @ image.affine @ _REVERSE
    out: Any = _nifti_image(array, affine, dtype=array.dtype)
    out.header.set_xyzt_units("mm")
    out.header.set_slope_inter(1, 0)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    square = np.allclose(directions.T @ directions, np.eye(3), atol=1e-5)
    out.set_sform(affine, code=1)
    if square:
        out.set_qform(affine, code=1)
    else:
        # A qform cannot hold shear: only its spacing is set, its code says not to use it.
        out.set_qform(affine, code=0, strip_shears=True)
    with replacing(path) as partial:
        nibabel.save(out, partial)


def _read_array(image: Any, path: Path) -> npt.NDArray[Any]:
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    try:
        stored = np.asarray(image.dataobj.get_unscaled())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        needed = int(np.prod(image.shape)) * image.get_data_dtype().itemsize
        raise CorruptFileError(
            path,
            f"ends before its voxels do ({path.stat().st_size} bytes on disk, {needed} bytes of voxels declared; {_short(error)}); fetch it again or exclude it",
        ) from error
    if stored.dtype.kind not in "iuf":
        raise UnsupportedError(path, f"voxels of type {stored.dtype} are not read; only integers and floats are")
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if (slope, intercept) != (1, 0):
        stored = _scale(stored, float(slope), float(intercept))
    array = _z_y_x(stored, path)
    return np.ascontiguousarray(array)


def _scale(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    ends = np.array([stored.min(), stored.max()], np.float64) * slope + intercept
    exact = slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu"
    if exact and ends.min() >= -32768 and ends.max() <= 32767:
        return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(np.int16)
    return (stored * np.float64(slope) + np.float64(intercept)).astype(np.float64 if stored.dtype == np.float64 else np.float32)


def _z_y_x(stored: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    shape = stored.shape + (1,) * (3 - stored.ndim)
    spatial, rest = shape[:3], [n for n in shape[3:] if n != 1]
    if 0 in shape or len(rest) > 1:
        raise UnsupportedError(
            path, f"shape {stored.shape} is neither a volume nor a volume with channels; split it into one file a volume"
        )
    if rest:
        return stored.reshape(*spatial, rest[0]).transpose(3, 2, 1, 0)
    return stored.reshape(spatial).transpose(2, 1, 0)


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120] or type(error).__name__
