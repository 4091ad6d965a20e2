"""Structured reports: which content items tell who someone is.

The text, names, dates and references of the others are treated attribute by attribute. Source: DICOM PS3.15 E.3.4, PS3.16 TID 1001 to 1010 and 10011.
"""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from medio.deidentification.policy import Policy
from medio.deidentification.rules import CODING_SCHEMES

_PEOPLE_AND_PLACES = frozenset(
    {
        *("121008", "121009", "121010", "121011"),  # person observer: name, organization, role there, role in the procedure
        *("121013", "121016", "121017"),  # device observer: name, serial number, place
        "121022",  # accession number
        *("121029", "121030", "121031", "121034", "121036"),  # subject: name, ID, birth date, ethnic group; mother of the fetus
        *("113870", "113871", "113872", "113873", "113874"),  # person: name, ID, its issuer, organization, role
        *("121114", "121152", "128774", "128775"),  # performing physician and others
    }
)
_DEVICES = frozenset({"113877", "113880", "113876"})  # device: name, serial number, place
_SEX, _AGE = "121032", "121033"


def tells_identity(item: Dataset, policy: Policy) -> bool:
    """Tell whether a content item must go as a whole: by its concept, or for a code that only its institution knows."""
    value, scheme = _code(item, "ConceptNameCodeSequence")
    if scheme and scheme not in CODING_SCHEMES:
        return True
    if str(item.get("ValueType") or "") == "CODE" and _code(item, "ConceptCodeSequence")[1] not in CODING_SCHEMES:
        return True
    if scheme != "DCM" or item.get("ValueType") == "CONTAINER":
        return False
    return (
        value in _PEOPLE_AND_PLACES
        or (value in _DEVICES and not policy.keep_device)
        or (value == _SEX and not policy.keep_sex)
        or (value == _AGE and not policy.keep_age)
    )


def stand_in(item: Dataset) -> Dataset:
    """Make an item that takes the place of one that went, so that references by position still hold."""
    left = Dataset()
    if "RelationshipType" in item:
        left.RelationshipType = item.RelationshipType
    left.ValueType = "TEXT"
    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = "121106", "DCM", "Comment"
    left.ConceptNameCodeSequence = DicomSequence([concept])
    left.TextValue = "[REMOVED]"
    return left


def _code(item: Dataset, keyword: str) -> tuple[str, str]:
    codes = item.get(keyword)
    if not codes:
        return "", ""
    return str(codes[0].get("CodeValue") or codes[0].get("LongCodeValue") or ""), str(codes[0].get("CodingSchemeDesignator") or "")
