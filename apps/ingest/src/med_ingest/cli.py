"""med-ingest: from an archive to an index, de-identified files and shards."""

import csv
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from medrun.cli import UserError, progress, run_typer, say, table

if TYPE_CHECKING:
    import pyarrow as pa

    from medio import Quarantined, ShardSample

    Plan = tuple[Sequence[Any], Callable[[Any], ShardSample], tuple[Quarantined, ...]]  # items, recipe, what was set aside

# The packages that read images are imported inside the commands: --help and mistakes in the arguments should not wait for them.

app = typer.Typer(
    help="From an archive to an index (scan), pseudonymous copies (deidentify) and training shards (build); look at them (inspect, verify).",
    no_args_is_help=True,
    add_completion=False,
)

Spacing = tuple[float, float, float] | None


class Kind(StrEnum):
    """What `build` makes samples of."""

    SERIES = "series"
    VOLUMES = "volumes"


Workers = Annotated[int, typer.Option(min=1, help="Processes to work in; 1 stays in this one.")]
Rejected = Annotated[
    Path | None,
    typer.Option(help="CSV for what could not be used, with the reason. It names source files: keep it where those may be named."),
]
Dataset = Annotated[Path, typer.Argument(help="Folder of shards, as `build` made it.")]


@app.command()
def scan(
    root: Annotated[Path, typer.Argument(help="Folder with DICOM files, searched with all its subfolders.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the index; one row a file, errors are rows too.")] = Path("index.parquet"),
    workers: Workers = 1,
) -> None:
    """Index an archive: read the header of every file and list its series.

    Example: med-ingest scan archive --out index.parquet --workers 4
    """
    import pyarrow.parquet as pq

    from medio import scan as scan_files
    from medio import series
    from medio.atomic import replacing

    with _counted("scanning") as count:
        index = scan_files(root, workers=workers, progress=count)
    if not len(index):
        raise UserError(f"{root}: holds no file; give the folder of the archive")
    with replacing(out) as partial:
        pq.write_table(index, partial)
    found = series(index)
    rows = [(s.modality or "none", s.patient_id or "none", s.study_date, s.series_description, len(s.paths)) for s in found]
    kinds = Counter(s.modality or "none" for s in found)
    if len(rows) <= 40:
        table("series", rows, columns=("modality", "patient", "date", "description", "files"))
    else:
        table("series", sorted(kinds.items()), columns=("modality", "series"))
    errors = Counter(reason for reason in index["error"].to_pylist() if reason is not None)
    _say_reasons(errors)
    say(f"{len(index)} files, {len(found)} series, {sum(errors.values())} not usable", f"index: {out}")


@app.command()
def deidentify(
    source: Annotated[Path, typer.Argument(help="DICOM file, or folder of them; left as it is.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for the copies: <patient>/<series>/<instance>.dcm, all pseudonyms, and audit.parquet.")
    ],
    key_file: Annotated[
        Path, typer.Option(help="File with the secret key (16 characters or more). The same key gives the same pseudonyms.")
    ],
    make_key: Annotated[bool, typer.Option("--make-key", help="Make the key file when it does not exist.")] = False,
    keep_sex: Annotated[bool, typer.Option(help="Keep the patient's sex.")] = True,
    keep_age: Annotated[bool, typer.Option(help="Keep the patient's age; above 89 years it becomes 90.")] = True,
    keep_size_and_weight: Annotated[bool, typer.Option(help="Keep size and weight, which SUV needs.")] = True,
    rejected: Rejected = None,
) -> None:
    """Copy DICOM files without what identifies people; dates move, intervals stay.

    Only attributes that images need survive. Files with text in their pixels or content (screen captures, ultrasound, reports, documents) are not copied
    but counted, with the reason. Stopped and started again, it goes on where it was.

    Example: med-ingest deidentify archive clean --key-file secret.key --make-key
    """
    from medio import Policy, deidentify_files

    key = _key(key_file, make=make_key)
    policy = Policy(key=key, keep_sex=keep_sex, keep_age=keep_age, keep_size_and_weight=keep_size_and_weight)
    with _counted("de-identifying") as count:
        report = deidentify_files(source, out, policy, progress=count)
    _reject(report.quarantined, rejected)
    say(
        f"{len(report.written)} files in {out} ({report.skipped} were there), {len(report.quarantined)} set aside", f"audit: {report.audit}"
    )


