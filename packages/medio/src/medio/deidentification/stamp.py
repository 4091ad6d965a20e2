"""What every de-identified object gets: a pseudonym, what was done to it by code, and fresh file meta information."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.deidentification.policy import METHOD_CODES, Policy
from medio.deidentification.rules import EMPTIED, EMPTIED_WHERE_PRESENT

_HEADS = (
    "HEAD",
    "BRAIN",
    "SKULL",
    "FACE",
    "FACIAL",
    "ORBIT",
    "SINUS",
    "JAW",
    "MAXILLA",
    "MANDIBLE",
    "NECK",
    "CSPINE",
    "WHOLEBODY",
)


_METHOD = f"medio {version('medio')}, PS3.15 Basic Profile by allow-list"
OWN_TEXTS = frozenset({_METHOD, *METHOD_CODES.values()})
"""What is written into every copy, whoever its patient is."""


@dataclass(frozen=True)
class AuditEntry:
    """One change; it holds no value, neither old nor new.

    Attributes:
        tag: path of the attribute, `(0040,0275)[0].(0008,0100)`.
        keyword: DICOM keyword, `private` or `unknown`.
        action: `removed`, `emptied`, `replaced`, `uid mapped`, `date shifted`, `text cleaned`, `text blanked`, `overlay bits cleared` or `added`.
    """

    tag: str
    keyword: str
    action: str


def stamp(source: Dataset, result: Dataset, policy: Policy, pseudonym: str, codes: list[str]) -> Iterator[AuditEntry]:
    """Name the patient by pseudonym, add what every object must have, and say what was done.

    Args:
        source: the original.
        result: its copy; changed.
        policy: what becomes of dates.
        pseudonym: the new PatientID.
        codes: the codes of CID 7050 that are true of it.

    Yields:
        What was changed.
    """
    result.PatientID = pseudonym
    result.PatientName = f"{pseudonym}^"  # the caret says that it is a family name, as readers expect one
    for keyword in EMPTIED:
        if keyword not in result:
            setattr(result, keyword, "")
            yield _entry(result, keyword, "emptied" if keyword in source else "added")
    for keyword in EMPTIED_WHERE_PRESENT:
        if keyword in source and keyword not in result:
            setattr(result, keyword, "")
            yield _entry(result, keyword, "emptied")
    if shows_a_head(source) and not result.get("RecognizableVisualFeatures"):
        result.RecognizableVisualFeatures = "YES"
        yield _entry(result, "RecognizableVisualFeatures", "added")
    written: dict[str, Any] = {
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": _METHOD,
        "DeidentificationMethodCodeSequence": DicomSequence([_method(code) for code in codes]),
        "LongitudinalTemporalInformationModified": {"shift": "MODIFIED", "keep": "UNMODIFIED", "remove": "REMOVED"}[policy.dates],
    }
    yield _entry(result, "PatientID", "replaced")
    yield _entry(result, "PatientName", "replaced")
    for keyword, value in written.items():
        setattr(result, keyword, value)
        yield _entry(result, keyword, "added")


def shows_a_head(dataset: Dataset) -> bool:
    """Tell whether a face could be rendered from the series: CT, MR or PET whose header says head, neck or whole body."""
    part = re.sub(r"[^A-Z]", "", str(dataset.get("BodyPartExamined") or "").upper())
    return str(dataset.get("Modality") or "") in ("CT", "MR", "PT") and (part in ("EAR", "EYE") or any(word in part for word in _HEADS))


def settled(audit: list[AuditEntry]) -> list[AuditEntry]:
    """Leave one word for each attribute: what was removed and then put there anew was replaced."""
    present = {entry.tag for entry in audit if entry.action in ("replaced", "emptied")}
    replaced = {entry.tag for entry in audit if entry.action == "replaced"}
    kept = [e for e in audit if not (e.action == "removed" and e.tag in present) and not (e.action == "emptied" and e.tag in replaced)]
    return list(dict.fromkeys(kept))


def file_meta(source: Dataset, result: Dataset, syntax: UID | None) -> FileMetaDataset:
    """Make new file meta information; of the old one only the transfer syntax is used, where the pixels keep it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.get("SOPInstanceUID", "")
    syntax = syntax or getattr(source, "file_meta", {}).get("TransferSyntaxUID")
    if not syntax:
        implicit = source.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.TransferSyntaxUID = UID(str(syntax))
    return meta


def _method(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", METHOD_CODES[code]
    return item


def _entry(result: Dataset, keyword: str, action: str) -> AuditEntry:
    tag = result[keyword].tag
    return AuditEntry(f"({tag.group:04X},{tag.element:04X})", keyword, action)
