"""NIfTI in and out: RAS and (x, y, z) in the file, LPS and (z, y, x) here.

Source: NIfTI-1.1 header, sections on orientation (methods 2 and 3), scaling and units.
"""

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from medio.atomic import replacing
from medio.errors import CorruptFileError, GeometryError, MissingFileError, UnsupportedError
from medio.formats.voxels import as_image, packed, read_voxels, to_write
from medio.image import Image

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, its own inverse
_REVERSE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])  # (z, y, x, 1) to (x, y, z, 1), its own inverse
_nifti_image: Any = nibabel.Nifti1Image  # nibabel ships no full types
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


def read_nifti(path: Path) -> Image:
    """Read a NIfTI-1 or NIfTI-2 volume.

    Args:
        path: .nii, .nii.gz, or either file of a pair .hdr and .img.

    Returns:
        (D, H, W), or (C, D, H, W) for a fourth (or fifth) dimension or colour. Integers stay as stored; scaled ones become int16 where exact, else float32.
        The affine is the sform where its code is set, else the qform: two codes name two frames (scanner, aligned, a template), and the sform is the one that
        a later step chose. Where both name the same frame they must agree. Lengths in metres or micrometres become mm; unknown units are mm.

    Raises:
        MissingFileError: no such file, or half a pair.
        CorruptFileError: not NIfTI, or cut short.
        GeometryError: neither sform nor qform is set, the one that is set is singular, or both claim the same frame and disagree.
        UnsupportedError: complex values, and shapes that are not one volume.
    """
    if not path.is_file():
        raise MissingFileError(path, "no such file")
    try:
        image: Any = nibabel.load(path)
        header = image.header
        kind = type(image)
        affine = np.array(image.affine, np.float64)
    except Exception as error:  # nibabel raises what the header makes it raise
        raise CorruptFileError(path, f"not a readable NIfTI header ({_short(error)}); fetch it again or exclude it") from error
    if not all(Path(image.file_map[part].filename).is_file() for part in ("header", "image") if part in image.file_map):
        raise MissingFileError(path, "the other file of its pair is missing; put the .hdr and the .img side by side")
    if "sform_code" not in header:
        raise GeometryError(path, f"is {kind.__name__}, not NIfTI: nothing in it says left from right; convert it with what wrote it")
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        raise GeometryError(
            path, "sform_code and qform_code are both 0: nothing says where or how large a voxel is; set one, e.g. from the original DICOM"
        )
    length = _MILLIMETRES.get(_length_unit(header, path), 1.0)
    affine[:3] *= length
    if codes[0] == codes[1]:
        _check_agreement(header, path, affine, length)
    array = _read_array(image, path)
    return as_image(
        path, array, _FLIP @ affine @ _REVERSE, "sform" if codes[0] else "qform", {"sform_code": codes[0], "qform_code": codes[1]}
    )


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
    array = to_write(image, path, "NIfTI")
    assert image.affine is not None
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
    data = out.to_bytes()
    with replacing(path) as partial:
        partial.write_bytes(packed(data, gzip=True) if path.name.lower().endswith(".gz") else data)


def _length_unit(header: Any, path: Path) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError as error:
        raise CorruptFileError(path, f"xyzt_units is {int(header['xyzt_units'])}, which is no unit; correct the header") from error


def _check_agreement(header: Any, path: Path, affine: npt.NDArray[np.float64], length: float) -> None:
    """Refuse a qform of the same frame as the sform that puts a corner of the volume half a voxel or more elsewhere."""
    try:
        other = np.array(header.get_qform(), np.float64)
    except Exception as error:  # a quaternion that is none: nibabel raises several kinds
        raise GeometryError(path, f"its qform is not a rotation ({_short(error)}); set qform_code to 0 if the sform is right") from error
    other[:3] *= length
    ends = [(0, max(0, int(n) - 1)) for n in header.get_data_shape()[:3]]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(len(ends), -1)
    apart = float(np.linalg.norm((affine - other)[:3, : len(ends)] @ corners + (affine - other)[:3, 3:], axis=0).max())
    if apart > 0.5 * float(np.linalg.norm(affine[:3, :3], axis=0).min()) + 1e-3:
        raise GeometryError(
            path,
            f"sform and qform both claim frame {int(header['sform_code'])} and lie up to {apart:.3g} mm apart; set the code of the wrong one to 0",
        )


def _read_array(image: Any, path: Path) -> npt.NDArray[Any]:
    header, dtype = image.header, image.header.get_data_dtype()
    shape = tuple(int(n) for n in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise CorruptFileError(path, f"its sizes are {shape}, which no volume has; fetch it again or exclude it")
    if not dtype.names and (dtype.kind not in "iuf" or dtype.itemsize > 8):
        raise UnsupportedError(path, f"voxels of type {dtype} are not read; only integers and floats are")
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    held = Path(image.file_map["image"].filename)
    start = int(image.dataobj.offset)
    if start < 0:
        raise CorruptFileError(path, f"its vox_offset is {start}; correct the header or fetch it again")
    where: dict[str, Any] = {"encoding": "deflate", "skip": start} if held.name.lower().endswith(".gz") else {"offset": start}
    # Not through nibabel, which maps the file into memory: an image must outlive its file.
    stored = read_voxels(held, dtype, math.prod(shape), **where).reshape(shape, order="F")
    if dtype.names:  # RGB and RGBA are records of one byte a colour
        return np.stack([_z_y_x(np.ascontiguousarray(stored[name].T).T, path) for name in dtype.names])
    return _z_y_x(stored if (slope, intercept) == (1, 0) else _scale(stored, slope, intercept), path)


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
