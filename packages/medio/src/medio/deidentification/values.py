"""Single values: whether one is of its type, a date moved, a dummy in its place."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from medio.deidentification.identifiers import parse_day, values_of

_DUMMIES: dict[str, Any] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT"), "REMOVED"),
    "PN": "Removed^",
    "UR": "urn:removed",
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101",
    "TM": "000000",
    "DS": "0",
    "IS": "0",
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OV", "OW", "UN"), b"\0" * 8),
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV", "AT"), 0),
}


def is_sound(element: DataElement) -> bool:
    """Whether a value is of its type, so that no text hides in a number, a time or a code."""
    patterns = {
        "TM": r"[\d.:]{0,16}",
        "DS": r"[-+.eE\d ]*",
        "IS": r"[-+.eE\d ]*",
        "AS": r"\d{3}[DWMY]",
        "CS": r"[-A-Za-z0-9_ ./+]{0,64}",
    }
    pattern = patterns.get(element.VR)
    return pattern is None or all(re.fullmatch(pattern, str(value).strip()) for value in values_of(element))


def years(age: Any) -> int:
    """Return the years of an age string; 0 for other units."""
    match = re.fullmatch(r"(\d{3})Y", str(age or ""))
    return int(match[1]) if match else 0


def move_date(value: str, move: Callable[[date], date | None], *, with_time: bool) -> str:
    """Move YYYYMMDD[time]; empty for what is no full date. A time zone goes: it tells a place."""
    time = r"(\d{0,6}(?:\.\d{1,6})?)(?:[+-]\d{4})?" if with_time else "()"
    match = re.fullmatch(r"\d{4}[.-]?\d{2}[.-]?\d{2}" + time, value.strip())
    day = parse_day(value)
    moved = move(day) if match and day else None
    return f"{moved:%Y%m%d}{match[1]}" if match and moved else ""


def dummy(element: DataElement) -> DataElement | None:
    """Return an element that is there and tells nothing; None where its VR has no dummy."""
    if element.VR == "SQ":
        return DataElement(element.tag, "SQ", DicomSequence([removed_code()]))
    if element.VR not in _DUMMIES:
        return None
    return DataElement(element.tag, element.VR, _DUMMIES[element.VR])


def empty(element: DataElement) -> DataElement:
    """Return the element without a value."""
    if element.VR == "SQ":
        return DataElement(element.tag, "SQ", DicomSequence([]))
    if isinstance(_DUMMIES.get(element.VR), str):
        return DataElement(element.tag, element.VR, "")
    return DataElement(element.tag, element.VR, b"" if isinstance(_DUMMIES.get(element.VR), bytes) else None)


def removed_code() -> Dataset:
    """Return a code that says that one was removed."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "REMOVED", "99MEDIO", "removed"
    return item
