"""The columns of an archive index, and how a header fills them."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.dicom.header import Header, keys_of
from medio.dicom.instances import SENSELESS
from medio.errors import MedioError

_TEXT = [
    "PatientID",
    "PatientName",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "AccessionNumber",
    "StudyID",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "StationName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstitutionName",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "SequenceName",
    "ScanningSequence",
    "SequenceVariant",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "PatientPosition",
    "PresentationIntentType",
    "PhotometricInterpretation",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "MRAcquisitionType",
]
_WHOLE = [
    "SeriesNumber",
    "InstanceNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
]
_REAL = [
    "PatientWeight",
    "PatientSize",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "DiffusionBValue",
    "KVP",
    "XRayTubeCurrent",
    "Exposure",
    "GantryDetectorTilt",
    "RescaleSlope",
    "RescaleIntercept",
]
_REALS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "WindowCenter", "WindowWidth"]
_TEXTS = ["ImageType"]


def snake_case(keyword: str) -> str:
    """Return the column of a DICOM keyword: `SOPInstanceUID` becomes `sop_instance_uid`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        return "\\".join(map(str, value))
    return (value if type(value) is str else str(value)) or None


def _texts(value: Any) -> list[str] | None:
    return [str(part) for part in (value if isinstance(value, list) else [value])] if value else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else int(value)


def _reals(value: Any) -> list[float] | None:
    return [float(part) for part in (value if isinstance(value, list) else [value])] or None


_COLUMNS: list[tuple[str, pa.DataType, Callable[[Any], Any]]] = [
    *((keyword, pa.string(), _text) for keyword in _TEXT),
    *((keyword, pa.int64(), _whole) for keyword in _WHOLE),
    *((keyword, pa.float64(), float) for keyword in _REAL),
    *((keyword, pa.list_(pa.float64()), _reals) for keyword in _REALS),
    *((keyword, pa.list_(pa.string()), _texts) for keyword in _TEXTS),
]
KEYWORDS = {snake_case(keyword): keyword for keyword, _, _ in _COLUMNS}
"""Column -> DICOM keyword, for the columns that hold one element's value."""

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.float64()),
        ("mtime_ns", pa.int64()),
        ("archive_size", pa.int64()),
        ("error", pa.string()),
        ("sop_class_uid", pa.string()),
        ("transfer_syntax_uid", pa.string()),
        *((snake_case(keyword), kind) for keyword, kind, _ in _COLUMNS),
        ("radiopharmaceutical", pa.string()),
        ("referenced_study_instance_uid", pa.list_(pa.string())),
        ("referenced_series_instance_uid", pa.list_(pa.string())),
    ]
)
"""Columns of `scan`: snake_case DICOM keywords, null where the file does not say.

Spacing, thickness and orientation of enhanced objects come from their functional groups: the shared ones, else those of the frames where the first and the last agree.
`path` is `archive.zip!/member` for a member of an archive; `size` is then the member's, `archive_size` and the times are the archive's. Dates and times are as
DICOM writes them (YYYYMMDD, HHMMSS.F). Several values of a text are joined by a backslash.
"""

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
"""The `sop_class_uid` of a DICOMDIR: it lists other files and holds no image."""
NATIVE = frozenset(map(str, (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)))
DEFLATED = str(DeflatedExplicitVRLittleEndian)

_HEAD = 8  # columns before those of the keywords
_KEYS = keys_of(["SOPClassUID", *(keyword for keyword, _, _ in _COLUMNS)])
_CONVERT = [convert for _, _, convert in _COLUMNS]
_KINDS = [{_text: str, _whole: int, float: float}.get(convert) for convert in _CONVERT]  # values of this type need no conversion
_SEQUENCES = keys_of(
    [
        "ReferencedSeriesSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "ReferencedFrameOfReferenceSequence",
        "RadiopharmaceuticalInformationSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    ]
)
_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
}
"""What enhanced (multi-frame) objects say in their functional groups and classic ones at the top (PS3.3 C.7.6.16)."""
_WIDTH = len(SCHEMA)

Row = list[Any]
"""One row, its values in the order of `SCHEMA`."""


