"""What networks do: connections that break, servers that refuse, processes that are killed, names that lead out of the folder."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from medio.errors import CorruptFileError, PacsError
from medio.pacs import DimsePeer, Receiver, WebPeer
from medio.pacs.queries import query_of, row_of, snake_case
from medio.pacs.transfers import Outgoing, Retry, batches, placed

CT = "1.2.840.10008.5.1.4.1.1.2"
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.7, 0, -90], [2.5, 0, 0, -40], [0, 0, 0, 1.0]])
WriteCT = Callable[..., list[Path]]


@pytest.fixture
def series(tmp_path: Path, write_ct: WriteCT) -> list[Path]:
    return write_ct(tmp_path / "ct", np.arange(6 * 16, dtype=np.int16).reshape(6, 4, 4), AFFINE)


@contextmanager
def server(handlers: list[Any], *classes: str) -> Iterator[DimsePeer]:
    """An archive that does what a test says."""
    entity = AE("FAKE")
    for kind in (*classes, "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"):
        entity.add_supported_context(kind, ALL_TRANSFER_SYNTAXES)
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
    for context in entity.supported_contexts:
        context.scu_role = context.scp_role = True
    running = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield DimsePeer(host="127.0.0.1", port=running.socket.getsockname()[1], ae_title="FAKE", timeout_s=10, retry=Retry(2, 0))
    finally:
        running.shutdown()


def test_an_association_that_breaks_is_opened_again_and_nothing_goes_out_twice(series: list[Path]) -> None:
    taken: list[str] = []

    count = 0

    def flaky(event: Any) -> int:
        nonlocal count
        count += 1
        if count in (2, 4):  # cut before the answer: whether it was stored is not known, so it goes out again
            event.assoc.abort()
            return 0
        taken.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    with server([(evt.EVT_C_STORE, flaky)], CT) as peer:
        report = peer.store(series)
    assert sorted(report.sent) == sorted(series)
    assert report.failed == ()
    assert sorted(taken) == sorted(str(dcmread(path).SOPInstanceUID) for path in series)


def test_an_archive_that_always_breaks_ends_the_job_with_its_address(series: list[Path]) -> None:
    tries: list[int] = []

    def cut(event: Any) -> int:
        tries.append(1)
        event.assoc.abort()
        return 0

    with server([(evt.EVT_C_STORE, cut)], CT) as peer, pytest.raises(PacsError, match=r"FAKE@127\.0\.0\.1:\d+: the association broke"):
        peer.store(series)
    assert len(tries) == peer.retry.attempts


def test_a_refused_file_is_told_and_the_others_go_on(series: list[Path]) -> None:
    bad = str(dcmread(series[2]).SOPInstanceUID)

    def refuse(event: Any) -> int | Dataset:
        if event.request.AffectedSOPInstanceUID == bad:
            status = Dataset()
            status.Status, status.ErrorComment = 0xA700, "out of resources"
            return status
        return 0

    with server([(evt.EVT_C_STORE, refuse)], CT) as peer:
        report = peer.store(series)
    assert len(report.sent) == 5
    ((item, reason),) = [(q.item, q.reason) for q in report.failed]
    assert item == str(series[2])
    assert reason.endswith("refused it with status 0xA700 (out of resources)")


def test_a_class_that_the_archive_does_not_take_is_told_by_its_name(series: list[Path]) -> None:
    with server([(evt.EVT_C_STORE, lambda event: 0)], "1.2.840.10008.5.1.4.1.1.4") as peer:
        only_ct = peer.store(series)
        changed = dcmread(series[0])
        changed.SOPClassUID = changed.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        changed.save_as(series[0])
        report = peer.store(series)
    assert {q.reason.split(" does not take ")[1] for q in report.failed} == {
        "CT Image Storage in Explicit VR Little Endian; allow it there, or send it transcoded"
    }
    assert (len(report.sent), len(report.failed)) == (1, 5)
    assert {q.reason for q in only_ct.failed} == {"takes none of CT Image Storage in the transfer syntax offered; allow it there"}
    assert len(only_ct.failed) == 6


def test_a_dead_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        port = receiver.port
    with pytest.raises(PacsError, match=rf"ANY-SCP@127\.0\.0\.1:{port}: cannot be reached"):
        DimsePeer(host="127.0.0.1", port=port, timeout_s=5, retry=Retry(1, 0)).echo()


KILLED = """
import sys
from medio.pacs import DimsePeer
from medio.pacs.transfers import Retry
DimsePeer(host="127.0.0.1", port=int(sys.argv[1]), ae_title="FAKE", timeout_s=10, retry=Retry(1, 0)).retrieve(sys.argv[2], sys.argv[3])
"""


def test_a_retrieval_that_is_killed_goes_on_where_it_was(series: list[Path], tmp_path: Path) -> None:
    datasets = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, series)}
    study, series_uid = (str(next(iter(datasets.values()))[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
    given: dict[int, list[str]] = {}  # by association: that of the killed process may still answer
    child: list[subprocess.Popen[bytes]] = []

    def find(event: Any) -> Iterator[tuple[int, Dataset]]:
        for uid in [None] if event.identifier.QueryRetrieveLevel == "SERIES" else datasets:
            row = Dataset()
            row.StudyInstanceUID, row.SeriesInstanceUID = study, series_uid
            if uid:
                row.SOPInstanceUID, row.SOPClassUID = uid, CT
            yield 0xFF00, row

    def get(event: Any) -> Iterator[Any]:
        asked = event.identifier.get("SOPInstanceUID") or list(datasets)
        asked = [asked] if isinstance(asked, str) else list(asked)
        yield len(asked)
        for number, uid in enumerate(asked):
            if child and number == 3:
                os.kill(child.pop().pid, signal.SIGKILL)
            given.setdefault(id(event.assoc), []).append(uid)
            yield 0xFF00, datasets[uid]

    with server([(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)], CT) as peer:
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(peer.port), str(tmp_path / "back"), study])
        child.append(process)
        assert process.wait(timeout=60) == -signal.SIGKILL
        there = sorted((tmp_path / "back").rglob("[!.]*.dcm"))
        assert len(there) == 3
        report = peer.retrieve(tmp_path / "back", study)
    assert (len(report.already), len(report.received), report.failed) == (3, 3, ())
    assert len(list(given.values())[-1]) == 3
    for path in report.received + report.already:
        assert dcmread(path).PixelData == datasets[path.stem].PixelData


def test_instances_that_never_come_are_named(series: list[Path], tmp_path: Path) -> None:
    datasets = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, series)}
    lost = sorted(datasets)[0]
    study = str(datasets[lost].StudyInstanceUID)

    def find(event: Any) -> Iterator[tuple[int, Dataset]]:
        for uid in [None] if event.identifier.QueryRetrieveLevel == "SERIES" else datasets:
            row = Dataset()
            row.StudyInstanceUID, row.SeriesInstanceUID = study, datasets[lost].SeriesInstanceUID
            if uid:
                row.SOPInstanceUID, row.SOPClassUID = uid, CT
            yield 0xFF00, row

    def get(event: Any) -> Iterator[Any]:
        yield len(datasets) - 1
        for uid, dataset in datasets.items():
            if uid != lost:
                yield 0xFF00, dataset

    with server([(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)], CT) as peer:
        report = peer.retrieve(tmp_path / "back", study)
    assert len(report.received) == 5
    assert [(q.item, q.reason) for q in report.failed] == [(lost, "was not sent, and no reason given; run it again")]


class Flaky(http.server.BaseHTTPRequestHandler):
    """Answers 503 twice, then an empty list of studies."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = b"[]" if type(self).asked > 2 else b"busy"
        self.send_response(200 if type(self).asked > 2 else 503)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_web_server_that_is_busy_is_asked_again() -> None:
    Flaky.asked = 0
    web = http.server.HTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{web.server_address[1]}"
        with pytest.raises(PacsError, match="QIDO-RS answered HTTP 503"):
            WebPeer(url=url, retry=Retry(2, 0)).find("study")
        Flaky.asked = 0
        assert WebPeer(url=url, retry=Retry(3, 0)).find("study") == []
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "", "1.2/3", "1..2", "1." + "2" * 64])
def test_a_name_that_is_no_uid_gets_no_file(uid: str) -> None:
    with pytest.raises(CorruptFileError, match="where a UID should stand"):
        placed("1.2", uid, "1.3")


