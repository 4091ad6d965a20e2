"""The run: pairs, tokenizer, model, training, figures."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from med_vlm.config import VlmConfig
from med_vlm.pairs import Pairs, image_shape, splits
from med_vlm.scoring import mean_loss, score
from medmodels import Backbone, Intensity, Preprocessing, create_model, load_encoder, read_artifact
from medrun.cli import say, table
from medrun.cpu import is_main_process
from medrun.data import TrainData
from medrun.engine import fit
from medrun.engine_config import EngineConfig
from medrun.errors import UserError
from medrun.seeding import seed_everything
from medvlm import EncoderConfig, ReportConfig, ReportTask, VisionLanguageConfig, VisionLanguageModel, build_tokenizer


def run(config: VlmConfig) -> None:
    """Tune on split `train`, choose by split `val` where there is one, measure on `config.test_split`; results lie in `config.out`.

    Raises:
        UserError: for a dataset that cannot serve, with the mend.
    """
    known = splits(config.data)
    for wanted in ("train", config.test_split):
        if wanted not in known:
            raise UserError(
                f"{config.data}: no split {wanted!r}; it has {', '.join(map(repr, known))}; build the shards with splits by patient"
            )
    shape = image_shape(config.data)
    preprocessing = _preprocessing(config, shape)
    train, test = (Pairs(config.data, split, preprocessing) for split in ("train", config.test_split))
    val = Pairs(config.data, "val", preprocessing) if "val" in known and config.test_split != "val" else None
    task = build_task(config, train, preprocessing, channels=shape[0])
    engine = EngineConfig(
        out=config.out,
        name="vlm",
        max_steps=config.steps,
        lr=config.lr,
        precision=config.precision,
        checkpoint_every=config.checkpoint_every,
        validate_every=config.validate_every,
        monitor="loss" if val is not None else None,
        mode="min",
        seed=config.seed,
        tracker=config.tracker,
        device=config.device,
    )
    data = TrainData(dataset=train, batch_size=config.batch_size, seed=config.seed, workers=config.workers)
    validate = None if val is None else lambda tuned: {"loss": mean_loss(tuned, val, config.batch_size)}
    result = fit(task, data, validate, engine)
    if not is_main_process():
        return
    figures, rows = score(
        task.eval(), test, batch_size=config.batch_size, reports=config.reports, samples=config.intervals, seed=config.seed
    )
    summary = {
        **{name: _finite(estimate.to_dict()) for name, estimate in figures.items()},
        "distinct_reports": len({row["generated"] for row in rows}),
        "distinct_references": len({row["reference"] for row in rows}),
        "without_report": len(train.without_report) + len(test.without_report) + (len(val.without_report) if val is not None else 0),
        "dataset_version": train.version,
        "artifact": str(result.artifact),
        "steps": result.step,
    }
    _write(config.out / "reports.jsonl", "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    _write(config.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    meanings = {
        "loss": "nats a token of the true report",
        "image_gain": "rise of the loss with another patient's image",
        "exact": "share written word for word",
    }
    table(
        f"{len(test)} pairs of split {config.test_split}",
        [(name, str(figures[name]), meanings[name]) for name in figures],
        ("figure", "value (95 % interval)", "meaning"),
    )
    if "image_gain" in figures and figures["image_gain"].low <= 0:
        say("the interval of image_gain reaches 0: nothing shows that this model uses the image")
    say(
        f"model:   {result.artifact}",
        f"page:    {result.page}",
        f"reports: {config.out / 'reports.jsonl'}",
        f"figures: {config.out / 'summary.json'}",
    )


def build_task(config: VlmConfig, train: Pairs, preprocessing: Preprocessing, *, channels: int) -> ReportTask:
    """The model to tune; its random weights follow from the seed, its tokenizer from the training reports alone."""
    seed_everything(config.seed)
    backbone = _backbone(config, preprocessing, channels)
    tokenizer = build_tokenizer(train.reports, vocab_size=config.decoder.vocab_size)
    card = dict(backbone.card.kwargs)
    arch_kwargs = {name: value for name, value in card.items() if name not in ("spatial_dims", "in_channels")}
    image_tokens = math.prod(math.ceil(n / s) for n, s in zip(preprocessing.patch_size, backbone.strides[-1], strict=True))
    model = VisionLanguageModel(
        VisionLanguageConfig(
            EncoderConfig(backbone.card.arch, preprocessing.spatial_dims, channels, arch_kwargs),
            {
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "hidden_size": config.decoder.hidden_size,
                "intermediate_size": 8 * config.decoder.hidden_size // 3,
                "num_hidden_layers": config.decoder.layers,
                "num_attention_heads": config.decoder.heads,
                "num_key_value_heads": config.decoder.heads,
                "max_position_embeddings": image_tokens + len(config.prompt.encode()) + config.max_report_tokens + 2,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                "tie_word_embeddings": True,
            },
        ),
        encoder=backbone,
    )
    options = ReportConfig(prompt=config.prompt, max_report_tokens=config.max_report_tokens, encoder_lr_scale=config.encoder_lr_scale)
    return ReportTask(model, tokenizer, preprocessing=preprocessing, config=options, data_fingerprint=train.version)


def _preprocessing(config: VlmConfig, shape: tuple[int, ...]) -> Preprocessing:
    """Whole images; the intensity of the encoder's training where one is given."""
    intensity = Intensity(kind=config.intensity)
    if config.encoder is not None:
        intensity = Preprocessing.from_dict(read_artifact(config.encoder)[1]["preprocessing"]).intensity
    return Preprocessing(spatial_dims=len(shape) - 1, patch_size=shape[1:], intensity=intensity, whole_image=True)


def _backbone(config: VlmConfig, preprocessing: Preprocessing, channels: int) -> Backbone:
    if config.encoder is not None:
        backbone, _ = load_encoder(config.encoder)
        if (backbone.spatial_dims, backbone.in_channels) != (preprocessing.spatial_dims, channels):
            raise UserError(
                f"{config.encoder}: an encoder of {backbone.spatial_dims}D images with {backbone.in_channels} channels; the images of {config.data} are "
                f"{preprocessing.spatial_dims}D with {channels}; choose another encoder or dataset"
            )
        return backbone
    chosen: dict[str, Any] = {"patch_size": config.patch_size, "depth": config.depth}
    given = {name: value for name, value in chosen.items() if value is not None}
    return create_model(config.model, spatial_dims=preprocessing.spatial_dims, in_channels=channels, **given)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no infinity: an open end of an interval (one patient says nothing about the next) becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
