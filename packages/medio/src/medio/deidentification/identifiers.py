"""What identifies a patient in an object: names, numbers, places, dates and UIDs, and how to find them again in other text."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from medio.deidentification.policy import Policy
from medio.deidentification.profile_table import DEMANDS

INSIDE = 6
"""Characters that stand inside other text or bytes by chance less than once in 10^10 places."""
_TITLES = frozenset(
    [
        "dr",
        "drs",
        "doctor",
        "prof",
        "professor",
        "mr",
        "mrs",
        "ms",
        "miss",
        "herr",
        "frau",
        "mme",
        "md",
        "phd",
        "bsc",
        "msc",
        "rn",
        "pa",
        "np",
        "do",
        "jr",
        "sr",
        "ii",
        "iii",
        "iv",
        "von",
        "van",
        "der",
        "den",
        "de",
        "del",
        "della",
        "la",
        "le",
        "los",
        "di",
        "da",
        "dos",
        "zu",
        "zur",
        "the",
        "and",
        "none",
        "unknown",
        "anonymous",
        "anonymized",
    ]
)
"""Words of a PN that are no name."""

_PLACES = frozenset(
    {
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "PatientAddress",
        "PatientInstitutionResidence",
        "ReferringPhysicianAddress",
        "PersonAddress",
        "VerifyingOrganization",
        "OrderEntererLocation",
        "RequestingService",
        "IssuerOfPatientID",
        "CurrentPatientLocation",
    }
)
_VENDORS = frozenset(
    {"philips", "siemens", "ge", "general electric", "toshiba", "canon", "hitachi", "fuji", "fujifilm", "agfa", "uih", "hologic", "samsung"}
)
"""What test scanners give as their institution: no place."""

_PHONES = frozenset(
    {
        "PatientTelephoneNumbers",
        "ReferringPhysicianTelephoneNumbers",
        "PersonTelephoneNumbers",
        "OrderCallbackPhoneNumber",
        "PatientTelecomInformation",
        "OrderCallbackTelecomInformation",
        "PersonTelecomInformation",
    }
)
_NUMBERS = frozenset({"PatientID", "OtherPatientIDs", "AccessionNumber", "MilitaryRank", "RETIRED_OtherPatientIDs"})
_NUMBER_ENDINGS = ("ID", "IDs", "Number", "Identifier", "SerialNumber")
_PLAIN = {"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ı": "i", "’": "'"}
_LOOSE = r"[\W_]{0,2}"  # what may stand between the pieces of one name or number
_GENERIC_TAIL = re.compile(
    r"(?i)[\s,]+(?:hospital|clinic|clinics|center|centre|medical|radiology|imaging|department|institute|klinikum|university)$"
)


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    plain = _PLAIN.get(char)
    if plain is None:
        plain = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)).casefold()
    return plain


def fold(text: str) -> tuple[str, list[int]]:
    """Lower the case and take accents off, character by character.

    Returns:
        The folded text, and for each of its characters the place in `text` that it came from.
    """
    if text.isascii():
        return text.lower(), list(range(len(text)))
    pieces = [_fold_char(char) for char in text]
    return "".join(pieces), [place for place, piece in enumerate(pieces) for _ in piece]


@dataclass(frozen=True)
class Identifiers:
    """What must be found nowhere after de-identification.

    Attributes:
        names: words of the names of the patient and of everyone named.
        numbers: PatientID, accession number and the like, with at least four characters.
        places: institutions, stations, addresses.
        phones: telephone numbers and addresses of mail.
        dates: days of the studies.
        births: days of birth.
        uids: all UIDs that are not registered ones.
    """

    names: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    dates: frozenset[date] = frozenset()
    births: frozenset[date] = frozenset()
    uids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, dataset: Dataset, policy: Policy | None = None) -> "Identifiers":
        """Collect them from an object, nested and private ones included; what the policy keeps is left out."""
        found: dict[str, set[Any]] = {spec.name: set() for spec in fields(cls)}
        for element in dataset.iterall():
            for kind, value in _of_element(element, policy):
                found[kind].add(value)
        return cls(**{kind: frozenset(values) for kind, values in found.items()})

    @classmethod
    def named(cls, names: Iterable[str] = (), numbers: Iterable[str] = ()) -> "Identifiers":
        """Make them from names as people write them (`Doe, Jane` or `Doe^Jane`) and from numbers."""
        return cls(
            names=frozenset(word for name in names for word in name_words(name)),
            numbers=frozenset(n.strip() for n in numbers if len(n.strip()) >= 4),
        )

    def __or__(self, other: "Identifiers") -> "Identifiers":
        return Identifiers(**{spec.name: getattr(self, spec.name) | getattr(other, spec.name) for spec in fields(self)})

    def find(self, text: str, *, shortest_name: int = 3) -> list[tuple[int, int, str]]:
        """Find names, numbers, places and phones in a text, whatever their case, accents, hyphens and padding.

        Args:
            text: to search.
            shortest_name: names with fewer letters are passed over; two letters count only where they stand capitalised.

        Returns:
            (start, end, kind) with kind one of `name`, `number`, `place`, `phone`; in order, possibly overlapping.
        """
        folded, places = fold(text)
        found = []
        for kind, pattern in self._patterns.items():
            for match in pattern.finditer(folded):
                if match.end() == match.start():
                    continue
                start, end = places[match.start()], places[match.end() - 1] + 1
                while end < len(text) and unicodedata.combining(text[end]):
                    end += 1
                length = match.end() - match.start()
                if kind == "name" and length < shortest_name and not _is_ideographic(match.group()):
                    continue
                # A name of two letters is a name where it is written as one, and not the head of a word such as LI-RADS.
                if kind == "name" and length == 2 and (not text[start:end][:1].isupper() or text[end : end + 1] == "-"):
                    continue
                found.append((start, end, kind))
        return sorted(found)

    def stand_inside(self, text: str) -> bool:
        """Tell whether a name, place or number of at least `INSIDE` characters is part of a text, inside a word too; plain digits are left to `find`."""
        folded = fold(text)[0]
        return any(word in folded for word in self._long_words)

    @cached_property
    def _long_words(self) -> frozenset[str]:
        words = {fold(word)[0] for word in self.names | self.places | self.numbers}
        return frozenset(word for word in words if len(word) >= INSIDE and not re.fullmatch(r"[\d.]+", word))

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        sources = {
            "number": {p for number in self.numbers for p in _number_patterns(number)},
            "phone": {p for phone in self.phones for p in _phone_patterns(phone)},
            "place": {p for place in self.places for p in _place_patterns(place)},
            "name": {p for name in self.names for p in _name_patterns(name)},
        }
        return {kind: re.compile("|".join(sorted(patterns, key=lambda p: (-len(p), p)))) for kind, patterns in sources.items() if patterns}


def name_words(name: str) -> Iterator[str]:
    """Split a person's name into the words that tell the person; titles and particles are none."""
    for word in re.split(r"[\s^=,.;/()\[\]]+", name):
        bare = word.strip("-'’_")
        if len(bare) < 2 and not _is_ideographic(bare):
            continue
        if fold(bare)[0] in _TITLES:
            continue
        yield bare


