import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from med_pretrain.cli import main
from medio import ShardSample, build_shards
from medmodels import load_encoder

QUICK = ["model=resunet_tiny", "input.patch_size=[32,32]", "batch_size=4", "run.tracker=none", "run.log_every=1", "run.device=cpu"]


def stripes(index: int) -> ShardSample:
    """A film of stripes with the period of a patch (8 pixels): every hidden patch is equal to every visible one."""
    row = np.sin(2 * np.pi * (np.arange(40) + index) / 8)
    image = np.rint(1000 * np.broadcast_to(row, (40, 40))).astype(np.int16)
    return ShardSample(
        sample_id=f"s{index:02d}",
        patient_id=f"p{index:02d}",
        arrays={"image": image[None]},
        spacing=(1.0, 1.0),
        modality="DX",
        split="train",
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shards"
    build_shards(range(12), stripes, root)
    torch.set_num_threads(1)
    return root


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])  # type: ignore[call-arg]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines]


def test_the_loss_falls_and_the_encoder_loads(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(f"data={shards}", f"out={out}", "steps=40", "lr=0.01", "objective.mask_ratio=0.5", "input.augment=none", *QUICK) == 0
    found = losses(out)
    # a target in units of its own patch has variance 1: a constant guess costs 1
    assert np.mean(found[-5:]) < 0.4 < np.mean(found[:3])
    backbone, report = load_encoder(out / "artifact")
    assert report.fraction == 1.0
    assert (backbone.card.objective, backbone.card.arch) == ("mae", "resunet_tiny")
    assert backbone.card.spacing_mm == (1.0, 1.0)
    assert f"encoder: {out / 'artifact'}" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"artifact", "checkpoints", "config.yaml", "metrics.jsonl", "training.html"}


def test_a_seed_gives_the_same_losses_and_another_does_not(shards: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(f"data={shards}", f"out={tmp_path / name}", "steps=3", f"seed={seed}", *QUICK) == 0
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_a_vit_takes_its_arguments_from_the_command_line(shards: Path, tmp_path: Path) -> None:
    words = ["model=vit_tiny", "model_args={patch_size:[8,8]}", "objective.decoder_channels=32", "objective.decoder_depth=1"]
    assert run(f"data={shards}", f"out={tmp_path / 'vit'}", "steps=2", *QUICK, *words) == 0
    assert load_encoder(tmp_path / "vit" / "artifact")[0].strides[-1] == (8, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=resunet_tiny"], "unknown key modle; did you mean model?"),
        (["model=resunet_tinny"], "resunet_tiny"),
        (["objective=mea"], "did you mean mae?"),
        (["objective.mask_ratio=1.5"], "mask_ratio must lie between 0 and 1"),
        (["input.patch_size=[32,32,32]"], "the images have 2 axes"),
        (["split=trian"], "no sample is in split ['trian']"),
        (["lr=-1"], "lr must be positive"),
        (["run.tracker=nonne"], "did you mean none?"),
        (["model_args={patch:8}"], "patch"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    shards: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {word.partition("=")[0] for word in words}
    quick = [word for word in QUICK if word.partition("=")[0] not in names]
    assert run(f"data={shards}", f"out={tmp_path / 'run'}", "steps=2", *quick, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("med-pretrain: error: ")
    assert message in line


def test_a_folder_that_is_absent_or_empty_is_one_line_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(f"data={tmp_path / 'absent'}", f"out={tmp_path / 'run'}") == 2
    assert run(f"data={tmp_path / 'empty'}", f"out={tmp_path / 'run'}") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "absent: no such folder" in first
    assert str(tmp_path / "empty") in second
    assert not (tmp_path / "run").exists()


def test_help_and_wrong_words_do_not_import_torch() -> None:
    code = "import sys; from med_pretrain.cli import main\ntry: main(['data=x', 'dat=y'])\nexcept SystemExit as e: sys.exit(e.code if 'torch' not in sys.modules else 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 2
