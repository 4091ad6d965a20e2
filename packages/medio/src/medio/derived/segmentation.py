"""Masks as DICOM SEG, out and in.

Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20 (Segmentation), C.7.6.16 (functional groups).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from medio.atomic import replacing
from medio.derived.segmentation_reader import read_labels
from medio.dicom.instances import Instance, open_series, sound
from medio.dicom.stack import POSITION_TOLERANCE, Frame, frames_of
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.geometry import index_to_world, world_to_index
from medio.image import Image

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_ANATOMY = ("123037004", "SCT", "Anatomical Structure")
_ALIGNED = 0.1
"""Share of a voxel that a source frame may lie beside its slice of the mask."""


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
    """

    number: int
    label: str
    code: tuple[str, str, str]
    category: tuple[str, str, str] = _ANATOMY
    algorithm: str = ""
    algorithm_version: str = ""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"segment {self.label!r}: number must be at least 1 (0 is background), got {self.number}")
        if not 0 < len(self.label) <= 64:
            raise ValueError(f"segment {self.number}: label must have 1 to 64 characters, got {self.label!r}")
        for what, code in (("code", self.code), ("category", self.category)):
            if len(code) != 3 or not all(isinstance(part, str) and part for part in code):
                raise ValueError(
                    f"segment {self.label!r}: {what} must be (value, scheme, meaning), e.g. ('39607008', 'SCT', 'Lung'), got {code!r}"
                )


