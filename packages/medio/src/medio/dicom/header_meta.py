"""What later steps need to know of a file, under stable names."""

from typing import Any

from medio.dicom.frame import Frame, numbers_in

_TEXTS = {
    "modality": "Modality",
    "patient_id": "PatientID",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_description": "SeriesDescription",
    "series_number": "SeriesNumber",
    "protocol_name": "ProtocolName",
    "manufacturer": "Manufacturer",
    "manufacturer_model_name": "ManufacturerModelName",
    "institution_name": "InstitutionName",
    "body_part_examined": "BodyPartExamined",
    "patient_position": "PatientPosition",
    "view_position": "ViewPosition",
    "sequence_name": "SequenceName",
    "contrast_agent": "ContrastBolusAgent",
    "photometric_interpretation": "PhotometricInterpretation",
}
_FRAME_TEXTS = {"kernel": ("ConvolutionKernel", "CTReconstructionSequence")}
_NUMBERS = {
    "kvp": ("KVP", "CTXRayDetailsSequence"),
    "slice_thickness_mm": ("SliceThickness", "PixelMeasuresSequence"),
    "repetition_time_ms": ("RepetitionTime", "MRTimingAndRelatedParametersSequence"),
    "inversion_time_ms": ("InversionTime",),
    "flip_angle": ("FlipAngle", "MRTimingAndRelatedParametersSequence"),
    "field_strength_t": ("MagneticFieldStrength",),
}


def header_meta(frame: Frame) -> dict[str, Any]:
    """Return what the header of a slice or film says, for `Image.meta`.

    Texts are empty and numbers None where nothing is said. Beside the plain ones: `echo_time_ms`, `image_type` (tuple), `laterality` (R, L, B; of the image or
    else of the series), `acquisition_time` (as in the file, YYYYMMDDHHMMSS.FFFFFF).
    """
    header = frame.instance.header
    meta: dict[str, Any] = {key: _text(header.get(keyword)) for key, keyword in _TEXTS.items()}
    for key, (keyword, *sequences) in _FRAME_TEXTS.items():
        meta[key] = _text(frame.find(keyword, *sequences))
    for key, (keyword, *sequences) in _NUMBERS.items():
        meta[key] = _number(frame, keyword, *sequences)
    echo = _number(frame, "EffectiveEchoTime", "MREchoSequence")
    meta["echo_time_ms"] = _number(frame, "EchoTime") if echo is None else echo
    kinds = frame.find("ImageType")
    meta["image_type"] = (kinds,) if isinstance(kinds, str) else tuple(map(str, kinds or ()))
    meta["laterality"] = _text(
        frame.find("ImageLaterality") or frame.find("FrameLaterality", "FrameAnatomySequence") or frame.find("Laterality")
    )
    time = frame.find("FrameAcquisitionDateTime", "FrameContentSequence") or frame.find("AcquisitionDateTime")
    if not time and frame.find("AcquisitionDate") and frame.find("AcquisitionTime"):
        time = f"{frame.find('AcquisitionDate')}{frame.find('AcquisitionTime')}"
    meta["acquisition_time"] = _text(time)
    return meta


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(map(str, value))


def _number(frame: Frame, keyword: str, *sequences: str) -> float | None:
    numbers = numbers_in(frame.find(keyword, *sequences))
    return numbers[0] if numbers else None
