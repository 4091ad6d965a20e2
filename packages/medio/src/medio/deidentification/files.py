"""De-identify an archive file by file: nothing half-written, run again after a kill, bad files set aside with their reason."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from medio.atomic import replacing
from medio.deidentification.dataset import AuditEntry, Policy, deidentify, identity
from medio.dicom.instances import is_dicom
from medio.errors import CorruptFileError, MedioError, MissingFileError, PrivacyError
from medio.shards.build import Quarantined

AUDIT = "audit.parquet"
_POLICY = "policy.json"
_ROWS = 50_000
_SCHEMA = pa.schema([("file", pa.string()), ("tag", pa.string()), ("keyword", pa.string()), ("action", pa.string())])
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS}


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
    paths: Sequence[Path | str] | Path | str, out: Path | str, policy: Policy, *, progress: Callable[[int, int], None] | None = None
) -> DeidentifyReport:
    """De-identify files into `out/<patient>/<series>/<sop>.dcm`, all three of them pseudonyms; one run at a time in one `out`.

    Each file appears whole or not at all, so after a kill the same call goes on where it was; what is there is not written again. `out/audit.parquet` is
    written at the end and covers earlier runs too. No original value, and no original path, is written anywhere under `out`.

    Args:
        paths: files, and folders to search for files.
        out: folder to write; made if absent; must not be or hold an input.
        policy: key and options; the same for every run into one `out`.
        progress: called with (files done, files in all).

    Returns:
        What was written and what was set aside.

    Raises:
        MissingFileError: for a path that does not exist, or no file at all.
        PrivacyError: when `out` was written with another policy, or overlaps the inputs.
        OSError: when the disk is full or unwritable; run again to go on.
    """
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    folder = Path(out)
    files = list(_files(given, folder))
    if not files:
        raise MissingFileError(given[0] if given else folder, "holds no file to de-identify; give DICOM files or a folder of them")
    _claim(folder, policy)
    written: dict[Path, Path] = {}
    quarantined: list[Quarantined] = []
    skipped = 0
    with replacing(folder / AUDIT) as partial:
        with pq.ParquetWriter(partial, _SCHEMA) as audit:
            rows: list[tuple[str, AuditEntry]] = []
            for done, path in enumerate(files, start=1):
                try:
                    target, entries, was_there = _one(path, folder, policy, written)
                    written[target] = path
                    skipped += was_there
                    rows += [(target.relative_to(folder).as_posix(), entry) for entry in entries]
                    if len(rows) > _ROWS:
                        audit.write_table(_table(rows))
                        rows = []
                except (MedioError, OSError) as error:
                    if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
                        raise
                    quarantined.append(Quarantined(str(path), error.reason if isinstance(error, MedioError) else str(error)))
                if progress is not None:
                    progress(done, len(files))
            audit.write_table(_table(rows))
            _keep_earlier(folder, {target.relative_to(folder).as_posix() for target in written}, audit)
        _sync(partial)
    return DeidentifyReport(tuple(written), tuple(quarantined), skipped, folder / AUDIT)


def _one(path: Path, out: Path, policy: Policy, written: dict[Path, Path]) -> tuple[Path, list[AuditEntry], bool]:
    if not is_dicom(path):
        raise CorruptFileError(path, "is not a DICOM file; exclude it")
    header = _read(path, pixels=False)
    series, sop = (policy.map_uid(str(header.get(keyword) or "")) for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
    if not series or not sop:
        raise CorruptFileError(path, "has no Series or no SOP Instance UID, which name its output; exclude it")
    target = out / policy.pseudonym(identity(header, str(path))) / series / f"{sop}.dcm"
    if target in written:
        raise CorruptFileError(path, f"has the same SOP Instance UID as {written[target].name}, which was taken; exclude one of them")
    if target.is_file():
        return target, deidentify(header, policy)[1], True
    dataset = _read(path, pixels=True)
    _check_pixels(dataset, path)
    result, entries = deidentify(dataset, policy)
    with replacing(target) as partial:
        try:
            dcmwrite(partial, result, enforce_file_format=True)
        except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
            raise CorruptFileError(path, f"cannot be written anew ({error}); exclude it") from error
        _sync(partial)
    return target, entries, False


def _read(path: Path, *, pixels: bool) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=not pixels, force=True)
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever a broken element makes it raise
        raise CorruptFileError(path, f"cannot be parsed as DICOM ({error}); fetch it again or exclude it") from error


def _check_pixels(dataset: Dataset, path: Path) -> None:
    """Native pixels must all be there: pydicom hands out a file cut short without a word."""
    if "PixelData" not in dataset or dataset["PixelData"].is_undefined_length:
        return
    try:
        values = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.get("NumberOfFrames") or 1)
        needed = (values * int(dataset.BitsAllocated) + 7) // 8
    except (AttributeError, TypeError, ValueError) as error:
        raise CorruptFileError(path, f"does not say how large its pixels are ({error}); fetch it again or exclude it") from error
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        needed = needed * 2 // 3
    if len(dataset.PixelData) < needed:
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
    record = out / _POLICY
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
        with replacing(record) as partial:
            partial.write_text(json.dumps(mine))
    for left in out.rglob(".*.partial*"):
        left.unlink()


def _keep_earlier(out: Path, covered: set[str], audit: Any) -> None:
    """Copy the entries of files that an earlier run made from other inputs."""
    if (out / AUDIT).is_file():
        earlier = pq.ParquetFile(out / AUDIT)
        for group in range(earlier.num_row_groups):
            rows = earlier.read_row_group(group)
            mask = [name not in covered for name in rows["file"].to_pylist()]
            if any(mask):
                audit.write_table(rows.filter(pa.array(mask)))


def _table(rows: Sequence[tuple[str, AuditEntry]]) -> pa.Table:
    return pa.Table.from_pylist([{"file": f, "tag": e.tag, "keyword": e.keyword, "action": e.action} for f, e in rows], schema=_SCHEMA)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
