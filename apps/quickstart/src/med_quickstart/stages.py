"""Stages that finish once: a run that was killed goes on from the last finished one, or inside the one it was in."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from medrun.cli import UserError, say

StageResult = dict[str, Any]


class Stages:
    """Runs named stages in order, each in a folder of its own.

    A stage is done when its result file exists; that file is written last and atomically. Its fingerprint covers its own settings and all stages before
    it, so a changed setting redoes what depends on it and nothing else. An unfinished stage of the same fingerprint keeps its folder and may resume in it.

    Args:
        root: the run folder.
        total: how many stages the run has, for the headings.
    """

    def __init__(self, root: Path, total: int) -> None:
        self.root = root
        self.total = total
        self.number = 0
        self.fingerprint = ""
        self.seconds: dict[str, float] = {}

    def run(self, name: str, what: str, settings: Mapping[str, Any], work: Callable[[Path], StageResult]) -> StageResult:
        """Run one stage, or return what it returned before.

        Args:
            name: folder and result file of the stage.
            what: heading for the user.
            settings: all that the result depends on, beside the earlier stages; plain JSON values.
            work: gets the stage's folder, returns plain JSON values.
        """
        self.number += 1
        text = json.dumps([name, settings, self.fingerprint], sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        folder, done, begun = self.root / name, self.root / "stages" / f"{name}.json", self.root / "stages" / f"{name}.begun"
        finished = _read(done)
        if finished is not None and finished.get("fingerprint") == self.fingerprint:
            say(f"[{self.number}/{self.total}] {what}: done before")
            self.seconds[name] = float(finished.get("seconds", 0.0))
            result: StageResult = finished["result"]
            return result
        begun_as = _read(begun)
        done.unlink(missing_ok=True)
        if begun_as is None or begun_as.get("fingerprint") != self.fingerprint:
            _remove(folder)
            _write(begun, {"fingerprint": self.fingerprint})
        folder.mkdir(parents=True, exist_ok=True)
        say(f"[{self.number}/{self.total}] {what}")
        start = perf_counter()
        result = json.loads(json.dumps(work(folder)))  # what a later run will read is what this one gets
        self.seconds[name] = perf_counter() - start
        _write(done, {"fingerprint": self.fingerprint, "seconds": round(self.seconds[name], 2), "result": result})
        return result


def prepare_folder(root: Path, *, fresh: bool, of: Mapping[str, Any]) -> None:
    """Make the run folder; with `fresh`, empty an earlier run of this command first.

    Args:
        root: the run folder.
        fresh: throw away what an earlier run left.
        of: what the run is about; a folder that holds a run about something else is not taken over.

    Raises:
        UserError: where the folder holds something that is not a run of this command, or a run about something else.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file; choose another run folder with out=DIR")
    foreign = [p.name for p in root.iterdir()] if root.is_dir() else []
    if foreign and not (root / "stages").is_dir() and set(foreign) - {"config.yaml"}:
        raise UserError(f"{root} holds other files ({', '.join(sorted(foreign)[:3])}); choose an empty run folder with out=DIR")
    about, before = root / "stages" / "about.json", _read(root / "stages" / "about.json")
    finished = set(about.parent.glob("*.json")) - {about}
    if finished and before is not None and before != dict(of) and not fresh:
        was, now = (", ".join(f"{k} {v}" for k, v in found.items()) for found in (before, of))
        raise UserError(
            f"{root} holds a run about {was}, this one is about {now}; choose another folder with out=DIR, or add fresh=true to replace it"
        )
    if fresh and root.is_dir():
        for entry in root.iterdir():
            if entry.name != "config.yaml":
                _remove(entry)
    write_json(about, dict(of))


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


_write = write_json


def _read(path: Path) -> dict[str, Any] | None:
    """The content, or None where the file is absent or was cut off."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
