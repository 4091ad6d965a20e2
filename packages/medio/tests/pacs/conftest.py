"""A real archive for the tests: Orthanc, started on free ports of this machine."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from medio.pacs import DimsePeer, WebPeer
from medio.pacs.transfers import Retry


@dataclass(frozen=True)
class Archive:
    """A running Orthanc: its two faces, and its REST interface to arrange what a test needs."""

    dimse: DimsePeer
    web: WebPeer
    rest: str

    def clear(self) -> None:
        for patient in requests.get(f"{self.rest}/patients", timeout=10).json():
            requests.delete(f"{self.rest}/patients/{patient}", timeout=10).raise_for_status()

    def knows(self, ae_title: str, port: int) -> None:
        requests.put(f"{self.rest}/modalities/{ae_title}", json=[ae_title, "127.0.0.1", port], timeout=10).raise_for_status()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    program = shutil.which("Orthanc")
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if program is None or not plugin.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed (Debian: orthanc, orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_port(), free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomModalities": {"MEDIO": ["MEDIO", "127.0.0.1", 104]},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        # It says in its log when it listens; a log that ends means that it did not start.
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "Orthanc has started" in line:
                break
        else:
            raise AssertionError("Orthanc did not start:\n" + "".join(seen[-10:]))
        yield Archive(
            DimsePeer(host="127.0.0.1", port=dicom, ae_title="ORTHANC", timeout_s=10, retry=Retry(2, 0)),
            WebPeer(url=f"http://127.0.0.1:{http}/dicom-web", timeout_s=10, retry=Retry(2, 0)),
            f"http://127.0.0.1:{http}",
        )
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def archive(orthanc: Archive) -> Iterator[Archive]:
    """An empty archive, emptied again."""
    orthanc.clear()
    yield orthanc
    orthanc.clear()
