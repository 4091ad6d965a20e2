"""DIMSE: C-ECHO, C-FIND, C-STORE, C-GET and C-MOVE as a client.

Source: DICOM PS3.4 annexes A, B and C, PS3.7. The protocol itself is pynetdicom's.
"""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.uid import UID

from medio.errors import MedioError, PacsError, UnsupportedError
from medio.pacs.extra import pynetdicom
from medio.pacs.queries import Level, query_of, row_of
from medio.pacs.receiver import Receiver
from medio.pacs.retrieval import retrieve
from medio.pacs.transfers import Outgoing, RetrieveReport, Retry, Sending, StoreReport, batches, save

if TYPE_CHECKING:
    from pynetdicom.association import Association

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_VERIFICATION = "1.2.840.10008.1.1"
_LEVELS = {"study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
_MOST_CONTEXTS = 128
"""Presentation contexts that one association can negotiate (odd identifiers in a byte, PS3.8)."""


@dataclass(frozen=True, kw_only=True)
class DimsePeer:
    """An archive that speaks DIMSE.

    Attributes:
        host: name or address.
        port: of its DICOM service.
        ae_title: what it is called.
        calling: what this side calls itself; many archives know their clients by it.
        timeout_s: for connecting, and for the silence between two messages.
        retry: how often to try again after a broken association.
        tls: a client context for TLS; None speaks in the clear.
    """

    host: str
    port: int
    ae_title: str = "ANY-SCP"
    calling: str = "MEDIO"
    timeout_s: float = 30.0
    retry: Retry = field(default_factory=Retry)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in (self.ae_title, self.calling):
            if not 0 < len(name.strip()) <= 16 or "\\" in name:
                raise ValueError(f"an AE title has 1 to 16 characters and no backslash, got {name!r}")

    @property
    def address(self) -> str:
        """`AE@host:port`, as errors and journals name it."""
        return f"{self.ae_title}@{self.host}:{self.port}"

    def echo(self) -> None:
        """Ask whether it is there (C-ECHO).

        Raises:
            PacsError: when it is not, or does not know this side; says which.
        """

        def ask() -> None:
            with self._associated([_context(_VERIFICATION)]) as association:
                self._check(association.send_c_echo(), "C-ECHO")

        self.retry.call(ask)

    def find(self, level: Level, **filters: Any) -> list[dict[str, Any]]:
        """Query (C-FIND, study root).

        Args:
            level: `study`, `series` or `instance`; archives want the UIDs of the levels above.
            filters: as `medio.pacs.queries.query_of` takes them: `patient_id="P1"`, `study_date="20240101-20240131"`, `modality="CT"`.

        Returns:
            A dict a match: snake_case DICOM keywords, None where the archive has nothing.

        Raises:
            ValueError: for an unknown attribute.
            PacsError: for a refusal or a failure.
        """
        identifier = Dataset()
        identifier.QueryRetrieveLevel = _LEVELS.get(level, "")
        for keyword, value in query_of(level, filters).items():
            setattr(identifier, keyword, value.split("\\") if "\\" in value else value)

        def ask() -> list[dict[str, Any]]:
            rows = []
            with self._associated([_context(_STUDY_ROOT_FIND)]) as association:
                for status, answer in association.send_c_find(identifier, _STUDY_ROOT_FIND):
                    self._check(status, "C-FIND")
                    if answer is not None:
                        rows.append(row_of(answer))
            return rows

        return self.retry.call(ask)

    def store(
        self,
        paths: Path | str | Sequence[Path | str],
        *,
        journal: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> StoreReport:
        """Send files as they are (C-STORE), each in its own transfer syntax.

        Args:
            paths: files, or a folder with all its files.
            journal: file that remembers what was confirmed; run again with it, only the rest is sent.
            progress: called with (files done, files in all).

        Returns:
            What was sent, what the journal knew, and what failed with the reason: a file that is refused does not stop the others.

        Raises:
            MissingFileError: for no file.
            PacsError: when no association can be had.
        """
        sending = Sending(paths, journal, self.address, progress)
        for part in batches(sending.waiting, _MOST_CONTEXTS):
            self._store_part(part, sending.note)
        return sending.report()

    def retrieve(
        self,
        out: Path | str,
        study_instance_uid: str,
        *,
        series_instance_uid: str | None = None,
        receiver: Receiver | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> RetrieveReport:
        """Fetch a study or a series to `<out>/<study>/<series>/<instance>.dcm`, in the transfer syntax of the archive where it grants that.

        What lies there already is not fetched again, so a broken or killed transfer goes on where it was.

        Args:
            out: folder, made if absent.
            study_instance_uid: of the study.
            series_instance_uid: of one series; None fetches all.
            receiver: None uses C-GET; a running `Receiver`, which the archive must know by its AE title, host and port, uses C-MOVE to it.
            progress: called with (instances there, instances in all).

        Returns:
            What was received, what was there, and what did not come.

        Raises:
            PacsError: when the archive cannot be reached, or does not know the study.
            ValueError: when the receiver writes to another folder.
        """
        folder = Path(out)
        if receiver is not None and receiver.out.resolve() != folder.resolve():
            raise ValueError(f"the receiver writes to {receiver.out}, not to {folder}; give both the same folder")

        def fetch(rows: Sequence[dict[str, Any]], whole_series: bool) -> None:
            identifier = _identifier(rows, whole_series)
            if receiver is None:
                self._get(identifier, {str(row["sop_class_uid"]) for row in rows}, folder)
            else:
                self._move(identifier, receiver)

        return retrieve(self, folder, study_instance_uid, series_instance_uid, fetch, self.retry, progress)

    def _store_part(self, part: Sequence[Outgoing], note: Callable[[Outgoing, str], None]) -> None:
        """Send one association's worth; a broken association is opened again for what it left."""
        waiting = list(part)
        contexts = [_context(kind, syntax) for kind, syntax in sorted({(item.sop_class_uid, item.syntax) for item in part})]

        def send() -> None:
            with self._associated(contexts) as association:
                granted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
                while waiting:
                    item = waiting[0]
                    reason = ""
                    if (item.sop_class_uid, item.syntax) in granted:
                        reason = self._send(association, item)
                    else:
                        reason = f"{self.address} does not take {UID(item.sop_class_uid).name} in {UID(item.syntax).name}; allow it there, or send it transcoded"
                    note(waiting.pop(0), reason)

        # Tries count anew whenever something was sent: only an archive that takes nothing at all ends the job.
        left = len(waiting) + 1
        while waiting and len(waiting) < left:
            left = len(waiting)
            try:
                self.retry.call(send)
            except UnsupportedError as error:
                while waiting:
                    note(waiting.pop(0), error.reason)
            except PacsError:
                if len(waiting) == left:
                    raise

    def _send(self, association: "Association", item: Outgoing) -> str:
        """Send one file; returns why it failed, empty where it did not."""
        try:
            status = association.send_c_store(item.path)
        except (ValueError, AttributeError, TypeError, OSError) as error:
            return f"cannot be sent ({(str(error).splitlines() or [type(error).__name__])[0]})"
        if "Status" not in status:
            raise PacsError(self.address, f"the association broke while {item.path.name} was sent; try again")
        code = int(status.Status)
        # 0xBxxx are warnings: stored, with an element coerced or discarded.
        return "" if code == 0 or code >> 12 == 0xB else f"{self.address} refused it with status 0x{code:04X}{_comment(status)}"

    def _get(self, identifier: Dataset, sop_classes: set[str], out: Path) -> None:
        net = pynetdicom()
        from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

        failures: list[MedioError] = []

        def keep(event: Any) -> int:
            try:
                save(event.encoded_dataset(), out)
            except OSError as error:
                failures.append(PacsError(out, f"cannot be written ({error.strerror}); make room and run it again"))
                return 0xA700
            except MedioError as error:
                failures.append(error)
                return 0xA900
            return 0

        roles = []
        for kind in sorted(sop_classes):
            role = SCP_SCU_RoleSelectionNegotiation()
            role.sop_class_uid, role.scu_role, role.scp_role = UID(kind), False, True
            roles.append(role)
        contexts = [_context(_STUDY_ROOT_GET), *_get_contexts(sorted(sop_classes))]
        with self._associated(contexts, ext_neg=roles, evt_handlers=[(net.evt.EVT_C_STORE, keep)]) as association:
            for status, _ in association.send_c_get(identifier, _STUDY_ROOT_GET):
                if not failures:
                    self._check(status, "C-GET")
        if failures:
            raise failures[0]

    def _move(self, identifier: Dataset, receiver: Receiver) -> None:
        with self._associated([_context(_STUDY_ROOT_MOVE)]) as association:
            for status, _ in association.send_c_move(identifier, receiver.ae_title, _STUDY_ROOT_MOVE):
                self._check(status, f"C-MOVE to {receiver.ae_title} (does it know that AE title, host and port?)")
        receiver.raise_failure()

    @contextmanager
    def _associated(self, contexts: Sequence[Any], **options: Any) -> Iterator["Association"]:
        entity = pynetdicom().AE(self.calling)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout_s
        tls = None if self.tls is None else (self.tls, self.host)
        try:
            association = entity.associate(self.host, self.port, contexts=list(contexts), ae_title=self.ae_title, tls_args=tls, **options)
        except (OSError, RuntimeError) as error:
            raise PacsError(self.address, f"cannot be reached ({error}); check host, port and network") from error
        if not association.is_established:
            if association.is_rejected:
                raise PacsError(
                    self.address,
                    f"rejects the association: it may not know {self.calling!r}, or not be called {self.ae_title!r}; add it there",
                )
            if association.rejected_contexts:
                # It answered, and took none of what was offered: pynetdicom then gives the association up.
                names = ", ".join(sorted({UID(c.abstract_syntax).name for c in contexts})[:4])
                raise UnsupportedError(self.address, f"takes none of {names} in the transfer syntax offered; allow it there")
            raise PacsError(self.address, "cannot be reached, or does not answer; check host, port and network")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _check(self, status: Dataset, what: str) -> None:
        if "Status" not in status:
            raise PacsError(self.address, f"the association broke during {what}; try again")
        code = int(status.Status)
        if code not in (0x0000, 0xFF00, 0xFF01) and code >> 12 != 0xB:
            raise PacsError(self.address, f"{what} failed with status 0x{code:04X}{_comment(status)}")


def _context(abstract: str, *syntaxes: str) -> Any:
    net = pynetdicom()
    return net.build_context(abstract, list(syntaxes)) if syntaxes else net.build_context(abstract)


def _get_contexts(sop_classes: Sequence[str]) -> list[Any]:
    """One context a class and transfer syntax while they fit, so that the archive can send each object as it is stored; else one a class."""
    syntaxes = [str(s) for s in pynetdicom().ALL_TRANSFER_SYNTAXES]
    room = _MOST_CONTEXTS - 1
    if len(sop_classes) * len(syntaxes) <= room:
        return [_context(kind, syntax) for kind in sop_classes for syntax in syntaxes]
    return [_context(kind, *syntaxes) for kind in sop_classes[:room]]


def _identifier(rows: Sequence[dict[str, Any]], whole_series: bool) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES" if whole_series else "IMAGE"
    identifier.StudyInstanceUID = rows[0]["study_instance_uid"]
    identifier.SeriesInstanceUID = rows[0]["series_instance_uid"]
    if not whole_series:
        identifier.SOPInstanceUID = [row["sop_instance_uid"] for row in rows]
    return identifier


def _comment(status: Dataset) -> str:
    text = str(status.get("ErrorComment") or "").strip()
    return f" ({text})" if text else ""
