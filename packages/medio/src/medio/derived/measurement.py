"""A measurement, and where in the patient it was taken.

Source: DICOM PS3.16 TID 1500 (Measurement Report), TID 1410, 1411, 1501 (measurement groups), PS3.3 C.18.6 and C.18.9 (spatial coordinates).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from medio.derived.codes import Code, check_code
from medio.dicom.instances import open_instance
from medio.errors import CorruptFileError

Point = tuple[float, float]
Point3D = tuple[float, float, float]

LONG_AXIS: Code = ("103339001", "SCT", "Long axis")
SHORT_AXIS: Code = ("103340004", "SCT", "Short axis")
VOLUME: Code = ("118565006", "SCT", "Volume")
MILLIMETRE: Code = ("mm", "UCUM", "millimeter")
MILLILITRE: Code = ("ml", "UCUM", "milliliter")

_COUNTS = {"POINT": (1, 1), "MULTIPOINT": (1, None), "POLYLINE": (2, None), "CIRCLE": (2, 2), "ELLIPSE": (4, 4)}
_COUNTS_3D = {
    "POINT": (1, 1),
    "MULTIPOINT": (1, None),
    "POLYLINE": (2, None),
    "POLYGON": (4, None),
    "ELLIPSE": (4, 4),
    "ELLIPSOID": (6, 6),
}


@dataclass(frozen=True, slots=True)
class Region:
    """A drawing in the pixels of one image; for projection images, the only kind there is.

    Attributes:
        kind: POINT, MULTIPOINT, POLYLINE (closed where its last point repeats the first), CIRCLE (centre, a point on it), or ELLIPSE (ends of the long axis,
            then of the short).
        points: (row, column) each, centres of pixels at whole numbers; kept to float32, as DICOM keeps them.
        sop_instance_uid: the image.
        frame: its frame, from 1, where it has several.
    """

    kind: str
    points: tuple[Point, ...]
    sop_instance_uid: str
    frame: int | None = None

    def __post_init__(self) -> None:
        _check_points(self.kind, self.points, _COUNTS, 2)
        # Stored with the corner of the first pixel as origin: what float32 keeps there is what comes back.
        kept = (np.array(self.points, np.float64) + 0.5).astype(np.float32).astype(np.float64) - 0.5
        object.__setattr__(self, "points", tuple((float(row), float(column)) for row, column in kept))

    @property
    def closed(self) -> bool:
        """Whether it encloses an area."""
        return self.kind in ("CIRCLE", "ELLIPSE") or (
            self.kind == "POLYLINE" and len(self.points) > 3 and self.points[0] == self.points[-1]
        )

    def length(self, spacing: tuple[float, float]) -> float:
        """Length in mm of a line through the points, for (row, column) spacing in mm."""
        return float(np.linalg.norm(np.diff(np.array(self.points), axis=0) * spacing, axis=1).sum())


@dataclass(frozen=True, slots=True)
class Region3D:
    """A drawing in the patient.

    Attributes:
        kind: POINT, MULTIPOINT, POLYLINE, POLYGON (flat; closed here where it is not), ELLIPSE (ends of the long axis, then of the short), or ELLIPSOID (ends of
            three axes).
        points: (x, y, z) LPS mm each; kept to float32, as DICOM keeps them.
        frame_of_reference_uid: of the series that it was drawn on.
    """

    kind: str
    points: tuple[Point3D, ...]
    frame_of_reference_uid: str

    def __post_init__(self) -> None:
        points = self.points
        if self.kind == "POLYGON" and len(points) > 2 and tuple(points[0]) != tuple(points[-1]):
            points = (*points, points[0])
        _check_points(self.kind, points, _COUNTS_3D, 3)
        kept = np.array(points, np.float64).astype(np.float32).astype(np.float64)
        object.__setattr__(self, "points", tuple((float(x), float(y), float(z)) for x, y, z in kept))

    @property
    def closed(self) -> bool:
        """Whether it encloses an area or a volume."""
        return self.kind in ("POLYGON", "ELLIPSE", "ELLIPSOID")

    def length(self) -> float:
        """Length in mm of a line through the points."""
        return float(np.linalg.norm(np.diff(np.array(self.points), axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True)
class SegmentReference:
    """A segment of a DICOM SEG, or some of its frames.

    Attributes:
        sop_instance_uid: the SEG.
        number: the segment, for a measurement of the whole of it.
        frames: frames of the SEG, from 1, for a measurement in their planes alone; they say which segment they are of, so no number goes with them.
    """

    sop_instance_uid: str
    number: int | None = None
    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.number is None and not self.frames:
            raise ValueError(f"a reference to the SEG {self.sop_instance_uid} names a segment or frames")

    @classmethod
    def of(cls, path: Path | str, number: int | None = None, frames: tuple[int, ...] = ()) -> Self:
        """Refer to a segment, or to frames, of a SEG file.

        Raises:
            CorruptFileError: a file without SOPInstanceUID, or not DICOM.
        """
        instance = open_instance(Path(path))
        uid = str(instance.header.get("SOPInstanceUID") or "")
        if not uid:
            raise CorruptFileError(path, "has no SOPInstanceUID to refer to; write it again")
        return cls(uid, number, frames)

    closed = True


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A whole image or frame.

    Attributes:
        sop_instance_uid: the image.
        frame: its frame, from 1, where it has several.
    """

    sop_instance_uid: str
    frame: int | None = None

    closed = False


