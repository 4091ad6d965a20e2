"""How far apart the pixels of a projection image are, where that is measured, and how much the patient is magnified there.

Sources: DICOM PS3.3 C.8.7.10.4 and 10.7.1 (Pixel Spacing Calibration), C.8.11.3, C.8.11.7 (magnification), C.8.5.5 (Ultrasound Region Calibration).
"""

import math
from dataclasses import dataclass

from medio.dicom.frame import numbers_in
from medio.dicom.header import Header

_CENTIMETRE = 3
_TISSUE = 1
"""RegionSpatialFormat 2D (1): pixels are places, not Doppler or M-mode traces."""


@dataclass(frozen=True, slots=True)
class ProjectionSpacing:
    """Spacing of a projection image.

    Attributes:
        spacing: (row, column) mm; None where the file has none.
        source: where it was found: `PixelSpacing`, `ImagerPixelSpacing`, `NominalScannedPixelSpacing`, `SequenceOfUltrasoundRegions`; empty for none.
        plane: where these mm are measured: `calibrated` (by GEOMETRY or FIDUCIAL, in the patient), `detector`, `patient` (ultrasound), `film` (scanned) or
            `unknown` (PixelSpacing of a radiograph that does not say).
        magnification: how many times larger the patient's central plane appears in the plane of the spacing: 1 where the spacing is calibrated, else
            EstimatedRadiographicMagnificationFactor, or source to detector over source to patient; None where not said.
    """

    spacing: tuple[float, float] | None
    source: str
    plane: str
    magnification: float | None


def projection_spacing(header: Header) -> ProjectionSpacing:
    """Find the pixel spacing of a CR, DX, MG, XA, RF, US or scanned image.

    PixelSpacing is used before ImagerPixelSpacing, and that before NominalScannedPixelSpacing, as PS3.3 10.7.1.3 says: PixelSpacing that equals
    ImagerPixelSpacing, or has no calibration, is that of the detector.

    Args:
        header: the data set.
    """
    regions = _ultrasound(header)
    if regions is not None:
        return ProjectionSpacing(regions, "SequenceOfUltrasoundRegions", "patient", 1.0)
    pixel, imager = _pair(header, "PixelSpacing"), _pair(header, "ImagerPixelSpacing")
    ratio = _magnification(header)
    calibration = str(header.get("PixelSpacingCalibrationType") or "")
    if pixel is not None:
        if calibration in ("GEOMETRY", "FIDUCIAL") or (
            imager is not None and any(not math.isclose(p, i, rel_tol=1e-3) for p, i in zip(pixel, imager, strict=True))
        ):
            return ProjectionSpacing(pixel, "PixelSpacing", "calibrated", 1.0)
        plane = "detector" if imager is not None else "unknown"
        return ProjectionSpacing(pixel, "PixelSpacing", plane, ratio)
    if imager is not None:
        return ProjectionSpacing(imager, "ImagerPixelSpacing", "detector", ratio)
    scanned = _pair(header, "NominalScannedPixelSpacing")
    if scanned is not None:
        return ProjectionSpacing(scanned, "NominalScannedPixelSpacing", "film", ratio)
    return ProjectionSpacing(None, "", "unknown", ratio)


def _pair(header: Header, keyword: str) -> tuple[float, float] | None:
    numbers = numbers_in(header.get(keyword))
    if len(numbers) != 2 or not all(math.isfinite(n) and n > 0 for n in numbers):
        return None
    return numbers[0], numbers[1]


def _magnification(header: Header) -> float | None:
    said = numbers_in(header.get("EstimatedRadiographicMagnificationFactor"))
    if said and said[0] >= 1:
        return said[0]
    detector, patient = numbers_in(header.get("DistanceSourceToDetector")), numbers_in(header.get("DistanceSourceToPatient"))
    if detector and patient and detector[0] >= patient[0] > 0:
        return detector[0] / patient[0]
    return None


def _ultrasound(header: Header) -> tuple[float, float] | None:
    """Return the spacing of the two-dimensional regions, None where there are none or they differ."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        units = {int(region.get("PhysicalUnitsXDirection") or 0), int(region.get("PhysicalUnitsYDirection") or 0)}
        deltas = numbers_in(region.get("PhysicalDeltaY")), numbers_in(region.get("PhysicalDeltaX"))
        if int(region.get("RegionSpatialFormat") or 0) == _TISSUE and units == {_CENTIMETRE} and all(deltas):
            found.add((abs(deltas[0][0]) * 10, abs(deltas[1][0]) * 10))
    spacing = found.pop() if len(found) == 1 else None
    return spacing if spacing is not None and min(spacing) > 0 else None
