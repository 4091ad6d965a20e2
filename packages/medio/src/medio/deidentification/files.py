"""De-identify an archive file by file: nothing half-written, run again after a kill, bad files set aside with their reason."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from medio.atomic import replacing
from medio.deidentification.audit import AUDIT, AuditTable
from medio.deidentification.dataset import BROKEN, corrupt, deidentify, identity
from medio.deidentification.identifiers import Identifiers
from medio.deidentification.native import native_size
from medio.deidentification.policy import Policy
from medio.deidentification.stamp import AuditEntry
from medio.dicom.instances import is_dicom
from medio.errors import CorruptFileError, MedioError, MissingFileError, PrivacyError
from medio.quarantine import Quarantined

POLICY = "policy.json"
_CHUNK = 256
_NOBODY = Identifiers()
_NAMING = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO}
Outcome = list[AuditEntry] | MedioError
"""What became of one file: its audit, or why it was set aside."""


@dataclass(frozen=True)
class DeidentifyReport:
    """What `deidentify_files` did.

    Attributes:
        written: the de-identified files of all inputs, those of an earlier run included.
        quarantined: inputs that gave no output, and why. Their paths may name patients: keep them apart from the output.
        skipped: how many of `written` an earlier run had made.
        audit: Parquet of every change (file, tag, keyword, action); no values.
    """

    written: tuple[Path, ...]
    quarantined: tuple[Quarantined, ...]
    skipped: int
    audit: Path


def deidentify_files(
    paths: Sequence[Path | str] | Path | str,
    out: Path | str,
    policy: Policy,
    *,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    known: Identifiers = _NOBODY,
) -> DeidentifyReport:
    """De-identify files into `out/<patient>/<series>/<sop>.dcm`, all three of them pseudonyms; one run at a time in one `out`.

    Each file appears whole or not at all, so after a kill the same call goes on where it was; what is there is not written again. `out/audit.parquet`
    covers earlier runs too. No original value, and no original path, is written anywhere under `out`. The output does not depend on the workers.

    Args:
        paths: files, and folders to search for files.
        out: folder to write; made if absent; must not be or hold an input.
        policy: key and options; the same for every run into one `out`.
        progress: called with (files done, files in all).
        workers: processes; 1 works in this one.
        executor: any `concurrent.futures.Executor` instead of own processes, e.g. a Dask client's; it must see the same paths.
        known: what else identifies people, e.g. the names of the staff and of the houses, looked for in the text of every file.

    Returns:
        What was written and what was set aside.

    Raises:
        MissingFileError: for a path that does not exist, or no file at all.
        PrivacyError: when `out` was written with another policy, or overlaps the inputs.
        OSError: when the disk is full or unwritable; run again to go on.
        ImportError: for options that read text in pixels, without the extra `ocr`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    folder = Path(out)
    files = list(_files(given, folder))
    if not files:
        raise MissingFileError(given[0] if given else folder, "holds no file to de-identify; give DICOM files or a folder of them")
    _claim(folder, policy)
    written: dict[Path, Path] = {}
    quarantined: list[Quarantined] = []
    skipped = done = 0
    with ExitStack() as stack:
        if executor is None and workers > 1:
            # Forking a process that has threads can hang its children.
            executor = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
        run: Callable[..., Iterable[Any]] = map if executor is None else executor.map
        audit = stack.enter_context(AuditTable(folder))
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            tasks: list[tuple[Path, Path]] = []
            for path, target in zip(chunk, run(partial(_target, out=folder, policy=policy), chunk), strict=True):
                if isinstance(target, MedioError):
                    quarantined.append(_set_aside(path, target))
                elif target in written:
                    reason = f"has the same SOP Instance UID as {written[target].name}, which was taken; exclude one of them"
                    quarantined.append(Quarantined(str(path), reason))
                else:
                    written[target] = path
                    if target.is_file() and audit.covers(target):
                        skipped += 1
                        done += 1
                        continue
                    tasks.append((path, target))
                    continue
                done += 1
            if progress is not None and done:
                progress(done, len(files))
            before = {target for _, target in tasks if target.is_file()}
            for (path, target), outcome in zip(
                tasks, run(partial(_write, policy=policy, known=known), *zip(*tasks, strict=True)) if tasks else (), strict=True
            ):
                done += 1
                if isinstance(outcome, MedioError):
                    quarantined.append(_set_aside(path, outcome))
                    del written[target]
                else:
                    skipped += target in before
                    audit.add(target, outcome)
                if progress is not None:
                    progress(done, len(files))
            audit.flush()
    order = {str(path): number for number, path in enumerate(files)}
    quarantined.sort(key=lambda bad: order[bad.item])
    return DeidentifyReport(tuple(written), tuple(quarantined), skipped, folder / AUDIT)