def write_segmentation(
    mask: npt.NDArray[Any],
    source: Sequence[Path] | Path,
    segments: Sequence[Segment],
    path: Path,
    *,
    affine: npt.NDArray[np.float64] | None,
    series_description: str = "Segmentation",
    series_number: int = 900,
) -> Path:
    """Write a mask as BINARY DICOM SEG, frame by frame on its source images.

    Frames without a voxel are left out (`read_segmentation(..., like=...)` restores the full grid). The file is read back before it takes its name: every
    segment must have its voxels, and its centroid must lie where the mask says, within 0.1 mm.

    Args:
        mask: (D, H, W) integers, 0 is background; on the grid that `medio.read(source)` returns.
        source: the DICOM files of the series (or its folder, or one enhanced file).
        segments: the meaning of every value in the mask; numbers 1 to N. A segment may be empty.
        path: where to write.
        affine: of the mask, index (z, y, x, 1) to LPS mm. None for a series that no affine describes (variable spacing, gantry tilt): then `mask[i]` lies on
            the i-th source frame along the normal.
        series_description: of the new series.
        series_number: of the new series.

    Returns:
        `path`.

    Raises:
        GeometryError: the mask does not lie on the source frames, or the written file does not say what the mask says.
        UnsupportedError: values without a segment, or numbers with gaps.
        CorruptFileError: a source that lacks an identifier.
    """
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    path = Path(path)
    instances, _ = open_series(source if isinstance(source, Path) else [Path(p) for p in source])
    if len(instances) > 1 and any(instance.frame_count > 1 for instance in instances):
        raise UnsupportedError(
            path, "a SEG refers to one enhanced file or to classic files, not to several enhanced ones; write one SEG a file"
        )
    frames = _along_normal([frame for instance in instances for frame in _frames(instance)])
    _check_values(mask, segments, path)
    places = _places(mask, frames, affine, path)
    datasets, planes = _in_file_order(frames, places, mask)
    equipment = version("medio")
    try:
        seg = highdicom.seg.Segmentation(
            source_images=datasets,
            pixel_array=planes,
            segmentation_type="BINARY",
            segment_descriptions=[_describe(segment) for segment in sorted(segments, key=lambda s: s.number)],
            series_instance_uid=highdicom.UID(),
            series_number=series_number,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medstack",
            manufacturer_model_name="medio",
            software_versions=equipment,
            device_serial_number="0",
            content_label="SEGMENTATION",
            series_description=series_description,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UnsupportedError(frames[0].instance.path, f"cannot be the source of a DICOM SEG ({error})") from error
    with replacing(path) as partial:
        seg.save_as(partial)
        _check_written(partial, mask, frames, places, affine, path)
    return path


def read_segmentation(path: Path, *, like: Image | None = None, segments: Sequence[int] | None = None) -> Image:
    """Read a DICOM SEG (BINARY or LABELMAP) as one label array.

    Args:
        path: the file.
        like: an image on whose grid to return the labels, e.g. the source volume. Without it the grid spans the stored frames only, since a SEG leaves
            out empty ones.
        segments: numbers to read; all by default.

    Returns:
        (D, H, W) uint8 (uint16 above 255 segments), 0 is background, with the affine of its frames; `meta["segments"]` is a tuple of `Segment`.

    Raises:
        GeometryError: frames that form no regular grid, or that do not lie on the grid of `like`.
        UnsupportedError: FRACTIONAL, segments that overlap, or not a SEG.
        CorruptFileError: a broken file.
    """
    labels = read_labels(Path(path), segments)
    header = labels.header
    with sound(labels.path):
        described = tuple(_segment(item) for item in labels.descriptions)
        meta: dict[str, Any] = {
            "path": str(path),
            "modality": "SEG",
            "patient_id": str(header.get("PatientID", "") or ""),
            "study_instance_uid": str(header.get("StudyInstanceUID", "") or ""),
            "series_instance_uid": str(header.get("SeriesInstanceUID", "") or ""),
            "frame_of_reference_uid": str(header.get("FrameOfReferenceUID", "") or ""),
            "segments": described,
        }
    if like is None:
        array, affine, spacing = labels.volume()
        return Image(array, affine, spacing, "", meta)
    known = {str(uid) for uid in (meta["frame_of_reference_uid"], like.meta.get("frame_of_reference_uid")) if uid}
    if len(known) > 1:
        raise GeometryError(path, "lies in another FrameOfReferenceUID than `like`; pass the image that it was drawn on")
    if like.affine is None:
        raise GeometryError(path, "`like` is a film, which has no place in the patient; pass the volume that it was drawn on")
    return Image(labels.volume_like(like.affine, like.spatial_shape), like.affine.copy(), like.spacing, "", meta)


def _frames(instance: Instance) -> list[Frame]:
    with sound(instance.path):
        return frames_of(instance)


def _along_normal(frames: Sequence[Frame]) -> list[Frame]:
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    return sorted(frames, key=lambda frame: float(frame.position @ normal))


def _check_values(mask: npt.NDArray[Any], segments: Sequence[Segment], path: Path) -> None:
    if mask.ndim != 3 or mask.dtype.kind not in "iub":
        raise GeometryError(path, f"a mask is a (D, H, W) integer array, got shape {mask.shape} of {mask.dtype}")
    numbers = sorted(segment.number for segment in segments)
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise UnsupportedError(path, f"segment numbers must run from 1 without gaps, got {numbers}; name every class, also an absent one")
    unknown = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
    if unknown:
        raise UnsupportedError(path, f"the mask holds values {unknown} that no segment explains; add a Segment with its code for each")


def _places(mask: npt.NDArray[Any], frames: Sequence[Frame], affine: npt.NDArray[np.float64] | None, path: Path) -> list[int]:
    """Give the slice of the mask that lies on each frame."""
    size = (len(frames), *frames[0].size)
    if mask.shape != size:
        raise GeometryError(
            path,
            f"the mask is {mask.shape}, its source has {size[0]} frames of {size[1]}x{size[2]}; resample(mask, like=read(source), order=0) first",
        )
    if affine is None:
        return list(range(len(frames)))
    places = []
    for frame in frames:
        # The centres of the first and last pixel of the frame must be the corners (z, 0, 0) and (z, H-1, W-1) of a slice of the mask.
        ends = world_to_index(affine, [_pixel(frame, 0, 0), _pixel(frame, size[1] - 1, size[2] - 1)])
        z = round(float(ends[0, 0]))
        off = np.abs(ends - [[z, 0, 0], [z, size[1] - 1, size[2] - 1]]).max()
        if off > _ALIGNED or not 0 <= z < size[0]:
            raise GeometryError(
                path,
                f"{frame.name} does not lie on a slice of the mask (its first pixel is at mask index {np.round(ends[0], 2).tolist()}); "
                "pass the affine of medio.read(source), after resample(mask, like=read(source), order=0) if the mask is on another grid",
            )
        places.append(z)
    if len(set(places)) != len(places):
        raise GeometryError(path, "two source frames lie on one slice of the mask; pass the files of one volume")
    return places


def _in_file_order(frames: Sequence[Frame], places: Sequence[int], mask: npt.NDArray[Any]) -> tuple[list[Dataset], npt.NDArray[Any]]:
    pairs = list(zip(frames, places, strict=True))
    if frames[0].instance.frame_count > 1:
        pairs.sort(key=lambda pair: pair[0].index)
        datasets = [_complete(frames[0].instance)]
    else:
        datasets = [_complete(frame.instance) for frame, _ in pairs]
    dtype = np.uint8 if int(mask.max()) < 256 else np.uint16
    return datasets, np.ascontiguousarray(mask[[z for _, z in pairs]].astype(dtype))


def _complete(instance: Instance) -> Dataset:
    """Copy a header, fill empty what may be empty (de-identification takes it away), and insist on what may not."""
    header = Dataset()
    header.update(instance.header)
    meta: Any = getattr(instance.header, "file_meta", Dataset())
    header.file_meta = meta
    for keyword, twin in (("SOPClassUID", "MediaStorageSOPClassUID"), ("SOPInstanceUID", "MediaStorageSOPInstanceUID")):
        if not header.get(keyword) and meta.get(twin):
            setattr(header, keyword, meta[twin].value)
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in _REQUIRED:
        if not header.get(keyword):
            raise CorruptFileError(
                instance.path, f"has no {keyword}: a DICOM SEG could not refer to it; use the original, or write the mask as NIfTI"
            )
    return header


def _describe(segment: Segment) -> Any:
    import highdicom  # as above

    machine = None
    if segment.algorithm:
        family = highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence")
        machine = highdicom.AlgorithmIdentificationSequence(segment.algorithm, family, segment.algorithm_version or "unknown")
    return highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label,
        segmented_property_category=highdicom.sr.CodedConcept(*segment.category),
        segmented_property_type=highdicom.sr.CodedConcept(*segment.code),
        algorithm_type="AUTOMATIC" if machine else "MANUAL",
        algorithm_identification=machine,
    )


