"""`med-review`: a page on which clinicians judge predictions, and a summary of what they said."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from medrun.cli import progress, run_typer, say, table

app = typer.Typer(
    help="Let clinicians judge segmentations on a page without a network, and sum up their verdicts.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def page(
    images: Annotated[Path, typer.Option(help="Folder of images: volumes (.nii, .nii.gz) or films (.png, .jpg).")],
    predictions: Annotated[Path, typer.Option(help="Folder of label maps, named like the images; cases without one are left out.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    classes: Annotated[str, typer.Option(help="Names of the ids from 0, the background first, with commas.")] = "",
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Review of segmentations",
) -> None:
    """Write a self-contained page: three slices a case with contours, a verdict, a comment, and an export."""
    # Here, not above: --help and mistakes in the arguments should not wait for the numerical packages.
    from med_review.cases import Case, find_cases, read_cases
    from med_review.page import write_page

    paths = find_cases(images, predictions)
    names = [name.strip() for name in classes.split(",")] if classes else []
    cases: list[Case] = []
    with progress(len(paths), "drawing") as advance:
        for case in read_cases(paths, names):
            cases.append(case)
            advance()
    say(f"page: {write_page(cases, out, title=title)} ({len(paths)} cases)")


@app.command()
def summarize(
    verdicts: Annotated[list[Path], typer.Argument(help="Exported verdicts, one file a reader, all of one page.")],
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file too.")] = None,
) -> None:
    """Print the share of accepted cases with its interval and, for several readers, Cohen's kappa."""
    from med_review.verdicts import accept, agree, load, to_dict
    from medeval import Estimate

    def shown(estimate: Estimate | None) -> str:
        return "undefined" if estimate is None else f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"

    readings = load(verdicts)
    found = [accept(reading) for reading in readings]
    rows = [
        ("accepted", *(shown(a.accepted) for a in found)),
        ("accepted or minor", *(shown(a.usable) for a in found)),
        *((count, *(a.counts[count] for a in found)) for count in found[0].counts),
    ]
    # A column a reader: values never share a line with so many others that a narrow terminal folds them.
    table(f"Verdicts on {len(readings[0].cases)} cases, 95% intervals", rows, columns=("", *(a.reader for a in found)))
    pairs = agree(readings)
    if pairs:
        table(
            "Agreement on the cases that both judged",
            [(" and ".join(a.readers), shown(a.kappa), f"{a.same} of {a.common}") for a in pairs],
            columns=("readers", "Cohen's kappa", "same verdict"),
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_name(f".{out.name}.{os.getpid()}")
        draft.write_text(json.dumps(to_dict(readings), indent=1, allow_nan=False, ensure_ascii=False), encoding="utf-8")
        draft.replace(out)
        say(f"figures: {out}")


def main() -> None:
    """Entry of the command."""
    run_typer(app, name="med-review", errors=("medio.errors.MedioError", "medeval.errors.EvalError"))
