"""What is true of a visit as DICOM: organs and findings as SEG, their sizes as SR, all with UIDs and dates of the visit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

import medio
from medio.derived.measurement import LONG_AXIS, MILLILITRE, MILLIMETRE, SHORT_AXIS, VOLUME
from medphantom.dicom.codes import CLASSES, code_of, side_of, site_of
from medphantom.dicom.header import TIME
from medphantom.dicom.record import Record
from medphantom.findings.truth import Truth

_EQUIPMENT = medio.Equipment(manufacturer="medstack", model="medphantom", software_versions=("medphantom",))
_DECIMALS = 3  # a DS holds 16 characters


def write_organs(record: Record, ct: Sequence[Path], path: Path) -> Path:
    """Write the labels as SEG, one segment a class."""
    segments = [
        medio.Segment(number=number, label=name, code=CLASSES[name][0], category=CLASSES[name][1], algorithm="medphantom")
        for number, name in enumerate(record.classes)
        if number > 0
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    medio.write_segmentation(
        record.labels,
        list(ct),
        segments,
        path,
        affine=record.affine,
        series_description="SYNTHETIC PHANTOM organs",
        equipment=_EQUIPMENT,
        uid=medio.keyed_uids(f"{record.identity()} organs {record.classes}"),
    )
    return _settle(record, path)


def write_lesions(record: Record, ct: Sequence[Path], path: Path) -> Path | None:
    """Write the findings as SEG, one segment each, which may overlap; None where the field of view holds none."""
    seen = _seen(record)
    if not seen:
        return None
    segments = []
    for number, truth in enumerate(seen, start=1):
        kind, category, _ = code_of(truth)
        segments.append(
            medio.Segment(
                number=number,
                label=truth.tracking_id,
                code=kind,
                category=category,
                algorithm="medphantom",
                sites=(site_of(truth),),
                tracking_id=truth.tracking_id,
                tracking_uid=record.tracking_uid(truth),
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    medio.write_segmentation(
        np.stack([truth.on_grid() for truth in seen]).astype(np.uint8),
        list(ct),
        segments,
        path,
        affine=record.affine,
        series_description="SYNTHETIC PHANTOM findings",
        series_number=901,
        equipment=_EQUIPMENT,
        uid=medio.keyed_uids(f"{record.identity()} findings {[truth.tracking_id for truth in seen]}"),
    )
    return _settle(record, path)


def write_sizes(record: Record, ct: Sequence[Path], lesions: Path, path: Path) -> Path:
    """Write long axis, short axis and volume of every finding as SR (TID 1500), each on its segment of the SEG `lesions`."""
    rows: list[medio.Measurement] = []
    for number, truth in enumerate(_seen(record), start=1):
        place = medio.SegmentReference.of(lesions, number)
        sizes = (
            (LONG_AXIS, truth.diameter_mm, MILLIMETRE),
            (SHORT_AXIS, truth.short_axis_mm, MILLIMETRE),
            (VOLUME, truth.volume_ml, MILLILITRE),
        )
        for name, value, unit in sizes:
            if value is None:
                continue
            rows.append(
                medio.Measurement(
                    name=name,
                    value=round(value, _DECIMALS),
                    unit=unit,
                    tracking_id=truth.tracking_id,
                    tracking_uid=record.tracking_uid(truth),
                    finding=code_of(truth)[0],
                    sites=(site_of(truth),),
                    laterality=side_of(truth),
                    time_point=f"visit {record.visit}",
                    geometry=(place,),
                )
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    medio.write_measurements(
        rows,
        list(ct),
        path,
        segmentations=[lesions],
        procedure=("24627-2", "LN", "CT Chest"),
        series_description="SYNTHETIC PHANTOM sizes of findings",
        series_number=902,
        equipment=_EQUIPMENT,
        uid=medio.keyed_uids(f"{record.identity()} sizes {[row.tracking_id for row in rows]}"),
    )
    return _settle(record, path)


def _seen(record: Record) -> list[Truth]:
    return [truth for truth in record.truths if truth.seen]


def _settle(record: Record, path: Path) -> Path:
    """Put the visit's date where a writer puts the day on which it runs, so that a patient written tomorrow has the same bytes."""
    ds = pydicom.dcmread(path)
    for prefix in ("InstanceCreation", "Series", "Content"):
        for part, value in (("Date", record.study_date), ("Time", TIME)):
            if prefix + part in ds:
                setattr(ds, prefix + part, value)
    for item in ds.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = record.study_date + TIME
    ds.save_as(path, enforce_file_format=True)
    return path
