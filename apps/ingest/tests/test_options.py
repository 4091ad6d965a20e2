"""What the options of the verbs add: tables, masks, priors, films, URLs; cleaning and its proof; an index that is renewed."""

import csv
import importlib.util
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture
from pydicom import dcmread

import medio
from medio import ShardDataset


@pytest.fixture
def visits(tmp_path: Path):
    """Two visits of one patient, one of another, with the mask of the first."""
    spec = importlib.util.spec_from_file_location("ingest_conftest", Path(__file__).with_name("conftest.py"))
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    root = tmp_path / "visits"
    shared.ct(root / "a1", "QX-0044177", date="20240102", visit="1")
    shared.ct(root / "a2", "QX-0044177", date="20240301", visit="2")
    shared.ct(root / "b1", "QX-0055288", date="20240215", visit="1")
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[1:3, 2:5, 2:6] = 1
    lung = medio.Segment(number=1, label="lung", code=("39607008", "SCT", "Lung"), algorithm="test", algorithm_version="1")
    medio.write_segmentation(mask, root / "a1", [lung], root / "seg.dcm", affine=medio.read(root / "a1").affine)
    return root


def uid(folder: Path) -> str:
    return str(dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True).SeriesInstanceUID)


def test_labels_reports_masks_and_priors_reach_the_shards(visits: Path, tmp_path: Path, run) -> None:
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        rows = [("series", "nodule", "text"), (uid(visits / "a1"), 1, "A nodule."), (uid(visits / "a2"), "", "Unchanged."), ("9.9", 1, "?")]
        csv.writer(file).writerows(rows)
    built = run("build", visits, tmp_path / "out", "--masks", "--priors", "--table", table, "--labels", "nodule", "--report", "text")
    assert built.code == 0, built.err
    assert "names 2 of 3 samples" in built.out
    dataset = ShardDataset(tmp_path / "out", with_prior=True)
    first, second, other = (dataset[list(dataset.sample_ids).index(uid(visits / name))] for name in ("a1", "a2", "b1"))
    assert int(first["mask"].sum()) == 2 * 3 * 4
    assert first["label"].tolist() == [1.0]
    assert np.isnan(second["label"]).all()
    assert (first["report"], second["report"]) == ("A nodule.", "Unchanged.")
    assert first["prior"] is None
    assert other["prior"] is None
    assert second["prior"]["key"][2] == uid(visits / "a1")
    # 2 January to 1 March 2024, a leap year: 29 days left of January, 29 of February, and one
    assert float(second["meta"]["days_since_prior"]) == 59


def test_films_with_their_table_become_shards(tmp_path: Path, run) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a", "b"):
        Picture.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(64, 48).astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "table.csv").write_text(
        "Image Index,Patient ID,Finding Labels,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        "a.png,P1,Mass|Nodule,96,128,0.2,0.2\nb.png,P2,No Finding,96,128,0.2,0.2\n"
    )
    built = run("build", folder, tmp_path / "out", "--recipe", "films", "--size", 32, "--codec", "films")
    assert built.code == 0, built.err
    dataset = ShardDataset(tmp_path / "out")
    assert dataset[0]["image"].shape == (1, 32, 32)
    assert dict(zip(dataset.labels, dataset[0]["label"], strict=True)) == {"Mass": 1.0, "Nodule": 1.0}


def test_shards_go_to_a_url_and_are_verified_there(visits: Path, tmp_path: Path, run) -> None:
    url = f"file://{tmp_path / 'remote'}"
    assert run("build", visits, url, "--per-shard", 2).code == 0
    assert run("build", visits, tmp_path / "local", "--per-shard", 2).code == 0
    assert ShardDataset(url).version == ShardDataset(tmp_path / "local").version
    assert "3 arrays in 2 shards are as stored" in run("verify", url).out
    assert "2" in run("inspect", url).out


def test_a_dask_cluster_builds_the_same_shards(visits: Path, tmp_path: Path, run) -> None:
    distributed = pytest.importorskip("distributed", reason="needs medio[dask]")
    with distributed.LocalCluster(n_workers=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None) as cluster:
        built = run("build", visits, tmp_path / "cluster", "--per-shard", 1, "--dask", cluster.scheduler_address)
    assert built.code == 0, built.err
    assert run("build", visits, tmp_path / "here", "--per-shard", 1).code == 0
    assert ShardDataset(tmp_path / "cluster").version == ShardDataset(tmp_path / "here").version


def test_a_second_scan_reads_what_changed_and_drops_what_went(visits: Path, tmp_path: Path, run) -> None:
    index = tmp_path / "index.parquet"
    assert "13 files, 4 series, 0 not usable" in run("scan", visits, "--out", index).out
    (visits / "b1" / "0.dcm").write_bytes(b"gone bad")
    for path in (visits / "a2").iterdir():
        path.unlink()
    # An unchanged file is not read again: this one is broken behind the index's back, its size and time as before.
    kept = visits / "a1" / "1.dcm"
    before = kept.stat()
    kept.write_bytes(b"\0" * before.st_size)
    os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "9 files, 3 series, 1 not usable" in run("scan", visits, "--out", index).out
    assert "9 files, 3 series, 2 not usable" in run("scan", visits, "--out", index, "--fresh").out
    assert pq.read_table(index).num_rows == 9


def test_copies_are_searched_and_a_leak_ends_with_code_2(visits: Path, tmp_path: Path, run) -> None:
    clean, words = tmp_path / "clean", ("--key-file", tmp_path / "key", "--make-key")
    assert "13 copies hold no identifier of their originals" in run("deidentify", visits, clean, *words).out
    for copy in clean.rglob("*.dcm"):
        copy.write_bytes(copy.read_bytes() + b"QX-0044177")
    leaking = run("deidentify", visits, clean, *words)
    assert leaking.code == 2
    assert "do not release it" in leaking.err
    assert "44177" not in leaking.out + leaking.err
    assert run("deidentify", visits, clean, *words, "--no-check").code == 0


def test_dates_are_moved_kept_or_removed(visits: Path, tmp_path: Path, run) -> None:
    found = {}
    for choice in ("shift", "keep", "remove"):
        out = tmp_path / choice
        assert run("deidentify", visits, out, "--key-file", tmp_path / "key", "--make-key", "--dates", choice).code == 0
        headers = [dcmread(path, stop_before_pixels=True) for path in out.rglob("*.dcm")]
        found[choice] = {str(h.get("StudyDate", "")) for h in headers}
    assert found["keep"] == {"20240102", "20240215", "20240301"}
    assert found["remove"] == {""}
    assert len(found["shift"]) == 3
    assert not found["shift"] & found["keep"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--labels", "x"], "are columns of a table; add --table FILE"),
        (["--table", "{}/t.csv"], "name the columns to take"),
        (["--table", "{}/t.csv", "--labels", "x"], "has no column 'series', 'x'"),
        (["--dask", "tcp://127.0.0.1:1", "--workers", "2"], "a cluster has workers of its own"),
        (["--storage-option", "key"], "--storage-option takes name=value"),
    ],
)
def test_options_that_do_not_fit_are_one_line_with_the_mend(visits: Path, tmp_path: Path, run, words: list[str], reason: str) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n")
    result = run("build", visits, tmp_path / "out", *(word.format(tmp_path) for word in words))
    assert result.code == 2
    assert reason in result.err
    assert not (tmp_path / "out").exists()
