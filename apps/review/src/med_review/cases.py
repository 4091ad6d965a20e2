"""The cases of a review: an image, its prediction, and the slices that show it best."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import medio
from medeval import overlay
from medeval.overlay import COLOURS
from medrun.cli import UserError

VOLUMES, FILMS = (".nii.gz", ".nii"), (".png", ".jpg", ".jpeg")
TOLERANCE_MM = 0.01  # by which corners of two grids may differ: headers are float32


@dataclass(frozen=True)
class Slice:
    """One picture of a case, with and without contours, as base64 PNG."""

    caption: str
    contours: str
    plain: str


@dataclass(frozen=True)
class Case:
    """What a reader judges.

    Attributes:
        case_id: name of the files.
        slices: one to three pictures.
        found: what the prediction holds: (colour of the contour, class and size), empty where nothing was segmented.
        digest: of the image and the prediction, so that verdicts are never read against another page.
    """

    case_id: str
    slices: tuple[Slice, ...]
    found: tuple[tuple[str, str], ...]
    digest: str


def find_cases(images: Path, predictions: Path) -> list[tuple[str, Path, Path]]:
    """Pair images and predictions by name: (name, image, prediction), in the order of the names.

    Raises:
        UserError: for a missing or empty folder, or a prediction without an image.
    """
    pictures, masks = _list(images), _list(predictions)
    alone = sorted(masks.keys() - pictures.keys())
    if alone:
        named = ", ".join(str(masks[name]) for name in alone[:5]) + (", ..." if len(alone) > 5 else "")
        raise UserError(f"{len(alone)} predictions have no image of that name in {images}: {named}; name both alike")
    return [(name, pictures[name], masks[name]) for name in sorted(masks)]


def read_cases(paths: Sequence[tuple[str, Path, Path]], classes: Sequence[str]) -> Iterator[Case]:
    """Read and draw the cases one by one.

    Args:
        paths: see `find_cases`.
        classes: names of the ids from 0; ids beyond them are shown by number.

    Raises:
        UserError: when image and prediction lie on different grids, or a prediction is no label map.
        medio.MedioError: for a file that cannot be read.
    """
    for name, image_path, mask_path in paths:
        image, mask = _read(image_path), _read(mask_path)
        _check(name, mask_path, image, mask)
        labels = mask.array.astype(np.int32)
        digest = hashlib.blake2b(digest_size=8)
        for array in (image.array, labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        yield Case(name, tuple(_slices(image, labels)), _found(image, labels, classes), digest.hexdigest())


def _slices(image: medio.Image, labels: npt.NDArray[np.int32]) -> Iterator[Slice]:
    array, spacing = image.array, image.spacing
    window = tuple(float(v) for v in np.percentile(array, [0.5, 99.5]))
    if array.ndim == 2:
        yield _draw("film", array, labels, spacing, (window[0], window[1]))
        return
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        others = tuple(a for a in range(3) if a != axis)
        areas = np.count_nonzero(labels, axis=others)
        # The slice with most of the prediction; the middle one where nothing was found.
        at = int(areas.argmax()) if areas.any() else array.shape[axis] // 2
        picture, mask = np.take(array, at, axis), np.take(labels, at, axis)
        if axis:  # rows run to superior: the head belongs on top
            picture, mask = picture[::-1], mask[::-1]
        yield _draw(
            f"{name}, slice {at + 1} of {array.shape[axis]}",
            picture,
            mask,
            (spacing[others[0]], spacing[others[1]]),
            (window[0], window[1]),
        )


def _draw(caption: str, picture: npt.NDArray[Any], mask: npt.NDArray[Any], spacing: Sequence[float], window: tuple[float, float]) -> Slice:
    drawn = [overlay(picture, labels, spacing=spacing, window=window, pixels=420) for labels in (mask, np.zeros_like(mask))]
    return Slice(caption, *(base64.b64encode(data).decode("ascii") for data in drawn))


def _found(image: medio.Image, labels: npt.NDArray[np.int32], classes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    found = []
    for i, count in zip(ids.tolist(), counts.tolist(), strict=True):
        name = classes[i] if i < len(classes) else f"class {i}"
        size = f"{count * float(np.prod(image.spacing)) / 1000:.1f} ml" if labels.ndim == 3 else f"{count} pixels"
        found.append((COLOURS[(i - 1) % len(COLOURS)], f"{name} {size}"))
    return tuple(found)


def _read(path: Path) -> medio.Image:
    if path.name.lower().endswith(FILMS):
        # Square pixels, for the picture alone: no length or area is derived from a film here.
        return medio.read(path, spacing=(1.0, 1.0))
    return medio.reorient(medio.read(path), "SPL")


def _check(name: str, path: Path, image: medio.Image, mask: medio.Image) -> None:
    if image.array.shape != mask.array.shape:
        raise UserError(
            f"{name}: image {image.array.shape} and prediction {mask.array.shape} differ in shape; resample the prediction onto the image's grid"
        )
    if image.affine is not None and mask.affine is not None:
        corners = np.array([[z, y, x, 1] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * [*image.spatial_shape, 1]
        apart = float(np.linalg.norm(corners @ (image.affine - mask.affine).T, axis=1).max())
        if apart > TOLERANCE_MM:
            raise UserError(
                f"{name}: image and prediction lie {apart:.2f} mm apart in the patient; resample the prediction onto the image's grid"
            )
    values = mask.array
    if values.min() < 0 or not (values == np.rint(values)).all():
        raise UserError(f"{path}: holds values that are no class ids; take the argmax of probabilities first")


def _list(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in (*VOLUMES, *FILMS) if path.name.lower().endswith(s)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        if name in found:
            raise UserError(f"{path}: names the same case as {found[name].name}; keep one of the two")
        found[name] = path
    if not found:
        raise UserError(f"{folder}: holds no .nii, .nii.gz, .png or .jpg file; give the folder that holds the cases")
    return found
