"""What one asks an archive, and what it answers, in snake_case DICOM keywords whatever the protocol.

Source: DICOM PS3.4 annex C (Query/Retrieve), PS3.18 section 10.6 (QIDO-RS).
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.multival import MultiValue

Level = Literal["study", "series", "instance"]

_STUDY = (
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
_SERIES = ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "NumberOfSeriesRelatedInstances")
_INSTANCE = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")
KEYS: Mapping[str, tuple[str, ...]] = {
    "study": _STUDY,
    "series": ("StudyInstanceUID", *_SERIES),
    "instance": ("StudyInstanceUID", "SeriesInstanceUID", *_INSTANCE),
}
"""Attributes asked for at each level."""


def snake_case(keyword: str) -> str:
    """Turn a DICOM keyword into the name that it has in tables here: `StudyInstanceUID` into `study_instance_uid`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


_KEYWORDS = {snake_case(keyword): keyword for keyword in keyword_dict if keyword}


def query_of(level: Level, filters: Mapping[str, Any]) -> dict[str, str]:
    """Make the identifier of a query: what to match, and what to return.

    Args:
        level: of the rows to find.
        filters: value by attribute, in snake_case or as DICOM keyword; `*` and `?` are wildcards in texts, `20240101-20240131` is a range of dates; a list
            matches any of its values.

    Returns:
        value by DICOM keyword, empty where only the answer is wanted.

    Raises:
        ValueError: for an unknown level or attribute; names the nearest one.
    """
    if level not in KEYS:
        raise ValueError(f"level must be one of {', '.join(KEYS)}, got {level!r}")
    query = dict.fromkeys(KEYS[level], "")
    for name, value in filters.items():
        keyword = _KEYWORDS.get(name) or (name if name in keyword_dict else None)
        if keyword is None:
            near = difflib.get_close_matches(name, _KEYWORDS, 1)
            raise ValueError(f"{name!r} is no DICOM attribute{f'; did you mean {near[0]!r}?' if near else ''}")
        query[keyword] = "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return query


def row_of(answer: Dataset) -> dict[str, Any]:
    """Turn an answer into plain values by snake_case name; None where the archive left one empty.

    Whole numbers are int, lists are lists of str, all else is str.
    """
    row: dict[str, Any] = {}
    for element in answer:
        if (
            not element.keyword
            or element.VR == "SQ"
            or element.keyword in ("QueryRetrieveLevel", "RetrieveAETitle", "SpecificCharacterSet")
        ):
            continue
        row[snake_case(element.keyword)] = _plain(element.value, dictionary_VR(element.tag))
    return row


def _plain(value: Any, vr: str) -> Any:
    if value is None or value == "":
        return None
    if isinstance(value, MultiValue | list):
        return [_plain(v, vr) for v in value]
    if vr in ("IS", "US", "UL", "SS", "SL"):
        return int(value)
    return str(value)
