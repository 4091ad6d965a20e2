"""De-identification by allow-list: what is not known to be harmless does not survive; a patient's timeline does."""

import struct
from copy import deepcopy
from pathlib import Path

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from medio.deidentification.admission import Admission, admit
from medio.deidentification.burned_in import clean_pixels
from medio.deidentification.graphics import DATA, clean_overlay, clear_unused_bits, is_layout
from medio.deidentification.identifiers import Identifiers, values_of
from medio.deidentification.native import native_size
from medio.deidentification.policy import Policy
from medio.deidentification.profile_table import DEMANDS, Demand
from medio.deidentification.rules import (
    AGE,
    BODY,
    CODES,
    CODING_SCHEMES,
    EMPTY_SEQUENCES,
    ENUMERATED,
    GEOMETRY,
    KEEP,
    LOOKUP_TABLES,
    NUMERIC,
    NUMERIC_GROUPS,
    PIXELS,
    SEX,
    TYPE_2_SEQUENCES,
)
from medio.deidentification.safe_private import SAFE_VRS, is_safe
from medio.deidentification.stamp import AuditEntry, file_meta, settled, stamp
from medio.deidentification.structured import stand_in, tells_identity
from medio.deidentification.text import scrub_text
from medio.deidentification.values import dummy, empty, is_sound, move_date, removed_code, years
from medio.errors import CorruptFileError, PrivacyError

_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
_PROSE = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_BULK = PIXELS | LOOKUP_TABLES
_NOBODY = Identifiers()
BROKEN = (
    *(ValueError, TypeError, AttributeError, LookupError, OverflowError, NotImplementedError, EOFError, RecursionError),
    *(struct.error, BytesLengthException),
)
"""What pydicom raises where an element is not what it should be, most of it only when the element is looked at."""
_SHORTEST = 4  # letters of a name that is looked for in what is kept


def deidentify(dataset: Dataset, policy: Policy, *, known: Identifiers = _NOBODY) -> tuple[Dataset, list[AuditEntry]]:
    """De-identify one DICOM object after PS3.15's Basic Profile and the policy's options, by allow-list.

    Kept: pixels, geometry, acquisition physics, modality, manufacturer and model, times of day. UIDs are mapped (references too, so that a series, its
    segmentation, its report and its frame of reference stay together), dates shifted by one number of days a patient, PatientID and PatientName replaced
    by one pseudonym. All else goes, unless an option of the policy keeps it: descriptions, comments, people, places, device serial numbers, private
    attributes, overlays, icons. What an object must have stays, empty or with a dummy.

    Args:
        dataset: as read by pydicom, with or without pixels; not changed.
        policy: key and options.
        known: what else identifies people, e.g. the names of the staff and of the houses, to be looked for in text beside what the object itself says.

    Returns:
        The new dataset with fresh file meta information, ready to be written, and what was changed.

    Raises:
        PrivacyError: for objects that the policy does not admit, and for those that never pass (`admission.py` has the reasons); also when neither patient
            nor study is named, and when text in the pixels resists.
        CorruptFileError: for attributes that cannot be read as what they should be.
    """
    name = str(getattr(dataset, "filename", None) or "dataset")
    try:
        return _Deidentifier(dataset, policy, name, known).run()
    except BROKEN as error:
        raise corrupt(name, error) from error


