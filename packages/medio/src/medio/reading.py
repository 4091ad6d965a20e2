"""One way in and one way out: the kind of file is told by its name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from medio.dicom.options import Irregular, Padding, PetValues, ReadOptions
from medio.dicom.volume import read_dicom
from medio.errors import GeometryError, MissingFileError, UnsupportedError
from medio.formats.metaimage import read_metaimage, write_metaimage
from medio.formats.nifti import read_nifti, write_nifti
from medio.formats.nrrd import read_nrrd, write_nrrd
from medio.formats.raster import read_raster, write_png
from medio.formats.tiff import read_tiff, write_tiff
from medio.image import Image

Spacing = tuple[float, ...] | Literal["tags"] | None
_RASTER = frozenset({".png", ".jpg", ".jpeg"})
_TIFF = frozenset({".tif", ".tiff"})
_VOLUMES: Mapping[str, Callable[[Path], Image]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".hdr": read_nifti,
    ".img": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}
_WRITERS: Mapping[str, Callable[[Image, Path], None]] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".nrrd": write_nrrd,
    ".nhdr": write_nrrd,
    ".mha": write_metaimage,
    ".mhd": write_metaimage,
    ".png": write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}


def read(
    path: Path | str | Sequence[Path | str],
    *,
    spacing: Spacing = None,
    volume: str | None = None,
    tilt: Irregular = "refuse",
    gaps: Irregular = "refuse",
    padding: Padding = "keep",
    pet: PetValues = "auto",
    threads: int | None = None,
) -> Image:
    """Read one image with its geometry.

    Args:
        path: a folder with one DICOM series, a DICOM file, the files of one series in any order, a NIfTI (.nii, .nii.gz, .hdr with .img), NRRD (.nrrd, .nhdr),
            MetaImage (.mha, .mhd), PNG, JPEG or TIFF file.
        spacing: (row, column) in mm for PNG, JPEG, TIFF and DICOM films that carry none; (page, row, column) for a TIFF of several pages, which then is a
            volume; `tags` takes the resolution tags of a TIFF at their word. Volumes of other formats carry their own.
        volume: name of the one to read where a DICOM series holds several (echoes, b-values, time points, a localizer); the error of a series that does lists them,
            and `read_series` reads all.
        tilt: a DICOM stack that is sheared by a tilted gantry: `refuse`, or `resample` onto an upright grid.
        gaps: a DICOM stack with uneven slice distances: `refuse`, or `resample` onto an even grid.
        padding: DICOM pixels marked as padding: `keep` their value (`meta["padding"]` says which), or turn them to `air`, the smallest value that is none.
        pet: DICOM PET: `auto` for SUVbw where the header allows and the file's units elsewhere, `suv` to insist, `stored` for the file's units.
        threads: that decode DICOM frames; None for as many as help.

    Returns:
        Volumes: array ([C,] D, H, W) in z, y, x order, `affine` from index (z, y, x, 1) to LPS mm, spacing (z, y, x) mm; CT in HU.
        Films: array ([3,] H, W), affine None, spacing (row, column) mm. `meta` holds what the header said.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a broken or truncated file.
        GeometryError: geometry missing or contradictory: gaps, variable spacing, gantry tilt, two slices at one position.
        UnsupportedError: well formed, but not one volume or film: several series, several volumes and none chosen, cine.
    """
    options = ReadOptions(tilt=tilt, gaps=gaps, padding=padding, pet=pet, threads=threads)
    if isinstance(path, str | Path):
        return _read_one(Path(path), spacing, volume, options)
    paths = [p if isinstance(p, Path) else Path(p) for p in path]
    for one in paths:
        _check_exists(one)
    if len(paths) == 1:
        return _read_one(paths[0], spacing, volume, options)
    if spacing == "tags":
        raise GeometryError(paths[0], "only TIFF has resolution tags; the files of a series carry their own spacing")
    return read_dicom(paths, spacing=spacing, volume=volume, options=options)


def write(image: Image, path: Path | str) -> None:
    """Write an image; the file appears whole or not at all.

    Args:
        image: a volume for .nii, .nii.gz (written in RAS), .nrrd or .mha; a film for .png (whole numbers) or .tif.
        path: the suffix chooses the format.

    Raises:
        UnsupportedError: another suffix, or values that the format does not hold.
        GeometryError: a film for a format of volumes.
    """
    path = Path(path)
    writer = _WRITERS.get(_suffix(path))
    if writer is None:
        raise UnsupportedError(path, f"images are written as {', '.join(_WRITERS)}; choose one of these suffixes")
    writer(image, path)


def _read_one(path: Path, spacing: Spacing, volume: str | None, options: ReadOptions) -> Image:
    _check_exists(path)
    suffix = _suffix(path) if path.is_file() else ""
    if suffix in _TIFF:
        return read_tiff(path, spacing)
    if spacing == "tags":
        raise GeometryError(path, "only TIFF has resolution tags; pass the spacing in mm, or leave it out where the file carries its own")
    if suffix in _RASTER:
        return read_raster(path, spacing)
    # Some scanners name DICOM files .img: without its header beside it, the file is no half of a pair.
    alone = suffix == ".img" and not path.with_suffix(".hdr").exists()
    if suffix in _VOLUMES and not alone:
        if spacing is not None:
            raise GeometryError(path, f"a {suffix} file carries its own spacing; leave spacing= out")
        return _VOLUMES[suffix](path)
    return read_dicom(path, spacing=spacing, volume=volume, options=options)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise MissingFileError(path, "no such file or folder")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()
