import json
import os
import socket
import time
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medrun import TrackerError, open_tracker
from medrun.tracking import ClearMLServer, _unreachable, clearml_server


def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def configure(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(
        f'api {{\n  # api_server: http://comment\n  api_server: "{url}"\n  credentials {{"access_key" = "AK", "secret_key" = "SK"}}\n}}\n'
    )
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(path))


def test_no_configuration_means_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clearml_server() is None
    monkeypatch.setenv("CLEARML_API_HOST", "http://somewhere:8008")  # without keys ClearML would ask for them
    assert clearml_server() is None


def test_a_server_is_found_in_the_file_and_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path / "clearml.conf", "http://one:8008", monkeypatch)
    assert clearml_server() == ClearMLServer("http://one:8008")
    monkeypatch.setenv("CLEARML_API_HOST", "http://two:8008")
    assert clearml_server() == ClearMLServer("http://two:8008")


def test_a_closed_port_is_noticed_at_once() -> None:
    began = time.monotonic()
    assert "does not answer" in _unreachable(ClearMLServer(f"http://127.0.0.1:{closed_port()}"))
    assert time.monotonic() - began < 2


def test_a_port_that_accepts_and_stays_silent_is_given_up_after_two_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert _unreachable(ClearMLServer(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - began < 3


def test_none_tracks_nothing(tmp_path: Path) -> None:
    with open_tracker("none", tmp_path) as tracker:
        assert tracker is None
    assert not list(tmp_path.iterdir())


def test_an_unknown_tracker_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match="did you mean clearml"), open_tracker("clerml", tmp_path):
        pass


def test_a_tracker_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medrun.tracking.get_available_trackers", list)
    with pytest.raises(TrackerError, match="pip install comet-ml"), open_tracker("comet_ml", tmp_path):
        pass


def children() -> set[str]:
    """Process ids of this process's children."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def offline_session(tiny: ModuleType, out: Path) -> dict[str, set[str]]:
    """Train twice in one session; returns the series of each plot that the session's zip holds."""
    before = children()
    with open_tracker("clearml", out, "medstack-test", "tiny") as tracker:
        tracker.start()
        tracker.log({"extra/train/figure": np.float32(0.5)}, step=1)
        # A forked reporter would hold copies of torch's locks and of other threads' pipes; nothing may be forked here.
        assert children() <= before
        for name in ("first", "second"):
            tiny.fit_tracked(out / name, name, tracker)
    (session,) = (out / "clearml").rglob("*.zip")
    found: dict[str, set[str]] = {}
    with zipfile.ZipFile(session) as file:
        for line in file.read("metrics.jsonl").decode().splitlines():
            for event in json.loads(line):
                if "metric" in event:
                    found.setdefault(event["metric"], set()).add(event["variant"])
    return found


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # ClearML's own, on parsing its file
def test_with_a_dead_server_figures_go_to_an_offline_session(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path / "clearml.conf", f"http://127.0.0.1:{closed_port()}", monkeypatch)
    monkeypatch.setenv("CLEARML_CACHE_DIR", "")  # put back after the test
    began = time.monotonic()
    plots = offline_session(tiny, tmp_path / "run")
    assert time.monotonic() - began < 90
    assert plots["first/loss"] == {"train"}
    assert plots["second/distance"] == {"val"}
    assert plots["extra/figure"] == {"train"}  # a numpy figure, which Accelerate's own tracker drops
    assert "offline" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")
def test_with_nothing_configured_figures_go_to_an_offline_session(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARML_CACHE_DIR", "")
    assert offline_session(tiny, tmp_path / "run")["first/loss"] == {"train"}
