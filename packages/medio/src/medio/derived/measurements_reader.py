"""Measurement reports in: DICOM SR TID 1500 of any maker.

Source: DICOM PS3.16 TID 1500, 1410, 1411, 1501, 300, 320; PS3.3 C.17.3 (content tree).
"""

from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

from pydicom import Dataset

from medio.derived.codes import Code, read_code
from medio.derived.grid import check_patient, identity_of
from medio.derived.measurement import Geometry, ImageReference, Measurement, Region, Region3D, SegmentReference
from medio.derived.source import dataset_of, parsing
from medio.dicom.instances import open_instance
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.image import Image

_GROUP = {"125007"}
_TRACKING_ID, _TRACKING_UID = {"112039"}, {"112040"}
_FINDING, _DERIVATION = {"121071"}, {"121401"}
# Concepts that moved from SRT to SNOMED CT: old reports use the old values.
_CATEGORY = {"276214006"}
_SITE = {"363698007", "G-C0E3"}
_LATERALITY = {"272741003", "G-C171"}
_METHOD = {"370129005", "G-C306", "G-C036"}
_TIME_POINT = {"C2348792"}
_SEGMENT, _SEGMENT_FRAME = {"121191"}, {"121214"}
_SEGMENTED_IMAGE = {"121233", "121232"}
"""Images that a segment or a surface was drawn on: its source, not the place of the measurement."""


def read_measurements(path: Path | str, *, like: Image | None = None) -> tuple[Measurement, ...]:
    """Read the measurements of a DICOM SR that follows TID 1500, in the order of the report.

    Args:
        path: the file.
        like: an image of the patient; a report of another patient, or drawn in another frame of reference, is refused.

    Returns:
        one `Measurement` a number, with the finding, sites, time point and drawing of its group. What a foreign report leaves out is empty.

    Raises:
        UnsupportedError: not an SR, not TID 1500, or another patient than `like`.
        CorruptFileError: a broken file, or a number, code or drawing that makes no sense.
        GeometryError: another frame of reference than `like` (both UIDs are named).
    """
    path = Path(path)
    instance = open_instance(path)
    root = dataset_of(instance)
    with parsing(path):
        if root.get("ValueType") != "CONTAINER" or "ContentSequence" not in root:
            raise UnsupportedError(path, f"not a structured report (modality {root.get('Modality') or 'not said'}); pass a DICOM SR")
        groups = list(_containers(root, _GROUP))
        if not groups:
            title = _name(root)[2] if root.get("ConceptNameCodeSequence") else "no title"
            raise UnsupportedError(path, f"holds no measurement group (its title is {title!r}); only reports of TID 1500 are read")
        found = tuple(measurement for group in groups for measurement in _Group(path, root, group).measurements())
    if like is not None:
        with parsing(path):
            check_patient(like, identity_of(root), path)
        there = str(like.meta.get("frame_of_reference_uid") or "")
        for measurement in found:
            for drawn in measurement.geometry:
                if isinstance(drawn, Region3D) and there and drawn.frame_of_reference_uid != there:
                    raise GeometryError(
                        path,
                        f"{measurement.tracking_id!r} is drawn in another FrameOfReferenceUID ({drawn.frame_of_reference_uid}) than `like` ({there}); "
                        "pass the image that it was drawn on",
                    )
    return found


