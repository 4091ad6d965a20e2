"""Series and what they hold, from an archive index."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


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
        body_part_examined: of its first file.
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
    body_part_examined: str = ""


_TEXTS = (
    "series_instance_uid",
    "study_instance_uid",
    "patient_id",
    "modality",
    "study_date",
    "manufacturer",
    "institution_name",
    "series_description",
    "sop_class_uid",
    "body_part_examined",
)


def series(table: pa.Table) -> list[Series]:
    """Group the sound image files of a `scan` into series.

    Args:
        table: as `scan` returns; rows with an error, and files without pixels (reports, raw data), are left out.

    Returns:
        The series, ordered by patient, study date, study and series number.
    """
    images = table.filter(pc.and_(pc.is_null(table["error"]), pc.is_valid(table["rows"])))
    if not len(images):
        return []
    order, starts = _grouped(images)
    # One take a column, and one for the first file of every series: no row becomes a Python object but its path.
    paths = images["path"].combine_chunks().take(order).to_pylist()
    first = images.take(order[starts[:-1]])
    texts = {name: [value or "" for value in first[name].to_pylist()] for name in _TEXTS}
    numbers = {name: [value or 0 for value in first[name].to_pylist()] for name in ("rows", "columns", "series_number")}
    found = []
    for place, (start, end) in enumerate(pairwise(starts)):
        one = Series(
            **{name: values[place] for name, values in texts.items()},
            rows=numbers["rows"][place],
            columns=numbers["columns"][place],
            paths=tuple(map(Path, paths[start:end])),
        )
        key = (
            one.patient_id,
            one.study_date,
            one.study_instance_uid,
            numbers["series_number"][place],
            one.series_instance_uid,
            paths[start],
        )
        found.append((key, one))
    found.sort(key=lambda pair: pair[0])
    return [one for _, one in found]


def _grouped(images: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows in the order of their series, and where each series starts there (and the end)."""
    group = _groups(images)
    instance = pc.fill_null(images["instance_number"], 0).to_numpy()
    order = np.lexsort((instance, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    depth = _depths(images, order, starts)
    order = order[np.lexsort((depth, group[order]))]
    return order, np.append(starts, len(order))


def _groups(images: pa.Table) -> npt.NDArray[np.int64]:
    """Number the series: by study and series UID, and by folder where there is no series UID."""
    uid = pc.fill_null(images["series_instance_uid"], "")
    folder = pc.if_else(pc.equal(uid, ""), pc.replace_substring_regex(images["path"], r"[/\\][^/\\]*$", ""), "")
    codes = np.zeros(len(images), np.int64)
    for column in (pc.fill_null(images["study_instance_uid"], ""), uid, folder):
        encoded = column.combine_chunks().dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
        codes = np.unique(codes, return_inverse=True)[1]  # small again: the next product cannot overflow
    return codes


def _depths(images: pa.Table, order: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the positions along the normal of each series' first file, in mm, in the given order; 0 in series where a file has none."""
    position = _fixed(images["image_position_patient"], 3)[order]
    orientation = _fixed(images["image_orientation_patient"], 6)[order[starts]]
    normal = np.cross(orientation[:, :3], orientation[:, 3:])
    counts = np.diff(np.append(starts, len(order)))
    depth = np.einsum("ij,ij->i", position, np.repeat(normal, counts, axis=0)).round(4)
    whole = np.logical_and.reduceat(np.isfinite(depth), starts)
    return np.where(np.repeat(whole, counts), depth, 0.0)


def _fixed(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.float64]:
    """Return a column of lists as (n, width); rows of another length are NaN."""
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    fixed = np.full((len(lists), width), np.nan)
    fits = lengths == width
    begins = (np.cumsum(lengths) - lengths)[fits]
    fixed[fits] = values[begins[:, None] + np.arange(width)]
    return fixed
