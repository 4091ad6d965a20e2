"""Trackers through Accelerate's interface; ClearML online where a server answers, offline otherwise, and never in the way of a run."""

import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from medrun.configs import did_you_mean
from medrun.console import say
from medrun.cpu import is_main_process
from medrun.errors import TrackerError

# What ClearML would hook: it patches these libraries to upload models and plots by itself.
_FRAMEWORKS = (
    "catboost",
    "fastai",
    "gradio",
    "hydra",
    "joblib",
    "lightgbm",
    "matplotlib",
    "megengine",
    "pytorch",
    "scikit",
    "tensorboard",
    "tensorflow",
    "tfdefines",
    "xgboost",
)
_PACKAGES = {"comet_ml": "comet-ml", "tensorboard": "tensorboard"}


@contextmanager
def open_tracker(name: str, out: Path | str, project: str = "medstack", run: str = "train") -> Iterator[GeneralTracker | None]:
    """Open a tracker for one or several calls of `fit`.

    Args:
        name: `clearml`, `none` (metrics.jsonl only), or any tracker that Accelerate knows and that is installed (`tensorboard`, `wandb`, ...).
        out: run folder; what a tracker keeps locally goes below it.
        project: project in the tracker.
        run: name of the run in it.

    Yields:
        An Accelerate tracker; None for `none` and on ranks other than 0.

    Raises:
        TrackerError: for a name that does not exist, or a tracker that is not installed; says what to install.
    """
    known = ["none", *LOGGER_TYPE_TO_CLASS]
    if name not in known:
        raise TrackerError(f"unknown tracker {name!r}, known are {', '.join(known)}{did_you_mean(name, known)}")
    if name not in ("none", "clearml") and name not in [str(t) for t in get_available_trackers()]:
        raise TrackerError(f"tracker {name} is not installed: pip install {_PACKAGES.get(name, name)}, or use tracker=none")
    if name == "none" or not is_main_process():
        yield None
        return
    tracker: GeneralTracker
    if name == "clearml":
        tracker = ClearML(Path(out), project, run)
    else:
        kind = LOGGER_TYPE_TO_CLASS[name]
        options: dict[str, Any] = {"logging_dir": str(out)} if kind.requires_logging_directory else {}
        tracker = _once(kind(run if name not in ("wandb", "mlflow") else project, **options))
    try:
        yield tracker
    finally:
        tracker.finish()


