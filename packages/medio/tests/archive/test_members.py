"""Files in zip and tar archives are rows, and can be opened by the path that their row gives."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

import medio
from medio import CorruptFileError, MissingFileError
from medio.archive import members

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


@pytest.fixture
def slices(write_ct: WriteCT, tmp_path: Path) -> list[Path]:
    return write_ct(tmp_path / "plain" / "ct", np.arange(60, dtype=np.uint16).reshape(3, 4, 5), AFFINE)


def packed(root: Path, kind: str, slices: list[Path]) -> Path:
    """An archive of the slices, a note, a hidden file and what macOS adds."""
    extras = {"note.txt": b"no image", ".hidden": b"x", "__MACOSX/ct/001.dcm": b"x"}
    path = root / "packed" / f"study.{kind}"
    path.parent.mkdir(exist_ok=True)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in slices:
                archive.write(file, f"ct/{file.name}")
            for name, data in extras.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:" + kind.partition(".")[2].replace("tgz", "gz")) as archive:
        for file in slices:
            archive.add(file, f"./ct/{file.name}")
        for name, data in extras.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_members_are_rows_equal_to_those_of_the_files(tmp_path: Path, slices: list[Path], kind: str) -> None:
    archive = packed(tmp_path, kind, slices)
    plain = medio.scan(tmp_path / "plain")
    table = medio.scan(tmp_path / "packed")
    images = table.filter(table["path"].to_numpy(zero_copy_only=False) != f"{archive}!/note.txt")
    assert table.num_rows == len(slices) + 1
    assert sorted(images["path"].to_pylist()) == [f"{archive}!/ct/{path.name}" for path in sorted(slices)]
    own = ["path", "mtime", "mtime_ns", "archive_size"]
    assert images.sort_by("path").drop_columns(own).equals(plain.drop_columns(own))
    assert set(images["archive_size"].to_pylist()) == {archive.stat().st_size}
    note = table.filter(table["path"].to_numpy(zero_copy_only=False) == f"{archive}!/note.txt")
    assert note["error"].to_pylist() == ["not DICOM"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_member_opens_by_its_path(tmp_path: Path, slices: list[Path], kind: str) -> None:
    packed(tmp_path, kind, slices)
    found = medio.series(medio.scan(tmp_path / "packed"))
    assert [len(s.paths) for s in found] == [3]
    for path, original in zip(found[0].paths, sorted(slices, reverse=True), strict=True):
        with medio.open_member(path) as file:
            assert dcmread(file) == dcmread(original)
    with medio.open_member(slices[0]) as file:
        assert file.read() == slices[0].read_bytes()


def test_members_and_archives_that_are_not_there_or_broken_are_errors(tmp_path: Path, slices: list[Path]) -> None:
    archive = packed(tmp_path, "zip", slices)
    for absent in (f"{archive}!/gone.dcm", tmp_path / "gone.dcm", tmp_path / "gone.zip!/a.dcm"):
        with pytest.raises(MissingFileError), medio.open_member(absent):
            pass
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert [str(e)[:36] for e in medio.scan(archive.parent)["error"].to_pylist()] == ["cannot be opened as an archive (File"]
    with pytest.raises(CorruptFileError, match="cannot be opened as an archive"), medio.open_member(f"{archive}!/ct/001.dcm"):
        pass


def test_a_tar_that_ends_early_gives_the_rows_before_and_an_error(tmp_path: Path, slices: list[Path]) -> None:
    archive = packed(tmp_path, "tar.gz", slices)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-200])
    errors = medio.scan(archive.parent)["error"].to_pylist()
    assert errors.count(None) >= 1
    assert any(e is not None and e.startswith("the archive cannot be read further") for e in errors)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_damage_anywhere_in_an_archive_ends_no_scan(tmp_path: Path, slices: list[Path], kind: str) -> None:
    archive = packed(tmp_path, kind, slices)
    whole = archive.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        errors = [e for e in medio.scan(archive.parent)["error"].to_pylist() if e is not None]
        assert not [e for e in errors if "please report" in e]


def test_a_member_whose_checksum_is_wrong_is_an_error_row(tmp_path: Path, slices: list[Path]) -> None:
    (tmp_path / "packed").mkdir()
    archive = tmp_path / "packed" / "stored.zip"
    with zipfile.ZipFile(archive, "w") as container:
        for file in slices:
            container.write(file, file.name)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"thorax", b"thorac", 1))
    errors = medio.scan(archive.parent)["error"].to_pylist()
    assert errors.count(None) == 2
    assert any(e is not None and "Bad CRC-32" in e for e in errors)


def test_what_unpacks_to_far_more_than_it_is_becomes_an_error_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "FREE_BYTES", 1 << 20)
    (tmp_path / "bombs").mkdir()
    with zipfile.ZipFile(tmp_path / "bombs" / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(8 << 20))
    with tarfile.open(tmp_path / "bombs" / "b.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("b.dcm")
        info.size = 8 << 20
        tar.addfile(info, io.BytesIO(bytes(8 << 20)))
    table = medio.scan(tmp_path / "bombs")
    assert table.num_rows == 2
    assert all("would unpack to" in error and "300 times" in error for error in table["error"].to_pylist())


def test_encrypted_members_and_empty_archives_are_error_rows(tmp_path: Path, slices: list[Path]) -> None:
    archive = packed(tmp_path, "zip", slices)
    data = bytearray(archive.read_bytes())
    # Bit 0 of the flags, in the local header and in the central directory, says encrypted (APPNOTE 4.4.4).
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + place] |= 1
    archive.write_bytes(data)
    with zipfile.ZipFile(archive.parent / "empty.zip", "w"):
        pass
    errors = [e for e in medio.scan(archive.parent)["error"].to_pylist() if e is not None and e != "not DICOM"]
    assert len(errors) == 2
    assert errors[0] == "an archive without files"
    assert "encrypted" in errors[1]


def test_a_dicom_file_whose_name_ends_in_zip_is_read_as_what_it_is(tmp_path: Path, slices: list[Path]) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "a.zip").write_bytes(slices[0].read_bytes())
    assert medio.scan(tmp_path / "named")["modality"].to_pylist() == ["CT"]
