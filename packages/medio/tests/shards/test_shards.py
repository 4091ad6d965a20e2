import concurrent.futures
import errno
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pyarrow.parquet as pq
import pytest

from medio.errors import CorruptFileError, GeometryError, MedioError
from medio.shards.build import BuildReport, ShardSample, build_shards
from medio.shards.codecs import Codec
from medio.shards.fingerprint import fingerprint
from medio.shards.sample import array_hash

AFFINE = np.diag([3.0, 2.0, 1.0, 1.0])


def make(item: int) -> ShardSample:
    rng = np.random.default_rng(item)
    image = rng.integers(-1000, 1000, (1, 9, 8, 7)).astype(np.int16)
    mask = (image[0] > 500).astype(np.uint8) + (image[0] > 900)
    return ShardSample(
        sample_id=f"s{item}",
        patient_id=f"p{item // 2}",
        arrays={"image": image, "mask": mask},
        spacing=(3, 2, 1),
        affine=AFFINE,
        modality="CT",
        unit="HU",
    )


def build(root: Path, items: list[int], **options: object) -> BuildReport:
    return build_shards(items, make, root, per_shard=2, **options)  # type: ignore[arg-type]


def test_the_same_items_give_the_same_version_wherever_and_however_they_are_built(tmp_path: Path) -> None:
    serial = build(tmp_path / "a", [0, 1, 2, 3, 4])
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        parallel = build(tmp_path / "b", [0, 1, 2, 3, 4], executor=pool)
    assert serial.version == parallel.version
    assert (parallel.samples, parallel.shards, parallel.reused) == (5, 3, 0)
    assert build(tmp_path / "c", [0, 1, 2, 3, 5]).version != serial.version


def test_a_second_build_reuses_all_and_a_missing_index_rebuilds_one(tmp_path: Path) -> None:
    first = build(tmp_path, [0, 1, 2, 3])
    assert build(tmp_path, [0, 1, 2, 3]).reused == 2
    (tmp_path / "000001.parquet").unlink()
    again = build(tmp_path, [0, 1, 2, 3])
    assert (again.reused, again.version) == (1, first.version)
    (tmp_path / "000000.b2z").unlink()
    assert build(tmp_path, [0, 1, 2, 3]).reused == 1