class _Group:
    """One measurement group and what its numbers share."""

    def __init__(self, path: Path, root: Dataset, group: Dataset) -> None:
        self._path = path
        self._root = root
        self._items = list(self._children(group))
        sites = [item for item in self._items if _is(item, "CODE", _SITE)]
        modifier = self._first_code(sites[0], _LATERALITY) if sites else None
        self._drawn = [drawn for item in self._items if not _is(item, "NUM") for drawn in self._drawing(item)]
        self._shared: dict[str, Any] = {
            "tracking_id": self._text(self._items, _TRACKING_ID, "TextValue"),
            "tracking_uid": self._text(self._items, _TRACKING_UID, "UID"),
            "finding": self._code(self._items, _FINDING),
            "category": self._code(self._items, _CATEGORY),
            "sites": tuple(read_code(item.ConceptCodeSequence[0]) for item in sites),
            "laterality": modifier,
            "time_point": self._text(self._items, _TIME_POINT, "TextValue"),
        }

    def measurements(self) -> Iterator[Measurement]:
        """Give one measurement a number."""
        method = self._code(self._items, _METHOD)
        for item in self._items:
            if not _is(item, "NUM"):
                continue
            inner = list(self._children(item))
            own = [drawn for child in inner for drawn in self._drawing(child)]
            # The closest drawing counts; a whole image only where nothing is drawn.
            choices = [[drawn for drawn in drawings if not isinstance(drawn, ImageReference)] for drawings in (own, self._drawn)]
            shared = dict(self._shared)
            shared["tracking_id"] = shared["tracking_id"] or self._text(inner, _TRACKING_ID, "TextValue")
            shared["tracking_uid"] = shared["tracking_uid"] or self._text(inner, _TRACKING_UID, "UID")
            qualifiers = item.get("NumericValueQualifierCodeSequence")
            value, unit = self._value(item)
            yield Measurement(
                name=_name(item),
                value=value,
                unit=unit,
                method=self._code(inner, _METHOD) or method,
                derivation=self._code(inner, _DERIVATION),
                qualifier=read_code(qualifiers[0]) if qualifiers else None,
                geometry=tuple(choices[0] or choices[1] or own or self._drawn),
                **shared,
            )

    def _value(self, item: Dataset) -> tuple[float, Code]:
        values = item.get("MeasuredValueSequence")
        if not values:
            return nan, ("1", "UCUM", "no units")
        # FloatingPointValue is exact, NumericValue rounds to 16 characters.
        number = values[0].get("FloatingPointValue")
        if number is None:
            number = values[0].get("NumericValue")
        units = values[0].get("MeasurementUnitsCodeSequence")
        if number is None:
            raise CorruptFileError(self._path, f"states {_name(item)[2]!r} without a number; exclude the file")
        return float(number), read_code(units[0]) if units else ("1", "UCUM", "no units")

    def _drawing(self, item: Dataset) -> Iterator[Geometry]:
        kind = item.get("ValueType")
        if kind == "SCOORD":
            numbers = [float(v) for v in item.GraphicData]
            images = [child for child in self._children(item) if _is(child, "IMAGE")]
            if not images:
                raise CorruptFileError(self._path, f"holds a {item.GraphicType} without the image it is drawn on; exclude the file")
            points = tuple((row - 0.5, column - 0.5) for column, row in zip(numbers[::2], numbers[1::2], strict=True))
            yield Region(str(item.GraphicType), points, *_image(images[0]))
        elif kind == "SCOORD3D":
            numbers = [float(v) for v in item.GraphicData]
            triples = tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
            yield Region3D(str(item.GraphicType), triples, str(item.get("ReferencedFrameOfReferenceUID") or ""))
        elif kind == "IMAGE":
            concept = _name(item)[0] if item.get("ConceptNameCodeSequence") else ""
            reference = item.ReferencedSOPSequence[0]
            if concept in _SEGMENT | _SEGMENT_FRAME or "ReferencedSegmentNumber" in reference:
                frames = tuple(int(v) for v in _several(reference.get("ReferencedFrameNumber")))
                for number in _several(reference.get("ReferencedSegmentNumber")) or [None]:
                    yield SegmentReference(str(reference.ReferencedSOPInstanceUID), number and int(number), frames)
            elif concept not in _SEGMENTED_IMAGE:
                yield ImageReference(*_image(item))

    def _children(self, item: Dataset) -> Iterator[Dataset]:
        for child in item.get("ContentSequence") or []:
            yield self._resolve(child)

    def _resolve(self, child: Dataset) -> Dataset:
        """Follow a by-reference relationship: the path of item numbers from the root."""
        if "ReferencedContentItemIdentifier" not in child:
            return child
        found = self._root
        for number in _several(child.ReferencedContentItemIdentifier)[1:]:
            items = found.get("ContentSequence") or []
            if not 0 < number <= len(items):
                raise CorruptFileError(self._path, "refers to a content item that it does not hold; exclude the file")
            found = items[number - 1]
        # Its own children are not those of this place in the tree; one level of reference is all that TID 1500 needs.
        return found

    def _code(self, items: list[Dataset], concepts: set[str]) -> Code | None:
        return next((read_code(item.ConceptCodeSequence[0]) for item in items if _is(item, "CODE", concepts)), None)

    def _first_code(self, item: Dataset, concepts: set[str]) -> Code | None:
        return self._code(list(self._children(item)), concepts)

    def _text(self, items: list[Dataset], concepts: set[str], keyword: str) -> str:
        return next(
            (str(item.get(keyword) or "") for item in items if item.get("ConceptNameCodeSequence") and _name(item)[0] in concepts), ""
        )


def _containers(item: Dataset, concepts: set[str]) -> Iterator[Dataset]:
    """Find containers of a concept, at any depth."""
    for child in item.get("ContentSequence") or []:
        if _is(child, "CONTAINER", concepts):
            yield child
        elif child.get("ValueType") == "CONTAINER":
            yield from _containers(child, concepts)


def _is(item: Dataset, kind: str, concepts: set[str] | None = None) -> bool:
    if item.get("ValueType") != kind:
        return False
    return concepts is None or (bool(item.get("ConceptNameCodeSequence")) and _name(item)[0] in concepts)


def _name(item: Dataset) -> Code:
    return read_code(item.ConceptNameCodeSequence[0])


def _image(item: Dataset) -> tuple[str, int | None]:
    reference = item.ReferencedSOPSequence[0]
    frames = _several(reference.get("ReferencedFrameNumber"))
    return str(reference.ReferencedSOPInstanceUID), int(frames[0]) if frames else None


def _several(value: Any) -> list[Any]:
    """Give what may be absent, one or several as a list."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (int, str)) else list(value)