Geometry = Region | Region3D | SegmentReference | ImageReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number about one finding.

    Attributes:
        name: what is measured, e.g. `LONG_AXIS`; as (value, scheme, meaning).
        value: the number; NaN where a foreign report states none (then `qualifier` says why).
        unit: UCUM, e.g. ("mm", "UCUM", "millimeter"); ("1", "UCUM", "no units") for a pure number.
        tracking_id: the finding's name for people, e.g. `lesion 1`.
        tracking_uid: the finding's UID: equal at every time point, and for all measurements of the finding.
        finding: what it is, e.g. ("27925004", "SCT", "Nodule").
        category: kind of finding, as a segment's.
        sites: where it is, e.g. (("39607008", "SCT", "Lung"),).
        laterality: side of the first site, e.g. ("7771000", "SCT", "Left").
        method: how it was measured.
        derivation: how the number was made of several, e.g. ("373098007", "SCT", "Mean").
        qualifier: why there is no number, or what is special about it.
        time_point: name of the visit, e.g. `baseline`.
        geometry: where: drawings of one kind (several closed outlines bound a volume), a segment, or whole images.
    """

    name: Code
    value: float
    unit: Code
    tracking_id: str
    tracking_uid: str
    finding: Code | None = None
    category: Code | None = None
    sites: tuple[Code, ...] = ()
    laterality: Code | None = None
    method: Code | None = None
    derivation: Code | None = None
    qualifier: Code | None = None
    time_point: str = ""
    geometry: tuple[Geometry, ...] = ()

    def __post_init__(self) -> None:
        what = f"measurement of {self.tracking_id!r}: "
        check_code(self.name, what + "name")
        check_code(self.unit, what + "unit")
        for field in ("finding", "category", "laterality", "method", "derivation", "qualifier"):
            if getattr(self, field) is not None:
                check_code(getattr(self, field), what + field)
        for site in self.sites:
            check_code(site, what + "site")
        if self.laterality and not self.sites:
            raise ValueError(what + "laterality is the side of a site; give sites too")
        object.__setattr__(self, "value", float(self.value))

    @classmethod
    def long_axis(cls, line: Region | Region3D, *, spacing: tuple[float, float] | None = None, **described: Any) -> Self:
        """Measure the longest diameter of a lesion (RECIST 1.1) along a line that was drawn.

        Args:
            line: a POLYLINE of two points.
            spacing: (row, column) mm of the image, for a line in its pixels.
            described: the other attributes, `tracking_id` and `tracking_uid` at least.
        """
        return cls(name=LONG_AXIS, value=_length(line, spacing), unit=MILLIMETRE, geometry=(line,), **described)

    @classmethod
    def short_axis(cls, line: Region | Region3D, *, spacing: tuple[float, float] | None = None, **described: Any) -> Self:
        """Measure the diameter across the longest one, in the same plane; arguments as for `long_axis`."""
        return cls(name=SHORT_AXIS, value=_length(line, spacing), unit=MILLIMETRE, geometry=(line,), **described)

    @classmethod
    def volume(cls, millilitres: float, segment: SegmentReference, **described: Any) -> Self:
        """State the volume of a segment; `described` as for `long_axis`."""
        return cls(name=VOLUME, value=millilitres, unit=MILLILITRE, geometry=(segment,), **described)


def _length(line: Region | Region3D, spacing: tuple[float, float] | None) -> float:
    if line.kind != "POLYLINE" or len(line.points) != 2:
        raise ValueError(f"a diameter is a POLYLINE of two points, got a {line.kind} of {len(line.points)}")
    if isinstance(line, Region3D):
        return line.length()
    if spacing is None:
        raise ValueError("a line in pixels has no length in mm; pass spacing=(row, column) of its image")
    return line.length(spacing)


def _check_points(kind: str, points: tuple[tuple[float, ...], ...], counts: dict[str, tuple[int, int | None]], dims: int) -> None:
    if kind not in counts:
        raise ValueError(f"kind must be one of {', '.join(counts)}, got {kind!r}")
    least, most = counts[kind]
    if len(points) < least or (most is not None and len(points) > most):
        raise ValueError(f"a {kind} has {least if most else f'{least} or more'} points, got {len(points)}")
    if any(len(point) != dims or not all(math.isfinite(v) for v in point) for point in points):
        raise ValueError(f"points are {dims} finite numbers each, got {points!r:.120}")
