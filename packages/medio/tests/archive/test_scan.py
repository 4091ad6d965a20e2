"""The index: one row a file, whatever the file."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

import medio
from medio import MissingFileError

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])


@pytest.fixture
def archive(write_ct: WriteCT, tmp_path: Path) -> Path:
    """Two series, a note, a truncated file and an empty one."""
    stored = np.zeros((3, 4, 5), np.uint16)
    write_ct(tmp_path / "b" / "one", stored, AFFINE)
    write_ct(tmp_path / "a" / "two", stored, AFFINE, PatientID="P0", InstitutionName="Site", BurnedInAnnotation="NO")
    (tmp_path / "a" / "note.txt").write_text("not an image")
    (tmp_path / "a" / "empty.dcm").write_bytes(b"")
    whole = (tmp_path / "a" / "two" / "001.dcm").read_bytes()
    (tmp_path / "a" / "cut.dcm").write_bytes(whole[:-10])
    (tmp_path / "a" / "headless.dcm").write_bytes(whole[:400])
    return tmp_path


def test_every_file_is_a_row_and_errors_are_rows(archive: Path) -> None:
    table = medio.scan(archive)
    errors = {Path(p).name: e for p, e in zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True) if e}
    assert table.num_rows == 10
    # 4 x 5 pixels of 2 bytes are 40 bytes, 10 are gone
    assert errors.pop("cut.dcm").startswith("PixelData holds 30 bytes, 4x5x16 bit needs 40")
    assert errors.pop("headless.dcm").startswith("ends before its PixelData; the file is truncated")
    assert errors == {"note.txt": "not DICOM", "empty.dcm": "not DICOM"}


def test_a_row_says_what_the_header_says(archive: Path) -> None:
    path = archive / "a" / "two" / "001.dcm"
    row = next(r for r in medio.scan(archive).to_pylist() if r["path"] == str(path))
    header = dcmread(path)
    assert row["patient_id"] == "P0"
    assert row["institution_name"] == "Site"
    assert row["burned_in_annotation"] == "NO"
    assert row["sop_instance_uid"] == header.SOPInstanceUID
    assert row["transfer_syntax_uid"] == header.file_meta.TransferSyntaxUID
    assert (row["rows"], row["columns"], row["number_of_frames"], row["slice_thickness"]) == (4, 5, None, 2.5)
    assert row["image_position_patient"] == [-100, -50, 35]
    assert row["pixel_spacing"] == [0.8, 0.7]
    assert (row["size"], row["mtime"]) == (path.stat().st_size, path.stat().st_mtime)


def test_rows_are_ordered_by_path_and_progress_counts_them(archive: Path, write_ct: WriteCT) -> None:
    write_ct(archive / "c", np.zeros((130, 2, 2), np.uint16), AFFINE)  # more than one chunk
    seen: list[tuple[int, int]] = []
    table = medio.scan(archive, progress=lambda done, total: seen.append((done, total)))
    assert table["path"].to_pylist() == sorted(table["path"].to_pylist(), key=Path)
    assert seen == [(128, 140), (140, 140)]


@pytest.mark.slow  # two fresh interpreters import the package
def test_rows_do_not_depend_on_workers(archive: Path, write_ct: WriteCT) -> None:
    write_ct(archive / "c", np.zeros((70, 2, 2), np.uint16), AFFINE)
    assert medio.scan(archive).equals(medio.scan(archive, workers=2))


def test_series_are_ordered_by_position_and_leave_out_broken_files(archive: Path) -> None:
    found = medio.series(medio.scan(archive))
    assert [(s.patient_id, s.modality, s.rows, s.columns) for s in found] == [("P0", "CT", 4, 5), ("P1", "CT", 4, 5)]
    # the files' names run against z
    assert [p.name for p in found[1].paths] == ["003.dcm", "002.dcm", "001.dcm"]
    assert medio.read(found[1].paths).spacing == (2.5, 0.8, 0.7)


def test_real_archive_has_its_series(shared_data: Path) -> None:
    table = medio.scan(shared_data / "dicom_multivendor")
    assert Counter(table["error"].to_pylist()) == {None: 233, "not DICOM": 4}  # four README-Series.txt
    sizes = {(s.manufacturer, len(s.paths)) for s in medio.series(table)}
    assert {("GE MEDICAL SYSTEMS", 28), ("Philips", 170), ("UIH", 17), ("Siemens", 4)} <= sizes


def test_files_without_series_uid_stay_together_by_folder(shared_data: Path) -> None:
    found = medio.series(medio.scan(shared_data / "ct_totalseg"))
    assert [(s.series_instance_uid, len(s.paths)) for s in found] == [("", 20)]


def test_an_absent_root_is_an_error_not_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such folder"):
        medio.scan(tmp_path / "gone")
    assert medio.scan(tmp_path).num_rows == 0
