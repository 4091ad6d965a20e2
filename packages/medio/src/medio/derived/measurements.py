"""Measurements as a DICOM SR of TID 1500, with tracking UIDs that hold a finding together over time.

Source: DICOM PS3.16 TID 1500 (Measurement Report), TID 1410, 1411, 1501 (measurement groups); PS3.3 A.35.3, A.35.13 (Comprehensive SR, 3D SR).
"""

import re
from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from medio.atomic import replacing
from medio.derived.codes import Code, concept
from medio.derived.measurement import Geometry, ImageReference, Measurement, Region, Region3D, SegmentReference
from medio.derived.measurements_reader import read_measurements
from medio.derived.source import Equipment, Files, Source, UidMaker, keyed_uids, maker, making, new_uid, open_source
from medio.errors import GeometryError, UnsupportedError

_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
IMAGING: Code = ("363679005", "SCT", "Imaging")
"""Procedure reported, where the caller names none."""


def write_measurements(
    measurements: Sequence[Measurement],
    source: Files,
    path: Path | str,
    *,
    segmentations: Sequence[Path | str] = (),
    observer: str = "",
    procedure: Code = IMAGING,
    series_description: str = "Measurements",
    series_number: int = 901,
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write measurements as a DICOM SR (TID 1500). The file is read back before it takes its name, and must give the same measurements.

    Neighbours in `measurements` that share finding, tracking and outline become one measurement group: planar (TID 1410) for one closed outline or frames of a
    segment, volumetric (TID 1411) for several outlines, an ellipsoid or a whole segment, and TID 1501 for lines, points, whole images or no place. A line belongs
    to its number, so the long and the short axis of a lesion share a group. SR without 3D drawings is Comprehensive SR, else Comprehensive 3D SR.

    Args:
        measurements: in the order in which they are to be read.
        source: the DICOM files measured (or their folder), of one study: CT, MR, films.
        path: where to write.
        segmentations: the DICOM SEG files that `SegmentReference` names.
        observer: a person, as DICOM writes names (`Doe^Jane`); empty where the equipment alone measured.
        procedure: what was done, e.g. ("24627-2", "LN", "CT Chest").
        series_description: of the new series.
        series_number: of the new series.
        equipment: the device observer; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`).

    Returns:
        `path`.

    Raises:
        GeometryError: a drawing on an image, in a frame of reference or on a segment that the sources do not have; each UID is named.
        UnsupportedError: nothing to write, no tracking, a mix of drawings, a SEG of another patient, or what highdicom refuses.
        CorruptFileError: a source that lacks an identifier.
    """
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    path = Path(path)
    if not measurements:
        raise UnsupportedError(path, "an empty list of measurements; write no report where nothing was measured")
    opened = open_source(source, path, "an SR")
    segs = open_source(segmentations, path, "an SR").uids if segmentations else {}
    _check_study(opened, segs, path)
    for measurement in measurements:
        _check(measurement, opened, segs, path)
    made_by = equipment or Equipment()
    spatial = any(isinstance(drawn, Region3D) for measurement in measurements for drawn in measurement.geometry)
    with making("an SR", opened):
        human, device = observers(observer, made_by)
        report = highdicom.sr.MeasurementReport(
            observation_context=highdicom.sr.ObservationContext(observer_person_context=human, observer_device_context=device),
            procedure_reported=concept(procedure),
            imaging_measurements=[_group(list(group), opened, segs) for _, group in groupby(measurements, _shared)],
        )
        kind = highdicom.sr.Comprehensive3DSR if spatial else highdicom.sr.ComprehensiveSR
        document = kind(
            evidence=[*opened.headers, *segs.values()],
            content=report[0],
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            is_complete=True,
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **maker(made_by),
        )
    with replacing(path) as partial:
        document.save_as(partial)
        back = read_measurements(partial)
        if back != tuple(measurements):
            wrong = next((ours for ours, theirs in zip(measurements, back, strict=False) if ours != theirs), measurements[-1])
            raise GeometryError(path, f"the measurement of {wrong.tracking_id!r} does not come back as it was given; nothing was written")
    return path


def _check_study(opened: Source, segs: dict[str, Dataset], path: Path) -> None:
    first = opened.headers[0]
    for uid, header in segs.items():
        if str(header.PatientID or "") != str(first.PatientID or "") or header.StudyInstanceUID != first.StudyInstanceUID:
            raise UnsupportedError(
                path,
                f"the SEG {uid} belongs to study {header.StudyInstanceUID}, the images to study {first.StudyInstanceUID}; measure one study a report",
            )
        if "SegmentSequence" not in header:
            raise UnsupportedError(path, f"{uid} among the segmentations is not a DICOM SEG; pass images as source")


def _check(measurement: Measurement, opened: Source, segs: dict[str, Dataset], path: Path) -> None:
    what = f"the measurement of {measurement.tracking_id!r}"
    if not measurement.tracking_id or not _UID.fullmatch(measurement.tracking_uid):
        raise UnsupportedError(
            path,
            f"{what} needs a tracking_id and a valid tracking_uid, got {measurement.tracking_uid!r}; keep those of the earlier time point, or make one",
        )
    if not isfinite(measurement.value):
        raise UnsupportedError(path, f"{what} is {measurement.value}, which SR cannot hold; leave it out")
    kinds = {type(drawn) for drawn in measurement.geometry}
    if len(kinds) > 1 or len({drawn.closed for drawn in measurement.geometry}) > 1:
        raise UnsupportedError(
            path, f"{what} mixes drawings ({', '.join(sorted(kind.__name__ for kind in kinds))}); use outlines or lines of one kind"
        )
    if kinds == {SegmentReference} and len(measurement.geometry) > 1:
        raise UnsupportedError(path, f"{what} names {len(measurement.geometry)} segments; a group has one")
    for drawn in measurement.geometry:
        if isinstance(drawn, Region3D):
            known = sorted({str(header.get("FrameOfReferenceUID") or "") for header in opened.headers} - {""})
            if drawn.frame_of_reference_uid not in known:
                raise GeometryError(
                    path,
                    f"{what} is drawn in FrameOfReferenceUID {drawn.frame_of_reference_uid}, its sources lie in {', '.join(known) or 'none'}",
                )
        elif isinstance(drawn, SegmentReference):
            _check_segment(what, drawn, segs.get(drawn.sop_instance_uid), path)
        else:
            _check_on_image(what, drawn, opened.uids.get(drawn.sop_instance_uid), path)


def _check_segment(what: str, drawn: SegmentReference, seg: Dataset | None, path: Path) -> None:
    if drawn.number is not None and drawn.frames:
        raise UnsupportedError(path, f"{what} names both a segment and frames, which DICOM forbids; name the frames alone, or the segment")
    numbers = [] if seg is None else [int(item.SegmentNumber) for item in seg.SegmentSequence]
    if seg is None or (drawn.number is not None and drawn.number not in numbers):
        raise GeometryError(path, f"{what} refers to segment {drawn.number} of {drawn.sop_instance_uid}, which is not among segmentations=")
    if any(not 0 < frame <= int(seg.NumberOfFrames) for frame in drawn.frames):
        raise GeometryError(path, f"{what} refers to frames {drawn.frames} of {drawn.sop_instance_uid}, which has {seg.NumberOfFrames}")


def _check_on_image(what: str, drawn: Region | ImageReference, header: Dataset | None, path: Path) -> None:
    if header is None:
        raise GeometryError(path, f"{what} is drawn on {drawn.sop_instance_uid}, which is not among its sources")
    count = int(header.get("NumberOfFrames") or 1)
    if (drawn.frame is None and count > 1 and isinstance(drawn, Region)) or not 1 <= (drawn.frame or 1) <= count:
        raise GeometryError(path, f"{what} is drawn on frame {drawn.frame} of {drawn.sop_instance_uid}, which has {count}; name one")
    if isinstance(drawn, Region):
        points, size = np.array(drawn.points), np.array([header.Rows, header.Columns])
        if drawn.kind not in ("CIRCLE", "ELLIPSE") and not ((points >= -0.5) & (points <= size - 0.5)).all():
            raise GeometryError(
                path, f"{what} is drawn outside the {size[0]}x{size[1]} pixels of {drawn.sop_instance_uid}; points are (row, column)"
            )


def _shared(measurement: Measurement) -> tuple[Any, ...]:
    """What the measurements of one group have in common."""
    m = measurement
    outline = m.geometry if any(drawn.closed or isinstance(drawn, ImageReference) for drawn in m.geometry) else ()
    lines = bool(m.geometry) and not outline
    return m.tracking_id, m.tracking_uid, m.finding, m.category, m.sites, m.laterality, m.time_point, outline, lines


def _group(group: Sequence[Measurement], opened: Source, segs: dict[str, Dataset]) -> Any:
    from highdicom import sr

    first = group[0]
    sites = [
        sr.FindingSite(concept(site), laterality=concept(first.laterality) if first.laterality and place == 0 else None)
        for place, site in enumerate(first.sites)
    ]
    shared: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=first.tracking_uid, identifier=first.tracking_id),
        "finding_type": concept(first.finding) if first.finding else None,
        "finding_category": concept(first.category) if first.category else None,
        "finding_sites": sites or None,
        "time_point_context": sr.TimePointContext(first.time_point) if first.time_point else None,
        "measurements": [_number(measurement, opened) for measurement in group],
    }
    places = first.geometry
    if not places or not places[0].closed:
        images = [place for place in places if isinstance(place, ImageReference)]
        named = [sr.SourceImageForMeasurementGroup(*_reference(image, opened)) for image in images]
        return sr.MeasurementsAndQualitativeEvaluations(source_images=named or None, **shared)
    if isinstance(places[0], SegmentReference):
        return _segment_group(places[0], segs[places[0].sop_instance_uid], opened, shared)
    if len(places) == 1 and not (isinstance(places[0], Region3D) and places[0].kind == "ELLIPSOID"):
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_outline(places[0], opened), **shared)
    if isinstance(places[0], Region):
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_regions=[_outline(place, opened) for place in places], **shared
        )
    regions = [place for place in places if isinstance(place, Region3D)]
    surface = sr.VolumeSurface(
        graphic_type=regions[0].kind,
        graphic_data=[np.array(region.points) for region in regions],
        frame_of_reference_uid=regions[0].frame_of_reference_uid,
        source_series=sr.SourceSeriesForSegmentation(str(_drawn_on(regions[0], opened).SeriesInstanceUID)),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **shared)


def _segment_group(segment: SegmentReference, seg: Dataset, opened: Source, shared: dict[str, Any]) -> Any:
    from highdicom import sr

    if segment.number is not None:
        series = seg.get("ReferencedSeriesSequence")
        uid = series[0].SeriesInstanceUID if series else opened.headers[0].SeriesInstanceUID
        reference = sr.ReferencedSegment(
            str(seg.SOPClassUID), segment.sop_instance_uid, segment.number, source_series=sr.SourceSeriesForSegmentation(str(uid))
        )
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **shared)
    derived = seg.PerFrameFunctionalGroupsSequence[segment.frames[0] - 1].get("DerivationImageSequence")
    image = derived[0].SourceImageSequence[0] if derived else None
    header = opened.headers[0]
    named = (
        (str(image.ReferencedSOPClassUID), str(image.ReferencedSOPInstanceUID))
        if image is not None
        else (str(header.SOPClassUID), str(header.SOPInstanceUID))
    )
    frame = sr.ReferencedSegmentationFrame(
        str(seg.SOPClassUID), segment.sop_instance_uid, list(segment.frames), 1, sr.SourceImageForSegmentation(*named)
    )
    # PS3.3 table 10-3: a segment number is for references without frame numbers; highdicom writes both.
    del frame[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=frame, **shared)


def _number(measurement: Measurement, opened: Source) -> Any:
    from highdicom import sr

    drawn: list[Any] = []
    for place in measurement.geometry:
        if isinstance(place, Region) and not place.closed:
            image = sr.SourceImageForRegion(*_reference(place, opened))
            drawn.append(sr.CoordinatesForMeasurement(place.kind, _column_row(place), image))
        elif isinstance(place, Region3D) and not place.closed:
            drawn.append(sr.CoordinatesForMeasurement3D(place.kind, np.array(place.points), place.frame_of_reference_uid))
    m = measurement
    return sr.Measurement(
        name=concept(m.name),
        value=m.value,
        unit=concept(m.unit),
        qualifier=concept(m.qualifier) if m.qualifier else None,
        derivation=concept(m.derivation) if m.derivation else None,
        method=concept(m.method) if m.method else None,
        referenced_coordinates=drawn or None,
    )


def _outline(place: Geometry, opened: Source) -> Any:
    from highdicom import sr

    if isinstance(place, Region3D):
        return sr.ImageRegion3D(place.kind, np.array(place.points), place.frame_of_reference_uid)
    assert isinstance(place, Region)  # segments and images are no outlines
    return sr.ImageRegion(place.kind, _column_row(place), sr.SourceImageForRegion(*_reference(place, opened)))


def _column_row(region: Region) -> Any:
    """Turn (row, column) with centres at whole numbers to DICOM's (column, row) with the corner of the first pixel at 0."""
    return np.array(region.points)[:, ::-1] + 0.5


def _reference(place: Region | ImageReference, opened: Source) -> tuple[str, str, list[int] | None]:
    header = opened.uids[place.sop_instance_uid]
    return str(header.SOPClassUID), place.sop_instance_uid, [place.frame] if place.frame else None


def _drawn_on(region: Region3D, opened: Source) -> Dataset:
    return next(header for header in opened.headers if header.get("FrameOfReferenceUID") == region.frame_of_reference_uid)


def observers(person: str, equipment: Equipment) -> tuple[Any, Any]:
    """Make the observer contexts of highdicom: the person (None where empty), and the device, which keeps its UID from object to object."""
    from highdicom import sr

    human = None
    if person:
        human = sr.ObserverContext(concept(("121006", "DCM", "Person")), sr.PersonObserverIdentifyingAttributes(name=person))
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=keyed_uids(f"device {equipment.manufacturer}\0{equipment.model}\0{equipment.serial_number}")("device"),
        name=equipment.model,
        manufacturer_name=equipment.manufacturer,
        model_name=equipment.model,
        serial_number=equipment.serial_number,
    )
    return human, sr.ObserverContext(concept(("121007", "DCM", "Device")), device)
