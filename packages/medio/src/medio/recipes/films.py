"""Radiographs with findings: image files beside a CSV that names each film, its patient and what was seen."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from medio.errors import CorruptFileError, GeometryError, MissingFileError
from medio.image import Image
from medio.quarantine import Quarantined
from medio.reading import read
from medio.recipes.annotations import Annotations
from medio.resizing import resize
from medio.shards.sample import ShardSample

_IMAGE = {".png", ".jpg", ".jpeg"}
_NOTHING_FOUND = {"no finding", "normal", "none", ""}
# Column names as data sets spell them, lower case, blanks and underscores alike.
_COLUMNS = {
    "image": ("image index", "image", "image id", "image file", "filename", "file name", "file", "path"),
    "patient": ("patient id", "patientid", "patient", "subject", "subject id"),
    "findings": ("finding labels", "findings", "labels", "label"),
    "view": ("view position", "view", "projection"),
    "sex": ("patient gender", "patient sex", "sex", "gender"),
    "age": ("patient age", "age"),
}


@dataclass(frozen=True)
class FilmItem:
    """One film on its way into a shard.

    Attributes:
        film_id: file name.
        path: the file.
        patient_id: whose it is.
        spacing: mm between rows and between columns of this file.
        labels: 1 for a finding that was seen, 0 for one that was not.
        split: see `ShardSample`.
        meta: `view`, `sex`, `age` where known.
        study_date: YYYYMMDD or ``.
        mask: an image file of the same size with a whole number a class, or None.
        annotations: further labels, report, boxes, points and prior, see `join_table` and `link_priors`.
    """

    film_id: str
    path: Path
    patient_id: str
    spacing: tuple[float, float]
    labels: Mapping[str, float]
    split: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    study_date: str = ""
    mask: Path | None = None
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def ids(self) -> Mapping[str, str]:
        """Its ids by kind."""
        said = {"study_date": self.study_date, "description": self.meta.get("view", "")}
        return {"sample": self.film_id, "patient": self.patient_id, "file": self.path.name, **said}

    def annotated(self, annotations: Annotations) -> Self:
        """Return the same item with other annotations."""
        return replace(self, annotations=annotations)


@dataclass(frozen=True)
class FilmFolder:
    """What `find_films` found.

    Attributes:
        films: in the order of their names.
        findings: every finding of the table and the number of patients that have it.
        table: the CSV that was read.
        set_aside: rows without a film, films without a row, unknown files, with the reason.
    """

    films: tuple[FilmItem, ...]
    findings: Mapping[str, int]
    table: Path
    set_aside: tuple[Quarantined, ...]


@dataclass(frozen=True)
class FilmRecipe:
    """Make a sample of a film: read it as grey values and resize it to a square.

    Attributes:
        size: side in pixels. Films are stretched to it; the spacing of the sample says by how much. None keeps each film's own size.
    """

    size: int | None = None

    def __call__(self, item: FilmItem) -> ShardSample:
        """Read one film.

        Raises:
            MedioError: for a broken file, or a mask of another size.
        """
        source = _grey(read(item.path, spacing=item.spacing))
        image = source if self.size is None else resize(source, (self.size, self.size))
        arrays: dict[str, npt.NDArray[Any]] = {"image": image.array[None], **item.annotations.placed(source, image)}
        if item.mask is not None:
            arrays["mask"] = _film_mask(item.mask, source, image)
        return ShardSample(
            sample_id=item.film_id,
            patient_id=item.patient_id,
            arrays=arrays,
            spacing=image.spacing,
            modality="DX",
            split=item.split,
            study_date=item.study_date,
            meta=item.meta,
            **item.annotations.row(item.labels),
        )


def find_films(root: Path, *, size: int, table: str = "", spacing: Sequence[float] | None = None) -> FilmFolder:
    """Join a table of findings with its films.

    The table is a CSV with a column for the film's file name, one for the patient, and either one column of findings separated by `|` or one column of 0/1
    a finding. Of several tables the one is taken whose films are nearest in size to `size`, without enlarging them where that can be avoided.

    Args:
        root: folder with the CSV, and the films in it or below it.
        size: side in pixels that the films will be resized to.
        table: name of the CSV to take.
        spacing: mm between rows and columns of the files, where the table has no spacing of its own.

    Raises:
        MissingFileError: where the folder, a table or its films are absent.
        CorruptFileError: where a table lacks a column or contradicts itself.
        GeometryError: where nothing says how large a pixel is.
    """
    if not root.exists():
        raise MissingFileError(root, "does not exist; give the folder that holds the films and their CSV")
    if not root.is_dir():
        raise MissingFileError(root, "is a file; give the folder that holds the films and their CSV")
    if not any(root.iterdir()):
        raise MissingFileError(root, "is empty; put the films and a CSV of their findings there")
    tables = [root / table] if table else sorted(root.rglob("*.csv"))
    if table and not tables[0].is_file():
        raise MissingFileError(
            tables[0], f"does not exist; there are: {', '.join(p.name for p in sorted(root.rglob('*.csv'))) or 'no CSV at all'}"
        )
    if not tables:
        raise MissingFileError(root, "holds no CSV; the films need a table with file name, patient and findings")
    by_folder = _films_by_folder(root)
    if not by_folder:
        raise MissingFileError(root, f"holds no film; expected {', '.join(sorted(_IMAGE))} files")
    refused: list[str] = []
    candidates: list[tuple[bool, int, str, FilmFolder]] = []
    for path in tables:
        try:
            found = _join(path, by_folder, spacing, size)
        except (CorruptFileError, MissingFileError) as error:
            if len(tables) == 1:
                raise
            refused.append(str(error))
            continue
        candidates.append((*_fit(found.films[0].path, size), path.name, found))
    if not candidates:
        raise MissingFileError(root, f"no CSV fits the films: {'; '.join(refused)}")
    return min(candidates, key=lambda c: c[:3])[3]


def _join(table: Path, by_folder: Mapping[Path, Mapping[str, Path]], spacing: Sequence[float] | None, size: int) -> FilmFolder:
    rows, columns = _rows(table)
    names = [Path(row[columns["image"]]).name for row in rows]
    named = set(names)

    # The folder that holds most of the films; of several (one set in several sizes) one near the table, then the one that fits the size.
    def rank(at: Path) -> tuple[int, bool, bool, int, str]:
        return (
            -len(named & by_folder[at].keys()),
            not at.is_relative_to(table.parent),
            *_fit(next(iter(by_folder[at].values())), size),
            str(at),
        )

    folder = min(by_folder, key=rank)
    films = by_folder[folder]
    if not named & films.keys():
        some = ", ".join(sorted(films)[:2])
        raise MissingFileError(
            table,
            f"the labels are for other files: its rows name {', '.join(names[:2])}, the films are {some}; give the CSV of these films",
        )
    set_aside: list[Quarantined] = []
    items: dict[str, FilmItem] = {}
    for row, name in zip(rows, names, strict=True):
        if name in items:
            set_aside.append(Quarantined(f"{table.name}: {name}", "stands in the table twice; the first row is kept"))
        elif name not in films:
            set_aside.append(Quarantined(f"{table.name}: {name}", f"the film is not in {folder.name}/"))
        elif not row[columns["patient"]].strip():
            set_aside.append(Quarantined(f"{table.name}: {name}", "has no patient, so it cannot be split safely"))
        else:
            items[name] = _item(table, films[name], row, columns, spacing)
    set_aside += [Quarantined(str(path), f"has no row in {table.name}") for name, path in sorted(films.items()) if name not in named]
    others = (
        p
        for p in sorted(folder.iterdir())
        if p.is_file() and p.suffix.lower() not in _IMAGE and p.suffix.lower() not in (".csv", ".md", ".txt")
    )
    set_aside += [Quarantined(str(path), "is no film that this recipe reads (PNG, JPEG)") for path in others]
    if not items:
        raise MissingFileError(table, f"none of its {len(rows)} rows can be used; the first: {set_aside[0].item}: {set_aside[0].reason}")
    findings = sorted({name for item in items.values() for name in item.labels})
    patients = {name: len({item.patient_id for item in items.values() if item.labels.get(name) == 1}) for name in findings}
    # A finding that a row does not name was looked for and not seen: the table lists them all.
    films_sorted = tuple(_completed(items[name], findings) for name in sorted(items))
    return FilmFolder(films_sorted, patients, table, tuple(set_aside))


def _completed(item: FilmItem, findings: Sequence[str]) -> FilmItem:
    return replace(item, labels={name: item.labels.get(name, 0.0) for name in findings})


def _item(table: Path, path: Path, row: Mapping[str, str], columns: Mapping[str, str], spacing: Sequence[float] | None) -> FilmItem:
    if "findings" in columns:
        seen = [part.strip() for part in row[columns["findings"]].split("|")]
        labels = {name: 1.0 for name in seen if name.lower() not in _NOTHING_FOUND}
    else:
        labels = {name: float(row[name]) for name in _binary(columns) if row[name].strip()}
    meta = {name: row[columns[name]].strip() for name in ("view", "sex", "age") if name in columns and row[columns[name]].strip()}
    return FilmItem(path.name, path, row[columns["patient"]].strip(), _spacing(table, path, row, spacing), labels, meta=meta)


def _spacing(table: Path, path: Path, row: Mapping[str, str], given: Sequence[float] | None) -> tuple[float, float]:
    """Spacing of the file, (rows, columns) in mm: as given, or from the original film's in the table, corrected for the reduction of the file."""
    if given is not None:
        if len(given) != 2:
            raise GeometryError(table, f"spacing needs two numbers, mm between rows and between columns, got {tuple(given)}")
        return float(given[0]), float(given[1])
    values = {re.sub(r"[^a-z]", "", key.lower()): value for key, value in row.items()}
    try:
        # NIH's header: "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]" falls into four columns.
        width, height = float(values["originalimagewidth"]), float(values["height"])
        x, y = float(values["originalimagepixelspacingx"]), float(values["y"])
    except (KeyError, ValueError):
        raise GeometryError(
            table, f"does not say how large the pixels of {path.name} are; give the spacing in mm, rows and columns"
        ) from None
    rows, columns = _size(path)
    return y * height / rows, x * width / columns