def error_row(path: str, reason: str, *, size: int | None = None, mtime_ns: int | None = None, archive_size: int | None = None) -> Row:
    """Return the row of a file that says nothing but why."""
    seconds = None if mtime_ns is None else _seconds(mtime_ns)
    return [path, size, seconds, mtime_ns, archive_size, reason, *[None] * (_WIDTH - 6)]


def header_row(path: str, header: Header, size: int, mtime_ns: int, archive_size: int | None = None) -> Row:
    """Return the row of a file by its header; its error stays null.

    An element that is empty or makes no sense is null: one bad value must not hide the others.
    """
    picked = header.pick(_KEYS)
    values = [
        value if type(value) is kind and value != "" else None if value is None or value == "" else _converted(convert, value)
        for kind, convert, value in zip(_KINDS, _CONVERT, picked[1:], strict=True)
    ]
    sop_class = _text(picked[0] or header.meta_sop_class_uid)
    row = [path, size, _seconds(mtime_ns), mtime_ns, archive_size, None, sop_class, header.syntax or None, *values]
    if not header.has_any(_SEQUENCES):
        return [*row, None, None, None]
    _fill_from_groups(row, header)
    studies, series = _references(header)
    return [*row, _radiopharmaceutical(header), studies or None, series or None]


def _seconds(nanoseconds: int) -> float:
    whole, rest = divmod(nanoseconds, 10**9)
    return whole + rest * 1e-9  # as `os.stat` counts it


def _converted(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except SENSELESS:
        return None


def _tolerant(header: Header, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except (*SENSELESS, MedioError):
        return None


def _items(header: Header, keyword: str) -> list[Header]:
    value = _tolerant(header, keyword)
    return value if isinstance(value, list) else []


def _radiopharmaceutical(header: Header) -> str | None:
    for item in _items(header, "RadiopharmaceuticalInformationSequence"):
        names = [_tolerant(item, "Radiopharmaceutical")]
        for code in ("RadiopharmaceuticalCodeSequence", "RadionuclideCodeSequence"):
            names += [_tolerant(coded, "CodeMeaning") for coded in _items(item, code)]
        for name in names:
            if name:
                return _text(name)
    return None


def _fill_from_groups(row: Row, header: Header) -> None:
    shared = _items(header, "SharedFunctionalGroupsSequence")[:1]
    frames: list[Header] | None = None
    for sequence, keywords in _GROUPS.items():
        groups = [group for item in shared for group in _items(item, sequence)[:1]]
        if not groups:
            frames = _items(header, "PerFrameFunctionalGroupsSequence") if frames is None else frames
            groups = [group for item in (*frames[:1], *frames[-1:]) for group in _items(item, sequence)[:1]]
        for keyword in keywords:
            place = SCHEMA.names.index(snake_case(keyword))
            values = [_tolerant(group, keyword) for group in groups]
            if row[place] is None and values and values[0] not in (None, "") and values[0] == values[-1]:
                row[place] = _converted(_CONVERT[place - _HEAD], values[0])


def _references(header: Header) -> tuple[list[str], list[str]]:
    """Find the studies and series that a SEG, SR, RTSTRUCT, KO or presentation state refers to, each once, in order."""
    studies: dict[str, None] = {}
    series: dict[str, None] = {}
    for item in _items(header, "ReferencedSeriesSequence"):
        _note(series, item, "SeriesInstanceUID")
    for study in _items(header, "CurrentRequestedProcedureEvidenceSequence"):
        _note(studies, study, "StudyInstanceUID")
        for item in _items(study, "ReferencedSeriesSequence"):
            _note(series, item, "SeriesInstanceUID")
    for frame in _items(header, "ReferencedFrameOfReferenceSequence"):
        for study in _items(frame, "RTReferencedStudySequence"):
            _note(studies, study, "ReferencedSOPInstanceUID")
            for item in _items(study, "RTReferencedSeriesSequence"):
                _note(series, item, "SeriesInstanceUID")
    return list(studies), list(series)


def _note(found: dict[str, None], item: Header, keyword: str) -> None:
    uid = _text(_tolerant(item, keyword) or "")
    if uid:
        found[uid] = None
