"""Diffusion weighting of a slice: b-value and gradient direction, from standard and private elements.

Sources: DICOM PS3.3 C.8.13.5.9 (MR Diffusion); the conformance statements of Siemens, GE, Philips and United Imaging for the private elements.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.frame import Frame, numbers_in, private
from medio.dicom.instances import Instance
from medio.dicom.mosaic import siemens_values
from medio.errors import CorruptFileError

Diffusion = tuple[float | None, tuple[float, float, float] | None]


class DiffusionReader:
    """Looks up diffusion weighting, once for all slices of a stored frame."""

    def __init__(self) -> None:
        self._known: dict[tuple[Instance, int], Diffusion] = {}

    def __call__(self, frame: Frame) -> Diffusion:
        """Return what `diffusion_of` does."""
        key = frame.instance, frame.index
        if key not in self._known:
            self._known[key] = diffusion_of(frame)
        return self._known[key]


def diffusion_of(frame: Frame) -> Diffusion:
    """Return the b-value in s/mm2 and the unit gradient direction in LPS of a slice.

    Each is None where it is not said; the direction also for b = 0, for trace images, and for GE slices that are not axial with phase encoding along columns,
    where the meaning of GE's private directions is not known for certain.
    """
    if str(frame.find("Modality")) != "MR":
        return None, None
    maker = str(frame.find("Manufacturer") or "").upper()
    private_readers = [reader for word, reader in _MAKERS.items() if word in maker] or list(_MAKERS.values())
    for reader in (_standard, *private_readers):
        b_value, direction = reader(frame)
        if b_value is not None:
            return b_value, _unit(direction) if b_value > 0 else None
    return None, None


def _standard(frame: Frame) -> tuple[float | None, Sequence[float]]:
    b_value = numbers_in(frame.find("DiffusionBValue", "MRDiffusionSequence"))
    direction = numbers_in(frame.find("DiffusionGradientOrientation", "MRDiffusionSequence"))
    for group in frame.groups:
        for item in (group.get("MRDiffusionSequence") or [])[:1]:
            for inner in (item.get("DiffusionGradientDirectionSequence") or [])[:1]:
                direction = direction or numbers_in(inner.get("DiffusionGradientOrientation"))
    return (b_value[0], direction) if b_value else (None, ())


def _siemens(frame: Frame) -> tuple[float | None, Sequence[float]]:
    for group in frame.groups:
        b_value = numbers_in(private(group, "SIEMENS MR HEADER", 0x0019, 0x0C), "t")
        if b_value:
            return b_value[0], numbers_in(private(group, "SIEMENS MR HEADER", 0x0019, 0x0E))
    try:
        said = siemens_values(frame.instance)
    except CorruptFileError:
        return None, ()  # emptied by a de-identifier, mostly: it says nothing of diffusion, and the image does not need it
    b_value = numbers_in(said.get("B_value"))
    return (b_value[0], numbers_in(said.get("DiffusionGradientDirection"))) if b_value else (None, ())


def _philips(frame: Frame) -> tuple[float | None, Sequence[float]]:
    for group in frame.groups:
        b_value = numbers_in(private(group, "Philips Imaging DD 001", 0x2001, 0x03), "f")
        if b_value and b_value[0] < 1e5:
            parts = [numbers_in(private(group, "Philips MR Imaging DD 001", 0x2005, element), "f") for element in (0xB0, 0xB1, 0xB2)]
            if b_value[0] > 0 or _is_echo_planar(frame):
                return b_value[0], [part[0] for part in parts if part]
    return None, ()


def _united_imaging(frame: Frame) -> tuple[float | None, Sequence[float]]:
    header = frame.instance.header
    b_value = numbers_in(private(header, "Image Private Header", 0x0065, 0x09))
    if not b_value:
        return None, ()
    # Directions are relative to the image: along rows, along columns, along the normal.
    direction = numbers_in(private(header, "Image Private Header", 0x0065, 0x37))
    return b_value[0], _from_image(frame, direction)


def _ge(frame: Frame) -> tuple[float | None, Sequence[float]]:
    header = frame.instance.header
    b_value = numbers_in(private(header, "GEMS_PARM_01", 0x0043, 0x39), "t")
    parts = [numbers_in(private(header, "GEMS_ACQU_01", 0x0019, element), "t") for element in (0xBB, 0xBC, 0xBD)]
    if not b_value or (b_value[0] == 0 and not _is_echo_planar(frame)):
        return None, ()
    direction = [part[0] for part in parts if part]
    # Multiples of 1e9 are flags added to the nominal b-value; shells below it shorten the direction: b = nominal * length**2, in steps of 5.
    nominal = b_value[0] % 1e9
    length = float(np.linalg.norm(direction)) if len(direction) == 3 else 0.0
    if 0.03 < length < 0.97:
        nominal = round(nominal * length**2 / 5) * 5.0
    elif length <= 0.03:
        return nominal, ()
    axial = abs(np.cross(frame.orientation[:3], frame.orientation[3:])[2]) > 0.7
    along_columns = str(frame.find("InPlanePhaseEncodingDirection") or "").startswith("COL")
    if not (axial and along_columns):
        return nominal, ()
    return nominal, _from_image(frame, (direction[0], direction[1], -direction[2]))


def _is_echo_planar(frame: Frame) -> bool:
    """Whether a slice can be one without diffusion weighting of a diffusion series: some makers write b = 0 into every other series too."""
    said = frame.find("ScanningSequence")
    return "EP" in ([said] if isinstance(said, str) else said or []) or str(frame.find("EchoPlanarPulseSequence") or "") == "YES"


def _from_image(frame: Frame, direction: Sequence[float]) -> Sequence[float]:
    if len(direction) != 3:
        return ()
    row, column = frame.orientation[:3], frame.orientation[3:]
    turned: npt.NDArray[Any] = direction[0] * row + direction[1] * column + direction[2] * np.cross(row, column)
    return [float(v) for v in turned]


def _unit(direction: Sequence[float]) -> tuple[float, float, float] | None:
    vector = np.asarray(direction, np.float64)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    # Zero for trace images; some software writes impossible lengths for images without weighting.
    return _tuple(vector / length) if 0.03 < length < 2 else None


def _tuple(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


_MAKERS = {"SIEMENS": _siemens, "PHILIPS": _philips, "UIH": _united_imaging, "UNITED IMAGING": _united_imaging, "GE": _ge}
"""Private elements by a word of Manufacturer; all are tried where it says nothing known."""
