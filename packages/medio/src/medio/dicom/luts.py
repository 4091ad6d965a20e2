"""Look-up tables and windows: from stored values to real ones, and from real ones to grey.

Source: DICOM PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.11.2.1.2 (window functions).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from medio.dicom.frame import Frame, numbers_in
from medio.dicom.header import Header
from medio.errors import CorruptFileError, UnsupportedError
from medio.image import Image

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True, eq=False)
class LookUpTable:
    """A table: values below the first it maps take its first entry, values beyond the last its last.

    Attributes:
        first: the value that entry 0 is for.
        entries: (N,) uint16.
        bits: of an entry; the largest entry possible is `2**bits - 1`.
    """

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Look up values of any shape."""
        index = np.clip(np.asarray(np.rint(values), np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


@dataclass(frozen=True, slots=True, eq=False)
class Voi:
    """How a file wants its values shown.

    Attributes:
        windows: (center, width) of each window, the first being the default, in the file's own values.
        function: of the windows.
        explanations: what each window is for, e.g. `LUNG`.
        table: a VOI LUT, which goes before the windows.
        slope: the file's own values are `slope * value + intercept` of the image's (radiographs that were inverted, PET in SUV).
        intercept: see slope.
        inverted: the grey is to be inverted, because the image's values were.
    """

    windows: tuple[tuple[float, float], ...]
    function: WindowFunction = "LINEAR"
    explanations: tuple[str, ...] = ()
    table: LookUpTable | None = None
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False


def window(
    image: Image, center: float | None = None, width: float | None = None, *, function: WindowFunction | None = None, index: int = 0
) -> npt.NDArray[np.float32]:
    """Map values to grey.

    Args:
        image: of any shape; not colour.
        center: in the image's own values (HU for CT); with `width`. Without both, what the file says: its VOI LUT, or else a window.
        width: see center; at least 1 for LINEAR, positive for the others.
        function: LINEAR (DICOM's, whose width counts whole values), LINEAR_EXACT or SIGMOID; by default the file's, or LINEAR.
        index: which of the file's windows, from 0; a VOI LUT counts as the first where there is one.

    Returns:
        float32 of the image's shape in 0 to 1: 0 black, 1 white; grey grows with the values that `read` gives (films that it inverted are bright where dense,
        as their files want). Equal to pydicom's `apply_voi_lut` up to its scale.

    Raises:
        UnsupportedError: a colour image, or nothing said by file or caller.
        ValueError: center without width, or a width too small.

    Example:
        >>> lung = medio.window(medio.read("ct"), center=-600, width=1500)
    """
    name = str(image.meta.get("path", "image"))
    photometric = str(image.meta.get("photometric_interpretation", ""))
    channels = image.array.shape[0] if image.array.ndim > len(image.spacing) else 1
    if channels == 3 and photometric and not photometric.startswith("MONOCHROME"):
        raise UnsupportedError(name, "is in colour, which has no window; use its channels")
    if (center is None) != (width is None):
        raise ValueError("window needs both center and width, or neither")
    voi = image.meta.get("voi")
    if center is not None and width is not None:
        return _apply_window(image.array, center, width, function or "LINEAR")
    if not isinstance(voi, Voi) or (voi.table is None and not voi.windows):
        raise UnsupportedError(name, "says no window (WindowCenter, WindowWidth or VOILUTSequence); pass center and width")
    values = image.array
    if (voi.slope, voi.intercept) != (1, 0):
        values = values * np.float64(voi.slope) + np.float64(voi.intercept)
    choices: list[Any] = [*([voi.table] if voi.table is not None else []), *voi.windows]
    if not 0 <= index < len(choices):
        raise ValueError(f"{name} has {len(choices)} windows, not one of index {index}")
    chosen = choices[index]
    if isinstance(chosen, LookUpTable):
        grey = (chosen(values) / np.float64(2**chosen.bits - 1)).astype(np.float32)
    else:
        grey = _apply_window(values, chosen[0], chosen[1], function or voi.function)
    return np.subtract(np.float32(1), grey) if voi.inverted else grey


def voi_of(frame: Frame) -> Voi:
    """Read the windows and the first VOI LUT of a slice; none of them where they make no sense."""
    centers = numbers_in(frame.find("WindowCenter", "FrameVOILUTSequence"))
    widths = numbers_in(frame.find("WindowWidth", "FrameVOILUTSequence"))
    said = frame.find("WindowCenterWidthExplanation", "FrameVOILUTSequence")
    explanations = () if said is None else (said,) if isinstance(said, str) else tuple(map(str, said))
    function = str(frame.find("VOILUTFunction", "FrameVOILUTSequence") or "LINEAR").upper()
    windows = tuple((c, w) for c, w in zip(centers, widths, strict=False) if w >= (1 if function == "LINEAR" else 1e-9))
    known: Any = function if function in _FUNCTIONS else "LINEAR"
    items = frame.instance.header.get("VOILUTSequence") or []
    table = read_table(items[0], signed=_rescaled_is_signed(frame), path=frame.instance.path) if items else None
    return Voi(windows, known, explanations, table)


def modality_table(header: Header, path: Path) -> LookUpTable | None:
    """Return the Modality LUT of a file, None where it has none.

    Raises:
        CorruptFileError: a table that is not as long as it says.
    """
    items = header.get("ModalityLUTSequence") or []
    if not items or not items[0].get("LUTDescriptor"):
        return None
    return read_table(items[0], signed=bool(header.get("PixelRepresentation")), path=path)


def read_table(item: Header, *, signed: bool, path: Path) -> LookUpTable:
    """Read one item of a Modality or VOI LUT sequence.

    Args:
        item: with LUTDescriptor and LUTData.
        signed: whether the first value mapped is signed.
        path: file to name in errors.

    Raises:
        CorruptFileError: a descriptor that makes no sense, or fewer entries than it says.
    """
    descriptor, data = numbers_in(item.get("LUTDescriptor"), "u"), item.get("LUTData")
    if len(descriptor) != 3:
        raise CorruptFileError(path, f"a LUTDescriptor of {len(descriptor)} numbers, not 3; exclude the file")
    count, start, bits = (int(v) for v in descriptor)
    # 65536 does not fit in 16 bits and is written 0; some writers use 16-bit entries for 8-bit tables and say 8.
    count = count or 65536
    if signed and start > 32767:
        start -= 65536
    entries: Sequence[int] | npt.NDArray[Any]
    if isinstance(data, bytes):
        narrow = bits <= 8 and len(data) in (count, count + 1)
        entries = np.frombuffer(data[: len(data) // 2 * 2] if not narrow else data, np.uint8 if narrow else "<u2")
    else:
        entries = np.asarray([data] if isinstance(data, int) else data if data is not None else [], np.int64) & 0xFFFF
    if len(entries) < count or not 1 <= bits <= 16:
        raise CorruptFileError(path, f"a LUT of {len(entries)} entries of {bits} bit that says {count}; exclude the file")
    table = np.asarray(entries[:count], np.uint16)
    if bits < 16 and int(table.max()) >= 2**bits:
        bits = max(bits, int(table.max()).bit_length())
    return LookUpTable(start, table, bits)


def _rescaled_is_signed(frame: Frame) -> bool:
    """Whether the input of a VOI LUT, the values after rescale, can be negative."""
    return bool(frame.instance.header.get("PixelRepresentation")) or frame.intercept < 0


def _apply_window(values: npt.NDArray[Any], center: float, width: float, function: WindowFunction) -> npt.NDArray[np.float32]:
    if function not in _FUNCTIONS:
        raise ValueError(f"function must be one of {', '.join(_FUNCTIONS)}, got {function!r}")
    if not width >= (1 if function == "LINEAR" else 0) or width == 0:
        raise ValueError(f"width must be {'at least 1' if function == 'LINEAR' else 'positive'}, got {width}")
    x: npt.NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    if function == "SIGMOID":
        x -= center
        x *= 4 / width
        return np.asarray(expit(x), np.float32)
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.asarray(np.greater(x, center), np.float32)
    x -= center
    x /= width
    x += 0.5
    return np.asarray(np.clip(x, 0, 1, out=x), np.float32)
