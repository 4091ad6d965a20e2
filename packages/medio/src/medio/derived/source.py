"""What a derived object comes from and who makes it: the source's headers and frames, the equipment, new UIDs.

Source: DICOM PS3.3 C.7.1 to C.7.5 (patient, study, frame of reference, equipment).
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from medio.dicom.instances import Instance, open_series, sound
from medio.dicom.stack import Frame, frames_of
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.geometry import world_to_index

UidMaker = Callable[[str], str]
"""Gives the UID for a role in the new object (`series`, `instance`, …)."""

Files = Path | str | Sequence[Path | str]
"""A folder, one file, or several files."""

TYPE_2 = (
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
"""Elements that every object has and that may be empty; de-identification takes them away."""
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_ALIGNED = 0.1
"""Share of a voxel that a source frame may lie beside its slice of the array."""
_SAME_DIRECTION = 1e-3
_SAME_PLACE = 1e-3
"""Distance in mm along the normal below which two frames lie at one place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """Who makes the object.

    Attributes:
        manufacturer: of the program, at most 64 characters, as the other texts.
        model: name of the program.
        software_versions: its version, and those of its parts.
        serial_number: of the installation.
    """

    manufacturer: str = "medstack"
    model: str = "medio"
    software_versions: tuple[str, ...] = field(default_factory=lambda: (version("medio"),))
    serial_number: str = "0"

    def __post_init__(self) -> None:
        for text in (self.manufacturer, self.model, *self.software_versions, self.serial_number):
            if not isinstance(text, str) or not 0 < len(text) <= 64 or "\\" in text:
                raise ValueError(f"equipment is described by texts of 1 to 64 characters without a backslash, got {text!r}")
        if not self.software_versions:
            raise ValueError("equipment needs at least one software version")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The images that an object is derived from.

    Attributes:
        name: folder or file to name in errors.
        instances: one a file.
        headers: their elements before the pixels, completed, in the same order.
    """

    name: Path
    instances: tuple[Instance, ...]
    headers: tuple[Dataset, ...]

    @property
    def uids(self) -> dict[str, Dataset]:
        """The header of each SOPInstanceUID."""
        return {str(header.SOPInstanceUID): header for header in self.headers}

    def header_of(self, instance: Instance) -> Dataset:
        """Find the completed header of one file."""
        return self.headers[self.instances.index(instance)]


def new_uid(role: str) -> str:
    """Make a UID that no other object has, whatever the role."""
    return str(generate_uid(prefix=None))


def keyed_uids(key: str) -> UidMaker:
    """Make UIDs that depend on a key alone, so that the same job run twice gives the same object and an archive keeps one of them.

    Args:
        key: names the job, e.g. source series, program and version; two objects need two keys.
    """
    if not key:
        raise ValueError("keyed_uids needs a key that names the job, e.g. the source series and the program's version")

    def make(role: str) -> str:
        # PS3.5 B.2: 2.25 and a 128-bit number, here a digest in place of a random UUID.
        digest = hashlib.blake2b(f"{key}\0{role}".encode(), digest_size=16).digest()
        return f"2.25.{int.from_bytes(digest, 'big')}"

    return make


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn what broken content raises, whenever it is first looked at, into one error that names the file.

    Raises:
        CorruptFileError: in place of the parser's error.
    """
    try:
        with sound(path):
            yield
    except (OSError, EOFError, RecursionError, MemoryError) as error:
        # pydicom parses sequences on first use: an item that ends early shows then, as an OSError.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(path, f"its content does not parse ({reason}); fetch it again or exclude it") from error


def dataset_of(instance: Instance) -> Dataset:
    """Give the elements before the pixels as a pydicom dataset of the caller's own."""
    with parsing(instance.path):
        return dcmread(instance.path, stop_before_pixels=True, force=True)


def open_source(source: Files, path: Path, kind: str) -> Source:
    """Open the source images of an object that is to be written to `path`.

    Args:
        source: a folder, a file, or the files of one study.
        path: the object, to name in errors.
        kind: the object, e.g. `a DICOM SEG`.

    Raises:
        CorruptFileError: a source without the UIDs that the object must refer to.
        UnsupportedError: images of several patients or studies.
        MissingFileError: nothing there.
    """
    files = Path(source) if isinstance(source, (str, Path)) else [Path(file) for file in source]
    instances, _ = open_series(files)
    headers = [_complete(instance, kind) for instance in instances]
    for keyword in ("StudyInstanceUID", "PatientID"):
        values = sorted({str(header[keyword].value or "") for header in headers})
        if len(values) > 1:
            studies = sorted({str(header.StudyInstanceUID) for header in headers})
            raise UnsupportedError(
                path, f"its sources come from several {keyword} (studies {', '.join(studies[:3])}); write one object a study"
            )
    name = files if isinstance(files, Path) else files[0].parent if len(files) > 1 else files[0]
    return Source(name, tuple(instances), tuple(headers))