def _rows(table: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or [])
            rows = [{key: value or "" for key, value in row.items() if key is not None} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorruptFileError(table, f"is not a readable CSV in UTF-8 ({error}); save it anew") from error
    plain = {re.sub(r"[_\s]+", " ", name.strip().lower()): name for name in header}
    columns = {what: plain[name] for what, names in _COLUMNS.items() for name in reversed(names) if name in plain}
    for what in ("image", "patient"):
        if what not in columns:
            raise CorruptFileError(table, f"has no column for the {what}; name one of its columns {_COLUMNS[what][0]!r}")
    if not rows:
        raise CorruptFileError(table, "has a header and no rows")
    if "findings" not in columns:
        taken = set(columns.values())
        binary = [name for name in header if name not in taken and {row[name].strip() for row in rows} <= {"", "0", "1", "0.0", "1.0"}]
        if not binary:
            raise CorruptFileError(table, "has no findings: neither a column 'Finding Labels' (a|b|c) nor columns of 0 and 1")
        columns.update({f"binary:{name}": name for name in binary})
    return rows, columns


def _binary(columns: Mapping[str, str]) -> list[str]:
    return [name for what, name in columns.items() if what.startswith("binary:")]


def _films_by_folder(root: Path) -> dict[Path, dict[str, Path]]:
    found: dict[Path, dict[str, Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in _IMAGE and not path.name.startswith(".") and path.is_file():
            found.setdefault(path.parent, {})[path.name] = path
    return found


def _fit(path: Path, size: int) -> tuple[bool, int]:
    """How well a film fits a size, lowest best: films that would be enlarged come last, then those farther away."""
    side = min(_size(path))
    return side < size, abs(side - size)


def _size(path: Path) -> tuple[int, int]:
    """Rows and columns of a film, from its header where that is cheap (PNG), else by reading it."""
    with path.open("rb") as file:
        head = file.read(24)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24:
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
    try:
        rows, columns = read(path, spacing=(1.0, 1.0)).spatial_shape
    except CorruptFileError:
        # It will be set aside, with its reason, when it is read for good.
        return 1, 1
    return rows, columns


def _grey(image: Image) -> Image:
    """Mean of the colour channels, rounded, in the file's own type."""
    if image.array.ndim == 2:
        return image
    grey = np.rint(image.array.mean(axis=0, dtype=np.float64)).astype(image.array.dtype)
    return replace(image, array=grey)


def _film_mask(path: Path, film: Image, stored: Image) -> npt.NDArray[Any]:
    """Read a film's mask and bring it to the stored size: every pixel takes the class of the film's pixel that its centre lies in."""
    mask = _grey(read(path, spacing=film.spacing)).array
    if mask.shape != film.spatial_shape:
        raise GeometryError(path, f"the mask has {mask.shape} pixels, its film {film.spatial_shape}; resize the mask to the film")
    places = [((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(mask.shape, stored.spatial_shape, strict=True)]
    chosen: npt.NDArray[Any] = mask[np.ix_(*places)]
    return chosen
