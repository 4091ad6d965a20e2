import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from medio import Image, ShardDataset, write


def test_an_archive_goes_through_every_verb(archive: Path, tmp_path: Path, run) -> None:
    index, clean, shards = tmp_path / "index.parquet", tmp_path / "clean", tmp_path / "shards"
    scanned = run("scan", archive, "--out", index)
    assert scanned.code == 0
    assert "13 files, 3 series, 1 not usable" in scanned.out
    assert pq.read_table(index).num_rows == 13

    cleaned = run("deidentify", archive, clean, "--key-file", tmp_path / "key", "--make-key", "--rejected", tmp_path / "rejected.csv")
    assert "12 files in" in cleaned.out
    assert "de-identifying" in cleaned.err
    assert [row["item"] for row in csv.DictReader((tmp_path / "rejected.csv").open())] == [str(archive / "notes.txt")]
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    for path in clean.rglob("*"):
        assert path.is_dir() or not re.search(rb"ONE111|FOUR444|THREE333", path.read_bytes())
    assert "(12 were there)" in run("deidentify", archive, clean, "--key-file", tmp_path / "key").out

    built = run("build", clean, shards, "--split", "train=0.67,test=0.33", "--per-shard", 2, "--spacing", "1,2,2")
    assert built.code == 0
    assert "3 samples in 2 shards (0 were there)" in built.out
    dataset = ShardDataset(shards)
    assert sorted(dataset.table["split"].to_pylist()) == ["test", "train", "train"]
    # four slices at 2 mm are 8 mm: eight at 1 mm; 8 mm in the plane: four at 2 mm
    assert dataset[0]["image"].shape == (1, 8, 4, 4)
    assert dataset.version in built.out
    assert "(2 were there)" in run("build", clean, shards, "--split", "train=0.67,test=0.33", "--per-shard", 2, "--spacing", "1,2,2").out

    inspected = run("inspect", shards)
    assert inspected.code == 0
    assert dataset.version in inspected.out
    assert "1 x 8 x 4 x 4" in inspected.out
    assert "6 arrays" not in run("verify", shards).out
    assert "3 arrays in 2 shards are as stored" in run("verify", shards).out


@pytest.mark.slow
def test_an_index_builds_the_same_shards_as_its_archive_with_any_number_of_workers(archive: Path, tmp_path: Path, run) -> None:
    run("scan", archive, "--out", tmp_path / "index.parquet")
    assert run("build", tmp_path / "index.parquet", tmp_path / "a", "--per-shard", 1).code == 0
    assert run("build", archive, tmp_path / "b", "--per-shard", 1, "--workers", 2).code == 0
    assert ShardDataset(tmp_path / "a").version == ShardDataset(tmp_path / "b").version


def test_volumes_with_masks_and_class_names(tmp_path: Path, run) -> None:
    source = tmp_path / "task"
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    for name in ("a", "b"):
        image = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
        write(Image(image, affine, (2, 1, 1)), source / "images" / f"{name}.nii.gz")
        write(Image((image > 100).astype(np.uint8), affine, (2, 1, 1)), source / "labels" / f"{name}.nii.gz")
    (source / "images" / "alone.nii.gz").write_bytes((source / "images" / "a.nii.gz").read_bytes())
    (source / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "thing"}}))
    built = run("build", source, tmp_path / "shards", "--recipe", "volumes")
    assert "2 samples in 1 shards (0 were there), 1 set aside" in built.out
    assert "has no label" in built.out
    # 120 values 0..119, those above 100: 19 voxels a volume
    assert re.search(r"1\s*│\s*2\s*│\s*38", run("inspect", tmp_path / "shards").out)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["scan", "{}/absent"], "no such folder"),
        (["scan", "{}/empty"], "holds no file"),
        (["build", "{}/empty", "{}/out"], "no series is of modality"),
        (["build", "{}/empty", "{}/out", "--spacing", "1,2"], "--spacing takes one or three positive numbers"),
        (["build", "{}/empty", "{}/out", "--spacng", "1"], "--spacing"),
        (["build", "{}/empty", "{}/out", "--split", "train"], "--split takes name=share"),
        (["build", "{}/text", "{}/out"], "is no index of an archive"),
        (["build", "{}/empty", "{}/out", "--recipe", "volumes"], "is empty"),
        (["deidentify", "{}/empty", "{}/out", "--key-file", "{}/absent"], "add --make-key"),
        (["deidentify", "{}/empty", "{}/out", "--key-file", "{}/text"], "the key has 5 characters"),
        (["inspect", "{}/empty"], "holds no shard"),
        (["verify", "{}/absent"], "no such folder"),
        (["verfy", "{}"], "verify"),
    ],
)
def test_a_mistake_is_one_line_with_the_mend_and_exit_code_2(tmp_path: Path, run, words: list[str], reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("short")
    result = run(*(word.format(tmp_path) for word in words))
    assert result.code == 2
    assert reason in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("med-ingest: error:")]) == 1
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_verify_fails_on_a_changed_shard(archive: Path, tmp_path: Path, run) -> None:
    run("build", archive, tmp_path / "shards", "--per-shard", 1)
    (tmp_path / "shards" / "000000.b2z").write_bytes((tmp_path / "shards" / "000001.b2z").read_bytes())
    result = run("verify", tmp_path / "shards")
    assert result.code == 2
    assert "differs from what was stored" in result.out


@pytest.mark.parametrize("verb", ["scan", "deidentify", "build", "inspect", "verify"])
def test_every_verb_explains_itself(run, verb: str) -> None:
    result = run(verb, "--help")
    assert result.code == 0
    assert "Example" in result.out
    assert verb in run("--help").out