def placed_frames(source: Source, path: Path, kind: str) -> list[Frame]:
    """Give the frames of one series along their normal, and settle in the headers what highdicom wants said once.

    Of an enhanced file that holds several frames at each place (phases, echoes, b-values), the first of each place is given.

    Raises:
        UnsupportedError: several enhanced files or series, or films.
        CorruptFileError: no FrameOfReferenceUID.
        GeometryError: frames without a place, in different frames of reference, or two at one place.
    """
    instances = source.instances
    if len(instances) > 1 and any(instance.frame_count > 1 for instance in instances):
        raise UnsupportedError(
            path, f"{kind} refers to one enhanced file or to classic files, not to several enhanced ones; write one object a file"
        )
    series = sorted({str(header.SeriesInstanceUID) for header in source.headers})
    if len(series) > 1:
        raise UnsupportedError(path, f"its sources belong to {len(series)} series ({', '.join(series[:3])}); {kind} lies on one")
    for instance, header in zip(instances, source.headers, strict=True):
        if (
            "ImagePositionPatient" not in header
            and "PerFrameFunctionalGroupsSequence" not in header
            and not header.get("FrameOfReferenceUID")
        ):
            raise UnsupportedError(
                instance.path,
                f"a projection image without FrameOfReferenceUID has no place in the patient: {kind} on it is not written, since viewers could not "
                "place it; use write_measurements (outlines in pixels), write_capture (an overlay) or write_key_images",
            )
        if not header.get("FrameOfReferenceUID"):
            raise CorruptFileError(
                instance.path, f"has no FrameOfReferenceUID: {kind} could not refer to it; use the original, or write NIfTI"
            )
    frames: list[Frame] = []
    for instance in instances:
        with parsing(instance.path):
            frames += frames_of(instance)
    frames_of_reference = sorted({str(header.FrameOfReferenceUID) for header in source.headers})
    if len(frames_of_reference) > 1:
        raise GeometryError(
            path, f"its sources lie in different FrameOfReferenceUID ({', '.join(frames_of_reference[:3])}); pass one series"
        )
    first = frames[0]
    for frame in frames:
        if frame.size != first.size or not np.allclose(frame.orientation, first.orientation, atol=_SAME_DIRECTION):
            raise GeometryError(path, f"{first.name} and {frame.name} differ in size or orientation; pass the files of one stack")
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    frames.sort(key=lambda frame: float(frame.position @ normal))
    depth = np.array([frame.position @ normal for frame in frames])
    first_there = np.diff(depth, prepend=-np.inf) >= _SAME_PLACE
    if len(instances) > 1 and not first_there.all():
        after = int(np.flatnonzero(~first_there)[0])
        a, b = frames[after - 1].name, frames[after].name
        raise GeometryError(
            path, f"two source frames lie at one place, e.g. {a} and {b} (copies, time points, echoes); pass the files of one volume"
        )
    frames = [frame for frame, first_one in zip(frames, first_there, strict=True) if first_one]
    for header in source.headers:
        _say_once(header, source.headers[0])
    return frames


def slices_of(
    frames: Sequence[Frame], shape: tuple[int, ...], affine: npt.NDArray[np.float64] | None, path: Path, what: str = "mask"
) -> list[int]:
    """Give the slice of an array that lies on each frame.

    Args:
        frames: along the normal.
        shape: (D, H, W) of the array.
        affine: of the array; None where slice i lies on frame i.
        path: the object, to name in errors.
        what: the array, to name in errors.

    Raises:
        GeometryError: the array does not lie on the frames.
    """
    size = (len(frames), *frames[0].size)
    if shape != size:
        raise GeometryError(
            path,
            f"the {what} is {shape}, its source has {size[0]} frames of {size[1]}x{size[2]}; resample({what}, like=read(source), order=0) first",
        )
    if affine is None:
        return list(range(len(frames)))
    places = []
    for frame in frames:
        # The first pixel and the ends of the first row and column must be the corners of a slice: two corners alone would admit a transposed square.
        height, width = size[1] - 1, size[2] - 1
        corners = world_to_index(affine, [pixel_centre(frame, 0, 0), pixel_centre(frame, 0, width), pixel_centre(frame, height, 0)])
        z = round(float(corners[0, 0]))
        off = np.abs(corners - [[z, 0, 0], [z, 0, width], [z, height, 0]]).max()
        if off > _ALIGNED or not 0 <= z < size[0]:
            raise GeometryError(
                path,
                f"{frame.name} does not lie on a slice of the {what} (its first pixel is at {what} index {np.round(corners[0], 2).tolist()}); "
                f"pass the affine of medio.read(source), after resample({what}, like=read(source), order=0) if the {what} is on another grid",
            )
        places.append(z)
    if len(set(places)) != len(places):
        raise GeometryError(path, f"two source frames lie on one slice of the {what}; pass the files of one volume")
    return places


