"""From trained weights to a model that answers: export, parity, registry, and a study it has never seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from med_quickstart.config import PhantomSource
from med_quickstart.planning import Plan
from med_quickstart.sources import make_phantoms
from med_quickstart.stages import StageResult, write_json
from meddeploy import Bundle, Predictor, export, segment_study, verify
from medeval import Estimate, evaluate
from medfinetune import load_artifact
from medio import Image, Segment, read, read_segmentation, write
from medio.recipes.volumes import read_mask
from medrun.cli import UserError
from medrun.registry import Registry

# SNOMED CT codes of what the phantom is made of. A class without a code is not written as DICOM: a default type would be a false statement.
_CODES = {
    "lung": ("39607008", "Lung"),
    "heart": ("80891009", "Heart"),
    "spine": ("421060004", "Vertebral column"),
    "rib": ("113197003", "Rib"),
    "vessel": ("59820001", "Blood vessel"),
    "nodule": ("27925004", "Nodule"),
    "liver": ("10200004", "Liver"),
    "aorta": ("15825003", "Aorta"),
}


def export_and_verify(artifact: Path, folder: Path) -> StageResult:
    """Export to ONNX and hold the exported graph to the trained network.

    Raises:
        UserError: where the two differ by more than the tolerance.
    """
    trained = load_artifact(artifact)
    bundle = export(trained, folder / "bundle")
    report = verify(bundle, trained)
    if not report.passed:
        raise UserError(
            f"the exported graph differs from the trained network by {report.max_difference:.3g}; the bundle in {folder} must not be used"
        )
    return {"bundle": str(folder / "bundle"), "max_difference": report.max_difference, "cases": report.cases}


def register(root: Path, name: str, bundle: Path, *, figures: Mapping[str, Estimate], lineage: Mapping[str, Any]) -> StageResult:
    """Put the bundle into the file-backed registry and point the alias `candidate` at it."""
    registry = Registry(root)
    metrics = {metric: estimate.to_dict() for metric, estimate in figures.items() if "[" not in metric}
    # A run that was killed between the registration and its own note of it finds what it left.
    known = [v for v in (registry.list(name) if name in registry.names() else ()) if dict(v.lineage) == dict(lineage)]
    card = Bundle.load(bundle).card.to_dict()
    version = known[-1] if known else registry.register(name, bundle, card=card, metrics=metrics, lineage=lineage)
    registry.alias(name, "candidate", version.number)
    return {"registry": str(root), "name": name, "version": version.number}


def fresh_phantom(bundle: Path, folder: Path, plan: Plan, source: PhantomSource, *, seed: int) -> StageResult:
    """Run the bundle on the DICOM study of a patient nobody has seen, write a DICOM SEG, read it back and compare it with the truth."""
    made = make_phantoms(folder / "study", first=source.patients, count=1, seed=seed, spacing_mm=source.spacing_mm)
    study = next((Path(made["path"]) / "images").iterdir())
    label = Path(made["path"]) / "labels" / f"{study.name}.nii.gz"
    output = segment_study(Predictor(Bundle.load(bundle)), study, folder / f"{study.name}.seg.dcm", segments_of(plan.classes))
    image = read(study)
    written, truth = read_segmentation(output, like=image), read_mask(label, image)
    found = evaluate(
        "segmentation", [written.array], [truth.array], classes=plan.classes, patients=[study.name], spacing=[image.spacing], samples=1
    )
    return {"input": str(study), "output": str(output), "dice": found.estimates["dice"].to_dict()}


def held_out_study(bundle: Path, folder: Path, plan: Plan, case: Mapping[str, Any]) -> StageResult:
    """Run the bundle on one held-out case from its own file: a DICOM SEG where the case is DICOM and its classes have codes, else NIfTI."""
    predictor, source = Predictor(Bundle.load(bundle)), Path(case["image"])
    if case["dicom"] and all(name in _CODES for name in plan.classes[1:]):
        output = segment_study(predictor, source, folder / f"{case['case_id']}.seg.dcm", segments_of(plan.classes))
        return {"input": str(source), "output": str(output)}
    image = read(source)
    output = folder / f"{case['case_id']}.nii.gz"
    prediction = predictor.predict(image)
    assert prediction.mask is not None  # a segmentation always has one
    write(Image(prediction.mask, image.affine, image.spacing), output)
    return {"input": str(source), "output": str(output)}


def held_out_film(bundle: Path, folder: Path, film: Mapping[str, Any]) -> StageResult:
    """Run the bundle on one held-out film from its own file; the answer is JSON."""
    image = read(Path(film["path"]), spacing=tuple(film["spacing"]))
    prediction = Predictor(Bundle.load(bundle)).predict(image)
    output = folder / f"{film['film_id']}.json"
    write_json(output, {"film": film["film_id"], "probabilities": {k: round(float(v), 6) for k, v in prediction.probabilities.items()}})
    return {"input": str(film["path"]), "output": str(output)}


def segments_of(classes: Sequence[str]) -> list[Segment]:
    """DICOM segments of the classes, with their codes."""
    return [Segment(number=n, label=name, code=(_CODES[name][0], "SCT", _CODES[name][1])) for n, name in enumerate(classes) if n > 0]
