"""DICOMweb: QIDO-RS, WADO-RS and STOW-RS as a client.

Source: DICOM PS3.18 section 10. The protocol itself is dicomweb-client's.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread, dcmwrite

from medio.errors import CorruptFileError, MedioError, PacsError
from medio.pacs.extra import dicomweb_client
from medio.pacs.queries import Level, query_of, row_of
from medio.pacs.retrieval import retrieve
from medio.pacs.transfers import Outgoing, RetrieveReport, Retry, Sending, StoreReport, save

_ANY_SYNTAX = (("application/dicom", "*"),)
"""As it is stored; without this an archive transcodes to Explicit VR Little Endian."""


@dataclass(frozen=True, kw_only=True)
class WebPeer:
    """An archive that speaks DICOMweb.

    Attributes:
        url: base of the service, e.g. `http://127.0.0.1:8042/dicom-web`.
        headers: sent with every request, e.g. `{"Authorization": "Bearer …"}`.
        auth: name and password for HTTP basic authentication.
        timeout_s: for connecting, and for the silence between two packets.
        page: matches asked for at once.
        retry: how often to try again after a network fault or a server's error.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    timeout_s: float = 30.0
    page: int = 500
    retry: Retry = field(default_factory=Retry)

    @property
    def address(self) -> str:
        """The URL, as errors and journals name it."""
        return self.url

    def echo(self) -> None:
        """Ask whether it is there: one study at most.

        Raises:
            PacsError: when it is not, or lets nobody in.
        """
        with self._faults("QIDO-RS"):
            self._client.search_for_studies(limit=1)

    def find(self, level: Level, **filters: Any) -> list[dict[str, Any]]:
        """Query (QIDO-RS), page by page.

        Args:
            level: `study`, `series` or `instance`.
            filters: as `medio.pacs.queries.query_of` takes them.

        Returns:
            A dict a match: snake_case DICOM keywords, None where the archive has nothing.

        Raises:
            ValueError: for an unknown attribute.
            PacsError: for a refusal or a failure.
        """
        query = query_of(level, filters)
        above = {name: query.pop(name) for name in ("StudyInstanceUID", "SeriesInstanceUID") if query.get(name) and _is_above(name, level)}
        matching = {name: value.replace("\\", ",") for name, value in query.items() if value}
        rows: list[dict[str, Any]] = []
        while True:
            page = self.retry.call(partial(self._search, level, above, matching, tuple(query), len(rows)))
            rows += [row_of(Dataset.from_json(answer)) for answer in page]
            if len(page) < self.page:
                return rows

    def store(
        self,
        paths: Path | str | Sequence[Path | str],
        *,
        journal: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> StoreReport:
        """Send files (STOW-RS), one a request.

        Args:
            paths: files, or a folder with all its files.
            journal: file that remembers what was confirmed; run again with it, only the rest is sent.
            progress: called with (files done, files in all).

        Returns:
            What was sent, what the journal knew, and what failed with the reason: a file that is refused does not stop the others.

        Raises:
            MissingFileError: for no file.
            PacsError: when the archive cannot be reached.
        """
        sending = Sending(paths, journal, self.address, progress)
        for item in sending.waiting:
            sending.note(item, self.retry.call(partial(self._send, item)))
        return sending.report()

    def retrieve(
        self,
        out: Path | str,
        study_instance_uid: str,
        *,
        series_instance_uid: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> RetrieveReport:
        """Fetch a study or a series (WADO-RS) to `<out>/<study>/<series>/<instance>.dcm`, in the transfer syntax of the archive.

        What lies there already is not fetched again, so a broken or killed transfer goes on where it was.

        Args:
            out: folder, made if absent.
            study_instance_uid: of the study.
            series_instance_uid: of one series; None fetches all.
            progress: called with (instances there, instances in all).

        Returns:
            What was received, what was there, and what did not come.

        Raises:
            PacsError: when the archive cannot be reached, or does not know the study.
        """
        folder = Path(out)

        def fetch(rows: Sequence[dict[str, Any]], whole_series: bool) -> None:
            with self._faults("WADO-RS"):
                if whole_series:
                    answers = self._client.iter_series(
                        rows[0]["study_instance_uid"], rows[0]["series_instance_uid"], media_types=_ANY_SYNTAX
                    )
                else:
                    answers = (
                        self._client.retrieve_instance(
                            row["study_instance_uid"], row["series_instance_uid"], row["sop_instance_uid"], media_types=_ANY_SYNTAX
                        )
                        for row in rows
                    )
                for dataset in answers:
                    _keep(dataset, folder)

        return retrieve(self, folder, study_instance_uid, series_instance_uid, fetch, self.retry, progress)

    @cached_property
    def _client(self) -> Any:
        client = dicomweb_client()
        import requests

        class Session(requests.Session):
            """Some archives (Orthanc 1.7's plugin) do not decode `%2A`; a wildcard may stand in a query as it is (RFC 3986)."""

            def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
                prepared = super().prepare_request(request)
                prepared.url = (prepared.url or "").replace("%2A", "*")
                return prepared

        session = Session()
        session.headers.update(self.headers)
        session.auth = self.auth
        made = client(self.url, session=session, timeout=self.timeout_s)
        made.set_http_retry_params(retry=False)  # its retries know neither broken connections nor ours
        return made

    def _search(
        self, level: Level, above: Mapping[str, str], matching: Mapping[str, str], fields: Sequence[str], offset: int
    ) -> list[dict[str, Any]]:
        options = {"search_filters": dict(matching), "limit": self.page, "offset": offset, "fields": list(fields)}
        uids = {"study_instance_uid": above.get("StudyInstanceUID"), "series_instance_uid": above.get("SeriesInstanceUID")}
        with self._faults("QIDO-RS"):
            if level == "study":
                return list(self._client.search_for_studies(**options))
            if level == "series":
                return list(self._client.search_for_series(study_instance_uid=uids["study_instance_uid"], **options))
            return list(self._client.search_for_instances(**uids, **options))

    def _send(self, item: Outgoing) -> str:
        """Send one file; returns why it failed, empty where it did not."""
        try:
            dataset = _whole(item.path)
        except CorruptFileError as error:
            return error.reason
        with self._faults("STOW-RS"):
            answer = self._client.store_instances([dataset])
        # Some archives always send the sequence, empty where all went well.
        failures = answer.get("FailedSOPSequence") or []
        if len(failures):
            return f"{self.url} refused it with reason 0x{int(failures[0].get('FailureReason') or 0):04X}"
        if not any(
            str(done.get("ReferencedSOPInstanceUID")) == item.sop_instance_uid for done in answer.get("ReferencedSOPSequence") or []
        ):
            return f"{self.url} did not confirm it; run it again"
        return ""

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """Turn what the network and the server raise into one error."""
        import requests

        try:
            yield
        except requests.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            mend = (
                "check headers= and auth=" if code in (401, 403) else "is the base of the URL right?" if code == 404 else "ask its keeper"
            )
            raise PacsError(self.url, f"{what} answered HTTP {code}; {mend}") from error
        except requests.RequestException as error:
            raise PacsError(self.url, f"{what} failed ({type(error).__name__}); check the URL and the network") from error
        except MedioError:
            raise
        except (ValueError, KeyError, EOFError) as error:
            raise PacsError(self.url, f"{what} gave an answer that is no DICOMweb ({error}); is the base of the URL right?") from error


def _is_above(name: str, level: Level) -> bool:
    return level != "study" and (name == "StudyInstanceUID" or level == "instance")


def _whole(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except Exception as error:  # pydicom raises what a broken element makes it raise
        raise CorruptFileError(
            path, f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]}); it is not sent"
        ) from error


def _keep(dataset: Dataset, out: Path) -> None:
    content = io.BytesIO()
    dcmwrite(content, dataset)  # elements that were never looked at are written as they came
    try:
        save(content.getvalue(), out)
    except OSError as error:
        raise PacsError(out, f"cannot be written ({error.strerror}); make room and run it again") from error