class ClearML(GeneralTracker):  # type: ignore[misc]  # accelerate ships no types
    """ClearML by Accelerate's interface: floats only, nothing hooked, online only where a configured server answers at once.

    Args:
        out: run folder; offline sessions go to `out/clearml` as zip files for `clearml-task --import-offline-session`.
        project: project in ClearML.
        run: name of the task.
    """

    name = "clearml"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, out: Path, project: str, run: str) -> None:
        super().__init__()
        self.out, self.project, self.run = out, project, run
        self.task: Any = None
        self.session: Path | None = None

    @property
    def tracker(self) -> Any:
        """The ClearML task, None before `start`."""
        return self.task

    def start(self) -> None:
        """Open the task; a second call changes nothing."""
        if self.task is not None:
            return
        server = clearml_server()
        reason = _unreachable(server) if server is not None else "no server is configured"
        folder = self.out / "clearml"
        if reason:
            folder.mkdir(parents=True, exist_ok=True)
            # Offline sessions go below ClearML's cache folder, which it reads from here alone.
            os.environ["CLEARML_CACHE_DIR"] = str(folder.resolve())
            say(f"clearml: offline, {reason}; the session is kept in {folder}")
        from clearml import Task
        from clearml.utilities.check_updates import CheckPackageUpdates

        # Report from a thread: the process that ClearML would fork holds torch's threads and all memory as they were.
        setattr(Task, "_report_subprocess_enabled", False)  # noqa: B010 - typed as something else
        CheckPackageUpdates._package_version_checked = True  # it would look on the internet, even offline
        Task.set_offline(bool(reason))
        self.task = Task.init(
            project_name=self.project,
            task_name=self.run,
            reuse_last_task_id=False,
            auto_connect_arg_parser=False,
            # A dictionary hooks every framework that it does not name. The repository is not looked at either: ClearML does so from a thread that starts git
            # while another forks, git's end of the pipe lands in the fork, and `close` waits for minutes. The code's version stands in card and lineage.
            auto_connect_frameworks=dict.fromkeys(("detect_repository", *_FRAMEWORKS), False),
            auto_connect_streams=False,
            auto_resource_monitoring=False,
        )

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Keep the settings with the task."""
        self.task.connect_configuration({str(k): v for k, v in values.items()})

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Report figures as scalars: `pretrain/train/loss` is the series `train` of the plot `pretrain/loss`."""
        logger = self.task.get_logger()
        for name, value in values.items():
            split, _, metric = name.rpartition("/")
            stage, _, series = split.rpartition("/")
            title = f"{stage}/{metric}" if stage else metric
            if step is None:
                logger.report_single_value(name=name, value=float(value))
            else:
                logger.report_scalar(title=title, series=series or "run", value=float(value), iteration=step)

    def finish(self) -> None:
        """Close the task."""
        if self.task is None:
            return
        task, self.task = self.task, None
        offline = task.is_offline()
        folder = Path(task.get_offline_mode_folder()) if offline else None
        task.close()
        if folder is not None:
            self.session = folder.with_suffix(".zip")
            if self.session.is_file() and folder.is_dir():
                shutil.rmtree(folder)
            # Never set_offline(False) here: that calls the configured server at once, and a dead one holds it for many minutes.


@dataclass(frozen=True)
class ClearMLServer:
    """A configured API server."""

    url: str


def clearml_server() -> ClearMLServer | None:
    """Find the API server that the user configured in the environment or in clearml.conf, without importing ClearML; None where there is none.

    Without keys ClearML would ask for them, so a server without keys counts as not configured.
    """
    environment = {k.replace("TRAINS_", "CLEARML_", 1): v for k, v in os.environ.items() if k.startswith(("CLEARML_", "TRAINS_"))}
    text = ""
    path = Path(environment.get("CLEARML_CONFIG_FILE", "~/clearml.conf").split(os.pathsep)[0]).expanduser()
    if path.is_file():
        text = re.sub(r"(?m)^\s*(#|//).*$", "", path.read_text(errors="replace"))
    url = environment.get("CLEARML_API_HOST") or _setting(text, "api_server") or _setting(text, "host")
    key = environment.get("CLEARML_API_ACCESS_KEY") or _setting(text, "access_key")
    if not key:
        return None
    return ClearMLServer(url or "https://api.clear.ml")


def _setting(text: str, name: str) -> str | None:
    found = re.search(rf"""["']?\b{name}["']?\s*[:=]\s*["']?([^"'\s,}}#]+)""", text)
    return found.group(1) if found else None


def _unreachable(server: ClearMLServer, seconds: float = 2.0) -> str:
    """Why the server does not answer an HTTP ping within the time; empty where it does.

    A thread of its own, since the look-up of a name knows no time limit. A port that accepts and stays silent is as dead as a closed one.
    """
    answer = [f"{server.url} did not answer within {seconds:g} s"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{server.url.rstrip('/')}/debug.ping", timeout=seconds):
                answer[0] = ""
        except (urllib.error.URLError, OSError, ValueError) as error:
            answer[0] = f"{server.url} does not answer ({getattr(error, 'reason', error)})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0]


def _once(tracker: GeneralTracker) -> GeneralTracker:
    """Let `start` act on its first call only: several runs share the session."""
    start, state = tracker.start, {"started": False}

    def start_once() -> None:
        if not state["started"]:
            state["started"] = True
            start()

    tracker.start = start_once
    return tracker
