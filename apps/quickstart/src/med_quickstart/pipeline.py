"""The order of the stages, and what each hands to the next."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from med_quickstart import delivery, learning, sources
from med_quickstart.config import FilmRecipe, FolderSource, PhantomSource, QuickstartConfig, SegmentationRecipe
from med_quickstart.planning import Plan, plan_films, plan_segmentation
from med_quickstart.report import Outcome, show, write_report
from med_quickstart.scoring import evaluate_held_out, figures_of, predict_held_out
from med_quickstart.stages import StageResult, Stages, prepare_folder, write_json
from medio import ShardDataset
from medrun.cli import UserError, say
from medrun.tracking import open_tracker


def run(config: QuickstartConfig) -> Path:
    """Run every stage that is not done yet; returns the report's path.

    Raises:
        UserError, MedioError: for a source that cannot be used.
    """
    if isinstance(config.source, FolderSource):
        sources.check_source(config.source.path)
    if isinstance(config.recipe, FilmRecipe) and isinstance(config.source, PhantomSource):
        raise UserError("recipe=xray_classification needs films: add source=folder source.path=DIR")
    root = config.root
    films = isinstance(config.recipe, FilmRecipe)
    where = "phantom patients" if isinstance(config.source, PhantomSource) else str(config.source.path.resolve())
    prepare_folder(root, fresh=config.fresh, of={"source": where, "recipe": "films" if films else "segmentation"})
    stages = Stages(root, total=9 if films else 10 + isinstance(config.source, PhantomSource))
    with ExitStack() as stack:

        @cache
        def tracker() -> Any:
            return stack.enter_context(open_tracker(config.tracker, root, project="med-quickstart", run=config.source_name))

        data = _films(config, stages) if films else _volumes(config, stages)
        return _learn_and_deliver(config, stages, data, tracker)


class Data(dict[str, Any]):
    """What the data stages hand on: `dataset`, `version`, `plan`, `cases`, `set_aside`, `considered`."""


def _volumes(config: QuickstartConfig, stages: Stages) -> Data:
    recipe, phantom = config.recipe, isinstance(config.source, PhantomSource)
    assert isinstance(recipe, SegmentationRecipe)
    if isinstance(config.source, PhantomSource):
        count, spacing = config.source.patients, config.source.spacing_mm
        made = stages.run(
            "source",
            f"making {count} phantom patients as DICOM",
            {"patients": count, "spacing": spacing, "seed": config.seed, "medphantom": version("medphantom")},
            lambda folder: sources.make_phantoms(folder, first=0, count=count, seed=config.seed, spacing_mm=spacing),
        )
        root, strict = Path(made["path"]), False
    else:
        root, strict = config.source.path.resolve(), config.source.strict
    listed = {"root": str(root), "files": hashlib.sha256(json.dumps(sources.listing(root)).encode()).hexdigest()}
    index = stages.run("index", "indexing", listed, lambda folder: sources.index_volumes(root, folder))
    sources.warn_of(index["set_aside"])

    def key() -> str:
        return sources.pseudonym_key(stages.root, seed=config.seed, synthetic=phantom)

    clean = stages.run("deidentified", "de-identifying", {}, lambda folder: sources.deidentify_cases(index["cases"], folder, key=key))
    sources.warn_of(clean["set_aside"])
    shares = sources.Shares(config.val_share, config.test_share)
    names = list(recipe.classes or index["classes"])
    built = stages.run(
        "shards",
        "building shards",
        {"shares": [shares.val, shares.test], "seed": config.seed, "classes": names, "strict": strict},
        lambda folder: sources.build_volumes(clean["cases"], folder, shares=shares, seed=config.seed, classes=names, strict=strict),
    )
    sources.warn_of(built["set_aside"])
    train = ShardDataset(Path(built["dataset"]), split="train")
    plan = plan_segmentation(train, built["classes"], built["spacing_mm"], recipe, phantom=phantom)
    set_aside = index["set_aside"] + clean["set_aside"] + built["set_aside"]
    return Data(
        dataset=Path(built["dataset"]),
        version=built["version"],
        plan=plan,
        cases=clean["cases"],
        set_aside=set_aside,
        samples=built["samples"],
    )


def _films(config: QuickstartConfig, stages: Stages) -> Data:
    recipe, source = config.recipe, config.source
    assert isinstance(recipe, FilmRecipe)
    assert isinstance(source, FolderSource)
    root = source.path.resolve()
    listed = {"root": str(root), "files": hashlib.sha256(json.dumps(sources.listing(root)).encode()).hexdigest()}
    wanted = {"size": recipe.size, "table": source.table, "spacing": source.spacing, "min_patients": recipe.min_patients}
    index = stages.run(
        "index",
        "joining films with their table",
        {**listed, **wanted},
        lambda folder: sources.index_films(
            root, size=recipe.size, table=source.table, spacing=source.spacing, min_patients=recipe.min_patients
        ),
    )
    sources.warn_of(index["set_aside"])
    shares = sources.Shares(config.val_share, config.test_share)
    built = stages.run(
        "shards",
        "building shards",
        {"shares": [shares.val, shares.test], "seed": config.seed, "strict": source.strict},
        lambda folder: sources.build_films(index["films"], folder, size=recipe.size, shares=shares, seed=config.seed, strict=source.strict),
    )
    sources.warn_of(built["set_aside"])
    plan = plan_films(index["findings"], recipe)
    return Data(
        dataset=Path(built["dataset"]),
        version=built["version"],
        plan=plan,
        cases=index["films"],
        set_aside=index["set_aside"] + built["set_aside"],
        samples=built["samples"],
        left_out=index["left_out"],
    )


def _learn_and_deliver(config: QuickstartConfig, stages: Stages, data: Mapping[str, Any], tracker: learning.Tracker) -> Path:
    plan: Plan = data["plan"]
    dataset: Path = data["dataset"]
    write_json(stages.root / "plan.json", plan.to_dict())
    encoder: StageResult = {"encoder": None}
    if plan.pretrain_steps:
        keep = {"plan": {k: v for k, v in plan.to_dict().items() if k not in ("steps", "why")}, "seed": config.seed}
        encoder = stages.run(
            "pretrain",
            f"pretraining {plan.model} for {plan.pretrain_steps} steps without labels",
            keep,
            lambda folder: learning.pretrain(plan, dataset, folder, seed=config.seed, workers=config.workers, tracker=tracker),
        )
    else:
        stages.number += 1
    start = None if encoder["encoder"] is None else Path(encoder["encoder"])
    tuned = stages.run(
        "finetune",
        f"fine-tuning for {plan.steps} steps",
        {"plan": plan.to_dict(), "seed": config.seed},
        lambda folder: learning.finetune(plan, dataset, start, folder, seed=config.seed, workers=config.workers, tracker=tracker),
    )
    artifact = Path(tuned["artifact"])
    predicted = stages.run(
        "predictions", "predicting held-out patients", {}, lambda folder: predict_held_out(plan, dataset, artifact, folder)
    )
    tolerance = config.recipe.tolerance_mm if isinstance(config.recipe, SegmentationRecipe) else 1.0
    evaluations = evaluate_held_out(
        plan, dataset, Path(predicted["predictions"]), samples=config.intervals, seed=config.seed, tolerance_mm=tolerance
    )
    figures = figures_of(evaluations)
    exported = stages.run(
        "export", "exporting to ONNX and checking parity", {}, lambda folder: delivery.export_and_verify(artifact, folder)
    )
    bundle = Path(exported["bundle"])
    lineage = {
        "dataset": data["version"],
        "seed": config.seed,
        "run": stages.fingerprint,
        "code": f"med-quickstart {version('med-quickstart')}",
    }
    name = f"quickstart-{plan.task}"
    registered = stages.run(
        "registered",
        "registering the model",
        {"intervals": config.intervals},
        lambda folder: delivery.register(stages.root / "registry", name, bundle, figures=figures, lineage=lineage),
    )
    fresh = stages.run("study", "running the deployed model on a study", {}, lambda folder: _study(config, plan, bundle, data, folder))
    outcome = Outcome(
        config=config,
        plan=plan,
        data=dict(data),
        encoder=encoder,
        tuned=tuned,
        predicted=predicted,
        exported=exported,
        registered=registered,
        fresh=fresh,
    )
    say(f"[{stages.total}/{stages.total}] writing the report")
    page = write_report(stages.root, outcome, evaluations, figures)
    write_json(stages.root / "timings.json", {stage: round(seconds, 1) for stage, seconds in stages.seconds.items()})
    show(stages.root, outcome, figures, page)
    return page


def _study(config: QuickstartConfig, plan: Plan, bundle: Path, data: Mapping[str, Any], folder: Path) -> StageResult:
    if isinstance(config.source, PhantomSource):
        return delivery.fresh_phantom(bundle, folder, plan, config.source, seed=config.seed)
    held = ShardDataset(data["dataset"], split="test").sample_ids[0]
    if plan.task == "classification":
        return delivery.held_out_film(bundle, folder, next(film for film in data["cases"] if film["film_id"] == held))
    return delivery.held_out_study(bundle, folder, plan, next(case for case in data["cases"] if case["case_id"] == held))
