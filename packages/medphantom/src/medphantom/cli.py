"""`med-phantom`: populations of synthetic patients as files."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn, cast

import typer

from medphantom.errors import PhantomError

_DEFAULT_PREVALENCE = 0.2
_IMAGES = ("ct", "dx", "mr")

app = typer.Typer(
    help="Make synthetic patients with known truth. Every file says that it is synthetic.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _commands() -> None:
    """Make synthetic patients with known truth. Every file says that it is synthetic."""


@app.command()
def make(
    out: Annotated[Path, typer.Argument(help="Folder to write; made if absent. The same command goes on where a killed one was.")],
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 10,
    sites: Annotated[int, typer.Option(min=1, help="Over how many sites they are spread.")] = 3,
    visits: Annotated[int, typer.Option(min=1, help="Visits of each patient.")] = 1,
    interval_days: Annotated[int, typer.Option(min=1, help="Mean time between visits.")] = 180,
    seed: Annotated[int, typer.Option(help="Names the population.")] = 0,
    spacing: Annotated[str, typer.Option(help="Voxels in mm: one number, or z,y,x; each site's own where not given.")] = "",
    size: Annotated[str, typer.Option(help="Voxels of a CT: one number, or D,H,W; as many as the thorax needs where not given.")] = "",
    modalities: Annotated[str, typer.Option(help="Of ct, dx, mr, with commas.")] = "ct,dx",
    findings: Annotated[str, typer.Option(help="Kinds that occur, with commas; each site's own where not given.")] = "",
    prevalence: Annotated[
        str, typer.Option(help="Shares at every site, such as nodule=0.5,effusion=0.2; the rest as each site has them.")
    ] = "",
    labels: Annotated[str, typer.Option(help="basic for seven classes, full for every organ and finding.")] = "basic",
    format: Annotated[str, typer.Option(help="dicom, nifti or both.")] = "dicom",
    identifiers: Annotated[bool, typer.Option(help="Plant invented identifiers in DICOM files, and list where.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the files do not depend on them.")] = 1,
) -> None:
    """Write a population: images, SEG and SR, reports, and the truth in patients.jsonl."""
    # Here, not above: --help and mistakes in the arguments should not wait for the numerical packages.
    from medphantom.dicom.writing import Content, Format
    from medphantom.findings.drawing import KINDS
    from medphantom.population import Population, make_population
    from medphantom.sites import make_sites
    from medphantom.study import Labelling

    images = _words("modalities", modalities, _IMAGES)
    if not images:
        raise PhantomError("--modalities names nothing; give some of ct,dx,mr")
    derived = ("seg", "sr") if "ct" in images and format != "nifti" else ()
    only = _words("findings", findings, KINDS)
    shares = _shares(prevalence, KINDS)
    chosen = tuple(
        replace(site, prevalence={**_restricted(site.prevalence, only), **shares}) if only or shares else site
        for site in make_sites(sites, seed)
    )
    population = Population(
        seed=seed,
        sites=chosen,
        visits=visits,
        interval_days=interval_days,
        spacing_mm=cast("tuple[float, float, float] | None", _three("spacing", spacing, float)),
        shape=cast("tuple[int, int, int] | None", _three("size", size, int)),
        contents=cast("tuple[Content, ...]", (*images, *derived)),
        format=cast(Format, format),
        labels=cast(Labelling, labels),
        identifiers=identifiers,
    )
    with _progress(patients) as advance:
        report = make_population(population, patients, out, workers=workers, progress=advance)
    sys.stdout.write(f"{patients} synthetic patients in {report.folder} ({report.made} made, {report.kept} kept)\ntruth: {report.rows}\n")


@app.command()
def show(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    seed: Annotated[int, typer.Option(help="Names the population.")] = 0,
    index: Annotated[int, typer.Option(min=0, help="Number of the patient in it.")] = 0,
    spacing: Annotated[str, typer.Option(help="Voxels in mm: one number, or z,y,x.")] = "2.5",
    prevalence: Annotated[str, typer.Option(help="Shares, such as nodule=1,effusion=1; the rest as the site has them.")] = "",
) -> None:
    """Draw one patient as a contact sheet: CT, labels, MR and films."""
    import medio
    from medphantom.findings.drawing import KINDS
    from medphantom.records import make_records
    from medphantom.sheet import contact_sheet
    from medphantom.sites import SITES

    shares = _shares(prevalence, KINDS)
    sites = tuple(replace(site, prevalence={**site.prevalence, **shares}) for site in SITES)
    voxels = cast("tuple[float, float, float] | None", _three("spacing", spacing, float))
    record = make_records(seed, index, sites=sites, spacing_mm=voxels, labels="full", mr=True)[0]
    pixel_mm = 1.5
    medio.write(medio.Image(contact_sheet(record, pixel_mm=pixel_mm), None, (pixel_mm, pixel_mm), "", {}), out)
    kinds = ", ".join(dict.fromkeys(truth.kind for truth in record.truths)) or "no finding"
    sys.stdout.write(f"{record.patient_id}, synthetic, {record.site.name}: {kinds}\npicture: {out}\n")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry of the command: one line and exit code 2 for what the user can mend."""
    from typer.main import get_command

    try:
        code = get_command(app).main(args=list(sys.argv[1:] if argv is None else argv), prog_name="med-phantom", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except (PhantomError, OSError) as error:
        _fail(str(error) or type(error).__name__, 2)
    except Exception as error:
        # Click's own, from whichever copy of Click this Typer carries.
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error}\n")
            sys.exit(2)
        _fail(re.sub(r" \(Possible options: ([^)]*)\)", r" Did you mean \1?", said()), 2)
    if code == 130:  # what Typer makes of Ctrl-C
        _fail("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"med-phantom: error: {' '.join(message.split())}\n")
    sys.stderr.flush()
    sys.exit(code)


def _words(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        _check_word(option, word, known)
    return words


def _check_word(option: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        near = difflib.get_close_matches(word, known, 1)
        raise PhantomError(f"--{option}: no {word!r}. " + (f"Did you mean {near[0]}?" if near else f"Use {', '.join(known)}"))


def _shares(text: str, known: Sequence[str]) -> dict[str, float]:
    shares = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, share = part.partition("=")
        _check_word("prevalence", kind, known)
        try:
            shares[kind] = float(share)
        except ValueError:
            raise PhantomError(f"--prevalence: {part!r} is not KIND=SHARE, such as nodule=0.5") from None
    return shares


def _restricted(prevalence: object, only: Sequence[str]) -> dict[str, float]:
    known = dict(cast("dict[str, float]", prevalence))
    return {kind: known.get(kind, _DEFAULT_PREVALENCE) for kind in only} if only else known


def _three(option: str, text: str, kind: Callable[[str], float]) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        values = tuple(kind(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values = values * 3
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise PhantomError(f"--{option}: {text!r} is neither one positive number nor three with commas")
    return values


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        told = -1

        def tell(done: int, of: int) -> None:
            nonlocal told
            # A log gets a line at every tenth of the way.
            if done == of or done * 10 // of > told:
                told = done * 10 // of
                sys.stderr.write(f"patients: {done} of {of}{os.linesep}")
                sys.stderr.flush()

        yield tell
        return
    columns = (TextColumn("synthetic patients"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, _: bar.update(task, completed=done)


if __name__ == "__main__":
    main()
