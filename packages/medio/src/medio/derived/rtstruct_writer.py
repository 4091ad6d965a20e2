"""Masks as a radiotherapy structure set: outlines along the edges of the pixels, so that the masks come back exactly.

Source: DICOM PS3.3 A.19 (RT Structure Set IOD), C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations).
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from medio.atomic import replacing
from medio.derived.polygons import outline_mask
from medio.derived.rtstruct import RTSTRUCT, Structure, read_rtstruct
from medio.derived.source import (
    Equipment,
    Files,
    Source,
    UidMaker,
    maker,
    making,
    new_uid,
    open_source,
    patient_and_study,
    placed_frames,
    slices_of,
)
from medio.dicom.stack import Frame
from medio.errors import GeometryError, UnsupportedError
from medio.image import Image

_COLOURS = ((230, 75, 60), (60, 180, 75), (65, 100, 235), (245, 160, 30), (150, 70, 200), (60, 200, 200), (235, 70, 190), (160, 110, 60))


def write_rtstruct(
    masks: npt.NDArray[Any],
    source: Files,
    structures: Sequence[Structure],
    path: Path | str,
    *,
    affine: npt.NDArray[np.float64],
    label: str = "medio",
    series_description: str = "Structures",
    series_number: int = 905,
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write masks as an RTSTRUCT, outlined on the slices of their source series.

    Outlines run along the edges of the pixels; holes are outlines of their own (even-odd). The file is read back before it takes its name and must give the same masks.

    Args:
        masks: (N, D, H, W) of 0 and 1, one a structure, on the grid that `medio.read(source)` returns.
        source: the DICOM files of the series (or its folder).
        structures: one a mask, in order; names and numbers differ.
        path: where to write.
        affine: of the masks, index (z, y, x, 1) to LPS mm.
        label: of the structure set, at most 16 characters.
        series_description: of the new series.
        series_number: of the new series.
        equipment: who makes it; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`).

    Returns:
        `path`.

    Raises:
        GeometryError: the masks do not lie on the source frames, or do not come back from the file.
        UnsupportedError: masks and structures that do not match, or an empty mask, which outlines cannot say.
        CorruptFileError: a source that lacks an identifier.
    """
    from highdicom.base import SOPClass  # here, not above: highdicom takes a second to import, which readers need not wait for

    path = Path(path)
    _check_given(masks, structures, label, path)
    opened = open_source(source, path, "an RTSTRUCT")
    frames = placed_frames(opened, path, "an RTSTRUCT")
    places = slices_of(frames, masks.shape[1:], affine, path, "masks")
    first = opened.headers[0]
    with making("an RTSTRUCT", opened):
        made = SOPClass(
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            sop_class_uid=RTSTRUCT,
            instance_number=1,
            modality="RTSTRUCT",
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **patient_and_study(first),
            **maker(equipment or Equipment()),
        )
        made.copy_patient_and_study_information(first)
    _describe(made, structures, label, opened)
    made.ROIContourSequence = [
        _contours(structure, mask, frames, places, opened, _COLOURS[place % len(_COLOURS)])
        for place, (structure, mask) in enumerate(zip(structures, masks, strict=True))
    ]
    with replacing(path) as partial:
        made.save_as(partial)
        spacing = tuple(float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
        grid = Image(np.broadcast_to(np.uint8(0), masks.shape[1:]), affine, spacing, "", {"sop_instance_uids": tuple(opened.uids)})
        back = read_rtstruct(partial, like=grid)
        if not np.array_equal(back.array, masks) or back.meta["structures"] != tuple(structures):
            raise GeometryError(path, "the masks do not come back from their outlines; nothing was written, check affine and source")
    return path


def _check_given(masks: npt.NDArray[Any], structures: Sequence[Structure], label: str, path: Path) -> None:
    if masks.ndim != 4 or masks.dtype.kind not in "iub" or (masks.size and not (masks.min() >= 0 and masks.max() <= 1)):
        raise GeometryError(path, f"masks are an (N, D, H, W) array of 0 and 1, got shape {masks.shape} of {masks.dtype}")
    if len(masks) != len(structures) or not structures:
        raise UnsupportedError(path, f"{len(masks)} masks for {len(structures)} structures; give one structure a mask")
    if len({s.number for s in structures}) < len(structures) or len({s.name for s in structures}) < len(structures):
        raise UnsupportedError(path, "two structures share a name or a number; tell them apart")
    empty = [structure.name for structure, mask in zip(structures, masks, strict=True) if not mask.any()]
    if empty:
        raise UnsupportedError(path, f"the masks of {', '.join(empty)} are empty: outlines cannot say so; leave them out")
    if not 0 < len(label) <= 16:
        raise ValueError(f"label must have 1 to 16 characters, got {label!r}")


def _describe(made: Dataset, structures: Sequence[Structure], label: str, opened: Source) -> None:
    first = opened.headers[0]
    now = datetime.now()
    made.StructureSetLabel, made.StructureSetDate, made.StructureSetTime = label, now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = first.FrameOfReferenceUID, first.get("PositionReferenceIndicator") or ""
    made.OperatorsName = ""
    made.ApprovalStatus = "UNAPPROVED"
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_image(header) for header in opened.headers]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = (
        "1.2.840.10008.3.1.2.3.1",
        first.StudyInstanceUID,
    )  # Detached Study Management
    study.RTReferencedSeriesSequence = [series]
    space = Dataset()
    space.FrameOfReferenceUID, space.RTReferencedStudySequence = first.FrameOfReferenceUID, [study]
    made.ReferencedFrameOfReferenceSequence = [space]
    rois, observations = [], []
    for structure in structures:
        roi = Dataset()
        roi.ROINumber, roi.ROIName = structure.number, structure.name
        roi.ReferencedFrameOfReferenceUID, roi.ROIGenerationAlgorithm = first.FrameOfReferenceUID, structure.algorithm
        rois.append(roi)
        observation = Dataset()
        observation.ObservationNumber, observation.ReferencedROINumber = structure.number, structure.number
        observation.RTROIInterpretedType, observation.ROIInterpreter = structure.kind, ""
        observations.append(observation)
    made.StructureSetROISequence, made.RTROIObservationsSequence = rois, observations


def _contours(
    structure: Structure,
    mask: npt.NDArray[Any],
    frames: Sequence[Frame],
    places: Sequence[int],
    opened: Source,
    colour: tuple[int, int, int],
) -> Dataset:
    contours = []
    for frame, z in zip(frames, places, strict=True):
        if not mask[z].any():
            continue
        right, down = frame.orientation[:3] * frame.spacing[1], frame.orientation[3:] * frame.spacing[0]
        reference = _image(opened.header_of(frame.instance))
        if frame.instance.frame_count > 1:
            reference.ReferencedFrameNumber = frame.index + 1
        for polygon in outline_mask(mask[z]):
            item = Dataset()
            item.ContourImageSequence = [reference]
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(polygon)
            points = frame.position + polygon[:, :1] * down + polygon[:, 1:] * right
            item.ContourData = [f"{value:.4f}" for value in points.ravel().tolist()]
            contours.append(item)
    drawn = Dataset()
    drawn.ROIDisplayColor, drawn.ReferencedROINumber, drawn.ContourSequence = list(colour), structure.number, contours
    return drawn


def _image(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item
