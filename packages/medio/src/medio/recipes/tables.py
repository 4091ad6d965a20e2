"""Labels, reports and boxes out of a CSV or Parquet table, joined to items by the id of the sample, patient, study, series or file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from medio.errors import CorruptFileError, MissingFileError
from medio.quarantine import Quarantined
from medio.recipes.annotations import Annotations

By = Literal["sample", "patient", "study", "series", "file"]


class Item(Protocol):
    """What a table can be joined to: `VolumeItem`, `FilmItem`, `SeriesItem`."""

    @property
    def annotations(self) -> Annotations:
        """What is known of it already."""
        ...

    @property
    def ids(self) -> Mapping[str, str]:
        """Its ids by kind: `sample`, `patient`, and where it has them `study`, `series`, `file` (the name without folder)."""
        ...

    def annotated(self, annotations: Annotations) -> Self:
        """Return the same item with other annotations."""
        ...


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Joined(Generic[ItemT]):
    """What `join_table` gave.

    Attributes:
        items: all items in their order, those with a row annotated.
        without_row: ids of the items that the table does not name; they are kept as they were.
        set_aside: rows that name no item.
    """

    items: tuple[ItemT, ...]
    without_row: tuple[str, ...]
    set_aside: tuple[Quarantined, ...]


def join_table(
    items: Sequence[ItemT],
    table: Path | pa.Table,
    *,
    by: By,
    column: str,
    labels: Sequence[str] = (),
    report: str | None = None,
    boxes: Sequence[str] = (),
    points: Sequence[str] = (),
    space: Literal["index", "lps"] = "index",
) -> Joined[ItemT]:
    """Give items what a table says of them.

    A label cell holds a number; an empty one is unknown. Rows of one item must agree in labels and report; each row adds a box and a point, unless their
    cells are empty, so a row with empty cells says that there is none. Labels are added to those that an item has.

    Args:
        items: as `find_volumes`, `find_films` or `find_series` lead to.
        table: a CSV or Parquet file, or an Arrow table.
        by: which id of an item the table names.
        column: where it names it.
        labels: columns of labels.
        report: column of the text.
        boxes: columns of the corners, as `Annotations.boxes` orders them.
        points: columns of the centre, likewise.
        space: of boxes and points.

    Raises:
        MissingFileError: for a file that is not there, or a table that names no item at all.
        CorruptFileError: for a file that cannot be read, an absent column, or rows that contradict each other.
        ValueError: where the items have no id of that kind.
    """
    name = str(table) if isinstance(table, Path) else "table"
    read = _read(table) if isinstance(table, Path) else table
    columns = [column, *labels, *([report] if report else []), *boxes, *points]
    lacking = [c for c in columns if c not in read.column_names]
    if lacking:
        raise CorruptFileError(name, f"has no column {', '.join(map(repr, lacking))}; it has {', '.join(map(repr, read.column_names))}")
    if items and not any(by in item.ids for item in items):
        raise ValueError(f"the items have no id of a {by}; they have {sorted(items[0].ids)}")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read.select(list(dict.fromkeys(columns))).to_pylist():
        rows.setdefault(_text(row[column]), []).append(row)
    joined: list[ItemT] = []
    without: list[str] = []
    known: set[str] = set()
    for item in items:
        key = item.ids.get(by, "")
        known.add(key)
        if key not in rows:
            without.append(item.ids["sample"])
            joined.append(item)
            continue
        where = f"{name}: {column} {key}"
        own = item.annotations
        given: dict[str, Any] = {"labels": {**own.labels, **_labels(rows[key], labels, where)}}
        if report:
            given["report"] = _agreed([_text(row[report]) or None for row in rows[key]], report, where)
        if boxes or points:
            given["space"] = space
        if boxes:
            given["boxes"] = tuple(place for row in rows[key] if (place := _place(row, boxes, where)) is not None)
        if points:
            given["points"] = tuple(place for row in rows[key] if (place := _place(row, points, where)) is not None)
        joined.append(item.annotated(replace(own, **given)))
    if items and len(without) == len(items):
        some = ", ".join(sorted(rows)[:2])
        raise MissingFileError(name, f"names none of the {len(items)} items: {column} holds {some}, a {by} is {items[0].ids.get(by, '')}")
    set_aside = tuple(Quarantined(f"{name}: {column} {key}", "names no item") for key in rows if key not in known)
    return Joined(tuple(joined), tuple(without), set_aside)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise MissingFileError(path, "no such file; give a CSV or Parquet table")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pq.read_table(path)
        # Everything as text: "007" is an id, not a number.
        with path.open("rb") as file:
            header = pa.csv.open_csv(file).schema.names
        as_text = pa.csv.ConvertOptions(column_types={name: pa.string() for name in header}, strings_can_be_null=False)
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=as_text)
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(path, f"cannot be read as a table ({error}); save it as CSV in UTF-8 or as Parquet") from error


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _number(value: Any, column: str, where: str) -> float | None:
    text = _text(value)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise CorruptFileError(where, f"{column} holds {text!r}; a number is expected") from None


def _labels(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], where: str) -> dict[str, float]:
    found = {c: _agreed([_number(row[c], c, where) for row in rows], c, where) for c in columns}
    return {name: value for name, value in found.items() if value is not None}


def _agreed(values: Sequence[Any], column: str, where: str) -> Any:
    """The one value that all rows which have any agree on; None where none has."""
    given = list(dict.fromkeys(value for value in values if value is not None))
    if len(given) > 1:
        raise CorruptFileError(where, f"its rows disagree in {column}; join by an id that tells them apart, or keep one of them")
    return given[0] if given else None


def _place(row: Mapping[str, Any], columns: Sequence[str], where: str) -> tuple[float, ...] | None:
    numbers = [_number(row[c], c, where) for c in columns]
    given = tuple(number for number in numbers if number is not None)
    if not given:
        return None
    if len(given) < len(numbers):
        raise CorruptFileError(where, f"fills some of {', '.join(columns)} and not others; fill all or none")
    return given
