"""The walk: order, links, loops, what cannot be listed."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import medio
from medio.archive.walk import walk


def paths(root: Path, size: int = 3) -> list[str]:
    chunks = list(walk(root, size))
    assert all(chunk.count == size for chunk in chunks[:-1])
    return [path for chunk in chunks for path in chunk.paths()]


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "a-b", "a.b", "é", "Z"]), min_size=1, max_size=4), max_size=12), st.integers(1, 5))
def test_files_come_in_the_order_of_pathlib_each_once(tmp_path_factory: pytest.TempPathFactory, names: list[list[str]], size: int) -> None:
    root = tmp_path_factory.mktemp("walk")
    for parts in names:
        path = root.joinpath(*parts[:-1], parts[-1] + ".dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    expected = sorted(p for p in root.rglob("*") if p.is_file())
    assert [Path(p) for p in paths(root, size)] == expected


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden/a.dcm", "b/.a.dcm", "b/a.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert paths(tmp_path) == [f"{tmp_path}/b/a.dcm"]


def test_links_are_followed_out_of_the_root_once_and_loops_end(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "a", outside / "deep"):
        folder.mkdir(parents=True)
        (folder / "x.dcm").touch()
    (root / "a" / "up").symlink_to(root)  # a loop
    (root / "a" / "above").symlink_to(tmp_path)  # holds the root
    (root / "a" / "self").symlink_to(root / "a" / "self")  # leads nowhere
    (root / "b").symlink_to(root / "a")  # met anyway
    (root / "c").symlink_to(outside)
    (root / "d").symlink_to(outside)  # the same once more
    (outside / "deep" / "back").symlink_to(outside)
    (root / "e.dcm").symlink_to(outside / "deep" / "x.dcm")
    assert paths(root) == [f"{root}/{name}" for name in ("a/self", "a/x.dcm", "c/deep/x.dcm", "e.dcm")]


def test_what_cannot_be_opened_or_listed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")  # must neither be a row nor block
    (tmp_path / "locked").mkdir()
    listed = os.scandir

    def refuse(path: str) -> "os._ScandirIterator[str]":
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    table = medio.scan(tmp_path)
    assert dict(zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True)) == {
        str(tmp_path / "locked"): "cannot be listed (Permission denied)",
        str(tmp_path / "gone.dcm"): "cannot be opened (No such file or directory)",
    }


def test_a_name_that_is_no_unicode_is_escaped(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.dcm")).write_bytes(b"")
    assert medio.scan(tmp_path)["path"].to_pylist() == [f"{tmp_path}/caf\\udce9.dcm"]
