"""What a slice says of itself beyond its place, by which slices at one position are told apart.

Sources: DICOM PS3.3 C.7.6.16 (functional groups), C.8.3 (MR), C.8.9 (PET), C.8.16 (frame types), C.8.4 (NM); Dixon terms of C.8.13.3.1.
"""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from medio.dicom.diffusion import DiffusionReader
from medio.dicom.frame import Frame, numbers_in

_TERMS = {
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
    "IN_PHASE": "in phase",
    "IP": "in phase",
    "OPP_PHASE": "opposed phase",
    "OUT_PHASE": "opposed phase",
    "OP": "opposed phase",
    "WATER": "water",
    "W": "water",
    "FAT": "fat",
    "F": "fat",
    "FAT_FRACTION": "fat fraction",
    "WATER_FRACTION": "water fraction",
    "ADC": "ADC",
    "EADC": "eADC",
    "FA": "FA",
    "TRACEW": "trace",
    "TRACE": "trace",
    "ISOTROPIC": "trace",
    "T1 MAP": "T1 map",
    "T2 MAP": "T2 map",
    "T2_STAR MAP": "T2* map",
    "R2 MAP": "R2 map",
    "R2_STAR MAP": "R2* map",
    "B0 MAP": "B0 map",
    "B1 MAP": "B1 map",
    "FIELD_MAP": "B0 map",
    "FIELD MAP": "B0 map",
    "VELOCITY": "velocity",
    "PHASE CONTRAST": "velocity",
    "SUBTRACTION": "subtraction",
    "SUB": "subtraction",
    "MAX_IP": "maximum projection",
    "MIN_IP": "minimum projection",
    "MIP": "maximum projection",
    "MNIP": "minimum projection",
    "LOCALIZER": "localizer",
    "CBF": "CBF",
    "CBV": "CBV",
    "RCBV": "CBV",
    "RCBF": "CBF",
    "MTT": "MTT",
    "TTP": "TTP",
    "PERFUSION_ASL": "perfusion weighted",
}
_COMPONENTS = {"magnitude", "phase", "real", "imaginary"}


def image_type_of(frame: Frame) -> tuple[str, ...]:
    """Return FrameType, or else ImageType."""
    value = frame.find("FrameType", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence") or frame.find(
        "ImageType"
    )
    return tuple(str(v) for v in value) if value is not None and not isinstance(value, str) else (str(value or ""),)


def kind_of(frame: Frame) -> str:
    """Name what the values are: magnitude, phase, water, ADC, …; empty where nothing known is said."""
    terms = [_TERMS[value] for value in image_type_of(frame) if value in _TERMS]
    component = str(frame.find("ComplexImageComponent", "MRImageFrameTypeSequence") or "")
    if component != "MIXED" and component in _TERMS:
        terms.append(_TERMS[component])
    named = list(dict.fromkeys(terms))
    # What is pictured says more than which part of a complex number it is, and a part more than the plain magnitude.
    pictured = [term for term in named if term not in _COMPONENTS]
    parts = [term for term in named if term in _COMPONENTS - {"magnitude"}]
    return " ".join(pictured or parts or named)


def acquired_at(frame: Frame) -> datetime | None:
    """Return when a slice was acquired, None where it is not said."""
    text = frame.find("FrameAcquisitionDateTime", "FrameContentSequence") or frame.find("AcquisitionDateTime")
    if not text:
        date, time = frame.find("AcquisitionDate"), frame.find("AcquisitionTime")
        text = f"{date}{time}" if date and time else ""
    return parse_time(str(text))


def parse_time(text: str) -> datetime | None:
    """Read a DICOM date and time (YYYYMMDDHHMMSS.FFFFFF, a UTC offset is passed over), None where it is not one.

    Source: DICOM PS3.5 section 6.2 (DA, TM, DT).
    """
    text = text.strip().split("+")[0].split("-")[0].replace(":", "")
    whole, _, fraction = text.partition(".")
    if len(whole) < 10 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        return None
    digits = whole[:14].ljust(14, "0")
    year, month, day, hour, minute, second = int(digits[:4]), *(int(digits[i : i + 2]) for i in range(4, 14, 2))
    try:
        moment = datetime(year, month, day, hour, minute, second)  # DICOM's local time: only differences are used
    except ValueError:
        return None
    return moment + timedelta(seconds=float(f"0.{fraction}") if fraction else 0.0)


