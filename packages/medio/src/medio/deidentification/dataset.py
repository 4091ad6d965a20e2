"""De-identification by allow-list: what is not known to be harmless does not survive; a patient's timeline does."""

import hashlib
import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.metadata import version
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.deidentification.rules import (
    AGE,
    BODY,
    CODING_SCHEMES,
    DATES,
    EMPTIED,
    EMPTIED_WHERE_PRESENT,
    GEOMETRY,
    IDENTIFIERS,
    IMAGE_CLASSES,
    KEEP,
    NUMERIC,
    NUMERIC_GROUPS,
    SCREEN_WORDS,
    SEX,
)
from medio.errors import CorruptFileError, PrivacyError

_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
_METHOD_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How to de-identify; the same policy gives the same output anywhere, any time.

    Attributes:
        key: secret from which pseudonyms, UIDs and date shifts are made; at least 16 characters. Keep it: with it new studies of a patient join the old
            ones; whoever has it can test guesses of a PatientID.
        keep_sex: keep PatientSex.
        keep_age: keep PatientAge; above 89 years it becomes 090Y.
        keep_size_and_weight: keep PatientSize and PatientWeight, which SUV needs.
        max_shift_days: a patient's dates all move into the past by one number of days from 1 to this.
    """

    key: bytes | str = field(repr=False)
    keep_sex: bool = True
    keep_age: bool = True
    keep_size_and_weight: bool = True
    max_shift_days: int = 3650

    def __post_init__(self) -> None:
        if len(self.key) < 16:
            raise ValueError(
                f"the key must have at least 16 characters, got {len(self.key)}; make one with secrets.token_hex(16) and keep it safe"
            )
        if self.max_shift_days < 1:
            raise ValueError(f"max_shift_days must be at least 1, got {self.max_shift_days}")

    def map_uid(self, uid: str) -> str:
        """Return the UID that stands for one of the originals; registered ones (SOP classes, transfer syntaxes) stay."""
        if uid.startswith("1.2.840.10008.") or not uid:
            return uid
        return f"2.25.{int.from_bytes(self._hash('uid', uid, 16), 'big')}"

    def pseudonym(self, patient: str) -> str:
        """Return the PatientID that stands for an original one."""
        return f"P{self._hash('patient', patient, 8).hex().upper()}"

    def shift_days(self, patient: str) -> int:
        """Return by how many days this patient's dates move, negative."""
        return -1 - int.from_bytes(self._hash("date", patient, 8), "big") % self.max_shift_days

    def fingerprint(self) -> str:
        """Hash that tells policies apart and does not tell the key."""
        options = f"{self.keep_sex}{self.keep_age}{self.keep_size_and_weight}{self.max_shift_days}"
        return self._hash("policy", options, 16).hex()

    def _hash(self, what: str, value: str, size: int) -> bytes:
        raw = self.key.encode() if isinstance(self.key, str) else bytes(self.key)
        key = hashlib.blake2b(raw, digest_size=32).digest()
        return hashlib.blake2b(value.encode(), key=key, person=what.encode(), digest_size=size).digest()


@dataclass(frozen=True)
class AuditEntry:
    """One change; it holds no value, neither old nor new.

    Attributes:
        tag: path of the attribute, `(0040,0275)[0].(0008,0100)`.
        keyword: DICOM keyword, `private` or `unknown`.
        action: `removed`, `emptied`, `replaced`, `uid mapped`, `date shifted` or `added`.
    """

    tag: str
    keyword: str
    action: str


def deidentify(dataset: Dataset, policy: Policy) -> tuple[Dataset, list[AuditEntry]]:
    """De-identify one DICOM object after PS3.15's Basic Profile, by allow-list.

    Kept: pixels, geometry, acquisition physics, modality, manufacturer and model, times of day. UIDs are mapped (references too, so that a series, its
    segmentation and its frame of reference stay together), dates shifted by one number of days a patient, PatientID and PatientName replaced by one
    pseudonym. All else goes: descriptions, comments, people, places, device serial numbers, private attributes, overlays, icons.

    Args:
        dataset: as read by pydicom, with or without pixels; not changed.
        policy: key and options.

    Returns:
        The new dataset with fresh file meta information, ready to be written, and what was changed.

    Raises:
        PrivacyError: for objects with text in pixels or content, which this version does not clean: burned-in annotation, screen captures, ultrasound,
            secondary capture, reports, encapsulated documents, and any class not known to be safe; also when neither patient nor study is named.
        CorruptFileError: for attributes that cannot be read as what they should be.
    """
    name = str(getattr(dataset, "filename", None) or "dataset")
    try:
        return _Deidentifier(dataset, policy, name).run()
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(name, f"cannot be read as DICOM ({reason}); exclude it or fetch it again") from error


