"""An artifact on disk: a folder of `weights.safetensors` and `artifact.json`, written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medmodels.contracts import Artifact
from medmodels.errors import ArtifactError

WEIGHTS = "weights.safetensors"
METADATA = "artifact.json"
FORMAT = 1


def save_artifact(artifact: Artifact, folder: Path | str) -> Path:
    """Write an artifact; a reader sees the old folder or the new one, never a mixture.

    Args:
        artifact: what to save; `module.state_dict()` is copied to CPU.
        folder: made here; one that exists is replaced if it holds an artifact.

    Returns:
        The folder.

    Raises:
        ArtifactError: where `folder` exists and holds something else, or the card names no model.
    """
    target = Path(folder)
    if target.exists() and not (target / METADATA).is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise ArtifactError(f"{target}: exists and is no artifact; choose another folder or remove it")
    if not artifact.card.arch:
        raise ArtifactError(f"{target}: the card names no model; build the backbone with create_model, so that it can be built again")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in artifact.module.state_dict().items()}
        save_file(weights, fresh / WEIGHTS)
        metadata = {
            "format": FORMAT,
            "kind": artifact.kind,
            "card": artifact.card.to_dict(),
            "preprocessing": artifact.preprocessing.to_dict(),
            "classes": list(artifact.classes),
            "calibration": {name: list(values) for name, values in artifact.calibration.items()},
            "config": dict(artifact.config),
            "sha256": _sha256(fresh / WEIGHTS),
        }
        (fresh / METADATA).write_text(json.dumps(metadata, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for name in (WEIGHTS, METADATA):
            _flush(fresh / name)
        fresh.chmod(0o755)
        _replace(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def read_artifact(folder: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read an artifact's weights and metadata.

    Args:
        folder: as written by `save_artifact`.

    Returns:
        The state dict on CPU, and a dict of `kind`, `card`, `preprocessing`, `classes`, `calibration`, `config` (JSON values;
        `EncoderCard.from_dict` and `Preprocessing.from_dict` take theirs).

    Raises:
        ArtifactError: where files are missing, unreadable, of an unknown format, or the weights are not those that the metadata describes.
    """
    root = Path(folder)
    for name in (METADATA, WEIGHTS):
        if not (root / name).is_file():
            raise ArtifactError(f"{root}: no {name}; give the folder that save_artifact wrote")
    try:
        metadata = json.loads((root / METADATA).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{root / METADATA}: not JSON ({error}); save the artifact again") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, Mapping) else None
        raise ArtifactError(f"{root / METADATA}: format {found}, this version reads {FORMAT}; save the artifact again or upgrade medmodels")
    if _sha256(root / WEIGHTS) != metadata.get("sha256"):
        raise ArtifactError(f"{root / WEIGHTS}: not the weights that {METADATA} describes; copy the folder again or save it anew")
    try:
        state = load_file(root / WEIGHTS)
    except SafetensorError as error:
        raise ArtifactError(f"{root / WEIGHTS}: unreadable ({error}); save the artifact again") from error
    return state, metadata


def _replace(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`; a directory cannot be renamed onto a full one, so the old steps aside first."""
    if not target.exists():
        fresh.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(aside / "artifact")
    try:
        fresh.rename(target)
    except OSError:
        (aside / "artifact").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make sure that a file's bytes are on the disk before its folder takes its final name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
