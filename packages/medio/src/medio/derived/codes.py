"""Coded concepts: what a thing is, in a vocabulary that others share.

Source: DICOM PS3.3 8.8 (Code Sequence Macro).
"""

from typing import Any

from pydicom import Dataset

Code = tuple[str, str, str]
"""(value, coding scheme, meaning), e.g. `("39607008", "SCT", "Lung")`; schemes: SCT (SNOMED CT), DCM, UCUM (units), …"""


def check_code(code: Any, what: str) -> None:
    """Raise ValueError, naming `what`, unless `code` is three texts that are not empty."""
    if not isinstance(code, tuple) or len(code) != 3 or not all(isinstance(part, str) and part for part in code):
        raise ValueError(f"{what} must be (value, scheme, meaning), e.g. ('39607008', 'SCT', 'Lung'), got {code!r}")


def read_code(item: Dataset) -> Code:
    """Read one item of a code sequence; a missing scheme is named URN, a missing meaning repeats the value."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return str(value), str(item.get("CodingSchemeDesignator") or "URN"), str(item.get("CodeMeaning") or value)


def concept(code: Code) -> Any:
    """Make the code sequence item of highdicom."""
    from highdicom.sr import CodedConcept  # here, not above: highdicom takes a second to import, which readers need not wait for

    return CodedConcept(value=code[0], scheme_designator=code[1], meaning=code[2])
