"""One way in and one way out: the kind of file is told by its name."""

from collections.abc import Sequence
from pathlib import Path

from medio.dicom.films import read_raster, write_png
from medio.dicom.volume import read_dicom
from medio.errors import GeometryError, MissingFileError, UnsupportedError
from medio.formats.nifti import read_nifti, write_nifti
from medio.image import Image

_RASTER = frozenset({".png", ".jpg", ".jpeg"})


def read(path: Path | str | Sequence[Path | str], *, spacing: tuple[float, ...] | None = None) -> Image:
    """Read one image with its geometry.

    Args:
        path: a folder with one DICOM series, a DICOM file, the files of one series in any order, a .nii or .nii.gz, a .png or .jpg.
        spacing: (row, column) in mm for PNG, JPEG and DICOM films that carry none; volumes carry their own.

    Returns:
        Volumes: array ([C,] D, H, W) in z, y, x order, `affine` from index (z, y, x, 1) to LPS mm, spacing (z, y, x) mm; CT in HU.
        Films: array ([3,] H, W), affine None, spacing (row, column) mm. `meta` holds what the header said.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a broken or truncated file.
        GeometryError: geometry missing or contradictory: duplicates, gaps, variable spacing, gantry tilt, mixed orientations or sizes.
        UnsupportedError: well formed, but not one volume or film: several series, mosaics, cine.
    """
    if isinstance(path, str | Path):
        return _read_one(Path(path), spacing)
    paths = [Path(p) for p in path]
    for one in paths:
        _check_exists(one)
    if len(paths) == 1:
        return _read_one(paths[0], spacing)
    return read_dicom(paths, spacing=spacing)


def write(image: Image, path: Path | str) -> None:
    """Write an image; the file appears whole or not at all.

    Args:
        image: a volume for .nii and .nii.gz (written in RAS), a film of whole numbers for .png.
        path: the suffix chooses the format.

    Raises:
        UnsupportedError: another suffix, or values that the format does not hold.
        GeometryError: a film for NIfTI.
    """
    path = Path(path)
    if _is_nifti(path):
        write_nifti(image, path)
    elif path.suffix.lower() == ".png":
        write_png(image, path)
    else:
        raise UnsupportedError(path, "images are written as .nii, .nii.gz or .png; choose one of these suffixes")


def _read_one(path: Path, spacing: tuple[float, ...] | None) -> Image:
    _check_exists(path)
    if path.is_file() and path.suffix.lower() in _RASTER:
        return read_raster(path, spacing)
    if path.is_file() and _is_nifti(path):
        if spacing is not None:
            raise GeometryError(path, "a NIfTI file carries its own spacing; leave spacing= out")
        return read_nifti(path)
    return read_dicom(path, spacing=spacing)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise MissingFileError(path, "no such file or folder")


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))