def in_file_order(source: Source, frames: Sequence[Frame], places: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
    """Give the source as the arguments of highdicom's constructors, and the slice for each frame in stored order."""
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

    pairs = list(zip(frames, places, strict=True))
    if len(source.instances) > 1:
        headers = [source.header_of(frame.instance) for frame, _ in pairs]
    else:
        headers = list(source.headers)
        pairs.sort(key=lambda pair: pair[0].index)
    arguments: dict[str, Any] = {"source_images": headers}
    tiled = any(frame.tile is not None for frame in frames)
    if tiled or len(frames) < sum(instance.frame_count for instance in source.instances):
        # Said outright: several frames at a place, of which highdicom then names all, or the slices of a mosaic, which it does not know.
        arguments["plane_positions"] = [PlanePositionSequence("PATIENT", frame.position.tolist()) for frame, _ in pairs]
    first = frames[0]
    if tiled:
        arguments["plane_orientation"] = PlaneOrientationSequence("PATIENT", first.orientation.tolist())
        arguments["pixel_measures"] = PixelMeasuresSequence(first.spacing, first.thickness, first.thickness)
    elif first.instance.frame_count > 1 and "PerFrameFunctionalGroupsSequence" not in headers[0]:
        # Nuclear medicine places its frames in its own way; highdicom looks for functional groups.
        shared = Dataset()
        shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", first.orientation.tolist())
        shared.PixelMeasuresSequence = PixelMeasuresSequence(first.spacing, first.thickness, first.thickness)
        headers[0].SharedFunctionalGroupsSequence = [shared]
        headers[0].PerFrameFunctionalGroupsSequence = []
        for frame in frames_of(first.instance):
            group = Dataset()
            group.PlanePositionSequence = PlanePositionSequence("PATIENT", frame.position.tolist())
            headers[0].PerFrameFunctionalGroupsSequence.append(group)
    return arguments, [z for _, z in pairs]


def pixel_centre(frame: Frame, row: float, column: float) -> npt.NDArray[np.float64]:
    """LPS mm of the centre of a pixel."""
    along = frame.orientation[:3] * frame.spacing[1] * column
    return np.asarray(frame.position + along + frame.orientation[3:] * frame.spacing[0] * row, np.float64)


@contextmanager
def making(kind: str, source: Source) -> Iterator[None]:
    """Run a constructor of highdicom: what it raises becomes one error that names the source, and its warnings about names stay out of the log.

    Raises:
        UnsupportedError: in place of the constructor's error.
    """
    with warnings.catch_warnings():
        # It would print the patient's name wherever that has no caret, as after de-identification.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent the intended person name")
        try:
            yield
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise UnsupportedError(source.instances[0].path, f"cannot be the source of {kind} ({error})") from error


def maker(equipment: Equipment) -> dict[str, Any]:
    """Give the equipment as the arguments of highdicom's constructors."""
    return {
        "manufacturer": equipment.manufacturer,
        "manufacturer_model_name": equipment.model,
        "software_versions": list(equipment.software_versions),
        "device_serial_number": equipment.serial_number,
    }


def patient_and_study(header: Dataset) -> dict[str, Any]:
    """Give patient and study as the arguments of highdicom's constructors."""
    return {
        "study_instance_uid": str(header.StudyInstanceUID),
        "patient_id": header.PatientID,
        "patient_name": header.PatientName,
        "patient_birth_date": header.PatientBirthDate,
        "patient_sex": header.PatientSex,
        "accession_number": header.AccessionNumber,
        "study_id": header.StudyID,
        "study_date": header.StudyDate,
        "study_time": header.StudyTime,
        "referring_physician_name": header.ReferringPhysicianName,
    }


def set_dimension_uid(made: Dataset, uid: str) -> None:
    """Replace the random DimensionOrganizationUID of a new multi-frame object."""
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(sequence) or []:
            item.DimensionOrganizationUID = uid


def _complete(instance: Instance, kind: str) -> Dataset:
    """Read a header, fill empty what may be empty, and insist on what may not."""
    header = dataset_of(instance)
    meta: Any = getattr(header, "file_meta", None) or Dataset()
    for keyword, twin in (("SOPClassUID", "MediaStorageSOPClassUID"), ("SOPInstanceUID", "MediaStorageSOPInstanceUID")):
        if not header.get(keyword) and meta.get(twin):
            setattr(header, keyword, meta[twin].value)
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in _REQUIRED:
        if not header.get(keyword):
            raise CorruptFileError(instance.path, f"has no {keyword}: {kind} could not refer to it; use the original, or write NIfTI")
    return header


def _say_once(header: Dataset, first: Dataset) -> None:
    """Move to one place what all frames share: highdicom refuses orientations that differ by rounding, or that an enhanced file repeats a frame."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        if "ImageOrientationPatient" in first:
            header.ImageOrientationPatient = first.ImageOrientationPatient
        return
    if not header.get("SharedFunctionalGroupsSequence"):
        header.SharedFunctionalGroupsSequence = [Dataset()]
    shared, group = header.SharedFunctionalGroupsSequence[0], header.PerFrameFunctionalGroupsSequence[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared and keyword in group:
            setattr(shared, keyword, deepcopy(group[keyword].value))
