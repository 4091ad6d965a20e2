"""PET: from activity or counts to the standardised uptake value by body weight.

Source: QIBA FDG-PET profile, "Vendor-neutral pseudo-code for SUV calculation"; DICOM PS3.3 C.8.9.1, C.8.9.2 (PET series and isotope).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, log
from pathlib import Path
from typing import Any

from medio.dicom.frame import Frame, numbers_in, private
from medio.dicom.labels import acquired_at, parse_time
from medio.errors import UnsupportedError

_LEAST_DOSE_BQ = 1e4
_CODES = {"Bq/ml": "BQML", "{counts}": "CNTS", "g/ml{SUVbw}": "GML"}


@dataclass(frozen=True, slots=True)
class Suv:
    """SUVbw = factor * rescaled value.

    Attributes:
        factor: g/Bq where values are Bq/ml, 1 where they are SUVbw already.
        method: how it was found, e.g. `BQML, decay from 08:30:00 to 09:30:00`.
    """

    factor: float
    method: str


def units_of(frame: Frame) -> str:
    """Return the units of the rescaled values of a PET slice as DICOM names them (BQML, CNTS, GML, …), empty where not said."""
    units = str(frame.find("Units") or "")
    if units:
        return units
    for group in frame.groups:
        for mapping in (group.get("RealWorldValueMappingSequence") or [])[:1]:
            for code in (mapping.get("MeasurementUnitsCodeSequence") or [])[:1]:
                return _CODES.get(str(code.get("CodeValue") or ""), str(code.get("CodeValue") or ""))
    return ""


def suv_of(frames: Sequence[Frame], name: Path | str) -> Suv:
    """Find the factor from the rescaled values of a PET volume to SUVbw.

    Args:
        frames: all slices of the volume.
        name: what to name in errors.

    Raises:
        UnsupportedError: what is missing or makes no sense. No value is assumed.
    """
    frame, units = frames[0], units_of(frames[0])

    def refuse(why: str) -> UnsupportedError:
        return UnsupportedError(
            name, f'has no SUV: {why}; read it with pet="stored" for the values as they are ({units or "unknown units"})'
        )

    if units == "GML":
        kind = str(frame.find("SUVType") or "BW")
        if kind != "BW":
            raise refuse(f"its values are SUV by {kind}, not by body weight")
        return Suv(1.0, "GML: SUVbw already")
    corrected = frame.find("CorrectedImage")
    corrections = {str(corrected)} if isinstance(corrected, str) else {str(v) for v in corrected or []}
    attenuation = "ATTN" in corrections or str(frame.find("AttenuationCorrected") or "") == "YES"
    decay = "DECY" in corrections or str(frame.find("DecayCorrected") or "") == "YES"
    if units not in ("BQML", "CNTS"):
        raise refuse(f"Units are {units or 'not said'}; BQML, CNTS (Philips) and GML can be converted")
    if not attenuation or not decay:
        lacking = " and ".join(what for what, done in (("attenuation", attenuation), ("decay", decay)) if not done)
        raise refuse(f"it is not corrected for {lacking} (CorrectedImage {'/'.join(sorted(corrections)) or 'missing'})")
    scale, how = 1.0, "BQML"
    if units == "CNTS":
        direct = numbers_in(private(frame.instance.header, "Philips PET Private Group", 0x7053, 0x00), "t")
        if direct and direct[0] > 0:
            return Suv(direct[0], "CNTS, Philips' own factor (7053,xx00)")
        activity = numbers_in(private(frame.instance.header, "Philips PET Private Group", 0x7053, 0x09), "t")
        if not activity or activity[0] <= 0:
            raise refuse("Units are CNTS without Philips' factors (7053,xx00) or (7053,xx09)")
        scale, how = activity[0], "CNTS, Philips' factor to Bq/ml (7053,xx09)"
    weight = _positive(frame.find("PatientWeight"))
    isotope = next(iter(frame.instance.header.get("RadiopharmaceuticalInformationSequence") or []), None)
    dose = _positive(isotope.get("RadionuclideTotalDose")) if isotope is not None else None
    if weight is None:
        raise refuse("PatientWeight is missing or not positive")
    if isotope is None or dose is None:
        raise refuse("RadionuclideTotalDose is missing or not positive")
    if dose < _LEAST_DOSE_BQ:
        raise refuse(f"RadionuclideTotalDose is {dose:g} Bq, less than any injection: it is written in MBq")
    reference = str(frame.find("DecayCorrection") or "")
    moment = parse_time(str(frame.find("DecayCorrectionDateTime") or ""))
    if reference == "ADMIN":
        return Suv(scale * weight * 1000 / dose, f"{how}, decay corrected to the injection")
    if reference != "START" and moment is None:
        raise refuse(f"DecayCorrection is {reference or 'missing'}, not START or ADMIN")
    half_life = _positive(isotope.get("RadionuclideHalfLife"))
    if half_life is None:
        raise refuse("RadionuclideHalfLife is missing or not positive")
    start = moment if moment is not None else _scan_start(frames, half_life)
    if isinstance(start, str):
        raise refuse(start)
    injected = _injection(isotope, start, half_life)
    if isinstance(injected, str):
        raise refuse(injected)
    elapsed = (start - injected).total_seconds()
    left = dose * 2 ** (-elapsed / half_life)
    return Suv(scale * weight * 1000 / left, f"{how}, decay from {injected:%H:%M:%S} to {start:%H:%M:%S}")


def _positive(value: Any) -> float | None:
    numbers = numbers_in(value)
    return numbers[0] if numbers and numbers[0] > 0 else None


def _scan_start(frames: Sequence[Frame], half_life: float) -> datetime | str:
    """Return the moment that the values are decay corrected to, or why it is not known."""
    frame = frames[0]
    acquired = [moment for one in frames if (moment := acquired_at(one)) is not None]
    series = parse_time(f"{frame.find('SeriesDate') or ''}{frame.find('SeriesTime') or ''}")
    if not acquired:
        return "AcquisitionDate or AcquisitionTime is missing"
    if series is not None and series <= min(acquired):
        return series
    # The series was made afterwards: its time is not that of the scan.
    said = private(frame.instance.header, "GEMS_PETD_01", 0x0009, 0x0D)
    moment = parse_time(said.decode("latin-1").rstrip("\0 ") if isinstance(said, bytes) else str(said or ""))
    if moment is not None:
        return moment
    reference, duration = numbers_in(frame.find("FrameReferenceTime")), numbers_in(frame.find("ActualFrameDuration"))
    at = acquired_at(frame)
    if not reference or not duration or duration[0] <= 0 or at is None:
        return "SeriesTime lies after AcquisitionTime (a series made afterwards), and FrameReferenceTime or ActualFrameDuration is missing"
    # FrameReferenceTime is when the count rate is the frame's average, counted from the moment sought.
    rate, seconds = log(2) / half_life, duration[0] / 1000
    within = log(rate * seconds / (1 - exp(-rate * seconds))) / rate
    return at + timedelta(seconds=within - reference[0] / 1000)


def _injection(isotope: Any, start: datetime, half_life: float) -> datetime | str:
    """Return when the tracer was given, or why it is not known."""
    moment = parse_time(str(isotope.get("RadiopharmaceuticalStartDateTime") or ""))
    if moment is not None and 0 <= (start - moment).total_seconds() < 10 * half_life:
        return moment
    time = str(isotope.get("RadiopharmaceuticalStartTime") or "").strip()
    if not time:
        if moment is None:
            return "RadiopharmaceuticalStartTime is missing"
        return f"RadiopharmaceuticalStartDateTime {moment:%Y-%m-%d %H:%M:%S} does not fit the scan of {start:%Y-%m-%d %H:%M:%S}"
    given = parse_time(f"{start:%Y%m%d}{time}")
    if given is None:
        return f"RadiopharmaceuticalStartTime {time!r} is not a time"
    # Only a time of day: a later one than the scan's was before midnight.
    return given if given <= start else given - timedelta(days=1)
