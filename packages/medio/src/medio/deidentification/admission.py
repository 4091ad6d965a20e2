"""Which objects may pass, and which are set aside whatever else is done: the decision and its reason, class by class."""

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID

from medio.deidentification.policy import Policy
from medio.errors import PrivacyError

_IMAGE = "1.2.840.10008.5.1.4.1.1."


def _classes(*suffixes: str) -> frozenset[str]:
    return frozenset(_IMAGE + suffix for suffix in suffixes)


IMAGE_CLASSES = _classes(
    *("2", "2.1", "2.2"),  # CT, enhanced, converted
    *("4", "4.1", "4.4"),  # MR, enhanced, converted
    *("128", "130", "128.1", "20"),  # PET, enhanced, converted; nuclear medicine
    *("1", "1.1", "1.1.1", "1.2", "1.2.1"),  # CR, DX, mammography
    *("66.4", "66.7", "30"),  # segmentation, labelmap, parametric map
    *("481.2", "481.3"),  # RT dose, RT structure set
)
"""Objects whose pixels come from the scanner's detector, or that hold numbers made from such: text in them is the exception."""

TEXT_IN_PIXELS = _classes(
    *("6.1", "3.1", "6.2"),  # ultrasound, its multi-frames, enhanced volume
    *("7", "7.1", "7.2", "7.3", "7.4"),  # secondary capture
    *("12.1", "12.1.1", "12.2", "12.2.1", "12.3", "13.1.1", "13.1.2", "13.1.3"),  # angiography, fluoroscopy, X-ray 3D, tomosynthesis
    *("1.3", "1.3.1"),  # intra-oral radiographs
    *("77.1.5.1", "77.1.5.2", "77.1.5.4"),  # fundus photographs, OCT
)
"""Pictures in which names are often burned in: with `clean_pixels`."""

PROJECTIONS = _classes("1", "1.1", "1.1.1", "1.2", "1.2.1")
"""Radiographs, whose labels may be burned in: examined with `clean_pixels`."""

GRAPHICS = _classes("11.1", "11.2", "11.3", "11.4", "11.8")
"""Presentation states: with `clean_graphics`."""

STRUCTURED = _classes(
    *("88.11", "88.22", "88.33", "88.34", "88.35"),  # basic text, enhanced, comprehensive, comprehensive 3D, extensible
    *("88.50", "88.65", "88.69", "88.59"),  # mammography, chest and colon CAD; key object selection
    *("88.67", "88.68", "88.73"),  # radiation dose, radiopharmaceutical dose, patient radiation dose
    "88.40",  # procedure log
)
"""Structured reports: with `clean_structured`."""

_NEVER = {
    "104.": "holds an encapsulated document (PDF, CDA, a 3D model), whose text and pictures cannot be cleaned here; exclude it",
    "77.1.": "may be a photograph, or a whole slide with its label, on which a person can be recognised; exclude it",
    "66": "is raw or fiducial data of a form that only its vendor knows; exclude it",
    "9.": "is a waveform, whose channels and annotations this version does not clean; exclude it",
    "481.": "is a plan or record of radiotherapy, full of free text and of names of machines; exclude it",
    "129": "is a standalone curve, retired, whose content this version does not clean; exclude it",
}
"""Beginning of the class below the image classes' root, and why it never passes."""

_VIDEO = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10\d(?:\.1)?$|1\.2\.840\.10008\.1\.2\.7\.")
SCREEN_WORDS = frozenset({"SCREEN", "SCREENSAVE", "DOSE", "REPORT", "PROT", "PROTOCOL", "CAPTURE"})
"""Words of ImageType that tell a picture of a screen, on which names stand."""


@dataclass(frozen=True)
class Admission:
    """How an object that may pass is to be treated.

    Attributes:
        pixels: its pixels must be searched for text.
        graphics: it is a presentation state.
        structured: it is a structured report.
    """

    pixels: bool = False
    graphics: bool = False
    structured: bool = False


def admit(dataset: Dataset, policy: Policy, name: str) -> Admission:
    """Decide whether an object may pass.

    Raises:
        PrivacyError: with the reason, and the option that would admit it where there is one.
    """
    kind = UID(str(dataset.get("SOPClassUID") or ""))
    if not kind:
        raise PrivacyError(name, "has no SOP Class UID, so nothing says what it holds; exclude it")
    if str(kind) in STRUCTURED:
        if not policy.clean_structured:
            raise PrivacyError(name, f"{kind.name} may hold text in its content; set clean_structured to clean it, or exclude it")
        return Admission(structured=True)
    if str(kind) in GRAPHICS:
        if not policy.clean_graphics:
            raise PrivacyError(name, f"{kind.name} may hold text in its graphics; set clean_graphics to clean it, or exclude it")
        return Admission(graphics=True)
    if str(kind) not in IMAGE_CLASSES | TEXT_IN_PIXELS:
        raise PrivacyError(name, f"{kind.name} {_reason(str(kind))}")
    doubt = _doubt(dataset, kind)
    if doubt and not policy.clean_pixels:
        raise PrivacyError(name, f"{doubt}; set clean_pixels to clean it, or exclude it")
    syntax = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID") or "")
    if doubt and _VIDEO.match(syntax):
        raise PrivacyError(name, "is a video stream, which this version cannot search for text; decode it to frames first, or exclude it")
    look = policy.clean_pixels and (bool(doubt) or str(kind) in PROJECTIONS or _is_coloured(dataset) or policy.examine_all_pixels)
    return Admission(pixels=look and str(kind) not in _classes("66.4", "66.7", "481.2", "481.3", "30"))


def _reason(kind: str) -> str:
    suffix = kind.removeprefix(_IMAGE) if kind.startswith(_IMAGE) else ""
    for beginning, reason in _NEVER.items():
        if suffix.startswith(beginning):
            return reason
    return "may hold text in its pixels or content, which this version does not clean; exclude it or clean it by hand"


def _doubt(dataset: Dataset, kind: UID) -> str:
    """Why text must be expected in the pixels; empty where it need not."""
    if str(kind) in TEXT_IN_PIXELS:
        return f"{kind.name} may hold text in its pixels"
    if str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        return "BurnedInAnnotation is YES: text stands in its pixels"
    words = {word for value in dataset.get("ImageType") or [] for word in re.split(r"[^A-Z]+", str(value).upper())}
    if words & SCREEN_WORDS:
        return f"ImageType says {', '.join(sorted(words & SCREEN_WORDS))}: a picture of a screen, with text in its pixels"
    return ""


def _is_coloured(dataset: Dataset) -> bool:
    return int(dataset.get("SamplesPerPixel") or 1) > 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
