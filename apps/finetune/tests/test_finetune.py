import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from med_finetune.cli import main
from medaug import Flip
from medfinetune import load_task
from medio import ShardSample, build_shards
from medmodels import Artifact, Intensity, Preprocessing, create_model, save_artifact
from medrun.input_options import InputOptions
from medrun.inputs import augmentation_of, facts_of, open_shards, preprocessing_of, train_data

QUICK = ["batch_size=4", "run.tracker=none", "run.log_every=1", "run.device=cpu", "samples=50", "run.checkpoint_every=10"]
SEGMENT = ["model=resunet_tiny", "input.patch_size=[32,32]", *QUICK]


def split_of(index: int) -> str:
    return ("train", "train", "train", "val", "test")[index % 5]


def disc(index: int) -> ShardSample:
    """A bright disc in noise, its place drawn by its number."""
    rng = np.random.default_rng(index)
    y, x = rng.integers(10, 30), rng.integers(8, 32)
    rows, columns = np.mgrid[:40, :40]
    mask = ((rows - y) ** 2 + (columns - x) ** 2 <= 36).astype(np.uint8)
    image = rng.normal(100, 10, (40, 40)) + 100 * mask
    return ShardSample(
        sample_id=f"s{index:02d}",
        patient_id=f"p{index:02d}",
        arrays={"image": np.rint(image).astype(np.int16)[None], "mask": mask},
        spacing=(1.0, 1.0),
        modality="DX",
        split=split_of(index),
        site="AB"[index % 2],
    )


def film(index: int) -> ShardSample:
    """Noise, and by its label a large bright square."""
    rng = np.random.default_rng(index)
    image = rng.normal(0, 100, (32, 32))
    if index % 2:
        image[8:24, 8:24] += 500
    return ShardSample(
        sample_id=f"f{index:02d}",
        patient_id=f"p{index:02d}",
        arrays={"image": np.rint(image).astype(np.int16)[None]},
        spacing=(1.0, 1.0),
        modality="DX",
        split=("train", "train", "train", "train", "val", "val", "test", "test")[index % 8],
        labels={"square": float(index % 2)},
    )


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("discs") / "shards"
    build_shards(range(20), disc, root)
    torch.set_num_threads(1)
    return root


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films") / "shards"
    build_shards(range(48), film, root)
    torch.set_num_threads(1)
    return root


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])  # type: ignore[call-arg]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_segmentation_learns_discs_and_gives_figures_with_intervals(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [f"data={discs}", f"out={out}", "steps=40", "lr=0.01", "run.validate_every=20", "task.classes=[background,disc]"]
    assert run(*words, *SEGMENT) == 0
    losses = [line["train/loss"] for line in lines(out) if "train/loss" in line]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    evaluation = json.loads((out / "evaluation.json").read_text())
    dice = evaluation["estimates"]["dice/disc"]
    assert dice["value"] > 0.8
    assert dice["low"] <= dice["value"] <= dice["high"]
    assert dice["n"] == 4
    assert (out / "evaluation.html").read_text().startswith("<!")
    assert load_task(out / "artifact").classes == ("background", "disc")
    assert "dice/disc" in capsys.readouterr().out
    # and again: nothing is trained anew, the figures are the same
    before = (out / "metrics.jsonl").read_text()
    assert run(*words, *SEGMENT) == 0
    assert (out / "metrics.jsonl").read_text() == before
    assert json.loads((out / "evaluation.json").read_text()) == evaluation


def test_groups_are_drawn_equally_often_and_an_unknown_one_is_refused(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = InputOptions(patch_size=(32, 32), balance="site")
    dataset = open_shards(discs, "train")
    preprocessing = preprocessing_of(facts_of(dataset), options)
    data = train_data(discs, "train", preprocessing, options, batch_size=2, seed=0, workers=0)
    sites = dataset.table["site"].to_pylist()
    assert data.weights is not None
    for site in "AB":
        assert sum(w for w, s in zip(data.weights, sites, strict=True) if s == site) == pytest.approx(0.5)
    assert run(f"data={discs}", f"out={tmp_path / 'run'}", "input.balance=galaxy", *SEGMENT) == 2
    assert "input.balance=galaxy" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["light", "nnunet"])