class _Deidentifier:
    """One object's way through the rules."""

    def __init__(self, dataset: Dataset, policy: Policy, name: str, known: Identifiers) -> None:
        self.dataset = dataset
        self.policy = policy
        self.name = name
        self.audit: list[AuditEntry] = []
        self.admission = Admission()
        self.identity = ""
        self.known = known
        self.graphics = False
        self.kept = KEEP
        for wanted, keywords in ((policy.keep_sex, SEX), (policy.keep_age, AGE), (policy.keep_size_and_weight, BODY)):
            self.kept = self.kept | keywords if wanted else self.kept

    def run(self) -> tuple[Dataset, list[AuditEntry]]:
        self.admission = admit(self.dataset, self.policy, self.name)
        self.identity = identity(self.dataset, self.name)
        self.known = self.known | Identifiers.of(self.dataset, self.policy)
        result = self._items(self.dataset, "")
        self._search_leftovers(result, "")
        syntax = self._pixels(result)
        self._stamp(result)
        result.file_meta = file_meta(self.dataset, result, syntax)
        result.preamble = b"\0" * 128
        return result, self.audit

    def _items(self, source: Dataset, path: str) -> Dataset:
        result = Dataset()
        for element in source:
            place = f"{path}({element.tag.group:04X},{element.tag.element:04X})"
            treated = self._private(element, source, place) if element.tag.is_private else self._element(element, source, place)
            if treated is not None:
                result.add(treated)
        creators = {f"{path}({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in _keep_creators(source, result)}
        if creators:
            self.audit = [entry for entry in self.audit if entry.tag not in creators]
        return result

    def _element(self, element: DataElement, parent: Dataset, place: str) -> DataElement | None:
        keyword, demand = str(element.keyword), DEMANDS.get(int(element.tag))
        if 0x6000 <= element.tag.group < 0x6020:
            return self._overlay(element, parent, place)
        if not keyword:
            return self._drop(place, "unknown")
        if element.VR == "UI":
            return self._uid(element, place)
        options = demand.options if demand else ""
        if "t" in options and element.VR in ("DA", "DT", "TM"):
            if self.policy.dates != "remove":
                return self._date(element, place)
        elif keyword in CODES and str(parent.get("CodingSchemeDesignator")) not in CODING_SCHEMES:
            return self._drop(place, keyword)
        elif self._is_kept(element, keyword, demand):
            return self._kept(element, place)
        elif self._is_prose(keyword, options):
            return self._cleaned(element, place)
        return self._fulfil(element, demand, place)

    def _is_kept(self, element: DataElement, keyword: str, demand: Demand | None) -> bool:
        policy = self.policy
        if keyword in self.kept:
            return True
        if demand is None:
            return element.VR in NUMERIC and element.tag.group in NUMERIC_GROUPS
        flags = {
            "d": policy.keep_device,
            "i": policy.keep_institution,
            "p": policy.keep_characteristics and keyword not in SEX | AGE | BODY,
            "s": self.admission.structured and element.VR == "SQ",
            "g": self.admission.graphics and element.VR == "SQ",
            "t": policy.dates == "keep",
        }
        return any(flags.get(letter, False) for letter in demand.options)

    def _is_prose(self, keyword: str, options: str) -> bool:
        policy = self.policy
        if keyword == "TextValue":
            return self.admission.structured
        if keyword == "UnformattedTextValue":
            return self.admission.graphics
        flags = {"c": policy.clean_descriptors, "P": policy.keep_characteristics, "D": policy.keep_device}
        return any(flags.get(letter, False) for letter in options)

    def _kept(self, element: DataElement, place: str) -> DataElement | None:
        keyword = str(element.keyword)
        if keyword == "PatientAge" and years(element.value) > 89:
            self._note(place, keyword, "replaced")
            return DataElement(element.tag, "AS", "090Y")
        if element.VR == "SQ":
            return self._sequence(element, place)
        if keyword in GEOMETRY and not is_sound(element):
            raise CorruptFileError(self.name, f"{keyword} holds {element.value}, which is no number; fetch it again or exclude it")
        # Bytes can hold anything: only those of pixels and their tables stay.
        if element.VR in ("DA", "DT", "UN") or not is_sound(element) or (isinstance(element.value, bytes) and keyword not in _BULK):
            return self._drop(place, keyword)
        # Copying bytes would double a file's pixels in memory for nothing: they cannot be changed.
        value = element.value if isinstance(element.value, bytes) else deepcopy(element.value)
        return DataElement(element.tag, element.VR, value, is_undefined_length=element.is_undefined_length)

    def _cleaned(self, element: DataElement, place: str) -> DataElement | None:
        keyword = str(element.keyword)
        if element.VR not in _PROSE:
            return self._kept(element, place)
        texts, touched = [], False
        for value in values_of(element):
            text, changes = scrub_text(str(value), policy=self.policy, patient=self.identity, identifiers=self.known)
            texts.append(text)
            touched = touched or bool(changes)
        if touched:
            self._note(place, keyword, "text cleaned")
        limit = {"SH": 16, "LO": 64}.get(element.VR)
        if limit:
            texts = [" ".join(text.split())[:limit] if touched or not text.isprintable() else text for text in texts]
        return DataElement(element.tag, element.VR, texts if len(texts) > 1 else "".join(texts))

    def _uid(self, element: DataElement, place: str) -> DataElement:
        values = [element.value] if isinstance(element.value, str) or element.value is None else list(element.value)
        demand = DEMANDS.get(int(element.tag))
        options = demand.options if demand else "u"
        if self.policy.keep_device and "d" in options:
            return DataElement(element.tag, "UI", element.value)
        # The table lets a few UIDs go unmapped under no option.
        mapped = [self.policy.map_uid(str(value or ""), even_if_kept="u" not in options) for value in values]
        if mapped != [str(value or "") for value in values]:
            self._note(place, element.keyword, "uid mapped")
        return DataElement(element.tag, "UI", mapped[0] if len(mapped) == 1 else mapped)

    def _date(self, element: DataElement, place: str) -> DataElement | None:
        if element.VR == "TM" or self.policy.dates == "keep":
            sound = is_sound(element) and (
                element.VR == "TM" or all(move_date(str(v), lambda d: d, with_time=True) for v in values_of(element))
            )
            if sound:
                return DataElement(element.tag, element.VR, deepcopy(element.value))
            return self._fulfil(element, DEMANDS.get(int(element.tag)), place)
        values = [str(value) for value in values_of(element)]
        shifted = [move_date(value, lambda day: self.policy.shift(day, self.identity), with_time=element.VR == "DT") for value in values]
        if shifted != values:
            self._note(place, element.keyword, "date shifted" if all(shifted) else "emptied")
        return DataElement(element.tag, element.VR, shifted if len(shifted) > 1 else "".join(shifted))

    def _fulfil(self, element: DataElement, demand: Demand | None, place: str) -> DataElement | None:
        """Do what the table asks, in the form that keeps an object valid where the attribute is one that it must have."""
        keyword = str(element.keyword)
        basic = demand.basic if demand else "X"
        given = element.value is not None and element.value != "" and element.value != b"" and element.value != []
        timely = element.VR in ("DA", "DT", "TM")
        if "D" in basic and given and not (timely and basic != "D"):
            if element.VR == "SQ" and not keyword.endswith("IdentificationCodeSequence"):
                return self._sequence(element, place)
            self._note(place, keyword, "replaced")
            return dummy(element)
        # An empty sequence is valid only where it must be there (type 2); where it need not, it may not be empty.
        if ("Z" in basic or ("D" in basic and not given)) and not (element.VR == "SQ" and "X" in basic and keyword not in TYPE_2_SEQUENCES):
            if given:
                self._note(place, keyword, "emptied")
            return empty(element)
        return self._drop(place, keyword)

    def _sequence(self, element: DataElement, place: str) -> DataElement | None:
        items = []
        for number, item in enumerate(element.value):
            inside = f"{place}[{number}]"
            if "CodingSchemeDesignator" in item and str(item.CodingSchemeDesignator) not in CODING_SCHEMES:
                self._note(inside, element.keyword, "removed")
                continue
            if element.keyword == "ContentSequence" and tells_identity(item, self.policy):
                self._note(inside, element.keyword, "replaced")
                items.append(stand_in(item))
                continue
            treated = self._items(item, f"{inside}.")
            if "SegmentLabel" in treated:
                self._label(treated, inside)
            items.append(treated)
        if element.value and not items:
            demand = DEMANDS.get(int(element.tag))
            # A report has a title, even if it is one that only its institution knows.
            needed = (demand and "D" in demand.basic) or (element.keyword == "ConceptNameCodeSequence" and "[" not in place)
            return DataElement(element.tag, "SQ", DicomSequence([removed_code()])) if needed else None
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

    def _private(self, element: DataElement, parent: Dataset, place: str) -> DataElement | None:
        if element.tag.is_private_creator:
            return self._drop(place, "private")  # those of the attributes that stay come back at the end
        creator = parent.get((element.tag.group, element.tag.element >> 8)) if self.policy.keep_safe_private else None
        text = str(creator.value) if creator is not None and creator.value else ""
        if text and is_safe(text, element.tag.group, element.tag.element & 0xFF, self.policy.safe_private):
            if element.VR in SAFE_VRS["uid"]:
                return self._uid(element, place)
            fits = element.VR in SAFE_VRS["number"] | SAFE_VRS["word"] and not isinstance(element.value, bytes)
            if fits and is_sound(element) and not any(self.known.find(str(value)) for value in values_of(element)):
                return DataElement(element.tag, element.VR, deepcopy(element.value))
        return self._drop(place, "private")

    def _overlay(self, element: DataElement, parent: Dataset, place: str) -> DataElement | None:
        keyword = "Overlay"  # the dictionary has no keyword for groups that repeat
        if not self.policy.clean_graphics or (element.tag.group, DATA) not in parent:
            return self._drop(place, keyword)
        if is_layout(element):
            return DataElement(element.tag, element.VR, deepcopy(element.value)) if is_sound(element) else self._drop(place, keyword)
        if element.tag.element != DATA or not isinstance(element.value, bytes):
            return self._drop(place, keyword)
        self.graphics = True
        cleaned, found = clean_overlay(element, parent, self.name)
        if found:
            self._note(place, keyword, "text blanked")
        return cleaned

    def _search_leftovers(self, dataset: Dataset, path: str) -> None:
        """Remove kept text in which a name, number or place of the original stands after all."""
        for element in list(dataset):
            place = f"{path}({element.tag.group:04X},{element.tag.element:04X})"
            if element.tag.is_private_creator:
                continue  # one of a list
            if element.VR == "SQ":
                for number, item in enumerate(element.value):
                    self._search_leftovers(item, f"{place}[{number}].")
            elif element.VR in _TEXT and any(
                self.known.find(str(value), shortest_name=_SHORTEST) or self.known.stand_inside(str(value))
                for value in values_of(element)
                if not (element.VR == "CS" and str(value) in ENUMERATED)
            ):
                # Empty rather than gone: some of these must be there.
                dataset[element.tag] = empty(element)
                self._note(place, element.keyword or "private", "emptied")

    def _pixels(self, result: Dataset) -> UID | None:
        """Clean the pixels; return their new transfer syntax where they were written anew."""
        if clear_unused_bits(self.dataset, result, self.name):
            self._note("(7FE0,0010)", "PixelData", "overlay bits cleared")
        pixels = result.get("PixelData")
        if isinstance(pixels, bytes) and "Rows" in result and (size := native_size(result)) is not None and len(pixels) > size + 1:
            # What follows the last pixel is no pixel.
            result.PixelData = pixels[:size] + b"\0" * (size % 2)
            self._note("(7FE0,0010)", "PixelData", "replaced")
        tainted = isinstance(pixels, bytes) and result["PixelData"].is_undefined_length and _mentions(pixels, self.known)
        if tainted and not self.policy.clean_pixels:
            raise PrivacyError(
                self.name, "a name or number of the patient stands inside its compressed pixels; exclude it, or set clean_pixels"
            )
        if pixels is None or not (self.admission.pixels or tainted):
            return None
        cleaned = clean_pixels(self.dataset, result, self.name, outside_regions=self.policy.blank_outside_regions, anew=tainted)
        if cleaned.encoded:
            self._note("(7FE0,0010)", "PixelData", "text blanked" if cleaned.boxes else "replaced")
        return ExplicitVRLittleEndian if cleaned.encoded else None

    def _stamp(self, result: Dataset) -> None:
        codes = self.policy.method_codes(
            pixels=self.admission.pixels and "PixelData" in result,
            graphics=self.graphics or self.admission.graphics,
            structured=self.admission.structured,
        )
        for keyword in EMPTY_SEQUENCES if self.admission.structured else ():
            if keyword not in result:
                setattr(result, keyword, DicomSequence([]))
        self.audit += stamp(self.dataset, result, self.policy, self.policy.pseudonym(self.identity), codes)
        self.audit = settled(self.audit)

    def _drop(self, place: str, keyword: str) -> DataElement | None:
        self._note(place, keyword, "removed")
        return None

    def _note(self, place: str, keyword: str, action: str) -> None:
        self.audit.append(AuditEntry(place, keyword, action))


def corrupt(path: Path | str, error: Exception) -> CorruptFileError:
    """Say in one line that a file cannot be read, and why."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return CorruptFileError(path, f"cannot be read as DICOM ({reason}); exclude it or fetch it again")


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


def _keep_creators(source: Dataset, result: Dataset) -> set[int]:
    """Keep the private creators of the private attributes that stayed; return their tags."""
    kept = set()
    for element in list(result):
        if element.tag.is_private and not element.tag.is_private_creator:
            creator = source[(element.tag.group, element.tag.element >> 8)]
            result.add(DataElement(creator.tag, "LO", str(creator.value)))
            kept.add(int(creator.tag))
    return kept


def _mentions(data: bytes, known: Identifiers) -> bool:
    """Compressed frames can carry comments; native ones only values."""
    folded = data.lower()
    return any(len(word) >= 6 and word.casefold().encode("latin-1", "ignore") in folded for word in known.names | known.numbers)
