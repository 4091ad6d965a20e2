"""Label maps that belong together by name, on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import medio
from medeval import Evaluation, overlay
from medrun.cli import UserError

SUFFIXES = (".nii.gz", ".nii")
MOST_CLASSES = 1000
SHOWN = 6  # worst cases pictured
TOLERANCE_MM = 0.01  # by which corners of two grids may differ: headers are float32


@dataclass(frozen=True)
class Pair:
    """One case's prediction and reference."""

    sample_id: str
    prediction: Path
    reference: Path


def find_pairs(predictions: Path, references: Path) -> list[Pair]:
    """Pair the NIfTI files of two folders by name, in the order of their names.

    Raises:
        UserError: for a missing or empty folder, or files without a partner, naming them.
    """
    left, right = list_volumes(predictions), list_volumes(references)
    complaints = []
    for mine, others, other in ((left, right, references), (right, left, predictions)):
        alone = sorted(mine.keys() - others.keys())
        if alone:
            named = ", ".join(str(mine[name]) for name in alone[:5]) + (", ..." if len(alone) > 5 else "")
            complaints.append(f"{len(alone)} without a partner in {other}: {named}")
    if complaints:
        raise UserError("; ".join(complaints) + "; give prediction and reference of a case one name, or leave both out")
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


def list_volumes(folder: Path) -> dict[str, Path]:
    """NIfTI files of a folder by their name without the suffix."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        if name in found:
            raise UserError(f"{path}: names the same case as {found[name].name}; keep one of the two")
        found[name] = path
    if not found:
        raise UserError(f"{folder}: holds no .nii or .nii.gz file; give the folder that holds the label maps")
    return found


@dataclass(frozen=True)
class Survey:
    """What scoring must know of all cases beforehand.

    Attributes:
        spacing: (N, 3) mm, superior, posterior and left.
        largest_id: the largest class id in any map, at least 1.
    """

    spacing: list[tuple[float, ...]]
    largest_id: int


def survey(pairs: Sequence[Pair]) -> Survey:
    """Read every map once: a file that is broken, or lies on another grid, is told before anything is scored.

    Raises:
        UserError: for maps of one case on two grids, or values that are no class ids.
        medio.MedioError: for a file that cannot be read.
    """
    spacing, largest = [], 1
    for pair in pairs:
        prediction, reference = read_volume(pair.prediction), read_volume(pair.reference)
        check_grid(pair.sample_id, prediction, reference)
        spacing.append(reference.spacing)
        for path, image in ((pair.prediction, prediction), (pair.reference, reference)):
            top = float(np.nan_to_num(image.array, nan=0).max())
            if top > MOST_CLASSES:
                raise UserError(f"{path}: holds the value {top:g}; this looks like an image, not a label map")
            largest = max(largest, int(top))
    return Survey(spacing, largest)


def read_volume(path: Path) -> medio.Image:
    """Read a volume, its axes turned to run to superior, posterior and left; voxels keep their values."""
    return medio.reorient(medio.read(path), "SPL")


def check_grid(sample_id: str, image: medio.Image, reference: medio.Image) -> None:
    """Raise unless two volumes cover the same voxels of the patient."""
    if image.spatial_shape != reference.spatial_shape:
        raise UserError(
            f"{sample_id}: prediction {image.spatial_shape} and reference {reference.spatial_shape} differ in shape; resample the prediction onto the reference's grid"
        )
    assert image.affine is not None
    assert reference.affine is not None
    corners = np.array([[z, y, x, 1] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * [*image.spatial_shape, 1]
    apart = float(np.linalg.norm(corners @ (image.affine - reference.affine).T, axis=1).max())
    if apart > TOLERANCE_MM:
        raise UserError(
            f"{sample_id}: prediction and reference lie {apart:.2f} mm apart in the patient; resample the prediction onto the reference's grid"
        )


def pictures(result: Evaluation, pairs: Sequence[Pair], images: Path) -> list[tuple[str, bytes]]:
    """The worst cases by Dice, each in the axial slice where prediction and reference differ most.

    Raises:
        UserError: for an image that is missing, or lies on another grid.
    """
    files = list_volumes(images)
    by_id = {pair.sample_id: pair for pair in pairs}
    ranked = sorted((row for row in result.cases if row["dice"] is not None), key=lambda row: (row["dice"], row["sample_id"]))
    found = []
    for row in ranked[:SHOWN]:
        pair = by_id[row["sample_id"]]
        if pair.sample_id not in files:
            raise UserError(f"{images}: holds no image of {pair.sample_id}; name images like their references, or leave --images out")
        image, prediction, reference = (read_volume(path) for path in (files[pair.sample_id], pair.prediction, pair.reference))
        check_grid(pair.sample_id, image, reference)
        z = int((prediction.array != reference.array).sum(axis=(1, 2)).argmax())
        data = overlay(image.array[z], prediction.array[z], reference.array[z], spacing=image.spacing[1:])
        found.append((f"{pair.sample_id}, Dice {row['dice']:.3f}, axial slice {z}: prediction solid, reference dashed", data))
    return found
