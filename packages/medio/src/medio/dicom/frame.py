"""One slice of a volume: where it lies, and how its stored values become real ones.

Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16 (Multi-frame Functional Groups).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.header import Header
from medio.dicom.instances import Instance, compared
from medio.errors import GeometryError

_PLANE = compared(
    "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "Rows", "Columns", "FrameOfReferenceUID",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice: where it lies, and how its stored values become real ones.

    Attributes:
        instance: its file.
        index: its number in that file, from 0.
        position: (3,) LPS mm of the centre of the first pixel.
        orientation: (6,) unit vectors along increasing column index, then along increasing row index.
        spacing: (row, column) distance in mm.
        thickness: distance to the next slice or else slice thickness in mm, where said.
        slope: rescale slope, None where not said.
        intercept: rescale intercept.
        rescale_type: what the rescaled values are, e.g. `HU`; empty where not said.
        size: (rows, columns).
        frame_of_reference_uid: positions of different ones cannot be compared; empty where not said.
        tile: (row, column) of its first pixel inside the stored frame where many slices share one (mosaics).
        groups: where to look for what else is said of this slice: its functional groups, the shared ones, the header.
        numbers: what a vector of the file says of this slice, e.g. its time slot.
    """

    instance: Instance
    index: int
    position: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float | None
    slope: float | None
    intercept: float
    rescale_type: str
    size: tuple[int, int]
    frame_of_reference_uid: str
    tile: tuple[int, int] | None = None
    groups: tuple[Header, ...] = ()
    numbers: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """File name, and the frame's number where the file holds several."""
        many = self.instance.frame_count > 1
        return f"{self.instance.path.name} frame {self.index + 1}" if many else self.instance.path.name

    def find(self, keyword: str, *sequences: str) -> Any:
        """Look up what is said of this slice: in the functional group sequences named, of the frame and then of all frames, and then in the header."""
        return first(
            [*(item for group in self.groups for name in sequences for item in (group.get(name) or [])[:1]), *self.groups], keyword
        )


def make_frame(
    instance: Instance,
    index: int,
    sources: Sequence[Header],
    *,
    position: npt.NDArray[np.float64] | None = None,
    groups: tuple[Header, ...] = (),
    numbers: tuple[tuple[str, int], ...] = (),
) -> Frame:
    """Read the plane of one slice from the first of several sources that says each thing.

    Args:
        instance: the file.
        index: the frame's number in it.
        sources: where to look, in this order.
        position: LPS mm, where it does not stand in the sources.
        groups: see `Frame`.
        numbers: see `Frame`.

    Raises:
        GeometryError: position, orientation or spacing missing or senseless.
    """
    header = instance.header
    place = numbers_of(instance, sources, "ImagePositionPatient", 3) if position is None else position
    orientation = plane_of(instance, sources)
    spacing = numbers_of(instance, sources, "PixelSpacing", 2)
    if (spacing <= 0).any():
        raise GeometryError(instance.path, f"PixelSpacing {spacing.tolist()} is not positive; exclude the file")
    thickness = first(sources, "SpacingBetweenSlices") or first(sources, "SliceThickness")
    slope, intercept = first(sources, "RescaleSlope"), first(sources, "RescaleIntercept")
    return Frame(
        instance,
        index,
        place,
        orientation,
        (float(spacing[0]), float(spacing[1])),
        abs(float(thickness)) if thickness else None,
        None if slope is None else float(slope),
        float(intercept or 0),
        str(first(sources, "RescaleType") or ""),
        (int(header.Rows), int(header.Columns)),
        str(header.get("FrameOfReferenceUID") or ""),
        None,
        groups or (header,),
        numbers,
    )


def classic_frame(instance: Instance) -> Frame:
    """Read the plane of a file that is one slice; see `make_frame`."""
    twin = instance.twin(_PLANE)
    known: Frame | None = twin.memo.get("frame") if twin is not None else None
    if known is None:
        made = instance.memo["frame"] = make_frame(instance, 0, [instance.header])
        return made
    header = instance.header
    return Frame(
        instance,
        0,
        numbers_of(instance, [header], "ImagePositionPatient", 3),
        known.orientation,
        known.spacing,
        known.thickness,
        known.slope,
        known.intercept,
        known.rescale_type,
        known.size,
        known.frame_of_reference_uid,
        None,
        (header,),
    )


def normal_of(frame: Frame) -> npt.NDArray[np.float64]:
    """Return (3,) row direction x column direction."""
    a, b, c, d, e, f = frame.orientation.tolist()  # in plain Python, as below
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])


def plane_of(instance: Instance, sources: Sequence[Header]) -> npt.NDArray[np.float64]:
    """Return ImageOrientationPatient (6,) as two unit vectors.

    Raises:
        GeometryError: missing, or not two perpendicular unit vectors.
    """
    orientation = numbers_of(instance, sources, "ImageOrientationPatient", 6)
    a, b, c, d, e, f = orientation.tolist()  # in plain Python: for three numbers numpy takes five times as long
    lengths = math.sqrt(a * a + b * b + c * c), math.sqrt(d * d + e * e + f * f)
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(a * d + b * e + c * f) > 1e-3:
        raise GeometryError(
            instance.path, f"ImageOrientationPatient {orientation.tolist()} is not two perpendicular unit vectors; exclude the file"
        )
    return np.array([a / lengths[0], b / lengths[0], c / lengths[0], d / lengths[1], e / lengths[1], f / lengths[1]])


def first(sources: Sequence[Header], keyword: str) -> Any:
    """Return the first value that is said and not empty, or None."""
    for source in sources:
        value = source.get(keyword)
        if value is not None and value != "":
            return value
    return None


def numbers_of(instance: Instance, sources: Sequence[Header], keyword: str, count: int) -> npt.NDArray[np.float64]:
    """Return `count` finite numbers.

    Raises:
        GeometryError: missing, another count, or not numbers.
    """
    value = first(sources, keyword)
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise GeometryError(
            instance.path, f"{keyword} is missing or not {count} numbers (found {value!r}); nothing is assumed, exclude the file"
        )
    return np.array(numbers, np.float64)


def private(header: Header, creator: str, group: int, element: int) -> Any:
    """Return the value of a private element by its creator, None where it is absent.

    Args:
        header: data set or item.
        creator: the text that reserves the block, e.g. `SIEMENS MR HEADER`.
        group: e.g. 0x0019.
        element: the last two hexadecimal digits of the element, e.g. 0x0C.
    """
    # Most slices have no element of most groups: looking for the creator's block is what costs.
    return header.private(creator, group, element) if any(tag >> 16 == group for tag in header.tags()) else None


def numbers_in(value: Any, kind: str = "d") -> tuple[float, ...]:
    """Return the numbers of a value, whatever its representation; empty where there are none.

    Args:
        value: a number, several, decimal text, or raw bytes of an element whose VR the file does not say.
        kind: of raw bytes: `d` or `f` for floats, `u` for unsigned 16 bit, `t` for decimal text.
    """
    if value is None:
        return ()
    if isinstance(value, bytes):
        if kind != "t":
            stored = np.dtype({"d": "<f8", "f": "<f4", "u": "<u2"}[kind])
            return tuple(map(float, np.frombuffer(value[: len(value) // stored.itemsize * stored.itemsize], stored)))
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = [part for part in value.replace("\0", "").split("\\") if part.strip()]
    values = value if isinstance(value, Sequence) else [value]
    try:
        return tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return ()
