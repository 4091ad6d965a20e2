"""Checkpoints: a folder a step that exists whole or not at all, hashed, so that a resume never reads half of one."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medrun.errors import ResumeError

_STATE, _MANIFEST = "state.pt", "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose hash is right.

    Attributes:
        folder: `checkpoints/step_NNNNNNN`.
        step: optimiser steps done.
        fingerprint: settings on which the run depends, by dotted key.
    """

    folder: Path
    step: int
    fingerprint: Mapping[str, Any]

    def load(self) -> dict[str, Any]:
        """Read the state to CPU; nothing in it is code."""
        state: dict[str, Any] = torch.load(self.folder / _STATE, map_location="cpu", weights_only=True)
        return state


def write_checkpoint(root: Path, step: int, state: Mapping[str, Any], fingerprint: Mapping[str, Any], best: str | None = None) -> Path:
    """Write one checkpoint atomically: a temporary folder, flushed to disk, renamed.

    Args:
        root: folder of the run's checkpoints.
        step: optimiser steps done.
        state: tensors and plain values.
        fingerprint: settings on which the run depends, by dotted key.
        best: name of the file of the best weights so far, in `root`.

    Returns:
        `root/step_NNNNNNN`.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"step_{step:07d}"
    temporary = root / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    torch.save(dict(state), temporary / _STATE)
    manifest = {"step": step, "sha256": _sha256(temporary / _STATE), "best": best, "fingerprint": dict(fingerprint)}
    (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for path in (temporary / _STATE, temporary / _MANIFEST, temporary):
        _flush(path)
    shutil.rmtree(folder, ignore_errors=True)  # only a broken one, or an equal one of the same step, can be there
    temporary.rename(folder)
    _flush(root)
    return folder


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """Find the newest checkpoint that is whole; a broken one is passed over with a warning. None where there is none."""
    for folder in sorted(root.glob("step_*"), reverse=True):
        try:
            manifest = json.loads((folder / _MANIFEST).read_text())
            if _sha256(folder / _STATE) == manifest["sha256"]:
                return Checkpoint(folder, int(manifest["step"]), manifest["fingerprint"])
            reason = f"{_STATE} is not what {_MANIFEST} describes"
        except (OSError, ValueError, KeyError) as error:
            reason = str(error)
        warnings.warn(f"{folder}: passed over, {reason}; resuming from an older checkpoint", stacklevel=2)
    return None


def check_fingerprint(checkpoint: Checkpoint, fingerprint: Mapping[str, Any], out: Path) -> None:
    """Refuse to resume a run with other settings.

    Raises:
        ResumeError: names each key that differs, with both values, and the mend.
    """
    known: dict[str, Any] = json.loads(json.dumps(dict(fingerprint)))
    names = sorted(known.keys() | checkpoint.fingerprint.keys())
    different = [
        f"{name} was {checkpoint.fingerprint.get(name, 'absent')} and is {known.get(name, 'absent')}"
        for name in names
        if known.get(name) != checkpoint.fingerprint.get(name)
    ]
    if different:
        raise ResumeError(
            f"{out} holds checkpoints of another run (step {checkpoint.step}): {'; '.join(different)}. "
            f"Put the old values back to go on, choose another out=DIR, or remove {out / 'checkpoints'} to begin anew"
        )


def write_weights(path: Path, weights: Mapping[str, Any]) -> None:
    """Write a state dict atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(dict(weights), temporary)
    _flush(temporary)
    temporary.replace(path)


def prune(root: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, leftovers of kills, and best weights that no checkpoint names any more."""
    folders = sorted(root.glob("step_*"))
    for folder in folders[: max(len(folders) - keep, 0)]:
        shutil.rmtree(folder)
    for leftover in root.glob(".*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    named = {json.loads(path.read_text())["best"] for path in root.glob(f"step_*/{_MANIFEST}")}
    for path in root.glob("best_*.pt"):
        if path.name not in named:
            path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
