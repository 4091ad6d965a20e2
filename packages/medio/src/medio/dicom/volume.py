"""DICOM in: CT, MR and other placed slices as one volume, projection images as films."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import UID, SecondaryCaptureImageStorage

from medio.dicom.films import FILM_MODALITIES, read_dicom_film
from medio.dicom.instances import Instance, open_series, sound
from medio.dicom.pixels import stored_dtype
from medio.dicom.rescale import read_rescaled
from medio.dicom.stack import frames_of, order_stack
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.image import Image

_CT_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
_TEXTS = {
    "modality": "Modality",
    "patient_id": "PatientID",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "study_date": "StudyDate",
    "series_description": "SeriesDescription",
    "manufacturer": "Manufacturer",
    "institution_name": "InstitutionName",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
}


def read_dicom(path: Path | Sequence[Path], *, spacing: tuple[float, ...] | None = None) -> Image:
    """Read one DICOM series: a folder (with its subfolders), one file, or the files of a series in any order.

    Args:
        path: where it lies. In a folder, files that are not DICOM and objects without pixels (reports, raw data) are passed over and named in `meta["skipped"]`.
        spacing: (row, column) mm for a film that carries none.

    Returns:
        A volume (D, H, W) ordered along the normal with its affine, int16 where exact else float32, HU for CT (`unit`); or a film (H, W) without affine,
        bright where dense (MONOCHROME1 is inverted). `meta["sop_instance_uids"]` lists the file behind each slice, `meta["paths"]` likewise.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a file that is broken or cut short.
        GeometryError: slices that form no regular volume, missing geometry.
        UnsupportedError: several series, mosaics, cine, and pixels that are not read.
    """
    instances, skipped = open_series(path)
    name = path if isinstance(path, Path) else path[0].parent if len(path) > 1 else path[0]
    _check_one_series(instances, name)
    first = instances[0]
    with sound(first.path):
        meta: dict[str, Any] = {key: str(first.header.get(keyword, "") or "") for key, keyword in _TEXTS.items()}
        film = _is_film(first)
    meta |= {"path": str(name), "skipped": skipped}
    if film:
        if len(instances) > 1:
            raise UnsupportedError(name, f"{len(instances)} films in one series; pass one file, e.g. {first.path.name}")
        with sound(first.path):
            return read_dicom_film(first, meta, spacing)
    if spacing is not None:
        raise GeometryError(name, "these slices carry their own spacing; leave spacing= out")
    return _read_volume(instances, name, meta)


def _read_volume(instances: Sequence[Instance], name: Path, meta: dict[str, Any]) -> Image:
    placed, uids = [], {}
    for instance in instances:
        with sound(instance.path):
            _refuse(instance)
            stored_dtype(instance)
            placed += frames_of(instance)
            uids[instance.path] = str(instance.header.get("SOPInstanceUID", ""))
    ordered, affine, spacing = order_stack(placed, name)
    said = all(frame.slope is not None for frame in ordered)
    kinds = {frame.rescale_type for frame in ordered}
    is_hu = said and all(instance.sop_class_uid in _CT_CLASSES for instance in instances) and kinds <= {"", "HU"}
    paths = [frame.instance.path for frame in ordered]
    files = {"paths": tuple(map(str, paths)), "sop_instance_uids": tuple(uids[path] for path in paths)}
    where = {(frame.instance.path, frame.index): z for z, frame in enumerate(ordered)}
    places = [[where[instance.path, index] for index in range(instance.frame_count)] for instance in instances]
    slopes, intercepts = [1.0 if f.slope is None else f.slope for f in ordered], [f.intercept for f in ordered]
    array = read_rescaled(instances, places, (len(ordered), *ordered[0].size), slopes, intercepts)
    return Image(array, affine, spacing, "HU" if is_hu else "", meta | files)


def _is_film(instance: Instance) -> bool:
    header = instance.header
    if "PerFrameFunctionalGroupsSequence" in header:
        return False
    # A capture of a CT or MR screen says CT or MR too, but it has no place; a CT or MR slice without one is an error.
    captured = instance.sop_class_uid == SecondaryCaptureImageStorage and "ImagePositionPatient" not in header
    return captured or str(header.get("Modality") or "OT") in FILM_MODALITIES


def _refuse(instance: Instance) -> None:
    header = instance.header
    if "MOSAIC" in (header.get("ImageType") or []):
        raise UnsupportedError(instance.path, "a Siemens mosaic holds many slices in one plane; export it unmosaiced or as enhanced MR")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise UnsupportedError(instance.path, "colour slices make no volume; read the files one by one")
    if header.get("ModalityLUTSequence"):
        raise UnsupportedError(instance.path, "a volume with a Modality LUT is not read; exclude the series")
    if header.get("Modality") == "SEG":
        raise UnsupportedError(instance.path, "a DICOM SEG; use medio.read_segmentation")
    if "PlanePositionSlideSequence" in header or "TotalPixelMatrixRows" in header:
        raise UnsupportedError(instance.path, "a whole-slide image is tiled, not stacked; it is not read")


def _check_one_series(instances: Sequence[Instance], name: Path) -> None:
    series: dict[str, list[str]] = {}
    for instance in instances:
        if instance.offset is None and not instance.float_pixels:
            kind = UID(instance.sop_class_uid).name
            raise CorruptFileError(
                instance.path, f"{kind} that ends before its PixelData; the file is truncated, fetch it again or exclude it"
            )
        with sound(instance.path):
            series.setdefault(str(instance.header.get("SeriesInstanceUID", "")), []).append(
                str(instance.header.get("SeriesDescription", ""))
            )
    if len(series) > 1:
        kinds = ", ".join(f"{descriptions[0] or uid} ({len(descriptions)})" for uid, descriptions in list(series.items())[:4])
        raise UnsupportedError(
            name, f"holds {len(series)} series: {kinds}; read one, e.g. the paths of one of medio.series(medio.scan(folder))"
        )
