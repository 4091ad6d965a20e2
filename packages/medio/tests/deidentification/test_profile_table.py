"""Every attribute of Table E.1-1 of PS3.15 is treated at least as strictly as its action demands."""

from datetime import date
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medio.deidentification.dataset import deidentify
from medio.deidentification.policy import METHOD_CODES, Policy
from medio.deidentification.profile_table import DEMANDS
from medio.deidentification.rules import KEEP

KEY = "a secret of 24 letters.."
BASIC = Policy(key=KEY, keep_sex=False, keep_age=False, keep_size_and_weight=False, dates="remove", clean_structured=True)
PLANTED = {
    "DA": "19480317",
    "DT": "19480317101112.5",
    "TM": "031415.9",
    "AS": "083Y",
    "DS": "83.25",
    "IS": "8325",
    "UI": "1.2.3.8325.19480317",
}
NUMBERS = {"US": 8325, "UL": 8325, "SL": 8325, "SS": 8325, "SV": 8325, "UV": 8325, "FL": 8325.0, "FD": 8325.0, "AT": 0x00100010}
# What every copy says of itself, or what the transfer demands.
OWN = {0x00020003, 0x00080018, 0x00280303}
# Treated as a whole, not attribute by attribute: the class is refused, or the content cleaned (`test_structured_reports.py`).
REFUSED = {0x00420011, 0x00700001, 0x0040A730}


def value_of(vr: str) -> Any:
    if vr == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "8325", "99WARD", "Ward of Zqplanted"
        return Sequence([item])
    if vr in NUMBERS:
        return NUMBERS[vr]
    if vr in ("OB", "OW", "UN", "OF", "OD", "OL", "OV"):
        return b"Zqplanted^Name  "
    return PLANTED.get(vr, "ZQPLANTED" if vr in ("CS", "AE") else "Zqplanted^Name")


def image(**extra: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid(entropy_srcs=["a"])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["b"]), generate_uid(entropy_srcs=["c"])
    dataset.PatientID, dataset.Modality = "P-1", "CT"
    for keyword, value in extra.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


ROWS = [(tag, keyword_for_tag(tag), demand.basic, demand.options) for tag, demand in sorted(DEMANDS.items()) if keyword_for_tag(tag)]
ROWS = [row for row in ROWS if row[0] >> 16 > 2 and row[0] not in REFUSED]


def test_the_table_is_whole() -> None:
    # 621 rows in the edition of January 2025, less those without a tag of their own; a few are newer than pydicom's dictionary.
    assert len(DEMANDS) == 617
    assert len(ROWS) > 560
    assert {d.basic for d in DEMANDS.values()} == {"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}
    assert DEMANDS[0x00100010].basic == "Z"
    assert (DEMANDS[0x00080080].basic, DEMANDS[0x00080080].options) == ("X/Z/D", "i")
    assert {keyword for tag, keyword, _, _ in ROWS if keyword in KEEP} == {
        "ReferencedImageSequence",
        "SourceImageSequence",
    }  # X/Z/U*: UIDs mapped


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_each_row_is_treated_at_least_as_strictly_as_the_basic_profile_demands(depth: int) -> None:
    for tag, keyword, basic, _ in ROWS:
        vr = dictionary_VR(tag).split(" or ")[0]
        dataset = carrier = image()
        for _ in range(depth):
            carrier.SharedFunctionalGroupsSequence = Sequence([Dataset()])
            carrier = carrier.SharedFunctionalGroupsSequence[0]
        carrier.add_new(tag, vr, value_of(vr))
        result, _ = deidentify(dataset, BASIC)
        for _ in range(depth):
            result = result.SharedFunctionalGroupsSequence[0]
        element = result.get(tag)
        if tag in OWN:
            assert element is None or element.value != carrier[tag].value, keyword
            continue
        if basic == "X":
            assert element is None or not element.value or keyword in ("PatientSex",), keyword
        elif basic == "Z":
            assert element is not None, keyword
            assert str(element.value or "") != str(carrier[tag].value), keyword
        elif basic == "D":
            assert element is not None, keyword
            assert element.value not in (None, "", b""), keyword
            assert element.value != carrier[tag].value, keyword
        elif basic == "U":
            assert element.value != carrier[tag].value, keyword
            assert str(element.value).startswith("2.25."), keyword
        else:
            assert element is None or element.value != carrier[tag].value, keyword
        assert b"qplanted" not in bytes(str(result), "utf-8").lower(), keyword


@pytest.mark.parametrize(
    ("letter", "option", "code"),
    [
        ("u", {"keep_uids": True}, "113110"),
        ("d", {"keep_device": True}, "113109"),
        ("i", {"keep_institution": True}, "113112"),
        ("p", {"keep_characteristics": True, "keep_sex": True, "keep_age": True, "keep_size_and_weight": True}, "113108"),
        ("t", {"dates": "keep"}, "113106"),
    ],
)
def test_an_option_keeps_what_the_table_lets_it_keep_and_nothing_else(letter: str, option: dict[str, Any], code: str) -> None:
    policy = Policy(key=KEY, **{"keep_sex": False, "keep_age": False, "keep_size_and_weight": False, "dates": "remove", **option})
    kept, gone = set(), set()
    for tag, keyword, _, options in ROWS:
        vr = dictionary_VR(tag)
        if vr in ("SQ", "OB", "OW") or " or " in vr or tag in OWN or keyword == "StudyInstanceUID":
            continue
        value = {"PatientAge": "083Y", "PregnancyStatus": 2, "TimezoneOffsetFromUTC": "+0100"}.get(keyword, value_of(vr))
        dataset = image()
        dataset.add_new(tag, vr, value)
        element = deidentify(dataset, policy)[0].get(tag)
        same = element is not None and element.value == dataset[tag].value
        # A capital letter: kept too, with its text cleaned, in which nothing is known of this word. A device's dates go with the other dates.
        (kept if same else gone).add(
            (keyword, letter in (options.lower() if same else options) and (same or "t" not in options or letter == "t"))
        )
    assert sorted(keyword for keyword, allowed in kept if not allowed) == []
    assert sorted(keyword for keyword, allowed in gone if allowed) == []
    codes = [item.CodeValue for item in deidentify(image(), policy)[0].DeidentificationMethodCodeSequence]
    assert codes == ["113100", code]


def test_dates_are_shifted_wherever_the_table_lets_them_be_modified() -> None:
    policy = Policy(key=KEY)
    for tag, keyword, _, options in ROWS:
        if "t" not in options or dictionary_VR(tag) not in ("DA", "DT"):
            continue
        dataset = image()
        dataset.add_new(tag, dictionary_VR(tag), "20210304")
        moved = deidentify(dataset, policy)[0][tag].value
        assert moved == policy.shift(date(2021, 3, 4), "id:P-1").strftime("%Y%m%d"), keyword


def test_the_codes_say_what_was_done_to_this_object() -> None:
    everything = Policy(
        key=KEY, keep_device=True, keep_safe_private=True, clean_descriptors=True, clean_structured=True, clean_graphics=True
    )
    result, _ = deidentify(image(), everything)
    codes = {item.CodeValue: item.CodeMeaning for item in result.DeidentificationMethodCodeSequence}
    # No pixels, no graphics and no content tree were cleaned in this one.
    assert set(codes) == {"113100", "113105", "113107", "113108", "113109", "113111"}
    assert all(METHOD_CODES[code] == meaning for code, meaning in codes.items())
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    for dates, said in (("keep", "UNMODIFIED"), ("remove", "REMOVED")):
        assert deidentify(image(), Policy(key=KEY, dates=dates))[0].LongitudinalTemporalInformationModified == said