def test_a_receiver_refuses_an_object_whose_uids_lead_out_of_its_folder(series: list[Path], tmp_path: Path) -> None:
    dataset = dcmread(series[0])
    dataset.SeriesInstanceUID = "../../escaped"
    dataset.save_as(series[0])
    with Receiver(tmp_path / "in") as receiver:
        peer = DimsePeer(host="127.0.0.1", port=receiver.port, ae_title="MEDIO", retry=Retry(1, 0))
        report = peer.store(series)
        with pytest.raises(CorruptFileError, match="escaped"):
            receiver.raise_failure()
    assert len(report.sent) == 5
    assert [Path(q.item) for q in report.failed] == [series[0]]
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_receiver_lets_in_only_whom_it_was_told_to(tmp_path: Path) -> None:
    with Receiver(tmp_path, allowed=("FRIEND",)) as receiver:
        where = {"host": "127.0.0.1", "port": receiver.port, "ae_title": "MEDIO", "retry": Retry(1, 0)}
        DimsePeer(**where, calling="FRIEND").echo()
        with pytest.raises(PacsError, match="rejects the association"):
            DimsePeer(**where, calling="STRANGER").echo()


def test_one_association_never_carries_more_kinds_than_it_can_negotiate() -> None:
    items = [Outgoing(Path(str(n)), f"1.2.{n % 300}", f"1.3.{n}", "1.2.840.10008.1.2.1") for n in range(900)]
    parts = list(batches(items, 128))
    assert sorted(item.sop_instance_uid for part in parts for item in part) == sorted(item.sop_instance_uid for item in items)
    assert max(len({item.sop_class_uid for item in part}) for part in parts) == 128
    assert len(parts) == 3


def test_a_query_that_is_misspelt_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="'patientid' is no DICOM attribute; did you mean 'patient_id'"):
        query_of("study", {"patientid": "1"})
    with pytest.raises(ValueError, match="level must be one of study, series, instance"):
        query_of("patient", {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("StudyInstanceUID", "study_instance_uid"),
        ("SOPClassUID", "sop_class_uid"),
        ("PatientID", "patient_id"),
        ("KVP", "kvp"),
        ("ModalitiesInStudy", "modalities_in_study"),
    ],
)
def test_names_are_those_of_the_index(keyword: str, name: str) -> None:
    assert snake_case(keyword) == name


def test_answers_become_plain_values() -> None:
    answer = Dataset()
    answer.PatientID, answer.SeriesNumber, answer.ModalitiesInStudy, answer.StudyDate = "P1", 7, ["CT", "SR"], ""
    assert row_of(answer) == {"patient_id": "P1", "series_number": 7, "modalities_in_study": ["CT", "SR"], "study_date": None}
