"""Read one image for a look at it: arrays, PNG and JPEG, NIfTI, a DICOM file or a folder of slices.

Modest cases only; medio reads the others and has the geometry right for tilted, uneven and multi-frame series.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medaug.errors import AugmentationError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image to look at.

    Attributes:
        array: (C, *S), S = (z, y, x) or (y, x): x grows to the patient's left, y to the back, z to the head where the file tells.
        spacing: mm along S, or None where the file does not tell.
        mask: (*S) where the file held one.
    """

    array: Array
    spacing: tuple[float, ...] | None
    mask: Array | None = None


def read_picture(path: Path) -> Picture:
    """Read an image.

    Args:
        path: .npy or .npz (`image`, and if wanted `spacing`, `mask`), PNG or JPEG, NIfTI (.nii, .nii.gz), a DICOM file, a folder of one DICOM series.

    Raises:
        AugmentationError: for a file that is missing, damaged or of another kind; names the file and the mend.
        ImportError: without the library for it; names the extra.
    """
    if not path.exists():
        raise AugmentationError(str(path), "does not exist; check the path")
    name = path.name.lower()
    reader: Callable[[Path], Picture] = next((reader for ends, reader in _READERS.items() if name.endswith(ends)), _dicom)
    try:
        picture = reader(path)
    except (AugmentationError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AugmentationError(
            str(path), f"cannot be read: {reason}; give .npy, .npz, PNG, JPEG, NIfTI, or DICOM that pydicom decodes here"
        ) from error
    if picture.array.ndim not in (3, 4) or 0 in picture.array.shape:
        raise AugmentationError(str(path), f"has the shape {picture.array.shape[1:]}; one image of 2 or 3 axes can be shown")
    return picture


def _npy(path: Path) -> Picture:
    return Picture(array=np.load(path, allow_pickle=False)[None], spacing=None)


def _npz(path: Path) -> Picture:
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name not in ("spacing", "mask")]
        name = "image" if "image" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise AugmentationError(str(path), f"holds {', '.join(arrays.files)}; name the one to show `image`")
        spacing = tuple(float(value) for value in arrays["spacing"]) if "spacing" in arrays.files else None
        array = arrays[name]
        channels = spacing is not None and array.ndim == len(spacing) + 1
        return Picture(array=array if channels else array[None], spacing=spacing, mask=arrays["mask"] if "mask" in arrays.files else None)


def _raster(path: Path) -> Picture:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(_extra("pillow")) from error
    with Image.open(path) as image:
        grey = image if image.mode in ("L", "I", "F") or image.mode.startswith("I;16") else image.convert("L")
        return Picture(array=np.asarray(grey)[None], spacing=None)


def _nifti(path: Path) -> Picture:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(_extra("nibabel")) from error
    image = nibabel.as_closest_canonical(nibabel.load(path))  # type: ignore[no-untyped-call]
    array = np.asanyarray(image.dataobj)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise AugmentationError(str(path), f"holds {array.ndim} axes of {array.shape}; take one volume out of it first")
    # RAS (x, y, z) to LPS (z, y, x)
    return Picture(array=array[::-1, ::-1].transpose(2, 1, 0)[None], spacing=tuple(float(v) for v in image.header.get_zooms()[2::-1]))


def _dicom(path: Path) -> Picture:
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise ImportError(_extra("pydicom")) from error
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    slices = []
    for file in files:
        try:
            slices.append(pydicom.dcmread(file))
        except InvalidDicomError:
            if len(files) == 1:
                raise AugmentationError(
                    str(path), "is no DICOM file, and its name tells of no other kind; give .npy, .npz, PNG, JPEG, NIfTI or DICOM"
                ) from None
    slices = [each for each in slices if "PixelData" in each]
    if not slices:
        raise AugmentationError(str(path), "holds no DICOM image; give a file with pixels, or a folder of one series")
    if len({each.get("SeriesInstanceUID") for each in slices}) > 1:
        raise AugmentationError(str(path), "holds several series; give a folder with the slices of one")
    if any(int(each.get("NumberOfFrames", 1)) > 1 or each.get("SamplesPerPixel", 1) != 1 for each in slices):
        raise AugmentationError(str(path), "has several frames or colours; export one grey image of it first, e.g. by medio")
    plane = slices[0].get("PixelSpacing") or slices[0].get("ImagerPixelSpacing")
    spacing = None if plane is None else tuple(float(value) for value in plane)
    if len(slices) == 1:
        return Picture(array=_values(slices[0])[None], spacing=spacing)
    ordered, gap = _stacked(path, slices)
    volume = np.stack([_values(each) for each in ordered])
    return Picture(array=volume[None], spacing=None if spacing is None else (gap, *spacing))


def _values(dataset: Any) -> Array:
    """Stored values in their unit (CT: HU); MONOCHROME1 turned so that denser is brighter."""
    stored = dataset.pixel_array.astype(np.float32)
    values: Array = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return values.max() + values.min() - values if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else values


def _stacked(path: Path, slices: list[Any]) -> tuple[list[Any], float]:
    """Slices in the order of their places, from the feet up, and the gap between them in mm."""
    if any("ImagePositionPatient" not in each or "ImageOrientationPatient" not in each for each in slices):
        raise AugmentationError(str(path), "has slices that do not say where they lie; show one of its files alone")
    turn = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*turn)
    normal = normal if normal[np.abs(normal).argmax()] > 0 else -normal
    ordered = sorted(slices, key=lambda each: float(normal @ np.array(each.ImagePositionPatient, float)))
    places = np.array([each.ImagePositionPatient for each in ordered], float)
    steps = np.diff(places, axis=0)
    gaps = steps @ normal
    sheared = np.linalg.norm(steps - np.outer(gaps, normal), axis=1)
    if gaps.min() <= 0 or np.ptp(gaps) > 0.01 * gaps.max() or sheared.max() > 0.01 * gaps.max():
        raise AugmentationError(
            str(path),
            f"has slices {gaps.min():.2f} to {gaps.max():.2f} mm apart or tilted ones; make an even volume of it first, e.g. by medio",
        )
    return ordered, float(gaps.mean())


def _extra(library: str) -> str:
    return f'reading this needs {library}: pip install "medaug[show]"'


_READERS: dict[tuple[str, ...], Callable[[Path], Picture]] = {
    (".npy",): _npy,
    (".npz",): _npz,
    (".png", ".jpg", ".jpeg"): _raster,
    (".nii", ".nii.gz"): _nifti,
}
