"""Studies of an archive, and the prior of a study."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from medio.archive.series import Series, series


@dataclass(frozen=True, slots=True)
class Study:
    """One visit of a patient.

    Attributes:
        study_instance_uid: empty where the files have none; their patient, date and folder then keep them together.
        patient_id: its patient.
        study_date: YYYYMMDD.
        study_time: HHMMSS.F, empty where no file says.
        study_description: free text.
        accession_number: of the order.
        modalities: of all its sound files, also those without pixels (reports), sorted.
        body_parts: BodyPartExamined of its files, upper case, sorted.
        series: its images.
    """

    study_instance_uid: str
    patient_id: str
    study_date: str
    study_time: str
    study_description: str
    accession_number: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def day(self) -> date | None:
        """The study date; None where it is missing or is no date."""
        return _day(self.study_date)


def studies(table: pa.Table) -> list[Study]:
    """Group the sound files of a `scan` into studies.

    Args:
        table: as `scan` returns; rows with an error are left out, and studies without images.

    Returns:
        the studies, ordered by patient, date, time and UID.
    """
    sound = table.filter(pc.is_null(table["error"]))
    said = _said(sound)
    groups: dict[tuple[str, str, str, str], list[Series]] = defaultdict(list)
    for one in series(sound):
        uid = one.study_instance_uid
        groups[("", "", "", uid) if uid else (one.patient_id, one.study_date, str(one.paths[0].parent), "")].append(one)
    found = []
    for (_, _, _, uid), members in groups.items():
        texts = said.get(uid, {})
        modalities = {one.modality for one in members} | texts.get("modality", set())
        parts = {one.body_part_examined for one in members} | texts.get("body_part_examined", set())
        found.append(
            Study(
                study_instance_uid=uid,
                patient_id=members[0].patient_id,
                study_date=members[0].study_date,
                study_time=min(texts.get("study_time", set()), default=""),
                study_description=min(texts.get("study_description", set()), default=""),
                accession_number=min(texts.get("accession_number", set()), default=""),
                modalities=tuple(sorted(modalities - {""})),
                body_parts=tuple(sorted({part.upper() for part in parts} - {""})),
                series=tuple(members),
            )
        )
    return sorted(found, key=lambda s: (s.patient_id, s.study_date, s.study_time, s.study_instance_uid))


def histories(found: Iterable[Study]) -> dict[str, tuple[Study, ...]]:
    """Group studies by patient, for `prior_of` over a whole archive; those without PatientID are left out."""
    grouped: dict[str, list[Study]] = defaultdict(list)
    for study in found:
        if study.patient_id:
            grouped[study.patient_id].append(study)
    return {patient: tuple(visits) for patient, visits in grouped.items()}


def prior_of(
    study: Study,
    archive: pa.Table | Iterable[Study] | Mapping[str, Sequence[Study]],
    *,
    modality: str | Collection[str] | None = None,
    body_part: str | None = None,
    max_days: int | None = None,
) -> Study | None:
    """Find the latest earlier study of the same patient that fits.

    Args:
        study: the study to compare.
        archive: where to look: a `scan`'s table, studies, or the `histories` of them (the fast way to find the priors of many studies).
        modality: one of these must be in the prior; None for any.
        body_part: BodyPartExamined that the prior must have, in any case of letters; None for any.
        max_days: how many days the prior may lie back.

    Returns:
        the prior; None where there is none that is known to be earlier: a study without PatientID has no history, one without a date no place in it, and of two on
        one day the time decides.

    Example:
        >>> visits = medio.studies(index)  # doctest: +SKIP
        >>> past = medio.histories(visits)  # doctest: +SKIP
        >>> pairs = [(now, medio.prior_of(now, past, modality="CT", max_days=730)) for now in visits]  # doctest: +SKIP
    """
    today = study.day
    if not study.patient_id or today is None:
        return None
    if isinstance(archive, pa.Table):
        archive = studies(archive.filter(pc.equal(archive["patient_id"], study.patient_id)))
    candidates = archive.get(study.patient_id, ()) if isinstance(archive, Mapping) else archive
    wanted = {modality} if isinstance(modality, str) else None if modality is None else set(modality)
    best: tuple[str, str, str] | None = None
    prior = None
    for other in candidates:
        day = other.day
        if other.patient_id != study.patient_id or day is None or not _is_earlier(other, study):
            continue
        if wanted is not None and wanted.isdisjoint(other.modalities):
            continue
        if body_part is not None and body_part.upper() not in other.body_parts:
            continue
        if max_days is not None and (today - day).days > max_days:
            continue
        key = (other.study_date, other.study_time, other.study_instance_uid)
        if best is None or key > best:
            best, prior = key, other
    return prior


def _is_earlier(other: Study, study: Study) -> bool:
    if other.study_date != study.study_date:
        return other.study_date < study.study_date
    return bool(other.study_time and study.study_time) and other.study_time < study.study_time


def _day(text: str) -> date | None:
    text = text.replace(".", "")  # ACR-NEMA wrote 2024.01.02
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


def _said(sound: pa.Table) -> dict[str, dict[str, set[str]]]:
    """What the files of each study say: UID -> column -> the different texts."""
    columns = ["modality", "body_part_examined", "study_time", "study_description", "accession_number"]
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for column in columns:
        pairs = sound.select(["study_instance_uid", column]).group_by(["study_instance_uid", column]).aggregate([])
        for uid, text in zip(pairs["study_instance_uid"].to_pylist(), pairs[column].to_pylist(), strict=True):
            if uid and text:
                found[uid][column].add(text)
    return found
