"""Fetch what is missing of a study: ask what there is, take what is not there yet, and look again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from medio.errors import PacsError
from medio.pacs.queries import Level
from medio.pacs.transfers import RetrieveReport, Retry, placed
from medio.quarantine import Quarantined

Fetch = Callable[[Sequence[dict[str, Any]], bool], None]
"""Fetches instances of one series: rows of `find("instance")`, and whether they are the whole series."""


class Searchable(Protocol):
    """What a retrieval needs of an archive."""

    @property
    def address(self) -> str:
        """How errors name it."""
        ...

    def find(self, level: Level, **filters: Any) -> list[dict[str, Any]]:
        """Query."""
        ...


def retrieve(
    peer: Searchable,
    out: Path,
    study: str,
    series: str | None,
    fetch: Fetch,
    retry: Retry,
    progress: Callable[[int, int], None] | None,
) -> RetrieveReport:
    """Fetch the instances of a study that do not lie in `out` yet.

    Args:
        peer: the archive.
        out: root of `<study>/<series>/<instance>.dcm`.
        study: its UID.
        series: UID of one of its series; None for all.
        fetch: the protocol's way; it writes the files, and may raise `PacsError` after some of them.
        retry: tries for each series; what arrived in one is not asked for in the next.
        progress: called with (instances there, instances in all).

    Raises:
        PacsError: for an unknown study or series, or when the archive fails before anything arrived.
    """
    which = {} if series is None else {"series_instance_uid": series}
    rows: list[dict[str, Any]] = []
    for found in peer.find("series", study_instance_uid=study, **which):
        rows += [
            {**row, "study_instance_uid": study, "series_instance_uid": found["series_instance_uid"]}
            for row in peer.find("instance", study_instance_uid=study, series_instance_uid=found["series_instance_uid"])
        ]
    if not rows:
        raise PacsError(peer.address, f"has no instance of study {study}{'' if series is None else f', series {series}'}")
    places = {str(row["sop_instance_uid"]): out / placed(study, row["series_instance_uid"], row["sop_instance_uid"]) for row in rows}
    already = [path for path in places.values() if path.is_file()]
    if progress is not None:
        progress(len(already), len(rows))
    reasons: dict[str, str] = {}
    for uid in dict.fromkeys(row["series_instance_uid"] for row in rows):
        members = [row for row in rows if row["series_instance_uid"] == uid]
        _fetch_series(members, places, fetch, retry, reasons)
        if progress is not None:
            progress(sum(path.is_file() for path in places.values()), len(rows))
    before = set(already)
    received = [path for path in places.values() if path.is_file() and path not in before]
    lacking = [uid for uid, path in places.items() if not path.is_file()]
    if reasons and not received and not already:
        raise PacsError(peer.address, next(iter(reasons.values())))
    failed = [Quarantined(uid, reasons.get(uid, "was not sent, and no reason given; run it again")) for uid in lacking]
    return RetrieveReport(tuple(received), tuple(already), tuple(failed))


def _fetch_series(members: Sequence[dict[str, Any]], places: dict[str, Path], fetch: Fetch, retry: Retry, reasons: dict[str, str]) -> None:
    for number in range(retry.attempts):
        missing = [row for row in members if not places[str(row["sop_instance_uid"])].is_file()]
        if not missing:
            return
        try:
            fetch(missing, len(missing) == len(members))
        except PacsError as error:
            reasons.update((str(row["sop_instance_uid"]), error.reason) for row in missing)
            if number + 1 < retry.attempts:
                retry.pause(number)
