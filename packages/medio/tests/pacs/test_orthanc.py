"""Against a real archive: what goes in comes out, byte for byte, by every road."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

import medio
from medio.errors import MissingFileError, PacsError
from medio.pacs import DimsePeer, Receiver, WebPeer
from medio.pacs.transfers import Retry

AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.7, 0, -90], [2.5, 0, 0, -40], [0, 0, 0, 1.0]])
WriteCT = Callable[..., list[Path]]

# One file of each way to store pixels; an archive that transcodes would change them.
COMPRESSED = ("MR_small_RLE.dcm", "JPEG2000.dcm", "JPEG-LL.dcm", "MR_small_jp2klossless.dcm", "emri_small.dcm")


@pytest.fixture
def series(tmp_path: Path, write_ct: WriteCT) -> list[Path]:
    rng = np.random.default_rng(1)
    return write_ct(tmp_path / "ct", rng.integers(0, 2000, (5, 16, 12)).astype(np.int16), AFFINE)


def uids(path: Path) -> tuple[str, str, str]:
    header = dcmread(path, stop_before_pixels=True)
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID)


def same_content(a: Path, b: Path) -> bool:
    """Equal in every element but the group of file meta information, which each writer makes anew."""
    one, two = dcmread(a), dcmread(b)
    return one == two and one.file_meta.TransferSyntaxUID == two.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_an_archive_that_is_there_answers(archive: Any, road: str) -> None:
    assert getattr(archive, road).echo() is None


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_what_is_stored_is_found_and_comes_back_as_it_was(archive: Any, road: str, series: list[Path], tmp_path: Path) -> None:
    peer = getattr(archive, road)
    steps: list[tuple[int, int]] = []
    report = peer.store(tmp_path / "ct", progress=lambda done, total: steps.append((done, total)))
    assert (len(report.sent), report.already, report.failed) == (5, (), ())
    assert steps[-1] == (5, 5)

    study, series_uid, _ = uids(series[0])
    (found,) = peer.find("study", patient_id="P1")
    assert found["study_instance_uid"] == study
    assert found["study_date"] == "20240102"
    (listed,) = peer.find("series", study_instance_uid=study)
    assert (listed["series_instance_uid"], listed["modality"], listed["series_number"]) == (series_uid, "CT", 1)
    assert len(peer.find("instance", study_instance_uid=study, series_instance_uid=series_uid)) == 5

    fetched = peer.retrieve(tmp_path / "back", study)
    assert (len(fetched.received), fetched.already, fetched.failed) == (5, (), ())
    for path in series:
        assert same_content(path, tmp_path / "back" / Path(*uids(path)[:2]) / f"{uids(path)[2]}.dcm")
    assert np.array_equal(medio.read(fetched.received).array, medio.read(tmp_path / "ct").array)


@pytest.mark.parametrize("road", ["dimse", "web"])
@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_objects_keep_their_transfer_syntax_both_ways(archive: Any, road: str, name: str, tmp_path: Path) -> None:
    path = Path(get_testdata_file(name, download=False))
    peer = getattr(archive, road)
    assert peer.store(path).failed == ()
    fetched = peer.retrieve(tmp_path, uids(path)[0])
    assert len(fetched.received) == 1
    there, back = dcmread(path), dcmread(fetched.received[0])
    assert back.file_meta.TransferSyntaxUID == there.file_meta.TransferSyntaxUID
    assert back.PixelData == there.PixelData


def test_a_move_goes_to_a_receiver_that_the_archive_knows(archive: Any, series: list[Path], tmp_path: Path) -> None:
    archive.dimse.store(series)
    paths: list[Path] = []
    with Receiver(tmp_path / "back", on_stored=paths.append) as receiver:
        archive.knows("MEDIO", receiver.port)
        report = archive.dimse.retrieve(tmp_path / "back", uids(series[0])[0], receiver=receiver)
        assert receiver.received == 5
    assert sorted(paths) == sorted(report.received)
    assert all(same_content(path, tmp_path / "back" / Path(*uids(path)[:2]) / f"{uids(path)[2]}.dcm") for path in series)


def test_a_move_to_an_unknown_receiver_says_what_to_look_at(archive: Any, series: list[Path], tmp_path: Path) -> None:
    archive.dimse.store(series)
    with (
        Receiver(tmp_path / "back", ae_title="STRANGER") as receiver,
        pytest.raises(PacsError, match="does it know that AE title, host and port"),
    ):
        archive.dimse.retrieve(tmp_path / "back", uids(series[0])[0], receiver=receiver)


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_only_what_is_missing_is_fetched(archive: Any, road: str, series: list[Path], tmp_path: Path) -> None:
    peer = getattr(archive, road)
    peer.store(series)
    study = uids(series[0])[0]
    first = peer.retrieve(tmp_path / "back", study)
    lost = first.received[2]
    lost.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in first.received if path != lost}
    again = peer.retrieve(tmp_path / "back", study)
    assert again.received == (lost,)
    assert len(again.already) == 4
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_a_journal_keeps_confirmed_files_from_going_out_twice(archive: Any, road: str, series: list[Path], tmp_path: Path) -> None:
    peer, journal = getattr(archive, road), tmp_path / "sent.jsonl"
    assert len(peer.store(series[:3], journal=journal).sent) == 3
    # As a kill would leave it: the last line cut short.
    journal.write_bytes(journal.read_bytes()[:-9])
    report = peer.store(series, journal=journal)
    assert (len(report.sent), len(report.already)) == (3, 2)
    assert len(peer.store(series, journal=journal).already) == 5


def test_patterns_and_ranges_of_dates_select(archive: Any, tmp_path: Path, write_ct: WriteCT) -> None:
    for patient, date in (("ANNA-1", "20240102"), ("ANNA-2", "20240301"), ("BERT-1", "20240102")):
        files = write_ct(tmp_path / patient, np.zeros((2, 4, 4), np.int16), AFFINE, PatientID=patient, StudyDate=date)
        archive.dimse.store(files)
    for peer in (archive.dimse, archive.web):
        assert {row["patient_id"] for row in peer.find("study", patient_id="ANNA*")} == {"ANNA-1", "ANNA-2"}
        assert {row["patient_id"] for row in peer.find("study", study_date="20240101-20240131")} == {"ANNA-1", "BERT-1"}
        assert {row["patient_id"] for row in peer.find("study", modalities_in_study="CT")} == {"ANNA-1", "ANNA-2", "BERT-1"}
        assert peer.find("study", patient_id="NOBODY") == []


def test_pages_of_a_web_query_make_one_list(archive: Any, series: list[Path]) -> None:
    archive.dimse.store(series)
    study, series_uid, _ = uids(series[0])
    small = WebPeer(url=archive.web.url, page=2, retry=Retry(1, 0))
    rows = small.find("instance", study_instance_uid=study, series_instance_uid=series_uid)
    assert sorted(row["instance_number"] for row in rows) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_an_unknown_study_is_an_error_that_names_it(archive: Any, road: str, tmp_path: Path) -> None:
    with pytest.raises(PacsError, match=r"has no instance of study 1\.2\.3"):
        getattr(archive, road).retrieve(tmp_path, "1.2.3")


@pytest.mark.parametrize("road", ["dimse", "web"])
def test_files_that_are_not_dicom_are_told_and_the_rest_is_sent(archive: Any, road: str, series: list[Path], tmp_path: Path) -> None:
    (tmp_path / "ct" / "notes.txt").write_text("not an image")
    report = getattr(archive, road).store(tmp_path / "ct")
    assert len(report.sent) == 5
    assert [(Path(q.item).name, q.reason) for q in report.failed] == [("notes.txt", "is not a DICOM file; it is not sent")]


def test_a_wrong_name_for_the_archive_is_told_from_a_dead_one(archive: Any) -> None:
    good = archive.dimse
    with pytest.raises(PacsError, match="rejects the association"):
        DimsePeer(host=good.host, port=good.port, ae_title="OTHER", retry=Retry(1, 0)).echo()


def test_a_wrong_base_url_is_told(archive: Any) -> None:
    with pytest.raises(PacsError, match=r"HTTP 404; is the base of the URL right\?"):
        WebPeer(url=f"{archive.rest}/nowhere", retry=Retry(1, 0)).echo()


def test_nothing_to_send_is_an_error(archive: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file to send"):
        archive.dimse.store(tmp_path)
