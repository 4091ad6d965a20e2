"""Volumes with masks: `images/` beside `labels/`, NIfTI or a folder of DICOM a case."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from medio.errors import CorruptFileError, GeometryError, MissingFileError
from medio.geometry import reorient, resample
from medio.image import Image
from medio.quarantine import Quarantined
from medio.reading import read
from medio.recipes.annotations import Annotations
from medio.shards.sample import ShardSample

_NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class VolumeCase:
    """One image and its mask, as found.

    Attributes:
        case_id: the name that image and label share.
        image: a NIfTI file, or a folder of DICOM files of one series.
        label: a NIfTI file.
        dicom: whether `image` is a folder of DICOM.
    """

    case_id: str
    image: Path
    label: Path
    dicom: bool


@dataclass(frozen=True)
class VolumeFolder:
    """What `find_volumes` found.

    Attributes:
        cases: pairs, sorted by name.
        class_names: name of each label value, from `dataset.json`; empty where there is none.
        set_aside: files that belong to no pair, with the reason.
    """

    cases: tuple[VolumeCase, ...]
    class_names: Mapping[int, str]
    set_aside: tuple[Quarantined, ...]


def find_volumes(root: Path) -> VolumeFolder:
    """Pair `root/images/NAME` with `root/labels/NAME.nii[.gz]`.

    Args:
        root: holds `images/` (`NAME.nii`, `NAME.nii.gz`, or a folder `NAME/` of DICOM files) and `labels/` (NIfTI). An optional `dataset.json`
            names the classes: `{"labels": {"0": "background", "1": "liver"}}`.

    Raises:
        MissingFileError: where a folder is absent or empty, or no image has a label.
        CorruptFileError: where `dataset.json` is not what it should be.
    """
    if not root.exists():
        raise MissingFileError(root, "does not exist; give the folder that holds images/ and labels/")
    if not root.is_dir():
        raise MissingFileError(root, "is a file; give the folder that holds images/ and labels/")
    if not any(root.iterdir()):
        raise MissingFileError(root, "is empty; put images/ and labels/ there")
    images, labels = root / "images", root / "labels"
    lacking = [f"{folder.name}/" for folder in (images, labels) if not folder.is_dir()]
    if lacking:
        raise MissingFileError(
            root,
            f"has no folder {' and no '.join(lacking)}; volumes are expected as images/NAME.nii.gz (or images/NAME/*.dcm) and labels/NAME.nii.gz",
        )
    for folder in (images, labels):
        if not any(folder.iterdir()):
            raise MissingFileError(folder, "is empty; put one file a case there")
    set_aside: list[Quarantined] = []
    found_images, found_labels = _by_name(images, set_aside, folders=True), _by_name(labels, set_aside, folders=False)
    if not found_images:
        raise MissingFileError(images, "holds no image; expected NAME.nii, NAME.nii.gz or a folder of DICOM files a case")
    names = sorted(found_images.keys() & found_labels.keys())
    if not names:
        raise MissingFileError(
            labels,
            f"the labels are for other files: images/ holds {_some(found_images)}, labels/ holds {_some(found_labels)}; give an image and its label the same name",
        )
    set_aside += [
        Quarantined(str(found_images[n]), f"has no label; expected labels/{n}.nii.gz")
        for n in sorted(found_images.keys() - found_labels.keys())
    ]
    set_aside += [
        Quarantined(str(found_labels[n]), f"has no image; expected images/{n}.nii.gz")
        for n in sorted(found_labels.keys() - found_images.keys())
    ]
    cases = tuple(VolumeCase(n, found_images[n], found_labels[n], found_images[n].is_dir()) for n in names)
    return VolumeFolder(cases, _class_names(root / "dataset.json"), tuple(sorted(set_aside, key=lambda q: q.item)))


@dataclass(frozen=True)
class VolumeItem:
    """One case on its way into a shard; see `ShardSample` for the fields.

    Attributes:
        annotations: labels, report, boxes, points and prior, see `join_table` and `link_priors`.
    """

    case_id: str
    image: Path
    label: Path | None
    patient_id: str
    split: str = ""
    site: str = ""
    vendor: str = ""
    study_date: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def ids(self) -> Mapping[str, str]:
        """Its ids by kind."""
        return {"sample": self.case_id, "patient": self.patient_id, "file": self.image.name, "study_date": self.study_date}

    def annotated(self, annotations: Annotations) -> Self:
        """Return the same item with other annotations."""
        return replace(self, annotations=annotations)


@dataclass(frozen=True)
class VolumeRecipe:
    """Make a sample of a volume: read, turn to common axes, bring to a common spacing.

    Attributes:
        spacing_mm: (z, y, x) of the stored volumes; None keeps each one's own.
        axes: where the stored axes run to, see `reorient`.
        classes: how many classes the masks may hold, background included; None takes any.
    """

    spacing_mm: tuple[float, float, float] | None = None
    axes: str = "SPL"
    classes: int | None = None

    def __call__(self, item: VolumeItem) -> ShardSample:
        """Read one case.

        Raises:
            MedioError: for a broken image or label, or a label that does not lie on its image.
        """
        source = read(item.image)
        if len(source.spacing) != 3:
            raise GeometryError(item.image, f"is a 2D image of {source.spatial_shape}; this recipe takes volumes")
        mask = None if item.label is None else read_mask(item.label, source, self.classes)
        image, arrays = stored_volume(source, mask, self.axes, self.spacing_mm)
        arrays |= item.annotations.placed(source, image)
        return ShardSample(
            sample_id=item.case_id,
            patient_id=item.patient_id,
            arrays=arrays,
            spacing=image.spacing,
            affine=image.affine,
            modality=str(image.meta.get("modality", "")),
            unit=image.unit,
            split=item.split,
            site=item.site,
            vendor=item.vendor,
            study_date=item.study_date,
            meta=item.meta,
            **item.annotations.row({}),
        )


def stored_volume(
    source: Image, mask: Image | None, axes: str, spacing_mm: tuple[float, float, float] | None
) -> tuple[Image, dict[str, npt.NDArray[Any]]]:
    """Turn a volume and its mask to common axes and bring them to a common spacing, mm; None keeps the volume's own.

    Returns:
        The volume, and the arrays as a shard stores them: `image` (C, D, H, W), and `mask` (D, H, W) where there is one.
    """
    image = reorient(source, axes)
    if spacing_mm is not None:
        image = resample(image, spacing=spacing_mm)
    arrays = {"image": _with_channel(image)}
    if mask is not None:
        turned = reorient(mask, axes)
        arrays["mask"] = turned.array if spacing_mm is None else resample(turned, like=image, order=0).array
    return image, arrays


def read_mask(path: Path, image: Image, classes: int | None = None) -> Image:
    """Read the mask of an image, as (D, H, W) unsigned integers on the image's grid.

    Raises:
        GeometryError: where it lies on another grid than the image (0.01 voxel).
        CorruptFileError: where it holds other values than 0 to `classes` - 1.
    """
    mask = read(path)
    if mask.spatial_shape != image.spatial_shape or mask.array.ndim != 3:
        raise GeometryError(
            path, f"the mask has shape {mask.array.shape}, its image {image.spatial_shape}; resample the mask onto the image"
        )
    assert mask.affine is not None  # volumes always have one
    assert image.affine is not None
    corners = np.array([[z, y, x, 1] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(image.spatial_shape) - 1
    apart = float(np.abs((mask.affine - image.affine) @ corners.T).max())
    if apart > 0.01 * min(image.spacing):
        raise GeometryError(
            path,
            f"the mask lies up to {apart:.3g} mm away from its image; resample it onto the image, or copy the image's affine if it was lost",
        )
    values = np.unique(mask.array)
    if not np.array_equal(values, np.rint(values)) or values[0] < 0 or values[-1] > 65535:
        raise CorruptFileError(path, f"a mask holds whole numbers from 0, this one {values[:5].tolist()} …; threshold or renumber it")
    if classes is not None and values[-1] >= classes:
        raise CorruptFileError(
            path,
            f"the mask holds class {int(values[-1])}, the dataset has classes 0 to {classes - 1}; name all classes or renumber the mask",
        )
    kind = np.uint8 if values[-1] < 256 else np.uint16
    return Image(mask.array.astype(kind), mask.affine, mask.spacing, "", mask.meta)


def _with_channel(image: Image) -> npt.NDArray[Any]:
    array = image.array if image.array.ndim == 4 else image.array[None]
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _by_name(folder: Path, set_aside: list[Quarantined], *, folders: bool) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in _NIFTI if path.name.endswith(s) and not path.name.startswith(".")), None)
        if path.is_dir() and folders and not path.name.startswith("."):
            name = path.name
        elif path.is_file() and suffix:
            name = path.name.removesuffix(suffix)
        else:
            set_aside.append(Quarantined(str(path), "is neither NIfTI nor a folder of DICOM files" if folders else "is not NIfTI"))
            continue
        if name in found:
            set_aside.append(Quarantined(str(path), f"stands beside {found[name].name} under the same name; keep one"))
        else:
            found[name] = path
    return found


def _class_names(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        names = {int(number): str(name) for number, name in labels.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(path, 'must hold {"labels": {"0": "background", "1": "…"}}; mend it or remove it') from error
    if sorted(names) != list(range(len(names))):
        raise CorruptFileError(path, f"names labels {sorted(names)}; number them 0, 1, 2, … without gaps")
    return names


def _some(found: Mapping[str, Path]) -> str:
    names = sorted(found)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "") if names else "nothing that can be read"
