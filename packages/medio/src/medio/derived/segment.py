"""What one label of a mask means.

Source: DICOM PS3.3 C.8.20.2 (Segmentation Image, segment description).
"""

from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from medio.derived.codes import Code, check_code, concept, read_code

_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_UNSAID = ("unknown", "99MEDIO", "not said")
_NO_VERSION = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one label of a mask means.

    Attributes:
        number: its value in the mask; the numbers of one file run from 1 without gaps.
        label: its name, at most 64 characters.
        code: what it is, as (value, scheme, meaning), e.g. `("39607008", "SCT", "Lung")`; there is no default.
        category: the kind of thing, likewise; a lesion is ("49755003", "SCT", "Morphologically Abnormal Structure").
        algorithm: name of the program that drew it; empty for a human hand.
        algorithm_version: its version.
        semiautomatic: a human corrected or steered the program.
        sites: codes of the anatomy that it lies in, e.g. of a lesion.
        tracking_id: the name under which it is followed over time, e.g. `lesion 1`; with `tracking_uid`, or neither.
        tracking_uid: equal for the same thing at every time point; also of its measurements (`Measurement.tracking_uid`).
    """

    number: int
    label: str
    code: Code
    category: Code = _ANATOMY
    algorithm: str = ""
    algorithm_version: str = ""
    semiautomatic: bool = False
    sites: tuple[Code, ...] = ()
    tracking_id: str = ""
    tracking_uid: str = ""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"segment {self.label!r}: number must be at least 1 (0 is background), got {self.number}")
        if not 0 < len(self.label) <= 64:
            raise ValueError(f"segment {self.number}: label must have 1 to 64 characters, got {self.label!r}")
        check_code(self.code, f"segment {self.label!r}: code")
        check_code(self.category, f"segment {self.label!r}: category")
        for site in self.sites:
            check_code(site, f"segment {self.label!r}: site")
        if self.semiautomatic and not self.algorithm:
            raise ValueError(f"segment {self.label!r}: semiautomatic needs the name of the algorithm")
        if bool(self.tracking_id) != bool(self.tracking_uid):
            raise ValueError(
                f"segment {self.label!r}: tracking_id and tracking_uid come together, got {self.tracking_id!r}, {self.tracking_uid!r}"
            )


def describe(segment: Segment) -> Any:
    """Make the segment description of highdicom."""
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    machine = None
    if segment.algorithm:
        family = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
        machine = highdicom.AlgorithmIdentificationSequence(segment.algorithm, family, segment.algorithm_version or _NO_VERSION)
    kind = "SEMIAUTOMATIC" if segment.semiautomatic else "AUTOMATIC"
    return highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label,
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.code),
        algorithm_type=kind if machine else "MANUAL",
        algorithm_identification=machine,
        tracking_uid=segment.tracking_uid or None,
        tracking_id=segment.tracking_id or None,
        anatomic_regions=[concept(site) for site in segment.sites] or None,
    )


def read_segment(item: Dataset) -> Segment:
    """Read an item of a SegmentSequence, whoever wrote it."""
    codes = []
    for keyword in ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence"):
        found = item.get(keyword)
        codes.append(read_code(found[0]) if found else _UNSAID)
    machine = (item.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()])[0]
    algorithm = str(item.get("SegmentAlgorithmName") or machine.get("AlgorithmName") or "")
    version = str(machine.get("AlgorithmVersion") or "")
    number = int(item.SegmentNumber)
    tracking = str(item.get("TrackingID") or ""), str(item.get("TrackingUID") or "")
    return Segment(
        number=number,
        label=str(item.get("SegmentLabel") or f"segment {number}")[:64],
        code=codes[0],
        category=codes[1],
        algorithm=algorithm,
        algorithm_version=version if version != _NO_VERSION else "",
        semiautomatic=bool(algorithm) and item.get("SegmentAlgorithmType") == "SEMIAUTOMATIC",
        sites=tuple(read_code(site) for site in item.get("AnatomicRegionSequence") or []),
        tracking_id=tracking[0] if all(tracking) else "",
        tracking_uid=tracking[1] if all(tracking) else "",
    )