def target_of(header: Dataset, out: Path, policy: Policy, path: Path | str) -> Path:
    """Return where the copy of a file goes.

    Raises:
        CorruptFileError: without the UIDs that name it.
        PrivacyError: with neither patient nor study.
    """
    series, sop = (policy.map_uid(str(header.get(keyword) or "")) for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
    if not series or not sop:
        raise CorruptFileError(path, "has no Series or no SOP Instance UID, which name its output; exclude it")
    return out / policy.pseudonym(identity(header, str(path))) / series / f"{sop}.dcm"


def read_dataset(path: Path, **options: Any) -> Dataset:
    """Read a file with pydicom, whose many errors become one.

    Raises:
        CorruptFileError: what cannot be parsed.
    """
    try:
        return dcmread(path, force=True, **options)
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever a broken element makes it raise
        raise CorruptFileError(path, f"cannot be parsed as DICOM ({error}); fetch it again or exclude it") from error


def _target(path: Path, *, out: Path, policy: Policy) -> Path | MedioError:
    try:
        if not is_dicom(path):
            raise CorruptFileError(path, "is not a DICOM file; exclude it")
        header = read_dataset(path, stop_before_pixels=True, specific_tags=list(_NAMING))
        return target_of(header, out, policy, path)
    except (MedioError, OSError, *BROKEN) as error:
        return _as_outcome(path, error)


def _write(path: Path, target: Path, *, policy: Policy, known: Identifiers) -> Outcome:
    """Write one copy; where it is there already, only say again what was done."""
    try:
        dataset = read_dataset(path)
        _check_pixels(dataset, path)
        result, entries = deidentify(dataset, policy, known=known)
        if target.is_file():
            return entries
        with replacing(target) as partial_path:
            try:
                dcmwrite(partial_path, result, enforce_file_format=True)
            except BROKEN as error:
                raise CorruptFileError(path, f"cannot be written anew ({error}); exclude it") from error
            with partial_path.open("rb") as file:
                os.fsync(file.fileno())
        return entries
    except (MedioError, OSError, *BROKEN) as error:
        return _as_outcome(path, error)


def _as_outcome(path: Path, error: Exception) -> MedioError:
    if isinstance(error, MedioError):
        return error
    if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
        raise error
    return corrupt(path, error)


def _set_aside(path: Path, error: MedioError) -> Quarantined:
    return Quarantined(str(path), error.reason)


def _check_pixels(dataset: Dataset, path: Path) -> None:
    """Native pixels must all be there: pydicom hands out a file cut short without a word."""
    try:
        needed = native_size(dataset)
    except (AttributeError, TypeError, ValueError) as error:
        raise CorruptFileError(path, f"does not say how large its pixels are ({error}); fetch it again or exclude it") from error
    if needed is not None and len(dataset.PixelData) < needed:
        raise CorruptFileError(
            path, f"PixelData holds {len(dataset.PixelData)} bytes, its header needs {needed}; fetch it again or exclude it"
        )


def _files(given: Sequence[Path], out: Path) -> Iterator[Path]:
    place = out.resolve()
    for path in given:
        if not path.exists():
            raise MissingFileError(path, "does not exist; give DICOM files or a folder of them")
        if path.is_dir() and (place.is_relative_to(path.resolve()) or path.resolve().is_relative_to(place)):
            raise PrivacyError(
                out, f"the output and the input {path} lie in one another; originals and pseudonyms would mix, choose another folder"
            )
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _claim(out: Path, policy: Policy) -> None:
    """One folder, one policy: two would give one patient two names."""
    out.mkdir(parents=True, exist_ok=True)
    record = out / POLICY
    mine = {"fingerprint": policy.fingerprint()}
    if record.is_file():
        try:
            same = json.loads(record.read_text()) == mine
        except ValueError:
            same = False
        if not same:
            raise PrivacyError(out, "was written with another key or other options; use the same policy, or another folder")
    else:
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise PrivacyError(out, "holds files that are not of a de-identification; choose an empty folder")
        with replacing(record) as partial_path:
            partial_path.write_text(json.dumps(mine))
    for left in out.rglob(".*.partial*"):
        left.unlink()
