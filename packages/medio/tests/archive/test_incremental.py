"""Scans that go on: only new and changed files are read, and a killed scan loses little."""

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

import medio
from medio import CorruptFileError
from medio.archive import reading, scan

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content scans have read, in order."""
    names: list[str] = []
    original = reading.file_rows

    def counted(path: str, status: os.stat_result) -> list[list[object]]:
        names.append(Path(path).name)
        return original(path, status)

    monkeypatch.setattr(scan, "file_rows", counted)
    return names


def change(path: Path, **elements: str) -> None:
    dataset = dcmread(path)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_only_new_and_changed_files_are_read_and_vanished_ones_go(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    root = tmp_path / "archive"
    files = write_ct(root / "ct", np.zeros((5, 4, 5), np.uint16), AFFINE)
    (root / "note.txt").write_text("no image")
    first = medio.scan(root)
    read.clear()
    assert medio.scan(root, previous=first).equals(first)
    assert read == []
    change(files[0], PatientID="CHANGED")
    files[1].unlink()
    write_ct(root / "new", np.zeros((1, 4, 5), np.uint16), AFFINE)
    second = medio.scan(root, previous=first)
    assert read == [files[0].name, "001.dcm"]
    assert second.equals(medio.scan(root))
    assert second.num_rows == 6


def test_a_file_of_equal_size_and_another_time_is_read_again(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    (path,) = write_ct(tmp_path / "ct", np.zeros((1, 4, 5), np.uint16), AFFINE)
    first = medio.scan(tmp_path)
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Maker", b"Other"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # one nanosecond tells
    assert medio.scan(tmp_path, previous=first)["manufacturer"].to_pylist() == ["Other"]
    assert read == ["001.dcm", "001.dcm"]


def test_archives_are_known_by_themselves(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    files = write_ct(tmp_path / "plain", np.zeros((3, 4, 5), np.uint16), AFFINE)
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(root / name, "w") as archive:
            for file in files:
                archive.write(file, file.name)
    first = medio.scan(root)
    read.clear()
    with zipfile.ZipFile(root / "b.zip", "a") as archive:
        archive.writestr("more.txt", b"no image")
    second = medio.scan(root, previous=first)
    assert read == ["b.zip"]
    assert (first.num_rows, second.num_rows) == (6, 7)
    assert second.equals(medio.scan(root))


def test_a_file_that_could_not_be_read_is_tried_again(write_ct: WriteCT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ct(tmp_path, np.zeros((1, 4, 5), np.uint16), AFFINE)

    def fail(handle: int, count: int, position: int) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("medio.dicom.sources._pread", fail)
        first = medio.scan(tmp_path)
    assert first["error"].to_pylist() == ["cannot be read (Input/output error)"]
    assert medio.scan(tmp_path, previous=first)["error"].to_pylist() == [None]


def test_rows_that_an_index_and_the_parts_of_a_killed_scan_share_come_once(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    root, out = tmp_path / "archive", tmp_path / "index.parquet"
    write_ct(root, np.zeros((5, 4, 5), np.uint16), AFFINE)
    table = medio.scan(root)
    parts = tmp_path / ".index.parquet.parts"
    parts.mkdir()
    for number in range(2):
        pq.write_table(table, parts / f"{number}-000000.parquet")
    read.clear()
    assert medio.scan(root, previous=table, out=out).equals(table)
    assert read == []


def test_a_fault_of_ours_is_a_row_and_ends_no_scan(write_ct: WriteCT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ct(tmp_path, np.zeros((2, 4, 5), np.uint16), AFFINE)

    def fail(path: str, status: os.stat_result) -> list[list[object]]:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(scan, "file_rows", fail)
    assert medio.scan(tmp_path)["error"].to_pylist() == ["could not be indexed (ZeroDivisionError: a fault); please report the file"] * 2


def test_an_index_on_disk_is_made_then_kept_up(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    write_ct(tmp_path / "archive", np.zeros((3, 4, 5), np.uint16), AFFINE)
    index = tmp_path / "index.parquet"
    first = medio.scan(tmp_path / "archive", previous=index, out=index)  # not there yet: everything is read
    assert len(read) == 3
    assert pq.read_table(index).equals(first)
    medio.scan(tmp_path / "archive", previous=index, out=index)
    assert len(read) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive", "index.parquet"]  # no parts are left


def test_an_index_with_other_columns_is_passed_over_and_no_index_is_an_error(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    write_ct(tmp_path / "archive", np.zeros((2, 4, 5), np.uint16), AFFINE)
    old = medio.scan(tmp_path / "archive")
    read.clear()
    assert medio.scan(tmp_path / "archive", previous=old.drop_columns("kvp")).equals(old)
    assert len(read) == 2
    (tmp_path / "index.parquet").write_text("no Parquet")
    with pytest.raises(CorruptFileError, match="is no Parquet index"):
        medio.scan(tmp_path / "archive", previous=tmp_path / "index.parquet")


@settings(max_examples=15)
@given(st.data())
def test_any_history_of_scans_ends_in_the_table_of_a_fresh_one(
    tmp_path_factory: pytest.TempPathFactory, write_ct: WriteCT, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("history")
    template = write_ct(folder / "template", np.zeros((1, 4, 5), np.uint16), AFFINE)[0].read_bytes()
    root = folder / "root"
    root.mkdir()
    names = st.sampled_from([f"{a}/{b}.dcm" for a in "abc" for b in "12"] + ["x.txt"])
    table: pa.Table | None = None
    for _ in range(3):
        for name in data.draw(st.lists(names, max_size=5)):
            path = root / name
            path.parent.mkdir(exist_ok=True)
            if path.exists() and data.draw(st.booleans()):
                path.unlink()
            else:
                path.write_bytes(template if data.draw(st.booleans()) else template[:300])
        table = medio.scan(root, previous=table)
        assert table.equals(medio.scan(root))


def test_what_a_killed_scan_has_read_is_not_read_again(
    write_ct: WriteCT, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medio.archive.parts._ROWS", 128)
    root, out = tmp_path / "archive", tmp_path / "index.parquet"
    write_ct(root, np.zeros((400, 2, 2), np.uint16), AFFINE)

    def stop(done: int, _: int) -> None:
        if done >= 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        medio.scan(root, out=out, progress=stop)
    assert not out.exists()
    assert len(read) == 256
    table = medio.scan(root, out=out)
    assert len(read) == 400
    assert table.equals(medio.scan(root))
    assert pq.read_table(out).equals(table)
    assert not (tmp_path / ".index.parquet.parts").exists()


SCAN = """
import sys
from medio.archive import parts, scan
parts._ROWS = 128
def say(done, total):
    print(done, flush=True)
    if done >= int(sys.argv[3]):
        sys.stdin.read()