class _Deidentifier:
    """One object's way through the rules."""

    def __init__(self, dataset: Dataset, policy: Policy, name: str) -> None:
        self.dataset = dataset
        self.policy = policy
        self.name = name
        self.audit: list[AuditEntry] = []
        self.identity = ""
        self.kept = KEEP
        for wanted, keywords in ((policy.keep_sex, SEX), (policy.keep_age, AGE), (policy.keep_size_and_weight, BODY)):
            self.kept = self.kept | keywords if wanted else self.kept

    def run(self) -> tuple[Dataset, list[AuditEntry]]:
        _refuse(self.dataset, self.name)
        self.identity = identity(self.dataset, self.name)
        secrets = set(_secrets(self.dataset))
        result = self._items(self.dataset, "")
        if secrets:
            either = "|".join(re.escape(secret) for secret in sorted(secrets))
            self._search_leftovers(result, "", re.compile(rf"(?<![A-Z0-9])(?:{either})(?![A-Z0-9])", re.IGNORECASE))
        _search_pixels(result, secrets, self.name)
        self._add(result)
        result.file_meta = _file_meta(self.dataset, result)
        result.preamble = b"\0" * 128
        return result, self.audit

    def _items(self, source: Dataset, path: str) -> Dataset:
        result = Dataset()
        for element in source:
            place = f"{path}({element.tag.group:04X},{element.tag.element:04X})"
            treated = self._element(element, place)
            if treated is not None:
                result.add(treated)
        return result

    def _element(self, element: DataElement, place: str) -> DataElement | None:
        keyword = "" if element.tag.is_private else str(element.keyword)
        if not keyword:
            return self._drop(place, "private" if element.tag.is_private else keyword or "unknown")
        if element.VR == "UI":
            return self._uid(element, place)
        if keyword in DATES and element.VR in ("DA", "DT"):
            return self._date(element, place)
        if keyword == "PatientAge" and keyword in self.kept and _years(element.value) > 89:
            self._note(place, keyword, "replaced")
            return DataElement(element.tag, "AS", "090Y")
        if keyword not in self.kept and not (element.VR in NUMERIC and element.tag.group in NUMERIC_GROUPS):
            return self._drop(place, keyword)
        if element.VR == "SQ":
            return self._sequence(element, place)
        if keyword in GEOMETRY and not _is_sound(element):
            raise CorruptFileError(self.name, f"{keyword} holds {element.value}, which is no number; fetch it again or exclude it")
        if element.VR in ("DA", "DT") or not _is_sound(element):
            return self._drop(place, keyword)
        # Copying bytes would double a file's pixels in memory for nothing: they cannot be changed.
        value = element.value if isinstance(element.value, bytes) else deepcopy(element.value)
        return DataElement(element.tag, element.VR, value, is_undefined_length=element.is_undefined_length)

    def _uid(self, element: DataElement, place: str) -> DataElement:
        values = [element.value] if isinstance(element.value, str) or element.value is None else list(element.value)
        mapped = [self.policy.map_uid(str(value or "")) for value in values]
        if mapped != [str(value or "") for value in values]:
            self._note(place, element.keyword, "uid mapped")
        return DataElement(element.tag, "UI", mapped[0] if len(mapped) == 1 else mapped)

    def _date(self, element: DataElement, place: str) -> DataElement:
        days = self.policy.shift_days(self.identity)
        values = [str(value) for value in _values(element)]
        shifted = [_shift(value, days, with_time=element.VR == "DT") for value in values]
        if shifted != values:
            self._note(place, element.keyword, "date shifted" if all(shifted) else "emptied")
        return DataElement(element.tag, element.VR, shifted if len(shifted) > 1 else "".join(shifted))

    def _sequence(self, element: DataElement, place: str) -> DataElement | None:
        items = []
        for number, item in enumerate(element.value):
            inside = f"{place}[{number}]"
            if "CodingSchemeDesignator" in item and str(item.CodingSchemeDesignator) not in CODING_SCHEMES:
                self._note(inside, element.keyword, "removed")
                continue
            treated = self._items(item, f"{inside}.")
            if "SegmentLabel" in treated:
                self._label(treated, inside)
            items.append(treated)
        if element.value and not items:
            return None
        return DataElement(element.tag, "SQ", DicomSequence(items))

    def _label(self, segment: Dataset, place: str) -> None:
        """A segment's label is free text: put the meaning of its code in its place."""
        kinds = segment.get("SegmentedPropertyTypeCodeSequence") or []
        label = str(kinds[0].get("CodeMeaning", "")) if len(kinds) else ""
        label = label or f"Segment {segment.get('SegmentNumber', '')}".strip()
        if label != segment.SegmentLabel:
            segment.SegmentLabel = label
            self._note(f"{place}.(0062,0005)", "SegmentLabel", "replaced")
        if segment.get("SegmentAlgorithmType", "MANUAL") != "MANUAL":
            # Required where no person drew the segment, and free text too.
            segment.SegmentAlgorithmName = "unnamed"
            self._note(f"{place}.(0062,0009)", "SegmentAlgorithmName", "replaced")

    def _search_leftovers(self, dataset: Dataset, path: str, secret: re.Pattern[str]) -> None:
        """Remove kept text in which a name, number or place of the original stands after all."""
        for element in list(dataset):
            place = f"{path}({element.tag.group:04X},{element.tag.element:04X})"
            if element.VR == "SQ":
                for number, item in enumerate(element.value):
                    self._search_leftovers(item, f"{place}[{number}].", secret)
            elif element.VR in _TEXT and any(secret.search(str(value)) for value in _values(element)):
                del dataset[element.tag]
                self._note(place, element.keyword, "removed")

    def _add(self, result: Dataset) -> None:
        pseudonym = self.policy.pseudonym(self.identity)
        result.PatientID = pseudonym
        result.PatientName = f"{pseudonym}^"  # the caret says that it is a family name, as readers expect one
        for keyword in EMPTIED:
            if keyword not in result:
                setattr(result, keyword, "")
                self._note_keyword(result, keyword, "emptied" if keyword in self.dataset else "added")
        for keyword in EMPTIED_WHERE_PRESENT:
            if keyword in self.dataset and keyword not in result:
                setattr(result, keyword, "")
                self._note_keyword(result, keyword, "emptied")
        result.PatientIdentityRemoved = "YES"
        result.DeidentificationMethod = f"medio {version('medio')}, PS3.15 Basic Profile by allow-list"
        result.LongitudinalTemporalInformationModified = "MODIFIED"
        codes = ["113100", "113107"]
        if self.policy.keep_sex or self.policy.keep_age or self.policy.keep_size_and_weight:
            codes.append("113108")
        items = []
        for code in codes:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", _METHOD_CODES[code]
            items.append(item)
        result.DeidentificationMethodCodeSequence = DicomSequence(items)
        self._note_keyword(result, "PatientID", "replaced")
        self._note_keyword(result, "PatientName", "replaced")
        for keyword in (
            "PatientIdentityRemoved",
            "DeidentificationMethod",
            "DeidentificationMethodCodeSequence",
            "LongitudinalTemporalInformationModified",
        ):
            self._note_keyword(result, keyword, "added")
        replaced = {entry.tag for entry in self.audit if entry.action in ("replaced", "emptied")}
        self.audit = [entry for entry in self.audit if not (entry.action == "removed" and entry.tag in replaced)]

    def _drop(self, place: str, keyword: str) -> DataElement | None:
        self._note(place, keyword, "removed")
        return None

    def _note_keyword(self, result: Dataset, keyword: str, action: str) -> None:
        tag = result[keyword].tag
        self._note(f"({tag.group:04X},{tag.element:04X})", keyword, action)

    def _note(self, place: str, keyword: str, action: str) -> None:
        self.audit.append(AuditEntry(place, keyword, action))