def _segment(item: Dataset) -> Segment:
    codes = []
    for keyword in ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence"):
        code = item[keyword][0]
        value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
        codes.append((str(value), str(code.get("CodingSchemeDesignator") or "URN"), str(code.get("CodeMeaning") or value)))
    machine = (item.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()])[0]
    return Segment(
        number=int(item.SegmentNumber),
        label=str(item.SegmentLabel),
        code=codes[0],
        category=codes[1],
        algorithm=str(item.get("SegmentAlgorithmName") or machine.get("AlgorithmName") or ""),
        algorithm_version=str(machine.get("AlgorithmVersion") or ""),
    )


def _check_written(
    partial: Path,
    mask: npt.NDArray[Any],
    frames: Sequence[Frame],
    places: Sequence[int],
    affine: npt.NDArray[np.float64] | None,
    path: Path,
) -> None:
    """Compare each segment's count and centroid in mm, as the written file has them, with the mask's."""
    written = read_labels(partial, None).centroids()
    frame_at = dict(zip(places, frames, strict=True))
    for number in np.unique(mask[mask > 0]).tolist():
        index = np.argwhere(mask == number)
        if affine is not None:
            expected = index_to_world(affine, index.mean(axis=0))
        else:
            expected = np.mean([_pixel(frame_at[z], y, x) for z, y, x in index], axis=0)
        count, centroid = written.get(number, (0, np.full(3, np.nan)))
        distance = float(np.linalg.norm(centroid - expected))
        if count != len(index) or not distance <= POSITION_TOLERANCE:
            raise GeometryError(
                path,
                f"segment {number} came out with {count} voxels centred at {centroid.round(2).tolist()} mm, the mask has {len(index)} at "
                f"{expected.round(2).tolist()} mm; nothing was written, check affine and source",
            )


def _pixel(frame: Frame, row: float, column: float) -> npt.NDArray[np.float64]:
    """LPS mm of the centre of a pixel."""
    along = frame.orientation[:3] * frame.spacing[1] * column
    return np.asarray(frame.position + along + frame.orientation[3:] * frame.spacing[0] * row, np.float64)
