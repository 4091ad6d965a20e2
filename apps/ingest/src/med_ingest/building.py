"""`med-ingest build`: from an archive or folders to training shards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from med_ingest.saying import Rejected, Workers, counted, reject
from medrun.cli import UserError, say

if TYPE_CHECKING:
    import pyarrow as pa

    from medio import Quarantined, ShardSample

    Plan = tuple[Sequence[Any], Callable[[Any], ShardSample], tuple[Quarantined, ...]]  # items, recipe, what was set aside

Spacing = tuple[float, float, float] | None


class Kind(StrEnum):
    """What `build` makes samples of."""

    SERIES = "series"
    VOLUMES = "volumes"
    FILMS = "films"


class By(StrEnum):
    """What the rows of a table name."""

    SAMPLE = "sample"
    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    FILE = "file"


class Codec(StrEnum):
    """How arrays are compressed; all are lossless."""

    FAST = "fast"
    SMALL = "small"
    FILMS = "films"


def build(
    source: Annotated[
        Path,
        typer.Argument(
            help="series: an archive, or its index from `scan`. volumes: a folder with images/ and labels/ (NIfTI). films: a folder with films and a CSV of findings."
        ),
    ],
    out: Annotated[str, typer.Argument(help="Folder for the shards, or a URL that fsspec writes to, e.g. s3://bucket/shards.")],
    recipe: Annotated[
        Kind, typer.Option(help="series: one sample a DICOM series; volumes: one sample an image with its mask; films: one sample a film.")
    ] = Kind.SERIES,
    modality: Annotated[str, typer.Option(help="series: modalities to take, with commas.")] = "CT,MR,PT",
    spacing: Annotated[
        str, typer.Option(help="Resample volumes to z,y,x mm, e.g. 3,1,1; one number for all three; each volume's own where left out.")
    ] = "",
    size: Annotated[int, typer.Option(min=8, help="films: side in pixels that they are resized to.")] = 512,
    split: Annotated[str, typer.Option(help="Shares of the splits by patient, e.g. train=0.8,test=0.2; no splits where left out.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    per_shard: Annotated[int, typer.Option(min=1, help="Samples a shard.")] = 16,
    masks: Annotated[
        bool, typer.Option("--masks", help="series: put the SEG or RTSTRUCT of the archive that was drawn on a series into its sample.")
    ] = False,
    table: Annotated[Path | None, typer.Option(help="CSV or Parquet with labels, reports or boxes of the samples.")] = None,
    by: Annotated[By, typer.Option(help="Which id the table's rows name.")] = By.SERIES,
    column: Annotated[str, typer.Option(help="Column of the table with that id; the name of the id where left out.")] = "",
    labels: Annotated[str, typer.Option(help="Columns of the table with labels (numbers; empty is unknown), with commas.")] = "",
    report: Annotated[str, typer.Option(help="Column of the table with the report's text.")] = "",
    boxes: Annotated[
        str, typer.Option(help="Columns of the table with the corners of a box in index space, lowest then highest, with commas.")
    ] = "",
    priors: Annotated[
        bool, typer.Option("--priors", help="Link every sample to the one before it of the same patient and modality.")
    ] = False,
    codec: Annotated[
        Codec, typer.Option(help="fast: quickest to read; small: a tenth smaller; films: for 8-bit films. All are lossless.")
    ] = Codec.FAST,
    workers: Workers = 1,
    dask: Annotated[
        str, typer.Option(help="Build on a Dask cluster: the address of its scheduler, tcp://host:port. Needs medio[dask].")
    ] = "",
    storage_option: Annotated[
        list[str] | None,
        typer.Option(help="name=value for the file system of a URL, e.g. endpoint_url=http://127.0.0.1:9000; may be repeated."),
    ] = None,
    rejected: Rejected = None,
) -> None:
    """Build training shards; stopped and started again, only what is missing is built.

    Examples: med-ingest build index.parquet shards --spacing 3,1,1 --split train=0.8,test=0.2
    med-ingest build task shards --recipe volumes --workers 4
    """
    from medio import build_shards

    said = Said(table, by, column or by.value, _names(labels), report, _names(boxes), priors)
    millimetres, shares = _spacing(spacing), _shares(split)
    options = storage_options(storage_option)
    if dask and workers > 1:
        raise UserError("--dask and --workers: a cluster has workers of its own; leave one of them out")
    if recipe is Kind.SERIES:
        wanted = [name.strip().upper() for name in modality.split(",")]
        items, make, set_aside = _from_series(_index(source, workers), wanted, millimetres, shares, seed, masks=masks)
    elif recipe is Kind.VOLUMES:
        items, make, set_aside = _from_volumes(source, millimetres, shares, seed)
    else:
        items, make, set_aside = _from_films(source, size, shares, seed)
    items, left = said.of(items)
    set_aside = (*set_aside, *left)
    try:
        with counted("building shards") as count:
            built = build_shards(
                items,
                make,
                out,
                per_shard=per_shard,
                executor=dask or None,
                workers=None if dask else workers,
                codec=codec.value,
                progress=count,
                storage_options=options,
            )
    except ImportError as error:
        raise UserError(str(error)) from error
    reject((*set_aside, *built.quarantined), rejected)
    if not built.samples:
        raise UserError(f"{source}: no sample could be made; the first reason: {built.quarantined[0].reason}")
    say(
        f"{built.samples} samples in {built.shards} shards ({built.reused} were there), {len(set_aside) + len(built.quarantined)} set aside",
        f"version: {built.version}",
        f"shards: {built.root}",
    )


@dataclass(frozen=True)
class Said:
    """What is said of the samples beside the images: a table, and their order in time."""

    table: Path | None
    by: By
    column: str
    labels: tuple[str, ...]
    report: str
    boxes: tuple[str, ...]
    priors: bool

    def __post_init__(self) -> None:
        if self.table is None and (self.labels or self.report or self.boxes):
            raise UserError("--labels, --report and --boxes are columns of a table; add --table FILE")
        if self.table is not None and not (self.labels or self.report or self.boxes):
            raise UserError("--table: name the columns to take with --labels, --report or --boxes")

    def of(self, items: Sequence[Any]) -> "tuple[Sequence[Any], tuple[Quarantined, ...]]":
        """Return the items with what is said of them, and the rows that name none."""
        from medio.recipes import join_table, link_priors

        left: tuple[Quarantined, ...] = ()
        if self.table is not None:
            try:
                joined = join_table(
                    items,
                    self.table,
                    by=self.by.value,
                    column=self.column,
                    labels=self.labels,
                    report=self.report or None,
                    boxes=self.boxes,
                )
            except ValueError as error:
                raise UserError(f"--table: {error}") from error
            items, left = joined.items, joined.set_aside
            if joined.without_row:
                say(f"{self.table}: names {len(items) - len(joined.without_row)} of {len(items)} samples; the others have no label from it")
        if self.priors:
            try:
                items = link_priors(items)
            except ValueError as error:
                raise UserError(f"--priors: {error}") from error
        return items, left


def storage_options(given: Sequence[str] | None) -> Mapping[str, str] | None:
    """Read name=value settings of a URL's file system."""
    if not given:
        return None
    pairs = [text.partition("=") for text in given]
    wrong = next((name for name, equals, _ in pairs if not equals or not name), None)
    if wrong is not None:
        raise UserError(f"--storage-option takes name=value, e.g. endpoint_url=http://127.0.0.1:9000; got {wrong!r}")
    return {name: value for name, _, value in pairs}


