"""`med-vlm` from shards to reports."""

import json
from pathlib import Path

import numpy as np
import pytest

from med_vlm.cli import main
from medio import ShardSample, build_shards
from medmodels import create_model, read_artifact
from medvlm import load_report_task

SAYS = {"opacity": "A large opacity.", "lines": "Fine vertical lines.", "none": "Nothing seen."}
TINY = [
    "model=vit_tiny",
    "patch_size=8",
    "depth=1",
    "decoder.hidden_size=32",
    "decoder.layers=2",
    "decoder.vocab_size=300",
    "tracker=none",
    "device=cpu",
]


def film(name: str) -> ShardSample:
    """A noisy film of 16 x 16 pixels that shows what its report says."""
    split, finding, number = name.split("-")
    image = np.random.default_rng(int(number) + 1000 * len(split)).normal(100, 10, (1, 16, 16))
    if finding == "opacity":
        image[:, 2:14, 2:14] += 100
    elif finding == "lines":
        image[:, :, ::2] += 100
    report = None if number == "99" else SAYS[finding]
    size = 20 if number == "98" else 16
    return ShardSample(
        sample_id=name,
        patient_id=name,
        arrays={"image": np.resize(image, (1, size, 16)).astype(np.int16)},
        spacing=(1.0, 1.0),
        split=split,
        report=report,
    )


def shards(root: Path, *, splits: tuple[str, ...] = ("train", "val", "test"), extra: tuple[str, ...] = (), each: int = 6) -> Path:
    names = [f"{split}-{finding}-{number}" for split in splits for finding in SAYS for number in range(each)]
    build_shards([*names, *extra], film, root)
    return root


def run(*arguments: object) -> None:
    main([str(a) for a in arguments])


def test_a_short_run_leaves_reports_figures_and_a_model_that_loads(tmp_path, capsys):
    data = shards(tmp_path / "shards", extra=("train-lines-99", "test-none-99"), each=2)
    run(f"data={data}", f"out={tmp_path / 'run'}", "steps=3", "batch_size=4", "max_report_tokens=8", *TINY)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "run/reports.jsonl").read_text().splitlines()]
    assert [row["sample_id"] for row in rows] == [f"test-{finding}-{n}" for finding in SAYS for n in range(2)]
    assert [row["reference"] for row in rows] == [text for text in SAYS.values() for _ in range(2)]
    for name in ("loss", "image_gain", "exact"):
        assert summary[name]["low"] <= summary[name]["value"] <= summary[name]["high"]
        assert summary[name]["n"] == 6
    assert summary["without_report"] == 2
    assert summary["steps"] == 3
    task = load_report_task(summary["artifact"])
    assert task.preprocessing.patch_size == (16, 16)
    assert read_artifact(summary["artifact"])[1]["card"]["data_fingerprint"] == summary["dataset_version"]
    assert (tmp_path / "run/training.html").is_file()
    said = capsys.readouterr().out
    assert "reports.jsonl" in said
    assert "opacity" not in said  # a report's text goes to its file, never to a log


def test_a_learned_model_tells_findings_apart_on_patients_it_never_saw(tmp_path):
    data = shards(tmp_path / "shards")
    run(f"data={data}", f"out={tmp_path / 'run'}", "steps=110", "batch_size=9", "lr=4e-3", "max_report_tokens=16", *TINY)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    # chance writes one of three texts: 6 of 18; all must be right, and another patient's image must cost something
    assert summary["exact"]["value"] == 1.0
    assert summary["image_gain"]["low"] > 0
    assert summary["distinct_reports"] == 3


def test_the_same_command_again_gives_the_same_figures_without_training(tmp_path):
    data = shards(tmp_path / "shards", each=2)
    command = [f"data={data}", f"out={tmp_path / 'run'}", "steps=2", "batch_size=4", "max_report_tokens=4", *TINY]
    run(*command)
    before = (tmp_path / "run/summary.json").read_text()
    journal = (tmp_path / "run/metrics.jsonl").read_text()
    run(*command)
    assert (tmp_path / "run/summary.json").read_text() == before
    assert (tmp_path / "run/metrics.jsonl").read_text() == journal


def test_it_starts_from_a_trained_encoder_and_takes_its_intensity(tmp_path):
    from medmodels import Artifact, Intensity, Preprocessing, save_artifact

    encoder = create_model("vit_tiny", spatial_dims=2, patch_size=8, depth=1)
    intensity = Intensity(kind="window", low=0.0, high=300.0)
    preprocessing = Preprocessing(spatial_dims=2, patch_size=(16, 16), intensity=intensity)
    save_artifact(Artifact(kind="encoder", module=encoder, card=encoder.card, preprocessing=preprocessing), tmp_path / "encoder")
    data = shards(tmp_path / "shards", splits=("train", "test"), each=1)
    options = ["steps=1", "batch_size=2", "max_report_tokens=4", "encoder_lr_scale=0", *TINY]
    run(f"data={data}", f"out={tmp_path / 'run'}", f"encoder={tmp_path / 'encoder'}", *options)
    task = load_report_task(tmp_path / "run/artifact")
    assert task.preprocessing.intensity == intensity
    # frozen: what came in goes out
    assert all((a == b).all() for a, b in zip(task.model.backbone.parameters(), encoder.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data=x", "step=3"], "unknown key step; did you mean steps?"),
        (["data=x", "decoder.layer=3"], "did you mean decoder.layers?"),
        ([], "missing data=VALUE"),
        (["data=x", "decoder.vocab_size=10"], "vocab_size must be at least 260"),
        (["data=nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("splits", "extra", "says"),
    [
        (("train",), (), "no split 'test'; it has 'train'"),
        (("train",), ("test-none-99",), "no sample of split 'test' has a report"),
        (("train", "test"), ("train-none-98",), r"test-opacity-0 is (1, 16, 16), train-none-98 is (1, 20, 16); resize"),
    ],
)
def test_a_dataset_that_cannot_serve_is_named_with_the_mend(tmp_path, capsys, splits, extra, says):
    data = shards(tmp_path / "shards", splits=splits, extra=extra, each=1)
    with pytest.raises(SystemExit) as stopped:
        run(f"data={data}", f"out={tmp_path / 'run'}", *TINY)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error or says.replace("test-opacity-0", "train-opacity-0") in error
    assert not (tmp_path / "run").exists()


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("data", "decoder.layers", "encoder_lr_scale", "test_split"))
