"""med-ingest: from an archive to an index, de-identified files and shards."""

from collections import Counter
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from med_ingest.building import build, storage_options
from med_ingest.deidentifying import deidentify
from med_ingest.saying import Workers, counted, say_reasons
from medrun.cli import UserError, run_typer, say, table

# The packages that read images are imported inside the commands: --help and mistakes in the arguments should not wait for them.

app = typer.Typer(
    help="From an archive to an index (scan), pseudonymous copies (deidentify) and training shards (build); look at them (inspect, verify).",
    no_args_is_help=True,
    add_completion=False,
)

Dataset = Annotated[str, typer.Argument(help="Folder or URL of shards, as `build` made it.")]
StorageOption = Annotated[list[str] | None, typer.Option(help="name=value for the file system of a URL; may be repeated.")]


@app.command()
def scan(
    root: Annotated[Path, typer.Argument(help="Folder with DICOM files, searched with all its subfolders, zip and tar archives.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the index; one row a file, errors are rows too.")] = Path("index.parquet"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read every file again; else only those that are new or changed since the index was written.")
    ] = False,
    workers: Workers = 1,
) -> None:
    """Index an archive: read the header of every file and list its series.

    Run again, it reads only what is new or changed; stopped, it goes on where it was.

    Example: med-ingest scan archive --out index.parquet --workers 4
    """
    from medio import scan as scan_files
    from medio import series

    with counted("scanning") as count:
        index = scan_files(root, workers=workers, previous=None if fresh else out, out=out, progress=count)
    if not len(index):
        raise UserError(f"{root}: holds no file; give the folder of the archive")
    found = series(index)
    rows = [(s.modality or "none", s.patient_id or "none", s.study_date, s.series_description, len(s.paths)) for s in found]
    kinds = Counter(s.modality or "none" for s in found)
    if len(rows) <= 40:
        table("series", rows, columns=("modality", "patient", "date", "description", "files"))
    else:
        table("series", sorted(kinds.items()), columns=("modality", "series"))
    errors = Counter(reason for reason in index["error"].to_pylist() if reason is not None)
    say_reasons(errors)
    say(f"{len(index)} files, {len(found)} series, {sum(errors.values())} not usable", f"index: {out}")


app.command()(deidentify)
app.command()(build)


@app.command()
def inspect(
    dataset: Dataset,
    storage_option: StorageOption = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML page to write: a contact sheet, histograms and the tables. No page where left out.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, max=400, help="Most pictures on the page.")] = 24,
) -> None:
    """Say what a dataset of shards holds, and show it.

    Example: med-ingest inspect shards --out shards.html
    """
    from med_ingest.summary import summarise
    from medio import ShardDataset

    shards = ShardDataset(dataset, storage_options=storage_options(storage_option))
    summary = summarise(shards)
    table(str(dataset), summary.facts)
    table("samples", summary.groups, columns=("split", "modality", "patients", "samples"))
    if summary.labels:
        table("labels", summary.labels, columns=("label", "known", "positive"))
    if summary.classes:
        table("mask classes", summary.classes, columns=("class", "samples", "voxels"))
    say_reasons(Counter(reason for _, reason in shards.quarantined))
    if out is not None:
        from med_ingest.page import write_page

        say(f"page: {write_page(shards, summary, out, pictures=pictures)}")
    say(f"version: {shards.version}")


@app.command()
def verify(dataset: Dataset, storage_option: StorageOption = None) -> None:
    """Read every array of a dataset and compare it with the hash that was stored; exit code 2 when one differs.

    Example: med-ingest verify shards
    """
    from medio import verify_shards

    with counted("verifying shards") as count:
        report = verify_shards(dataset, progress=count, storage_options=storage_options(storage_option))
    if report.problems:
        table("problems", [(p.item, p.reason) for p in report.problems], columns=("where", "what"))
        raise UserError(f"{dataset}: {len(report.problems)} problems in {report.shards} shards, the first: {report.problems[0].item}")
    say(f"{report.arrays} arrays in {report.shards} shards are as stored")


def main() -> NoReturn:
    """Run med-ingest."""
    run_typer(app, name="med-ingest", errors=("medio.errors.MedioError",))
