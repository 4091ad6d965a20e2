"""What both protocols share: where a received object lies, what was already sent, what failed, and how often to try."""

import io
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from medio.atomic import replacing
from medio.errors import CorruptFileError, MedioError, MissingFileError, PacsError
from medio.quarantine import Quarantined

T = TypeVar("T")

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class StoreReport:
    """What was sent.

    Attributes:
        sent: files that the archive took this time.
        already: files that the journal says were taken before.
        failed: files that were not taken, with the reason.
    """

    sent: tuple[Path, ...]
    already: tuple[Path, ...]
    failed: tuple[Quarantined, ...]


@dataclass(frozen=True)
class RetrieveReport:
    """What was fetched.

    Attributes:
        received: files written this time, `<out>/<study>/<series>/<instance>.dcm`.
        already: files that were there.
        failed: instances that the archive knows and did not give, with the reason.
    """

    received: tuple[Path, ...]
    already: tuple[Path, ...]
    failed: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file on its way out."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    syntax: str


@dataclass(frozen=True)
class Retry:
    """How often to try again, and how long to wait in between: `wait_s`, then twice that, four times, ….

    Attributes:
        attempts: tries in all, at least 1.
        wait_s: seconds before the second try.
    """

    attempts: int = 3
    wait_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.wait_s < 0:
            raise ValueError(f"need attempts >= 1 and wait_s >= 0, got {self.attempts} and {self.wait_s}")

    def call(self, action: Callable[[], T]) -> T:
        """Call until it does not raise `PacsError`; the last one is raised."""
        for number in range(self.attempts - 1):
            try:
                return action()
            except PacsError:
                self.pause(number)
        return action()

    def pause(self, number: int) -> None:
        """Wait after try `number`, from 0."""
        time.sleep(self.wait_s * 2**number)


class Journal:
    """Instances that an archive has confirmed, one JSON line each; a killed transfer goes on from it.

    Args:
        path: the file, made if absent; None remembers nothing.
        address: of the archive: one file may serve several.
    """

    def __init__(self, path: Path | None, address: str) -> None:
        self.path = path
        self.address = address
        self._done: set[str] = set()
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    if entry["to"] == address:
                        self._done.add(entry["sop_instance_uid"])
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a kill cut short: its instance is sent once more, which does no harm

    def __contains__(self, sop_instance_uid: str) -> bool:
        return sop_instance_uid in self._done

    def add(self, sop_instance_uid: str) -> None:
        """Note a confirmed instance before the next one goes out."""
        self._done.add(sop_instance_uid)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # A kill may have cut the last line: begin on a fresh one.
                lead = "\n" if file.tell() and not _ends_with_newline(self.path) else ""
                file.write(lead + json.dumps({"to": self.address, "sop_instance_uid": sop_instance_uid}) + "\n")


class Sending:
    """The files of one `store`: what waits, what was sent, what failed.

    Args:
        paths: files, or a folder with all its files.
        journal: file that remembers what was confirmed; None remembers nothing.
        address: of the archive.
        progress: called with (files done, files in all).

    Attributes:
        waiting: files to send, those that the journal knows left out.

    Raises:
        MissingFileError: for no file.
    """

    def __init__(
        self,
        paths: Path | str | Sequence[Path | str],
        journal: Path | None,
        address: str,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        files, self._failed = outgoing(paths)
        self._known = Journal(journal, address)
        self._progress = progress
        self._total = len(files) + len(self._failed)
        self._already = tuple(item.path for item in files if item.sop_instance_uid in self._known)
        self.waiting = [item for item in files if item.sop_instance_uid not in self._known]
        self._sent: list[Path] = []

    def note(self, item: Outgoing, reason: str) -> None:
        """Say what became of a file; an empty reason says that the archive has it."""
        if reason:
            self._failed.append(Quarantined(str(item.path), reason))
        else:
            self._known.add(item.sop_instance_uid)
            self._sent.append(item.path)
        if self._progress is not None:
            self._progress(len(self._already) + len(self._sent) + len(self._failed), self._total)

    def report(self) -> StoreReport:
        """Return what was done."""
        return StoreReport(tuple(self._sent), self._already, tuple(self._failed))


def outgoing(paths: Path | str | Iterable[Path | str]) -> tuple[list[Outgoing], list[Quarantined]]:
    """Look at what is to be sent: files, or a folder with all its files.

    Returns:
        the DICOM files by path, and what cannot be sent, with the reason.

    Raises:
        MissingFileError: for no file.
    """
    files = list(_files([paths] if isinstance(paths, str | Path) else paths))
    if not files:
        raise MissingFileError(str(paths), "no file to send; give DICOM files or a folder of them")
    good, bad = [], []
    for path in files:
        try:
            good.append(_outgoing(path))
        except MedioError as error:
            bad.append(Quarantined(error.path, error.reason))
    return good, bad


def save(content: bytes, root: Path) -> Path:
    """Write a received object as `<root>/<study>/<series>/<instance>.dcm`, whole or not at all.

    Args:
        content: a DICOM file.
        root: the folder.

    Raises:
        CorruptFileError: for an object without the three UIDs, which therefore has no place.
    """
    path = root / place_of(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def place_of(content: bytes) -> Path:
    """Say where an object belongs below the root: `<study>/<series>/<instance>.dcm`.

    Raises:
        CorruptFileError: where one of the three UIDs is absent or no UID; such a name could lead out of the folder.
    """
    try:
        header = dcmread(
            io.BytesIO(content), stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        )
        uids = [str(header.get(name) or "") for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    except Exception as error:  # pydicom raises what a broken element makes it raise
        raise CorruptFileError("received object", f"cannot be parsed ({error}); ask the archive's keeper") from error
    return placed(*uids)


def placed(study: str, series: str, instance: str) -> Path:
    """Join three UIDs to `<study>/<series>/<instance>.dcm`.

    Raises:
        CorruptFileError: for what is no UID.
    """
    for uid in (study, series, instance):
        if not _UID.fullmatch(uid) or len(uid) > 64:
            raise CorruptFileError("received object", f"has {uid!r} where a UID should stand; it gets no file, ask the archive's keeper")
    return Path(study, series, f"{instance}.dcm")


def batches(items: Sequence[Outgoing], limit: int) -> Iterator[list[Outgoing]]:
    """Cut into runs with at most `limit` kinds of SOP class and transfer syntax, which one association can negotiate."""
    part: list[Outgoing] = []
    kinds: set[tuple[str, str]] = set()
    for item in sorted(items, key=lambda i: (i.sop_class_uid, i.syntax, str(i.path))):
        kind = (item.sop_class_uid, item.syntax)
        if kind not in kinds and len(kinds) == limit:
            yield part
            part, kinds = [], set()
        kinds.add(kind)
        part.append(item)
    if part:
        yield part


def _outgoing(path: Path) -> Outgoing:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
        kind, uid = str(header.get("SOPClassUID") or ""), str(header.get("SOPInstanceUID") or "")
    except InvalidDicomError:
        raise CorruptFileError(path, "is not a DICOM file; it is not sent") from None
    except OSError as error:
        raise MissingFileError(path, f"cannot be opened ({error.strerror})") from error
    except Exception as error:  # pydicom raises what a broken element makes it raise
        raise CorruptFileError(path, f"the header cannot be parsed ({error}); it is not sent") from error
    if not (kind and uid and syntax):
        raise CorruptFileError(path, "has no SOP class, SOP instance or transfer syntax UID; it cannot be sent")
    return Outgoing(path, kind, uid, syntax)


def _files(paths: Iterable[Path | str]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != "DICOMDIR")
        else:
            yield path


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read(1) == b"\n"
