"""`med-deploy`: from a trained artifact to a bundle, and from an image to an answer."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medrun.cli import UserError, progress, run_typer, say, table

if TYPE_CHECKING:
    from meddeploy import Prediction

app = typer.Typer(
    help="Export a trained model, prove that the export says the same, and run it on images.", no_args_is_help=True, add_completion=False
)

BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder that `med-deploy export` wrote.")]
ArtifactFolder = Annotated[
    Path, typer.Option("--artifact", help="Folder of a trained segmentation or classification, e.g. OUT/artifact of med-finetune.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores where not given.")]


@app.command()
def export(artifact: ArtifactFolder, out: Annotated[Path, typer.Option(help="Folder of the bundle; made where absent.")]) -> None:
    """Write a trained model as ONNX, with all that must happen before and after it."""
    # Here, not above: --help and mistakes in the arguments should not wait for torch.
    from meddeploy import export as export_bundle
    from medfinetune import load_artifact

    with progress(2, "exporting") as advance:
        trained = load_artifact(artifact)
        advance()
        bundle = export_bundle(trained, out)
        advance()
    say(f"bundle: {bundle.folder}", f"check it: med-deploy verify --bundle {out} --artifact {artifact}")


@app.command()
def verify(
    bundle: BundleFolder,
    artifact: ArtifactFolder,
    tolerance: Annotated[float, typer.Option(help="Largest difference of a logit, relative to its size beyond 1.")] = 1e-4,
    cases: Annotated[int, typer.Option(min=1, help="Random inputs for batches of one and again of two.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    threads: Threads = None,
) -> None:
    """Prove that a bundle says what the trained model says; exit code 2 where it does not."""
    from meddeploy import Bundle
    from meddeploy import verify as compare
    from medfinetune import load_artifact

    if not tolerance > 0:
        raise UserError(f"--tolerance must be positive, got {tolerance}")
    exported = Bundle.load(bundle)
    with progress(1, "comparing") as advance:
        report = compare(exported, load_artifact(artifact), tolerance=tolerance, cases=cases, seed=seed, threads=threads)
        advance()
    rows = [
        ("largest difference", f"{report.max_difference:.2e}"),
        ("tolerance", f"{tolerance:.2e}"),
        ("cases", report.cases),
        ("worst", report.worst),
    ]
    table("parity", rows)
    if not report.passed:
        why = (
            "; ".join(report.mismatches)
            or f"the largest difference is {report.max_difference:.3g}, {tolerance:.3g} is allowed ({report.worst})"
        )
        raise UserError(f"{bundle}: does not say what {artifact} says: {why}; export it again and do not use this one")
    say("passed")


@app.command()
def run(
    bundle: BundleFolder,
    input: Annotated[Path, typer.Option(help="A folder or file of one DICOM series, a .nii or .nii.gz, a .png or .jpg.")],
    out: Annotated[
        Path,
        typer.Option(help="What to write: .dcm (DICOM SEG, needs --codes), .nii.gz or .png (mask), .json (volumes, areas, probabilities)."),
    ],
    codes: Annotated[
        Path | None, typer.Option(help='JSON of the code of each class, e.g. {"nodule": ["27925004", "SCT", "Nodule"]}.')
    ] = None,
    spacing: Annotated[
        str, typer.Option(help="Millimetres between rows and between columns, e.g. 0.15,0.15; for films that carry none.")
    ] = "",
    threads: Threads = None,
) -> None:
    """Answer one image: a mask on its own grid, or probabilities."""
    from med_deploy.codes import read_segments
    from meddeploy import Bundle, Predictor, segment_study
    from medio import Image, read, write

    kind = _kind_of(out)
    exported = Bundle.load(bundle)
    if exported.kind != "segmentation" and kind != ".json":
        raise UserError(f"{out}: a {exported.kind} has no mask; write its probabilities to a .json")
    given = _spacing(spacing)
    segments = read_segments(codes, exported.classes, bundle) if kind == ".dcm" else []
    if not input.exists():
        raise UserError(f"{input}: no such file or folder")
    predictor = Predictor(exported, threads=threads)
    with progress(1, "answering") as advance:
        if kind == ".dcm":
            segment_study(predictor, input, out, segments)
        else:
            image = read(input, spacing=given)
            prediction = predictor.predict(image)
            if prediction.mask is None or kind == ".json":
                _write_json(out, {"input": str(input), "bundle": str(bundle), **prediction.to_dict()})
            else:
                write(Image(prediction.mask, prediction.affine, prediction.spacing), out)
            _show(prediction)
        advance()
    say(f"answer: {out}")


@app.command()
def info(bundle: BundleFolder) -> None:
    """Say what a bundle is: classes, preprocessing, where its weights come from."""
    from meddeploy import Bundle

    found = Bundle.load(bundle)
    pre, card = found.preprocessing, found.card
    rows = [
        ("kind", found.kind),
        ("classes", ", ".join(found.classes)),
        ("window" if not pre.whole_image else "image size", " x ".join(map(str, pre.patch_size))),
        ("spacing, mm", "its own" if pre.spacing_mm is None else " x ".join(f"{s:g}" for s in pre.spacing_mm)),
        ("axes", pre.axes or "its own"),
        ("intensity", ", ".join(f"{key} {value}" for key, value in pre.to_dict()["intensity"].items() if value is not None)),
        ("calibrated", "yes" if found.calibration else "no"),
        ("network", card.arch),
        ("objective", card.objective),
        ("data", card.data_fingerprint or "not stated"),
        ("licence", card.licence or "not stated"),
        ("sha256", found.sha256),
        ("ONNX opset", found.opset),
        ("written by", ", ".join(f"{name} {number}" for name, number in found.versions.items())),
    ]
    table(str(bundle), rows)


def main() -> None:
    """Entry of the command."""
    families = (
        "medio.errors.MedioError",
        "medmodels.errors.ModelError",
        "medfinetune.errors.FinetuneError",
        "meddeploy.errors.DeployError",
    )
    run_typer(app, name="med-deploy", errors=families)


def _kind_of(out: Path) -> str:
    name = out.name.lower()
    for suffix in (".nii.gz", ".nii", ".dcm", ".png", ".json"):
        if name.endswith(suffix):
            return suffix
    raise UserError(f"{out}: its name says not what to write; end it in .dcm, .nii.gz, .png or .json")


def _spacing(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        rows, columns = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--spacing {text}: give two numbers in mm, e.g. 0.15,0.15") from None
    return rows, columns


def _show(prediction: "Prediction") -> None:
    for title, unit, values in (
        ("volumes", "ml", prediction.volumes_ml),
        ("areas", "mm2", prediction.areas_mm2),
        ("probabilities" if prediction.calibrated else "probabilities, not calibrated", "", prediction.probabilities),
    ):
        if values:
            table(title, [(name, f"{value:.4g} {unit}".strip()) for name, value in values.items()])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)
