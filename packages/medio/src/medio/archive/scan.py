"""What an archive holds: one row a file, and the series that the rows form."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydicom import Dataset

from medio.dicom.instances import SENSELESS, Instance, is_dicom, open_instance, sound
from medio.dicom.pixels import missing_pixels
from medio.errors import MedioError, MissingFileError

_TEXT = {
    "patient_id": "PatientID",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "modality": "Modality",
    "manufacturer": "Manufacturer",
    "manufacturer_model_name": "ManufacturerModelName",
    "institution_name": "InstitutionName",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
    "photometric_interpretation": "PhotometricInterpretation",
    "burned_in_annotation": "BurnedInAnnotation",
}
_WHOLE = {
    "series_number": "SeriesNumber",
    "instance_number": "InstanceNumber",
    "rows": "Rows",
    "columns": "Columns",
    "number_of_frames": "NumberOfFrames",
}
_REAL = {"slice_thickness": "SliceThickness"}
_REALS = {
    "image_position_patient": "ImagePositionPatient",
    "image_orientation_patient": "ImageOrientationPatient",
    "pixel_spacing": "PixelSpacing",
    "imager_pixel_spacing": "ImagerPixelSpacing",
}

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.float64()),
        ("error", pa.string()),
        ("sop_class_uid", pa.string()),
        ("transfer_syntax_uid", pa.string()),
        *((name, pa.string()) for name in _TEXT),
        *((name, pa.int64()) for name in _WHOLE),
        *((name, pa.float64()) for name in _REAL),
        *((name, pa.list_(pa.float64())) for name in _REALS),
    ]
)
"""Columns of `scan`: snake_case DICOM keywords, null where the file does not say."""

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one series, ready for `read(series.paths)`.

    Attributes:
        series_instance_uid: empty where the files have none; their folder then keeps them together.
        study_instance_uid: its study.
        patient_id: its patient.
        modality: `CT`, `MR`, ….
        study_date: YYYYMMDD.
        manufacturer: of the scanner.
        institution_name: where it was made.
        series_description: free text.
        sop_class_uid: of its first file.
        rows: H of its first file.
        columns: W of its first file.
        paths: its files, ordered by position along the normal where every file has one, else by instance number.
    """

    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    modality: str
    study_date: str
    manufacturer: str
    institution_name: str
    series_description: str
    sop_class_uid: str
    rows: int
    columns: int
    paths: tuple[Path, ...]


def scan(root: Path | str, *, workers: int | None = None, progress: Callable[[int, int], None] | None = None) -> pa.Table:
    """Read the header of every file under a folder.

    Args:
        root: the folder; hidden files and folders are passed over.
        workers: processes; none but this one by default. With more, call it under `if __name__ == "__main__":` as any process pool.
        progress: called with (files done, files in all).

    Returns:
        A table of `SCHEMA`, one row a file, ordered by path. A file that is not DICOM, is broken, or holds fewer bytes of uncompressed pixels than it declares
        is a row whose `error` says so.

    Raises:
        MissingFileError: no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingFileError(root, "no such folder")
    paths = sorted(_files(root))
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    rows: list[dict[str, Any]] = []
    for part in _mapped(chunks, workers or 1):
        rows += part
        if progress is not None:
            progress(len(rows), len(paths))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def series(table: pa.Table) -> list[Series]:
    """Group the sound image files of a `scan` into series.

    Args:
        table: as `scan` returns; rows with an error, and files without pixels (reports, raw data), are left out.

    Returns:
        The series, ordered by patient, study date, study and series number.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        if row["error"] is None and row["rows"] is not None:
            uid = row["series_instance_uid"] or ""
            groups.setdefault((row["study_instance_uid"] or "", uid, "" if uid else str(Path(row["path"]).parent)), []).append(row)
    found = [_ordered(rows) for rows in groups.values()]
    found.sort(
        key=lambda rows: tuple(str(rows[0][k] or "") for k in ("patient_id", "study_date", "study_instance_uid")) + _last_keys(rows[0])
    )
    return [_series(rows) for rows in found]


def _last_keys(row: dict[str, Any]) -> tuple[str, ...]:
    return f"{row['series_number'] or 0:09d}", str(row["series_instance_uid"] or ""), row["path"]


def _series(rows: list[dict[str, Any]]) -> Series:
    first = rows[0]
    texts = ("series_instance_uid", "study_instance_uid", "patient_id", "modality", "study_date", "manufacturer", "institution_name")
    return Series(
        **{name: first[name] or "" for name in (*texts, "series_description", "sop_class_uid")},
        rows=first["rows"],
        columns=first["columns"] or 0,
        paths=tuple(Path(row["path"]) for row in rows),
    )


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = sorted(rows, key=lambda row: (row["instance_number"] or 0, row["path"]))
    positions = [row["image_position_patient"] for row in rows]
    orientation = rows[0]["image_orientation_patient"]
    if orientation is None or len(orientation) != 6 or not all(p is not None and len(p) == 3 for p in positions):
        return rows
    depth = np.array(positions) @ np.cross(orientation[:3], orientation[3:])
    return [rows[i] for i in np.argsort(depth.round(4), kind="stable")]


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _mapped(chunks: list[list[Path]], workers: int) -> Iterator[list[dict[str, Any]]]:
    if workers <= 1 or len(chunks) < 2:
        yield from map(_rows, chunks)
        return
    # Spawned, not forked: the caller may hold threads (torch, Arrow) that a fork would freeze.
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_rows, chunks)


def _rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [_row(path) for path in paths]


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"path": str(path)}
    try:
        status = path.stat()
        row |= {"size": status.st_size, "mtime": status.st_mtime}
        if not is_dicom(path):
            return row | {"error": "not DICOM"}
        instance = open_instance(path)
        with sound(path):
            row |= _columns(instance)
            short = missing_pixels(instance)
        if short:
            row["error"] = short
    except MedioError as error:
        row["error"] = error.reason
    except OSError as error:
        row["error"] = f"cannot be opened ({error.strerror})"
    return row


def _columns(instance: Instance) -> dict[str, Any]:
    header = instance.header
    row: dict[str, Any] = {"sop_class_uid": instance.sop_class_uid or None, "transfer_syntax_uid": instance.syntax or None}
    row |= {name: _value(header, keyword, _as_text) for name, keyword in _TEXT.items()}
    row |= {name: _value(header, keyword, int) for name, keyword in _WHOLE.items()}
    row |= {name: _value(header, keyword, float) for name, keyword in _REAL.items()}
    row |= {name: _value(header, keyword, _as_reals) for name, keyword in _REALS.items()}
    return row


def _value(header: Dataset, keyword: str, convert: Callable[[Any], Any]) -> Any:
    """Convert a value; null where it is absent, empty or senseless: one bad element must not hide the others."""
    try:
        value = header.get(keyword)
        return None if value is None or value == "" else convert(value)
    except SENSELESS:
        return None


def _as_text(value: Any) -> str:
    return str(value)


def _as_reals(value: Any) -> list[float] | None:
    return [float(v) for v in value] or None
