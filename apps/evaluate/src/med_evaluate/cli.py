"""`med-evaluate`: predictions and references in, `evaluation.json` and `report.html` out."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medrun.cli import UserError, progress, run_typer, say, table

if TYPE_CHECKING:
    from medeval import Evaluation

app = typer.Typer(
    help="Score predictions against references, every figure with an interval from resampling patients.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[Path, typer.Option(help="Folder for evaluation.json and report.html; made where absent.")]
Samples = Annotated[int, typer.Option(min=1, help="Bootstrap resamples of patients.")]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap; equal seeds give equal figures.")]
Title = Annotated[str, typer.Option(help="Heading of the report.")]


@app.command()
def segmentation(
    predictions: Annotated[Path, typer.Option(help="Folder of label maps (.nii, .nii.gz), named like the references.")],
    references: Annotated[Path, typer.Option(help="Folder of the true label maps.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, named likewise: adds pictures of the worst cases to the report.")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Names of the ids from 0, the background first, with commas; ids themselves where not given.")
    ] = "",
    groups: Annotated[
        Path | None, typer.Option(help="CSV with a column id, perhaps patient, and columns to slice by (site, sex, ...).")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Surface distance that still counts as agreement in NSD.")] = 1.0,
    samples: Samples = 1000,
    seed: Seed = 0,
    title: Title = "Segmentation",
) -> None:
    """Dice, NSD and HD95 of label maps, case by case and class by class."""
    # Here, not above: --help and mistakes in the arguments should not wait for the numerical packages.
    from med_evaluate.pairs import find_pairs, pictures, read_volume, survey
    from med_evaluate.tables import read_rows, select
    from medeval import evaluate

    pairs = find_pairs(predictions, references)
    ids = [pair.sample_id for pair in pairs]
    patients, slices, alone = ids, {}, True
    if groups is not None:
        rows = select(read_rows(groups), ids, groups)
        alone = "patient" not in rows[0]
        patients = ids if alone else [row["patient"] for row in rows]
        slices = {name: [row[name] for row in rows] for name in rows[0] if name not in ("id", "patient")}
    known = survey(pairs)
    names = (
        [name.strip() for name in classes.split(",")]
        if classes
        else ["background", *(f"class {i}" for i in range(1, known.largest_id + 1))]
    )
    with progress(len(pairs), "scoring") as advance:
        result = evaluate(
            "segmentation",
            (read_volume(pair.prediction).array for pair in pairs),
            (read_volume(pair.reference).array for pair in pairs),
            classes=names,
            spacing=known.spacing,
            patients=patients,
            sample_ids=ids,
            groups=slices,
            tolerance_mm=tolerance_mm,
            samples=samples,
            seed=seed,
            progress=lambda done, total: advance(),
        )
    figures = pictures(result, pairs, images) if images is not None else []
    facts = {
        "predictions": str(predictions),
        "references": str(references),
        "patients": "each case taken as its own patient" if alone else f"from {groups}",
    }
    _finish(result, out, title, figures, facts)


@app.command()
def classification(
    predictions: Annotated[Path, typer.Option(help="CSV with a column id and one column of probabilities a class.")],
    references: Annotated[
        Path, typer.Option(help="CSV with columns id, patient, the same classes (0, 1, empty where unknown), perhaps more.")
    ],
    out: Out,
    group_by: Annotated[
        list[str] | None, typer.Option(help="Column of the references to slice by (view, sex, ...); may be repeated.")
    ] = None,
    samples: Samples = 1000,
    seed: Seed = 0,
    title: Title = "Classification",
) -> None:
    """AUROC, average precision, ECE of P(y = 1) and Brier score of class probabilities."""
    from med_evaluate.tables import numbers, read_rows, select
    from medeval import evaluate

    truth, found = read_rows(references), read_rows(predictions)
    ids = [row["id"] for row in truth]
    classes = [name for name in found[0] if name not in ("id", "patient")]
    if not classes:
        raise UserError(f"{predictions}: has no column of probabilities; give one column a class beside id")
    absent = [name for name in ["patient", *classes, *(group_by or [])] if name not in truth[0]]
    if absent:
        raise UserError(f"{references}: lacks the column {', '.join(absent)}; it has {', '.join(truth[0])}")
    unknown = {row["id"] for row in found} - set(ids)
    if unknown:
        raise UserError(
            f"{predictions}: {len(unknown)} ids are not in {references.name}: {', '.join(sorted(unknown)[:5])}; evaluate what has a reference"
        )
    result = evaluate(
        "classification",
        numbers(select(found, ids, predictions), classes, predictions),
        numbers(truth, classes, references, empty_is_unknown=True),
        classes=classes,
        patients=[row["patient"] for row in truth],
        sample_ids=ids,
        groups={name: [row[name] for row in truth] for name in group_by or []},
        samples=samples,
        seed=seed,
    )
    _finish(result, out, title, [], {"predictions": str(predictions), "references": str(references)})


def _finish(result: "Evaluation", out: Path, title: str, figures: list[tuple[str, bytes]], facts: dict[str, str]) -> None:
    """Write the page, then the figures (whose presence says that both are whole), and print a summary."""
    from importlib.metadata import version

    page = result.to_html(out / "report.html", title=title, figures=figures, facts={**facts, "medeval": version("medeval")})
    draft, path = out / f".evaluation.json.{os.getpid()}", out / "evaluation.json"
    draft.write_text(json.dumps(result.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
    draft.replace(path)
    rows = [(name, f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}", e.n, e.patients) for name, e in result.estimates.items()]
    table(title, rows, columns=("figure", "value", f"{result.settings['level']:.0%} interval", "cases", "patients"))
    counted = [
        f"{result.empties[rule]} {rule.replace('_', ' ')}" for rule in ("missed", "hallucinated", "both_empty") if result.empties.get(rule)
    ]
    if counted:
        say(f"empty masks: {', '.join(counted)}")
    if result.absent:
        say(f"not given, with the reason in the report: {len(result.absent)} figures or slices")
    say(f"figures: {path}", f"page: {page}")


def main() -> None:
    """Entry of the command."""
    run_typer(app, name="med-evaluate", errors=("medio.errors.MedioError", "medeval.errors.EvalError"))
