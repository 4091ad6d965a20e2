"""A model registry of plain files: blobs by hash, a manifest a version, aliases by compare-and-swap, an append-only log.

Layout of `root`: `blobs/ab/abcd...` (SHA-256 of the content), `models/<name>/versions/<n>.json`, `models/<name>/aliases.json`, `events.jsonl`, `lock`.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medrun.configs import did_you_mean
from medrun.criteria import Criterion, Verdict, judge
from medrun.errors import PromotionError, RegistryError


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered model.

    Attributes:
        name: of the model.
        number: from 1.
        created: time of registration, ISO 8601, UTC.
        files: path in the model's folder -> SHA-256.
        card: what the model is; plain JSON values.
        metrics: figure -> `{"value", "low", "high", "n"}`.
        lineage: where it comes from: `code`, `config`, `data`, ...
    """

    name: str
    number: int
    created: str
    files: Mapping[str, str]
    card: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


class Registry:
    """Versions of models in a folder that several processes may use at once.

    Args:
        root: the registry's folder; made at the first registration.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def register(
        self,
        name: str,
        folder: Path | str,
        *,
        card: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> Version:
        """Copy a model's files into the registry as its next version.

        Args:
            name: letters, digits, `.`, `_` and `-`.
            folder: the model's files, e.g. an artifact or a bundle; sub-folders too.
            card: what the model is; None takes `card` of the folder's artifact.json where there is one.
            metrics: figure -> `{"value", "low", "high", "n"}`, an object with `to_dict()` that gives these (`medeval.Estimate`), or a plain number,
                which has no interval and so wins no promotion.
            lineage: code version, config, data hash: plain JSON values.

        Returns:
            The new version.

        Raises:
            RegistryError: for a bad name or an empty folder.
            FileNotFoundError: for a folder that does not exist.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise RegistryError(f"model name {name!r} must be letters, digits, '.', '_' and '-', beginning with a letter or digit")
        source = Path(folder)
        if not source.is_dir():
            raise FileNotFoundError(f"{source}: no such folder; give the folder that holds the model's files")
        paths = sorted(p for p in source.rglob("*") if p.is_file())
        if not paths:
            raise RegistryError(f"{source}: holds no files; give the folder that holds the model's files")
        files = {path.relative_to(source).as_posix(): self._store(path) for path in paths}
        if card is None:
            described = source / "artifact.json"
            card = json.loads(described.read_text()).get("card", {}) if described.is_file() else {}
        with self._locked():
            numbers = [v.number for v in self.list(name)]
            version = Version(
                name=name,
                number=max(numbers, default=0) + 1,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                files=files,
                card=card,
                metrics={k: _figure(k, v) for k, v in (metrics or {}).items()},
                lineage=lineage or {},
            )
            _write_json(self._versions(name) / f"{version.number}.json", asdict(version))
            self._log("register", model=name, version=version.number)
        return version

    def names(self) -> tuple[str, ...]:
        """List the models."""
        return tuple(sorted(p.name for p in self.root.glob("models/*") if p.is_dir()))

    def list(self, name: str | None = None) -> tuple[Version, ...]:
        """List the versions of one model, or of all, oldest first."""
        names = self.names() if name is None else [name]
        found = [_read_version(path) for n in names for path in self._versions(n).glob("*.json")]
        return tuple(sorted(found, key=lambda v: (v.name, v.number)))

    def get(self, reference: str) -> Version:
        """Find a version by `name` (the newest), `name:3` or `name:alias`.

        Raises:
            RegistryError: where there is none; lists what there is.
        """
        name, _, tag = reference.partition(":")
        versions = self.list(name)
        if not versions:
            raise RegistryError(
                f"{self.root}: no model {name!r}{did_you_mean(name, self.names()) or '; med-registry list shows what there is'}"
            )
        if not tag:
            return versions[-1]
        aliases = self.aliases(name)
        number = int(tag) if tag.isdigit() else aliases.get(tag)
        for version in versions:
            if version.number == number:
                return version
        known = [*(str(v.number) for v in versions), *aliases]
        raise RegistryError(f"{self.root}: {name} has no {tag!r}, it has {', '.join(known)}{did_you_mean(tag, known)}")

    def aliases(self, name: str) -> dict[str, int]:
        """Map a model's aliases to version numbers."""
        path = self.root / "models" / name / "aliases.json"
        return {str(k): int(v) for k, v in json.loads(path.read_text()).items()} if path.is_file() else {}

    def alias(self, name: str, alias: str, number: int, *, expected: int | None = None) -> None:
        """Point an alias at a version, if it still points where the caller thinks.

        Args:
            name: of the model.
            alias: e.g. `production`; not a number.
            number: of the version.
            expected: version that the alias must point at now; None where it must not exist yet.

        Raises:
            RegistryError: when it points elsewhere (someone else moved it: look again and retry), or the version does not exist.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", alias):
            raise RegistryError(f"alias {alias!r} must begin with a letter, so that it is no version number")
        self.get(f"{name}:{number}")
        with self._locked():
            aliases = self.aliases(name)
            now = aliases.get(alias)
            if now != expected:
                raise RegistryError(
                    f"{name}:{alias} points at {now or 'nothing'}, not at {expected or 'nothing'} as expected; look at what changed and give expected={now}"
                )
            _write_json(self.root / "models" / name / "aliases.json", aliases | {alias: number})
            self._log("alias", model=name, alias=alias, version=number, before=now)

    def promote(self, reference: str, alias: str, criteria: Sequence[Criterion]) -> Verdict:
        """Point an alias at a version if it meets the criteria against the version that has the alias now.

        Returns:
            The verdict, which passed.

        Raises:
            PromotionError: with every refusal; the alias stays.
            RegistryError: when another process moved the alias meanwhile.
        """
        version = self.get(reference)
        number = self.aliases(version.name).get(alias)
        current = self.get(f"{version.name}:{number}") if number is not None else None
        verdict = judge(criteria, version.metrics, current.metrics if current is not None else None)
        if not verdict.passed:
            with self._locked():
                self._log("refuse", model=version.name, alias=alias, version=version.number, reasons=list(verdict.refusals))
            raise PromotionError(f"{version} does not become {alias}: {'; '.join(verdict.refusals)}")
        self.alias(version.name, alias, version.number, expected=number)
        return verdict

    def verify(self, reference: str | None = None) -> tuple[str, ...]:
        """Hash every blob again.

        Args:
            reference: one version; None takes all.

        Returns:
            One line for each file that is missing or is not what was registered; empty where all is well.
        """
        faults: tuple[str, ...] = ()
        good: dict[str, bool] = {}
        for version in [self.get(reference)] if reference else self.list():
            for path, digest in version.files.items():
                blob = self._blob(digest)
                if not blob.is_file():
                    faults += (f"{version} {path}: {blob} is missing; register the model again",)
                    continue
                if digest not in good:
                    good[digest] = _sha256(blob) == digest
                if not good[digest]:
                    faults += (f"{version} {path}: {blob} is not what was registered; register the model again to mend it",)
        return faults

    def export(self, reference: str, folder: Path | str) -> Path:
        """Copy a version's files to a new folder, each checked against its hash.

        Raises:
            RegistryError: for a corrupt blob.
            FileExistsError: where the folder holds something.
        """
        version, target = self.get(reference), Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RegistryError(f"{target}: exists; choose another folder")
        if faults := self.verify(str(version)):
            raise RegistryError(faults[0])
        for path, digest in version.files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._blob(digest), target / path)
        return target

    def events(self) -> tuple[dict[str, Any], ...]:
        """Read the log, oldest first."""
        path = self.root / "events.jsonl"
        return tuple(json.loads(line) for line in path.read_text().splitlines()) if path.is_file() else ()

    def _versions(self, name: str) -> Path:
        return self.root / "models" / name / "versions"

    def _blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest[:2] / digest

    def _store(self, source: Path) -> str:
        """Copy a file to its blob; hashed while it is copied, so that the name is that of what was written."""
        incoming = self.root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        hasher = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as out, source.open("rb") as file:
                while chunk := file.read(1 << 20):
                    hasher.update(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            digest = hasher.hexdigest()
            blob = self._blob(digest)
            blob.parent.mkdir(parents=True, exist_ok=True)
            if not blob.exists() or _sha256(blob) != digest:
                temporary.replace(blob)
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the registry alone; the lock ends with the process, however that ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _log(self, event: str, **what: Any) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **what}
        with (self.root / "events.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _figure(name: str, value: Any) -> dict[str, float | None]:
    if isinstance(value, int | float):
        return {"value": float(value), "low": None, "high": None, "n": None}
    plain = value.to_dict() if hasattr(value, "to_dict") else value
    if not isinstance(plain, Mapping) or "value" not in plain:
        raise RegistryError(f"metric {name} must be a number or have value, low, high and n, got {value!r}")
    return {key: None if plain.get(key) is None else float(plain[key]) for key in ("value", "low", "high", "n")}


def _read_version(path: Path) -> Version:
    return Version(**json.loads(path.read_text()))


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