@app.command()
def build(
    source: Annotated[
        Path, typer.Argument(help="series: an archive, or its index from `scan`. volumes: a folder with images/ and labels/ (NIfTI).")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the shards.")],
    recipe: Annotated[
        Kind, typer.Option(help="series: one sample a DICOM series; volumes: one sample an image with its mask.")
    ] = Kind.SERIES,
    modality: Annotated[str, typer.Option(help="series: modalities to take, with commas.")] = "CT,MR,PT",
    spacing: Annotated[
        str, typer.Option(help="Resample volumes to z,y,x mm, e.g. 3,1,1; one number for all three; each volume's own where left out.")
    ] = "",
    split: Annotated[str, typer.Option(help="Shares of the splits by patient, e.g. train=0.8,test=0.2; no splits where left out.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    per_shard: Annotated[int, typer.Option(min=1, help="Samples a shard.")] = 16,
    workers: Workers = 1,
    rejected: Rejected = None,
) -> None:
    """Build training shards; stopped and started again, only what is missing is built.

    Examples: med-ingest build index.parquet shards --spacing 3,1,1 --split train=0.8,test=0.2
    med-ingest build task shards --recipe volumes
    """
    from medio import build_shards

    millimetres, shares = _spacing(spacing), _shares(split)
    if recipe is Kind.SERIES:
        wanted = [name.strip().upper() for name in modality.split(",")]
        items, make, set_aside = _from_series(_index(source, workers), wanted, millimetres, shares, seed)
    else:
        items, make, set_aside = _from_volumes(source, millimetres, shares, seed)
    with _pool(workers) as executor, _counted("building shards") as count:
        report = build_shards(items, make, out, per_shard=per_shard, executor=executor, progress=count)
    _reject((*set_aside, *report.quarantined), rejected)
    if not report.samples:
        raise UserError(f"{source}: no sample could be made; the first reason: {report.quarantined[0].reason}")
    say(
        f"{report.samples} samples in {report.shards} shards ({report.reused} were there), {len(set_aside) + len(report.quarantined)} set aside",
        f"version: {report.version}",
        f"shards: {report.root}",
    )


@app.command()
def inspect(
    dataset: Dataset,
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

    shards = ShardDataset(dataset)
    summary = summarise(shards)
    table(str(dataset), summary.facts)
    table("samples", summary.groups, columns=("split", "modality", "patients", "samples"))
    if summary.labels:
        table("labels", summary.labels, columns=("label", "known", "positive"))
    if summary.classes:
        table("mask classes", summary.classes, columns=("class", "samples", "voxels"))
    _say_reasons(Counter(reason for _, reason in shards.quarantined))
    if out is not None:
        from med_ingest.page import write_page

        say(f"page: {write_page(shards, summary, out, pictures=pictures)}")
    say(f"version: {shards.version}")


@app.command()
def verify(dataset: Dataset) -> None:
    """Read every array of a dataset and compare it with the hash that was stored; exit code 2 when one differs.

    Example: med-ingest verify shards
    """
    from medio import verify_shards

    with _counted("verifying shards") as count:
        report = verify_shards(dataset, progress=count)
    if report.problems:
        table("problems", [(p.item, p.reason) for p in report.problems], columns=("where", "what"))
        raise UserError(f"{dataset}: {len(report.problems)} problems in {report.shards} shards, the first: {report.problems[0].item}")
    say(f"{report.arrays} arrays in {report.shards} shards are as stored")


def main() -> NoReturn:
    """Run med-ingest."""
    run_typer(app, name="med-ingest", errors=("medio.errors.MedioError",))


@contextmanager
def _counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress for work that says (done, total); the bar opens with the first word."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        before = 0

        def count(done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                advance = stack.enter_context(progress(total, description))
            advance(done - before)
            before = done

        yield count


def _pool(workers: int) -> AbstractContextManager[Executor | None]:
    # Spawned, not forked: Arrow's threads of this process would not survive a fork.
    return nullcontext() if workers == 1 else ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _index(source: Path, workers: int) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    from medio import scan as scan_files

    if not source.is_file():
        with _counted("scanning") as count:
            return scan_files(source, workers=workers, progress=count)
    try:
        index = pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{source}: is no index of an archive; give a folder, or the Parquet file that `med-ingest scan` wrote") from error
    if not {"path", "error", "series_instance_uid"} <= set(index.column_names):
        raise UserError(f"{source}: has not the columns of an index; give the Parquet file that `med-ingest scan` wrote")
    return index


def _from_series(index: "pa.Table", modalities: Sequence[str], spacing: Spacing, shares: dict[str, float], seed: int) -> "Plan":
    from medio.recipes import SeriesItem, SeriesRecipe, find_series

    folder = find_series(index, modalities=modalities)
    splits = _splits([s.patient_id for s in folder.series], shares, seed)
    return [SeriesItem(s, splits.get(s.patient_id, "")) for s in folder.series], SeriesRecipe(spacing_mm=spacing), folder.set_aside


def _from_volumes(source: Path, spacing: Spacing, shares: dict[str, float], seed: int) -> "Plan":
    from medio.recipes import VolumeItem, VolumeRecipe, find_volumes

    folder = find_volumes(source)
    splits = _splits([c.case_id for c in folder.cases], shares, seed)
    items = [VolumeItem(c.case_id, c.image, c.label, c.case_id, splits.get(c.case_id, "")) for c in folder.cases]
    return items, VolumeRecipe(spacing_mm=spacing), folder.set_aside


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


def _key(path: Path, *, make: bool) -> str:
    if not path.is_file():
        if not make:
            raise UserError(
                f"{path}: no such key file; add --make-key to make one, and keep it: without it, new studies get other pseudonyms"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    key = path.read_text().strip()
    if len(key) < 16:
        raise UserError(f"{path}: the key has {len(key)} characters and needs 16; delete the file and use --make-key")
    return key


def _reject(items: "Sequence[Quarantined]", path: Path | None) -> None:
    _say_reasons(Counter(item.reason for item in items))
    if path is not None:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("item", "reason"), *((item.item, item.reason) for item in items)])


def _say_reasons(reasons: Counter[str]) -> None:
    if reasons:
        rows = [(count, reason) for reason, count in reasons.most_common(20)]
        if len(reasons) > 20:
            rows.append((sum(reasons.values()) - sum(count for count, _ in rows), "other reasons"))
        table("set aside", rows, columns=("files", "why"))