def _number(keyword: str, *sequences: str, digits: int = 3) -> Callable[[Frame], Hashable]:
    def read(frame: Frame) -> Hashable:
        numbers = numbers_in(frame.find(keyword, *sequences))
        return round(numbers[0], digits) if numbers else None

    return read


def _text(keyword: str, *sequences: str) -> Callable[[Frame], Hashable]:
    def read(frame: Frame) -> Hashable:
        value = frame.find(keyword, *sequences)
        if value is None:
            return None
        return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(map(str, value))

    return read


def _vector(name: str) -> Callable[[Frame], Hashable]:
    return lambda frame: dict(frame.numbers).get(name)


def _either(*readers: Callable[[Frame], Hashable]) -> Callable[[Frame], Hashable]:
    return lambda frame: next((value for reader in readers if (value := reader(frame)) is not None), None)


def _gradient(reader: DiffusionReader, frame: Frame) -> Hashable:
    direction = reader(frame)[1]
    return None if direction is None else tuple(round(v, 4) + 0.0 for v in direction)


_VALUES: dict[str, Callable[[Frame], Hashable]] = {
    "kind": kind_of,
    "stack": _text("StackID", "FrameContentSequence"),
    "echo_time_ms": _either(_number("EffectiveEchoTime", "MREchoSequence"), _number("EchoTime")),
    "echo_number": _number("EchoNumbers"),
    "inversion_time_ms": _either(_number("InversionTimes", "MRModifierSequence"), _number("InversionTime")),
    "flip_angle": _number("FlipAngle", "MRTimingAndRelatedParametersSequence"),
    "velocity": _text("VelocityEncodingDirection", "MRVelocityEncodingSequence"),
    "kvp": _number("KVP", "CTXRayDetailsSequence"),
    "kernel": _text("ConvolutionKernel", "CTReconstructionSequence"),
    "energy_window": _vector("energy_window"),
    "detector": _vector("detector"),
    "cardiac_phase": _either(
        _vector("phase"),
        _number("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence"),
        _number("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
    ),
    "respiratory_phase": _number("NominalPercentageOfRespiratoryPhase", "RespiratorySynchronizationSequence"),
    "image_type": image_type_of,
}
VALUE_KEYS = (*list(_VALUES)[:4], "b_value", "gradient", *list(_VALUES)[4:])
"""What makes slices at one position different images, the first first."""

TIMES: dict[str, Callable[[Frame], Hashable]] = {
    "time_index": _either(
        _number("TemporalPositionIndex", "FrameContentSequence"),
        _number("TemporalPositionIdentifier"),
        _vector("time_index"),
        _vector("rr_interval"),
    ),
    "frame_reference_time": _number("FrameReferenceTime"),
    "acquisition_number": _either(_number("FrameAcquisitionNumber", "FrameContentSequence"), _number("AcquisitionNumber")),
}
"""What is the same for all slices of one time point."""

RANKS: dict[str, Callable[[Frame], Hashable]] = {
    "trigger_time": _number("TriggerTime"),
    "acquired": acquired_at,
    "instance_number": lambda frame: None if frame.find("InstanceNumber") is None else (int(frame.find("InstanceNumber")), frame.index),
}
"""What grows with time at each position, though slices of one time point need not agree."""


def value_readers() -> dict[str, Callable[[Frame], Hashable]]:
    """Return a reader for each of `VALUE_KEYS`; the diffusion weighting of a slice is looked up once for all uses of them."""
    diffusion = DiffusionReader()
    special: dict[str, Callable[[Frame], Hashable]] = {
        "b_value": lambda frame: diffusion(frame)[0],
        "gradient": lambda frame: _gradient(diffusion, frame),
    }
    return {key: special.get(key) or _VALUES[key] for key in VALUE_KEYS}