def _refuse(dataset: Dataset, name: str) -> None:
    kind = UID(str(dataset.get("SOPClassUID") or ""))
    if not kind:
        raise PrivacyError(name, "has no SOP Class UID, so nothing says what it holds; exclude it")
    if str(kind) not in IMAGE_CLASSES:
        raise PrivacyError(
            name, f"{kind.name} may hold text in its pixels or content, which this version does not clean; exclude it or clean it by hand"
        )
    if str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        raise PrivacyError(name, "BurnedInAnnotation is YES: text stands in its pixels, which this version does not clean; exclude it")
    words = {word for value in dataset.get("ImageType") or [] for word in re.split(r"[^A-Z]+", str(value).upper())}
    if words & SCREEN_WORDS:
        reason = f"ImageType says {', '.join(sorted(words & SCREEN_WORDS))}: a picture of a screen, with text in its pixels; exclude it"
        raise PrivacyError(name, reason)
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) in dataset and (group, 0x3000) not in dataset:
            raise PrivacyError(name, "an overlay lies in the unused bits of its pixels, which this version does not clean; exclude it")


def identity(dataset: Dataset, name: str) -> str:
    """Return what a patient's pseudonym and date shift are made from: PatientID, or where it is empty the study.

    Raises:
        PrivacyError: when there is neither.
    """
    patient = str(dataset.get("PatientID") or "").strip()
    study = str(dataset.get("StudyInstanceUID") or "").strip()
    if not patient and not study:
        raise PrivacyError(
            name, "has neither PatientID nor StudyInstanceUID, so its dates and pseudonym would be shared with strangers; exclude it"
        )
    return f"id:{patient}" if patient else f"study:{study}"