def test_presets_change_each_sample_by_its_key_and_mirror_only_where_asked(discs: Path, preset: Literal["light", "nnunet"]) -> None:
    options = InputOptions(patch_size=(32, 32), augment=preset)
    preprocessing = preprocessing_of(facts_of(open_shards(discs, "train")), options)
    batch = next(train_data(discs, "train", preprocessing, options, batch_size=6, seed=0, workers=0).batches())
    augment = augmentation_of(options, 2)
    assert augment is not None
    once, again = augment(dict(batch)), augment(dict(batch))
    assert torch.equal(once["image"], again["image"])
    assert not torch.equal(once["image"], batch["image"])
    assert once["mask"].shape == batch["mask"].shape
    chain = augment.__self__  # type: ignore[attr-defined]
    assert not any(isinstance(transform, Flip) for transform in chain.transforms)
    mirrored = augmentation_of(InputOptions(augment=preset, flip=(-1,)), 2)
    assert any(isinstance(transform, Flip) for transform in mirrored.__self__.transforms)  # type: ignore[union-attr]


def test_classification_learns_squares_and_is_calibrated(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["task=classification", "model=resunet_tiny", "steps=24", "lr=0.01", "input.augment=none", "run.validate_every=12", *QUICK]
    assert run(f"data={films}", f"out={out}", *words) == 0
    assert json.loads((out / "evaluation.json").read_text())["estimates"]["auroc/square"]["value"] > 0.9
    assert json.loads((out / "artifact" / "artifact.json").read_text())["calibration"]["scale"] != [1.0]


def encoder_of(folder: Path, intensity: Intensity) -> Path:
    backbone = create_model("resunet_tiny", spatial_dims=2)
    preprocessing = Preprocessing(spatial_dims=2, patch_size=(32, 32), spacing_mm=(1.0, 1.0), intensity=intensity)
    from dataclasses import replace

    card = replace(backbone.card, spacing_mm=(1.0, 1.0), intensity=preprocessing.to_dict()["intensity"], objective="mae")
    return save_artifact(Artifact(kind="encoder", module=backbone, card=card, preprocessing=preprocessing), folder)  # type: ignore[arg-type]


def test_an_encoder_brings_its_weights_and_its_intensity(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = encoder_of(tmp_path / "encoder", Intensity(kind="percentile"))
    quick = [w for w in SEGMENT if not w.startswith("model")]
    assert run(f"data={discs}", f"out={tmp_path / 'run'}", f"encoder={encoder}", "steps=1", *quick) == 0
    assert "100% of its tensors matched" in capsys.readouterr().out
    assert load_task(tmp_path / "run" / "artifact").preprocessing.intensity.kind == "percentile"
    assert run(f"data={discs}", f"out={tmp_path / 'other'}", f"encoder={encoder}", "input.intensity=zscore", "steps=1", *quick) == 2
    assert "the weights do not fit: intensity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=segmentatoin"], "did you mean segmentation?"),
        (["task.labels=[bright]"], "task.labels belongs to task=classification"),
        (["task=classification"], "carry no labels"),
        (["task.classes=[disc,background]"], "begin with 'background'"),
        (["encodr=x"], "unknown key encodr; did you mean encoder?"),
        (["encoder=/absent"], "/absent: no such folder"),
        (["input.window=[0,1]", "input.intensity=zscore"], "use intensity=window"),
        (["val_cases=0"], "val_cases must be at least 1"),
        (["run.precision=fp8"], "run.precision must be one of"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    discs: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"data={discs}", f"out={tmp_path / 'run'}", "steps=1", *SEGMENT, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("med-finetune: error: ")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_data_that_are_absent_or_lack_a_split_are_one_line(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"data={tmp_path / 'absent'}", f"out={tmp_path / 'run'}") == 2
    build_shards(range(3), disc, tmp_path / "trainonly")
    assert run(f"data={tmp_path / 'trainonly'}", f"out={tmp_path / 'run'}", *SEGMENT) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "absent: no such folder" in first
    assert "['val']" in second