def parse_day(text: str) -> date | None:
    """Read YYYYMMDD (also with dots or hyphens, also followed by a time); None for anything else."""
    match = re.match(r"\s*(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def values_of(element: DataElement) -> list[Any]:
    """Return the values of an element as a list, empty where there is none."""
    if element.value is None or element.value == "":
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _of_element(element: DataElement, policy: Policy | None) -> Iterator[tuple[str, Any]]:
    vr, keyword = element.VR, "" if element.tag.is_private else str(element.keyword)
    if vr == "SQ" or isinstance(element.value, bytes):
        return
    demand = DEMANDS.get(int(element.tag))
    kept = demand is not None and policy is not None
    kept = kept and (("d" in demand.options and policy.keep_device) or ("i" in demand.options and policy.keep_institution))  # type: ignore[union-attr]
    if kept:
        return
    texts = [str(value).strip() for value in values_of(element)]
    if vr == "PN":
        yield from (("names", word) for text in texts for word in name_words(text))
    elif vr == "UI":
        if policy is None or not policy.keep_uids:
            yield from (("uids", text) for text in texts if len(text) >= 8 and not text.startswith("1.2.840.10008."))
    elif vr in ("DA", "DT"):
        if keyword == "PatientBirthDate" or policy is None or policy.dates != "keep":
            kind = "births" if "Birth" in keyword else "dates"
            yield from ((kind, day) for text in texts if (day := parse_day(text)) is not None)
    elif keyword in _PHONES:
        yield from (("phones", text) for text in texts if len(text) >= 5)
    elif keyword in _PLACES:
        yield from (("places", text) for text in texts if len(text) >= 4 and fold(text)[0] not in _VENDORS)
    elif keyword in _NUMBERS or (demand is not None and keyword.endswith(_NUMBER_ENDINGS) and vr in ("LO", "SH", "UT", "UC")):
        for text in texts:
            if len(text) >= 4 and (keyword in _NUMBERS or re.search(r"\d{3}", text)):
                yield "numbers", text


def _is_ideographic(text: str) -> bool:
    return bool(text) and all(ord(char) >= 0x2E80 for char in text)


def _name_patterns(name: str) -> Iterator[str]:
    folded = fold(name)[0]
    if _is_ideographic(folded):
        yield re.escape(folded)
        return
    pieces = re.findall(r"[^\W_]+", folded)
    for variant in {tuple(pieces), tuple(re.sub("([aou])e", r"\1", p) for p in pieces), tuple(_umlauts(name))}:
        if variant:
            yield rf"(?<![^\W_]){_joined(variant)}{'s?' if len(folded) >= 5 else ''}(?![^\W_])"
    if len(pieces) > 1:
        # Each half of a double name tells the person too; one that is a mere letter (O'Brien) does not.
        yield from (rf"(?<![^\W_]){re.escape(p)}(?![^\W_])" for p in pieces if len(p) >= 4)


def _umlauts(name: str) -> list[str]:
    spelled = re.sub("[äöüÄÖÜ]", lambda m: {"ä": "ae", "ö": "oe", "ü": "ue"}[m[0].lower()], unicodedata.normalize("NFC", name))
    return re.findall(r"[^\W_]+", fold(spelled)[0])


def _joined(pieces: Iterable[str]) -> str:
    return _LOOSE.join(re.escape(piece) for piece in pieces)


def _number_patterns(number: str) -> Iterator[str]:
    pieces = re.findall(r"[^\W\d_]+|\d+", fold(number)[0])
    if not pieces:
        return
    loose = _LOOSE.join("0*" + piece.lstrip("0") if piece.isdigit() else re.escape(piece) for piece in pieces)
    yield rf"(?<![^\W_]){loose}(?![^\W_])"
    # The digits of MRN-778812 tell the patient without the letters, and with others before them.
    yield from (rf"(?<!\d)0*{piece.lstrip('0')}(?!\d)" for piece in pieces if piece.isdigit() and len(piece.lstrip("0")) >= 5)


def _phone_patterns(phone: str) -> Iterator[str]:
    digits = re.sub(r"\D", "", phone)
    if len(digits) >= 7:
        yield rf"(?<!\d){_LOOSE.join(digits[-7:])}(?!\d)"
        yield rf"(?<!\d)\+?{_LOOSE.join(digits)}(?!\d)"
    elif "@" in phone:
        yield re.escape(fold(phone)[0])


def _place_patterns(place: str) -> Iterator[str]:
    for part in {place, *re.split(r"[\r\n^;,]+", place)}:
        bare = part.strip()
        short = _GENERIC_TAIL.sub("", bare)
        for text in {bare, short}:
            pieces = re.findall(r"[^\W_]+", fold(text)[0])
            # A part of an address counts from six characters: "Bonn" alone stands in too many other words' places.
            if pieces and len("".join(pieces)) >= (4 if text == place.strip() else 6):
                spaced = r"[\W_]{1,3}".join(re.escape(piece) for piece in pieces)
                yield rf"(?<![^\W_]){spaced}(?![^\W_])"