def _secrets(dataset: Dataset) -> Iterable[str]:
    """Names (word by word) and identifiers of the original, upper case, at least four characters."""
    for element in dataset.iterall():
        if element.tag.is_private:
            continue
        if element.VR == "PN":
            for value in _values(element):
                yield from (word for word in re.split(r"[\s^=,.]+", str(value).upper()) if len(word) >= 4)
        elif element.keyword in IDENTIFIERS:
            yield from (text for value in _values(element) if len(text := str(value).strip().upper()) >= 4)


def _search_pixels(dataset: Dataset, secrets: set[str], name: str) -> None:
    """Compressed frames can carry comments; native ones only values."""
    pixels = dataset.get("PixelData")
    if isinstance(pixels, bytes) and dataset["PixelData"].is_undefined_length:
        for secret in secrets:
            if len(secret) >= 6 and (secret.encode() in pixels or secret.title().encode() in pixels):
                raise PrivacyError(name, "a name or number of the patient stands inside its compressed pixels; exclude it")


def _file_meta(source: Dataset, result: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.get("SOPInstanceUID", "")
    syntax = getattr(source, "file_meta", {}).get("TransferSyntaxUID")
    if not syntax:
        implicit = source.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.TransferSyntaxUID = UID(str(syntax))
    return meta


def _values(element: DataElement) -> list[Any]:
    if element.value is None or element.value == "":
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _is_sound(element: DataElement) -> bool:
    """Whether a value is of its type, so that no text hides in a number or a time."""
    if element.VR == "TM":
        return all(re.fullmatch(r"[\d.:]{0,16}", str(value).strip()) for value in _values(element))
    if element.VR in ("DS", "IS"):
        return all(re.fullmatch(r"[-+.eE\d ]*", str(value)) for value in _values(element))
    if element.VR == "AS":
        return all(re.fullmatch(r"\d{3}[DWMY]", str(value)) for value in _values(element))
    if element.VR == "CS":
        return all(re.fullmatch(r"[-A-Z0-9_ ./+]{0,64}", str(value).strip(), re.IGNORECASE) for value in _values(element))
    return True


def _years(age: Any) -> int:
    match = re.fullmatch(r"(\d{3})Y", str(age or ""))
    return int(match[1]) if match else 0


def _shift(value: str, days: int, *, with_time: bool) -> str:
    """Shift YYYYMMDD[time]; empty for what is no full date. A time zone goes: it tells a place."""
    pattern = r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})" + (r"(\d{0,6}(?:\.\d{1,6})?)(?:[+-]\d{4})?" if with_time else "")
    match = re.fullmatch(pattern, value.strip())
    if not match:
        return ""
    try:
        moved = date(int(match[1]), int(match[2]), int(match[3])) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}" + (match[4] if with_time else "")
