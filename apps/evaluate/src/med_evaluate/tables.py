"""CSV tables of cases: one row a case, told apart by the column `id`."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medrun.cli import UserError

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """Read a CSV whose rows have unique ids; cells are stripped.

    Raises:
        UserError: for no rows, no column `id`, an empty or repeated id, or a row of another length, naming file and line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start}); save it as CSV in UTF-8") from error
    reader = csv.reader(text.splitlines())
    head = [name.strip() for name in next(reader, [])]
    if "id" not in head or len(set(head)) != len(head):
        raise UserError(f"{path}: needs distinct columns with one named id, has {', '.join(head) or 'none'}")
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            raise UserError(f"{path}: line {reader.line_num} has {len(cells)} cells, the header {len(head)}; mend or leave out the row")
        row = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        if not row["id"] or row["id"] in seen:
            which = f"repeats the id {row['id']} of line {seen[row['id']]}" if row["id"] else "has no id"
            raise UserError(f"{path}: line {reader.line_num} {which}; give every case one row and a name of its own")
        seen[row["id"]] = reader.line_num
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: holds no rows; give one a case")
    return rows


def select(rows: Sequence[Row], ids: Sequence[str], path: Path) -> list[Row]:
    """The rows of these ids, in their order.

    Raises:
        UserError: naming the file and the ids that it lacks.
    """
    by_id = {row["id"]: row for row in rows}
    missing = [name for name in ids if name not in by_id]
    if missing:
        raise UserError(
            f"{path}: has no row for {len(missing)} of {len(ids)} cases: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}; add them"
        )
    return [by_id[name] for name in ids]


def numbers(rows: Sequence[Row], columns: Sequence[str], path: Path, *, empty_is_unknown: bool = False) -> npt.NDArray[np.float64]:
    """Cells as (rows, columns) float64; NaN for an empty cell where that means unknown.

    Raises:
        UserError: naming file, id and column of a cell that is no number.
    """
    values = np.empty((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for k, column in enumerate(columns):
            cell = row[column]
            if empty_is_unknown and cell.lower() in ("", "nan", "na"):
                values[i, k] = np.nan
                continue
            try:
                values[i, k] = float(cell)
            except ValueError:
                raise UserError(f"{path}: {column} of {row['id']} is {cell!r}, not a number; mend the cell") from None
    return values