def test_a_longer_list_adds_shards_and_a_shorter_one_removes_them(tmp_path: Path) -> None:
    build(tmp_path, [0, 1])
    longer = build(tmp_path, [0, 1, 2, 3])
    assert (longer.reused, longer.samples) == (1, 4)
    shorter = build(tmp_path, [0, 1])
    assert (shorter.reused, shorter.samples) == (1, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000.b2z", "000000.parquet"]


def test_a_relative_folder_is_meant_from_where_the_build_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def wandering(item: int) -> ShardSample:
        os.chdir(tmp_path / "elsewhere")
        return make(item)

    report = build_shards([0, 1], wandering, "out", per_shard=1)
    assert report.root == Path("out")
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.parquet")) == ["000000", "000001"]


def test_a_changed_fingerprint_or_recipe_builds_anew(tmp_path: Path) -> None:
    build(tmp_path, [0, 1], fingerprint="v1")
    assert build(tmp_path, [0, 1], fingerprint="v1").reused == 1
    assert build(tmp_path, [0, 1], fingerprint="v2").reused == 0
    assert build_shards([0, 1], lambda i: make(i + 1), tmp_path, per_shard=2, fingerprint="v2").reused == 0


def test_a_changed_input_file_builds_anew(tmp_path: Path) -> None:
    source = tmp_path / "number.txt"
    source.write_text("1")

    def of_file(path: Path) -> ShardSample:
        return make(int(path.read_text()))

    first = build_shards([source], of_file, tmp_path / "out")
    assert build_shards([source], of_file, tmp_path / "out").reused == 1
    source.write_text("22")
    second = build_shards([source], of_file, tmp_path / "out")
    assert second.reused == 0
    assert second.version != first.version


def test_bad_items_are_quarantined_with_their_reason_and_do_not_change_the_version(tmp_path: Path) -> None:
    def picky(item: int) -> ShardSample:
        if item == 7:
            raise CorruptFileError("seven.dcm", "PixelData ends early; fetch it again")
        if item == 8:
            raise FileNotFoundError("eight.dcm is gone")
        return make(item)

    report = build_shards([0, 7, 8, 1], picky, tmp_path / "a", per_shard=4)
    assert report.samples == 2
    assert [(q.item, q.reason) for q in report.quarantined] == [
        ("7", "seven.dcm: PixelData ends early; fetch it again"),
        ("8", "eight.dcm is gone"),
    ]
    rows = pq.read_table(tmp_path / "a" / "000000.parquet").to_pylist()
    assert [r["sample_id"] for r in rows] == ["s0", None, None, "s1"]


def test_an_error_that_is_no_bad_item_ends_the_build_and_keeps_finished_shards(tmp_path: Path) -> None:
    def broken(item: int) -> ShardSample:
        if item == 3:
            raise ZeroDivisionError("a bug")
        return make(item)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        build_shards([0, 1, 2, 3], broken, tmp_path, per_shard=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000.b2z", "000000.parquet"]


def test_a_full_disk_ends_the_build_instead_of_quarantining_everything(tmp_path: Path) -> None:
    def full(item: int) -> ShardSample:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        build_shards([0], full, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_does_not_read_back_gets_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Codec.compress
    # what a disk that lies would leave: the frame of another array of the same shape
    monkeypatch.setattr(Codec, "compress", lambda self, array, dims: whole(self, array ^ 1, dims))
    with pytest.raises(CorruptFileError, match=r"000000/image\.b2nd does not read back as written"):
        build(tmp_path, [0, 1])
    assert list(tmp_path.iterdir()) == []


def test_one_id_twice_is_an_error_within_and_across_shards(tmp_path: Path) -> None:
    within = build_shards([0, 0], make, tmp_path / "a", per_shard=2)
    assert "'s0' is already in this shard" in within.quarantined[0].reason
    with pytest.raises(MedioError, match=r"'s0' is in 000000\.parquet and in 000001.parquet"):
        build_shards([0, 0], make, tmp_path / "b", per_shard=1)


def test_a_patient_in_two_splits_is_an_error(tmp_path: Path) -> None:
    def leaky(item: int) -> ShardSample:
        sample = make(item)
        return ShardSample(
            sample_id=sample.sample_id,
            patient_id="p",
            arrays=sample.arrays,
            spacing=(3, 2, 1),
            affine=AFFINE,
            split=["train", "test"][item],
        )

    with pytest.raises(MedioError, match="patient 'p' is in splits 'train' and 'test'"):
        build_shards([0, 1], leaky, tmp_path)


def test_progress_counts_items_up_to_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build(tmp_path, [0, 1, 2], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("items", "options", "words"),
    [
        ([], {}, "no items"),
        ([1], {"per_shard": 0}, "per_shard must be at least 1"),
        ([1], {"codec": "jpeg"}, "codec must be one of fast, small, films, got 'jpeg'"),
        ([1], {"storage_options": {"key": "x"}}, "storage_options belong to a URL"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_mend(tmp_path: Path, items: list[int], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_shards(items, make, tmp_path, **options)


@pytest.mark.parametrize("codec", ["fast", "small", "films"])
def test_every_codec_is_lossless_for_every_type_and_the_store_is_a_dict_store(tmp_path: Path, codec: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {kind: rng.integers(0, 100, (3, 40, 70)).astype(kind) for kind in ("u1", "u2", "i2", "i4", "f4", "f8")}

    def recipe(item: int) -> ShardSample:
        image = arrays["i2"][None]
        return ShardSample(sample_id="s", patient_id="p", arrays={"image": image, **arrays}, spacing=(3, 2, 1), affine=AFFINE)

    build_shards([0], recipe, tmp_path, codec=codec)
    store = blosc2.DictStore(str(tmp_path / "000000.b2z"), mode="r")  # by the format's own reader
    assert set(store.keys()) == {"/000000/image", *(f"/000000/{name}" for name in arrays)}
    for name, array in arrays.items():
        assert store[f"/000000/{name}"].dtype == array.dtype
        np.testing.assert_array_equal(store[f"/000000/{name}"][...], array)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"affine": None}, GeometryError, "a volume needs an affine"),
        ({"spacing": (1, 0, 1)}, GeometryError, "positive"),
        ({"arrays": {}}, ValueError, "must hold an 'image'"),
        ({"arrays": {"image": np.zeros((9, 8, 7))}}, ValueError, r"must be \(C, \*S\)"),
        ({"arrays": {"image": np.full((1, 9, 8, 7), np.nan)}}, ValueError, "NaN"),
        ({"arrays": {"image": np.zeros((1, 9, 8, 7)), "mask": np.zeros((8, 9, 7), int)}}, ValueError, "mask is int64"),
        ({"patient_id": ""}, ValueError, "must not be empty"),
    ],
)
def test_a_sample_that_contradicts_itself_is_refused(change: dict[str, object], error: type[Exception], words: str) -> None:
    good: dict[str, object] = {"sample_id": "s", "patient_id": "p", "arrays": make(0).arrays, "spacing": (3, 2, 1), "affine": AFFINE}
    with pytest.raises(error, match=words):
        ShardSample(**{**good, **change})  # type: ignore[arg-type]


def test_an_array_hash_sees_type_shape_and_values_but_not_byte_order() -> None:
    a = np.arange(6, dtype="<i2").reshape(2, 3)
    assert array_hash(a) == array_hash(a.astype(">i2")) == array_hash(np.asfortranarray(a))
    assert len({array_hash(x) for x in (a, a.reshape(3, 2), a.astype("<u2"), a + 1)}) == 4


def test_fingerprints_tell_values_apart_that_look_alike() -> None:
    values = [1, 1.0, "1", b"1", (1,), {"1": 1}, np.array([1]), np.array([1.0]), None, True, Path("1"), make, build]
    assert len({fingerprint(v) for v in values}) == len(values)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


SLOW_BUILD = """
import sys, time
import numpy as np
from medio.shards.build import ShardSample, build_shards

def make(item):
    if sys.argv[2] == "slow":
        print(item, flush=True)
        time.sleep(0.15)
    image = np.random.default_rng(item).integers(0, 999, (1, 8, 8, 8)).astype(np.int16)
    return ShardSample(sample_id=f"s{item}", patient_id="p", arrays={"image": image}, spacing=(1, 1, 1), affine=np.eye(4))

print(build_shards(range(6), make, sys.argv[1], per_shard=2).version)
"""


@pytest.mark.parametrize("last_words", [pytest.param("0", marks=pytest.mark.slow), "3"])
def test_a_killed_build_goes_on_and_ends_with_the_version_of_an_undisturbed_one(
    tmp_path: Path, last_words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "build.py"
    script.write_text(SLOW_BUILD)
    child = subprocess.Popen([sys.executable, str(script), str(tmp_path / "killed"), "slow"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == last_words:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    left = {p.name for p in (tmp_path / "killed").iterdir()}
    assert any(name.endswith(".tmp") for name in left)  # it did die in the middle of a shard
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("*.parquet")}

    def version(folder: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / folder), "fast"])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out.strip()

    assert version("killed") == version("undisturbed")
    assert all(p.stat().st_mtime_ns == t for p, t in finished.items())
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {f"00000{i}.{s}" for i in range(3) for s in ("b2z", "parquet")}


def test_staging_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    import socket

    mine = tmp_path / f".000000.{socket.gethostname()}.{os.getpid()}.abcd.tmp"
    old = tmp_path / ".000000.elsewhere.1.abcd.tmp"
    mine.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    build(tmp_path, [0, 1])
    assert mine.is_dir()
    assert not old.exists()