scan.scan(sys.argv[1], out=sys.argv[2], progress=say)
"""


@pytest.mark.slow  # a fresh interpreter imports the package
def test_a_scan_that_is_killed_goes_on_where_it_was(write_ct: WriteCT, tmp_path: Path, read: list[str]) -> None:
    root, out = tmp_path / "archive", tmp_path / "index.parquet"
    write_ct(root, np.zeros((600, 2, 2), np.uint16), AFFINE)
    process = subprocess.Popen(
        [sys.executable, "-c", SCAN, str(root), str(out), "384"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(3)] == ["128", "256", "384"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    table = medio.scan(root, out=out)
    assert len(read) == 600 - 384
    assert pq.read_table(out).equals(table)
    assert table.equals(medio.scan(root))


def test_a_part_that_is_no_parquet_is_dropped(write_ct: WriteCT, tmp_path: Path) -> None:
    write_ct(tmp_path / "archive", np.zeros((2, 2, 2), np.uint16), AFFINE)
    parts = tmp_path / ".index.parquet.parts"
    parts.mkdir()
    (parts / "0-000000.parquet").write_bytes(b"PAR1 cut")
    table = medio.scan(tmp_path / "archive", out=tmp_path / "index.parquet")
    assert table["error"].null_count == 2
    assert not parts.exists()
