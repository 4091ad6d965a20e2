"""What med-finetune does: compose, fit, calibrate, evaluate, say where the results are."""

from dataclasses import asdict

import numpy as np

from med_finetune.config import Classification, FinetuneConfig, Segmentation
from med_finetune.scoring import evaluate_split, logits_and_labels, validation
from medeval import Evaluation
from medfinetune import ClassificationConfig, ClassificationTask, SegmentationConfig, SegmentationTask, load_task
from medio import ShardDataset
from medmodels import Backbone, Intensity, Preprocessing, create_model, load_encoder, read_artifact, save_artifact
from medrun.cli import ConfigError, UserError, progress, say, table
from medrun.cpu import is_main_process
from medrun.engine import FitResult, fit
from medrun.engine_config import EngineConfig
from medrun.inputs import Facts, facts_of, has_split, open_shards, preprocessing_of, train_data
from medrun.seeding import seed_everything


def finetune(config: FinetuneConfig) -> FitResult:
    """Learn a task on the split train, choose weights on val, evaluate on test.

    Raises:
        ConfigError: for values that do not fit the data or the model.
        UserError: for a dataset that lacks what the task needs.
    """
    samples = open_shards(config.data, "train")
    facts = facts_of(samples)
    names = _names(config, samples, facts)
    labels = names if isinstance(config.task, Classification) else None
    seed_everything(config.seed)
    preprocessing = preprocessing_of(facts, config.input, whole_image=labels is not None, encoder=_encoder_intensity(config))
    try:
        task = _task(config, _backbone(config, facts, preprocessing), names, preprocessing, samples.version)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error
    keys = ("image",) if labels is not None else ("image", "mask")
    train = train_data(
        config.data,
        "train",
        preprocessing,
        config.input,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        keys=keys,
        labels=labels,
    )
    held = open_shards(config.data, "val", labels=labels)
    engine = EngineConfig.of(
        config.run,
        out=config.out,
        max_steps=config.steps,
        name="finetune",
        lr=config.lr,
        seed=config.seed,
        monitor="auroc" if labels is not None else "dice",
    )
    result = fit(task, train, validation(held, names, config.val_cases), engine)
    if is_main_process():
        _deliver(config, result, names, held)
    return result


def _deliver(config: FinetuneConfig, result: FitResult, names: tuple[str, ...], held: ShardDataset) -> None:
    """Calibrate the weights that did best, evaluate them on the held-out patients, and say where everything is."""
    best = load_task(result.artifact)
    if isinstance(best, ClassificationTask):
        for note in best.calibrate(*logits_and_labels(best, range(len(held)), held)):
            say(f"calibration: {note}")
        save_artifact(best.artifact(), result.artifact)
    if has_split(config.data, "test"):
        test = open_shards(config.data, "test", labels=names if isinstance(best, ClassificationTask) else None)
        tolerance = config.task.tolerance_mm if isinstance(config.task, Segmentation) else 1.0
        with progress(len(test), "held-out cases") as advance:
            evaluation = evaluate_split(
                best, test, names, samples=config.samples, seed=config.seed, tolerance_mm=tolerance, advance=advance
            )
        _report(config, evaluation)
    else:
        say(f"{config.data} has no split test: no final figures")
    say(f"model: {result.artifact}", f"page: {result.page}")


def _report(config: FinetuneConfig, evaluation: Evaluation) -> None:
    import json

    path = config.out / "evaluation.json"
    temporary = path.with_name(".evaluation.json")
    temporary.write_text(json.dumps(evaluation.to_dict(), indent=2, allow_nan=False) + "\n")
    temporary.replace(path)
    page = evaluation.to_html(config.out / "evaluation.html", title="Held-out figures")
    rows = [[name, str(estimate)] for name, estimate in evaluation.estimates.items()]
    table("held-out figures (95 % interval over patients)", rows, columns=("figure", "value"))
    say(f"figures: {path}", f"report: {page}")


def _names(config: FinetuneConfig, samples: ShardDataset, facts: Facts) -> tuple[str, ...]:
    """Names of the classes of masks, or of the findings."""
    if isinstance(config.task, Classification):
        names = config.task.labels or samples.labels
        if not names:
            raise UserError(f"{config.data}: its samples carry no labels; classification needs shards with labels")
        return tuple(names)
    if not facts.has_masks:
        raise UserError(f"{config.data}: some training samples have no mask; segmentation needs shards where each has one")
    if config.task.classes is not None:
        return config.task.classes
    highest = max(int(np.max(samples.read(i, "mask"), initial=0)) for i in range(len(samples)))
    if highest < 1:
        raise UserError(f"{config.data}: every training mask is empty; segmentation needs at least one structure")
    return ("background", *(f"class_{i}" for i in range(1, highest + 1)))


def _encoder_intensity(config: FinetuneConfig) -> Intensity | None:
    if config.encoder is None:
        return None
    _check_encoder(config)
    return Preprocessing.from_dict(read_artifact(config.encoder)[1]["preprocessing"]).intensity


def _check_encoder(config: FinetuneConfig) -> None:
    assert config.encoder is not None
    if not config.encoder.is_dir():
        raise FileNotFoundError(f"{config.encoder}: no such folder; give encoder=DIR that med-pretrain left (OUT/artifact)")


def _backbone(config: FinetuneConfig, facts: Facts, preprocessing: Preprocessing) -> Backbone:
    arguments = dict(config.model_args or {})
    if config.encoder is None:
        return create_model(config.model or "resunet_small", spatial_dims=facts.spatial_dims, in_channels=facts.channels, **arguments)
    into = None
    if config.model is not None:
        into = create_model(config.model, spatial_dims=facts.spatial_dims, in_channels=facts.channels, **arguments)
    backbone, report = load_encoder(config.encoder, into=into, expect=preprocessing)
    say(f"encoder: {config.encoder}, {report.fraction:.0%} of its tensors matched")
    return backbone


def _task(
    config: FinetuneConfig, backbone: Backbone, names: tuple[str, ...], preprocessing: Preprocessing, version: str
) -> SegmentationTask | ClassificationTask:
    options = asdict(config.task)
    if isinstance(config.task, Classification):
        del options["labels"]
        head = ClassificationConfig(**options)
        return ClassificationTask(backbone, labels=names, preprocessing=preprocessing, config=head, data_fingerprint=version)
    for name in ("classes", "tolerance_mm"):
        del options[name]
    decoder = SegmentationConfig(**options)
    return SegmentationTask(backbone, classes=names, preprocessing=preprocessing, config=decoder, data_fingerprint=version)
