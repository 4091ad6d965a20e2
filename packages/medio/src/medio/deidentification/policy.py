"""How to de-identify: a key and the options of PS3.15 Annex E."""

import hashlib
import re
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from typing import Literal

Dates = Literal["shift", "keep", "remove"]
"""What becomes of dates: moved by one number of days a patient, left as they are, or taken out."""

METHOD_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
    "113110": "Retain UIDs Option",
    "113111": "Retain Safe Private Option",
    "113112": "Retain Institution Identity Option",
}
"""CID 7050 of PS3.16. 113102 (Clean Recognizable Visual Features) is missing on purpose: no face or head surface is altered here."""

_FIRST_OPTIONS = ("keep_sex", "keep_age", "keep_size_and_weight", "max_shift_days")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How to de-identify; the same policy gives the same output anywhere, any time.

    Without options: PS3.15's Basic Profile by allow-list, dates shifted, sex, age, size and weight kept, and every object with text in its pixels,
    graphics or content refused. Each option either keeps more or admits and cleans a kind of object that is refused without it.
    The Clean Recognizable Visual Features Option is not offered: the surface of a head in CT or MR can be rendered to a face, and stays in the output.
    Where the header says head, neck or whole body, RecognizableVisualFeatures is set to YES, so that such series can be found and defaced by other means
    before they leave the house.

    Attributes:
        key: secret from which pseudonyms, UIDs and date shifts are made; at least 16 characters. Keep it: with it new studies of a patient join the old
            ones; whoever has it can test guesses of a PatientID.
        keep_sex: keep PatientSex.
        keep_age: keep PatientAge; above 89 years it becomes 090Y.
        keep_size_and_weight: keep PatientSize and PatientWeight, which SUV needs.
        max_shift_days: a patient's dates all move into the past by one number of days from 1 to this.
        dates: `shift` them by patient, `keep` them, or `remove` them (times of day too).
        day_first: how a date such as 03/04/2021 in free text is read; None: not guessed, taken out.
        keep_characteristics: keep smoking and pregnancy status and ethnic group; allergies, alerts and special needs with their text cleaned.
        keep_uids: keep UIDs as they are.
        keep_device: keep serial numbers, station names and other identity of devices.
        keep_institution: keep name, address and department of the institution.
        keep_safe_private: keep the private attributes that PS3.15 and vendors' statements call safe (`safe_private.py`), none else.
        safe_private: further private attributes to keep: (creator, group, element below 0x100); implies nothing without `keep_safe_private`.
        clean_descriptors: keep descriptions and comments, with identifiers taken out of the text; without it they go.
        clean_pixels: admit secondary captures, ultrasound, radiofluoroscopy and screen captures: find text in their pixels by OCR and blank it in every
            frame. Radiographs, colour images and whatever says BurnedInAnnotation YES are examined too. Needs `medio[ocr]`.
        examine_all_pixels: with `clean_pixels`, look at every image, plain CT and MR slices too (0.2 to 3 s each).
        blank_outside_regions: with `clean_pixels`, blank an ultrasound picture outside the regions that its header declares.
        clean_graphics: keep overlays (with text found in them blanked) and admit presentation states with their text cleaned. Needs `medio[ocr]`.
            Curves always go.
        clean_structured: admit structured reports and key object selections: text cleaned, people and places replaced, references mapped.
    """

    key: bytes | str = field(repr=False)
    keep_sex: bool = True
    keep_age: bool = True
    keep_size_and_weight: bool = True
    max_shift_days: int = 3650
    dates: Dates = "shift"
    day_first: bool | None = None
    keep_characteristics: bool = False
    keep_uids: bool = False
    keep_device: bool = False
    keep_institution: bool = False
    keep_safe_private: bool = False
    safe_private: frozenset[tuple[str, int, int]] = frozenset()
    clean_descriptors: bool = False
    clean_pixels: bool = False
    examine_all_pixels: bool = False
    blank_outside_regions: bool = True
    clean_graphics: bool = False
    clean_structured: bool = False

    def __post_init__(self) -> None:
        if len(self.key) < 16:
            raise ValueError(
                f"the key must have at least 16 characters, got {len(self.key)}; make one with secrets.token_hex(16) and keep it safe"
            )
        if self.max_shift_days < 1:
            raise ValueError(f"max_shift_days must be at least 1, got {self.max_shift_days}")
        if self.dates not in ("shift", "keep", "remove"):
            raise ValueError(f"dates must be 'shift', 'keep' or 'remove', got {self.dates!r}")
        if self.examine_all_pixels and not self.clean_pixels:
            raise ValueError("examine_all_pixels looks for text to blank: it needs clean_pixels=True")
        for creator, group, element in self.safe_private:
            if not creator or group % 2 == 0 or not 0 <= element <= 0xFF:
                raise ValueError(
                    f"safe_private takes (creator, odd group, element below 0x100), got ({creator!r}, {group:#06x}, {element:#06x})"
                )

    def map_uid(self, uid: str, *, even_if_kept: bool = False) -> str:
        """Return the UID that stands for one of the originals; registered ones (SOP classes, transfer syntaxes) stay, with `keep_uids` all of them."""
        stays = (self.keep_uids and not even_if_kept) or uid.startswith("1.2.840.10008.")
        if not uid or (stays and len(uid) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid)):  # text in the place of a UID is none
            return uid
        return f"2.25.{int.from_bytes(self._hash('uid', uid, 16), 'big')}"

    def pseudonym(self, patient: str) -> str:
        """Return the PatientID that stands for an original one (given as `identity` names it: `id:` or `study:` and the value)."""
        return f"P{self._hash('patient', patient, 8).hex().upper()}"

    def shift_days(self, patient: str) -> int:
        """Return by how many days this patient's dates move, negative; 0 where dates are kept."""
        if self.dates == "keep":
            return 0
        return -1 - int.from_bytes(self._hash("date", patient, 8), "big") % self.max_shift_days

    def shift(self, day: date, patient: str) -> date | None:
        """Return where a patient's day moves to; None where dates are removed, or for a result before the year 1."""
        if self.dates == "remove":
            return None
        try:
            return day + timedelta(days=self.shift_days(patient))
        except OverflowError:
            return None

    def fingerprint(self) -> str:
        """Hash that tells policies apart and does not tell the key."""
        options = "".join(str(getattr(self, name)) for name in _FIRST_OPTIONS)
        # Options that came later count only where they are set, so that a folder of an earlier version stays open to its policy.
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.name not in ("key", *_FIRST_OPTIONS) and value != spec.default:
                options += f";{spec.name}={sorted(value) if isinstance(value, frozenset) else value}"
        return self._hash("policy", options, 16).hex()

    def method_codes(self, *, pixels: bool, graphics: bool, structured: bool) -> list[str]:
        """Return the codes of CID 7050 that are true of one object.

        Args:
            pixels: its pixels were searched for text.
            graphics: graphics were kept, cleaned.
            structured: its content tree was cleaned.
        """
        said = {
            "113100": True,
            "113101": pixels,
            "113103": graphics,
            "113104": structured,
            "113105": self.clean_descriptors,
            "113106": self.dates == "keep",
            "113107": self.dates == "shift",
            "113108": self.keep_sex or self.keep_age or self.keep_size_and_weight or self.keep_characteristics,
            "113109": self.keep_device,
            "113110": self.keep_uids,
            "113111": self.keep_safe_private,
            "113112": self.keep_institution,
        }
        return [code for code, true in said.items() if true]

    def _hash(self, what: str, value: str, size: int) -> bytes:
        raw = self.key.encode() if isinstance(self.key, str) else bytes(self.key)
        key = hashlib.blake2b(raw, digest_size=32).digest()
        return hashlib.blake2b(value.encode(), key=key, person=what.encode(), digest_size=size).digest()