def _index(source: Path, workers: int) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    from medio import scan as scan_files

    if not source.is_file():
        with counted("scanning") as count:
            return scan_files(source, workers=workers, progress=count)
    try:
        index = pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{source}: is no index of an archive; give a folder, or the Parquet file that `med-ingest scan` wrote") from error
    if not {"path", "error", "series_instance_uid"} <= set(index.column_names):
        raise UserError(f"{source}: has not the columns of an index; give the Parquet file that `med-ingest scan` wrote")
    return index


def _from_series(
    index: "pa.Table", modalities: Sequence[str], spacing: Spacing, shares: dict[str, float], seed: int, *, masks: bool
) -> "Plan":
    from medio.recipes import SeriesItem, SeriesRecipe, find_masks, find_series, split_volumes

    folder = find_series(index, modalities=modalities)
    drawn, left = find_masks(index, folder.series) if masks else ({}, ())
    splits = _splits([s.patient_id for s in folder.series], shares, seed)
    items = [SeriesItem(s, splits.get(s.patient_id, ""), drawn.get(s.series_instance_uid)) for s in folder.series]
    split = split_volumes(items)
    # A mask that is used was asked for after all.
    used = {path.parent for path in drawn.values()}
    others = [bad for bad in folder.set_aside if not (masks and Path(bad.item) in used)]
    return split.items, SeriesRecipe(spacing_mm=spacing), (*others, *left, *split.set_aside)


def _from_volumes(source: Path, spacing: Spacing, shares: dict[str, float], seed: int) -> "Plan":
    from medio.recipes import VolumeItem, VolumeRecipe, find_volumes

    folder = find_volumes(source)
    splits = _splits([c.case_id for c in folder.cases], shares, seed)
    items = [VolumeItem(c.case_id, c.image, c.label, c.case_id, splits.get(c.case_id, "")) for c in folder.cases]
    return items, VolumeRecipe(spacing_mm=spacing), folder.set_aside


def _from_films(source: Path, size: int, shares: dict[str, float], seed: int) -> "Plan":
    from medio.recipes import FilmRecipe, find_films

    folder = find_films(source, size=size)
    splits = _splits([film.patient_id for film in folder.films], shares, seed)
    items = [replace(film, split=splits.get(film.patient_id, "")) for film in folder.films]
    return items, FilmRecipe(size=size), folder.set_aside


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _spacing(text: str) -> Spacing:
    if not text:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    z, y, x = values * 3 if len(values) == 1 else values if len(values) == 3 else (0.0, 0.0, 0.0)
    if min(z, y, x) <= 0:
        raise UserError(f"--spacing takes one or three positive numbers of mm, z,y,x, e.g. 3,1,1; got {text!r}")
    return z, y, x


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(",") if text else []:
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UserError(f"--split takes name=share with commas, e.g. train=0.8,test=0.2; got {text!r}") from None
    return shares


def _splits(patients: Sequence[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    from medio import split_patients

    try:
        return split_patients(patients, shares, seed) if shares else {}
    except ValueError as error:
        raise UserError(f"--split: {error}") from error
