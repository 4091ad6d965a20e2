"""Which invented identifiers stand where in the files: what de-identification has to find."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from medphantom.dicom.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One identifier in one attribute of some files.

    Attributes:
        files: below the folder that was searched; the files of one series.
        tag: path of the attribute, such as `(0010,0010)` or `(0040,A730)[0](0040,A123)`.
        kind: `name`, `number`, `date`, `place`, `phone` or `device`.
        value: the identifier as planted; the attribute holds it, alone or within more text.
    """

    files: tuple[str, ...]
    tag: str
    kind: str
    value: str


_FRAMES = 0x52009230  # Per-frame Functional Groups: thousands of positions and references, in which no text is planted
_STAFF = ("PHANTOM-RADIOLOGIST^RUNA", "PHANTOM-OPERATOR^OLE")


def identifiers_of(record: Record) -> dict[str, str]:
    """Every identifier that may be planted for a visit, with its kind."""
    person, site = record.person, record.site
    return {
        person.name: "name",
        person.referrer: "name",
        **dict.fromkeys(_STAFF, "name"),
        person.birth_date: "date",
        record.study_date: "date",
        record.patient_id: "number",
        f"S{record.index:05d}": "number",
        f"PHANTOM-ACC-{record.index % 10000:04d}": "number",
        f"PH-ACC-{record.index % 10000:04d}-{record.visit}": "number",
        f"+00 000 {record.index:05d}": "phone",
        f"{record.index + 1} Phantom Street, Nowhere": "place",
        "1 Phantom Square, Nowhere": "place",
        site.name: "place",
        f"PHANTOM-{site.model}-0001": "device",
    }


def find_planted(record: Record, series: Sequence[Sequence[Path]], root: Path) -> tuple[Planted, ...]:
    """Look where the identifiers of a visit stand in its DICOM files.

    Args:
        record: the visit.
        series: its DICOM files; those of one series have headers alike, so the first is searched for all.
        root: the folder that paths are given below.

    Returns:
        One entry for each identifier in each attribute of each series, nested ones too.
    """
    sought = identifiers_of(record)
    found = []
    for files in series:
        ds = pydicom.dcmread(files[0], stop_before_pixels=True)
        names = tuple(path.relative_to(root).as_posix() for path in files)
        for tag, text in _texts(ds, ""):
            found += [Planted(files=names, tag=tag, kind=kind, value=value) for value, kind in sought.items() if value in text]
    return tuple(found)


def _texts(ds: Dataset, before: str) -> Iterator[tuple[str, str]]:
    for element in ds:
        tag = f"{before}({element.tag.group:04X},{element.tag.element:04X})"
        if element.tag == _FRAMES:
            continue
        if element.VR == "SQ":
            for place, item in enumerate(element.value):
                yield from _texts(item, f"{tag}[{place}]")
        elif element.VR != "UI" and isinstance(element.value, (str, pydicom.valuerep.PersonName, pydicom.multival.MultiValue)):
            yield tag, str(element.value)
