"""How the pixels of a file are laid out, as its header declares it, and whether the file can hold so many.

Source: DICOM PS3.3 C.7.6.3 (Image Pixel), PS3.5 section 8.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medio.dicom.instances import Instance, compared
from medio.dicom.palette import Palette, read_palette
from medio.errors import CorruptFileError, MedioError, UnsupportedError

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
RLE = "1.2.840.10008.1.2.5"
_RATIOS = {DEFLATED: 1032, RLE: 64, "1.2.840.10008.1.2.8.1": 1032}
"""Most bytes that one compressed byte can stand for: DEFLATE 258 in two bits, PackBits 128 in two bytes."""
FREE_BYTES, OTHER_RATIO = 256 << 20, 4096
"""For other syntaxes, whose blank images compress without end: what a file may declare at any size, and beyond it the most decoded bytes a byte."""
TRUNCATED = "ends before its PixelData; the file is truncated, fetch it again or exclude it"
_DEPTHS = (1, 8, 16, 32)
_DESCRIPTION = compared(
    "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip


class Layout(NamedTuple):
    """What the header says of the pixels, checked.

    Attributes:
        path: the file.
        syntax: transfer syntax UID.
        rows: height.
        columns: width.
        samples: values a pixel in the file, 1 or 3.
        frames: number of frames.
        allocated: bits a sample takes.
        stored: bits of them in use.
        high: number of the highest bit in use.
        signed: two's complement.
        photometric: PhotometricInterpretation.
        planar: colour by plane instead of by pixel.
        raw: type of a sample in the file, 8 bit where one bit is stored.
        palette: to be applied, else None.
    """

    path: Path
    syntax: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: bool
    raw: np.dtype[Any]
    palette: Palette | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a decoded value."""
        return self.raw if self.palette is None else self.palette.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W), or (H, W, 3) for colour."""
        return (self.rows, self.columns, 3) if self.samples == 3 or self.palette is not None else (self.rows, self.columns)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """(H, W), or (H, W, 3) where the file stores three samples a pixel."""
        return (self.rows, self.columns, 3) if self.samples == 3 else (self.rows, self.columns)

    @property
    def frame_bits(self) -> int:
        """Bits of one frame, decoded but not padded; chroma at half width takes two samples a pixel instead of three."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.syntax in NATIVE else self.samples
        return self.rows * self.columns * samples * self.allocated


def layout_of(instance: Instance, *, palette: bool = True) -> Layout:
    """Read and check what the header says of the pixels.

    Args:
        instance: the file.
        palette: turn PALETTE COLOR into RGB; False keeps the indices.

    Raises:
        CorruptFileError: no pixels, no size, bits that contradict each other, more pixels than the file can hold.
        UnsupportedError: other depths or colour models than are read.
    """
    known: Layout | None = instance.memo.get(key := "layout" if palette else "layout of indices")
    if known is None:
        known = instance.memo[key] = _layout_of_twin(instance, palette) or _read_layout(instance, palette)
    return known


def _layout_of_twin(instance: Instance, palette: bool) -> Layout | None:
    twin = instance.twin(_DESCRIPTION)
    if twin is None or instance.offset is None:
        return None
    try:
        known = layout_of(twin, palette=palette)
    except MedioError:  # which would name the other file
        return None
    if known.palette is not None:
        return None
    layout = known._replace(path=instance.path)
    _check_plausible(instance, layout)
    return layout


def _read_layout(instance: Instance, palette: bool) -> Layout:
    if instance.offset is None:
        reason = TRUNCATED if instance.is_image else "holds no pixels (a report, plan or other object without PixelData); exclude it"
        raise CorruptFileError(instance.path, reason)
    check_described(instance)
    get = instance.header.get
    allocated, samples = int(get("BitsAllocated")), int(get("SamplesPerPixel") or 1)
    stored = int(get("BitsStored") or allocated)
    photometric = str(get("PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2"))
    if instance.float_pixels:
        raw = np.dtype(np.float64 if allocated == 64 else np.float32)
        if allocated not in (32, 64) or samples != 1:
            raise CorruptFileError(instance.path, f"Float Pixel Data of {allocated} bits and {samples} samples a pixel; exclude the file")
        stored = allocated
    elif allocated not in _DEPTHS:
        raise UnsupportedError(instance.path, f"BitsAllocated is {allocated}; 1, 8, 16 and 32 are read")
    else:
        raw = np.dtype(f"{'i' if get('PixelRepresentation') and allocated > 1 else 'u'}{max(allocated // 8, 1)}")
    if not 0 < stored <= allocated:
        raise CorruptFileError(instance.path, f"BitsStored {stored} does not fit in BitsAllocated {allocated}; exclude the file")
    _check_colour(instance, samples, photometric, allocated)
    high = int(stored - 1 if (said := get("HighBit")) is None else said)
    if not stored - 1 <= high < allocated:
        high = stored - 1
    layout = Layout(
        instance.path,
        instance.syntax,
        int(get("Rows")),
        int(get("Columns")),
        samples,
        instance.frame_count,
        allocated,
        stored,
        high,
        raw.kind == "i",
        photometric,
        bool(samples == 3 and get("PlanarConfiguration")),
        raw,
        read_palette(instance) if palette and photometric == "PALETTE COLOR" else None,
    )
    _check_plausible(instance, layout)
    return layout


def check_described(instance: Instance) -> None:
    """Insist on the elements without which pixels have no size.

    Raises:
        CorruptFileError: one is missing, zero or negative.
    """
    for name in ("Rows", "Columns", "BitsAllocated"):
        value = instance.header.get(name)
        if not value or int(value) <= 0:
            raise CorruptFileError(instance.path, f"has PixelData but no {name}; fetch it again or exclude it")
    if instance.frame_count < 1:
        raise CorruptFileError(instance.path, f"NumberOfFrames is {instance.frame_count}; fetch it again or exclude it")


def short_of(layout: Layout, available: int) -> str:
    """Say what is missing of uncompressed pixels; empty for nothing."""
    needed = (layout.frame_bits * layout.frames + 7) // 8
    if available >= needed:
        return ""
    frames = f"{layout.frames} frames of " if layout.frames > 1 else ""
    colour = f"x{layout.samples} samples" if layout.samples > 1 else ""
    return (
        f"PixelData holds {max(available, 0)} bytes, {frames}{layout.rows}x{layout.columns}{colour}x{layout.allocated} bit needs {needed}; "
        "the file is truncated, fetch it again or exclude it"
    )


def _check_colour(instance: Instance, samples: int, photometric: str, allocated: int) -> None:
    if samples == 1:
        return
    if samples != 3:
        raise UnsupportedError(instance.path, f"{samples} samples a pixel ({photometric}) are not read; convert the file to RGB")
    if allocated == 1 or not photometric.startswith(("RGB", "YBR_FULL", "YBR_RCT", "YBR_ICT")):
        raise UnsupportedError(instance.path, f"colour as {photometric} of {allocated} bit is not read; convert the file to RGB")


def _check_plausible(instance: Instance, layout: Layout) -> None:
    """Refuse sizes that the file cannot hold before anything is allocated for them."""
    held = instance.pixel_bytes
    if layout.syntax in NATIVE and layout.syntax != DEFLATED:
        if instance.length is None:
            raise CorruptFileError(
                layout.path, f"PixelData lies in fragments though transfer syntax {layout.syntax} is uncompressed; transcode the file anew"
            )
        if short := short_of(layout, held):
            raise CorruptFileError(layout.path, short)
        return
    declared = layout.frame_bits // 8 * layout.frames
    ratio = _RATIOS.get(layout.syntax)
    most = held * ratio + 4096 if ratio else max(FREE_BYTES, held * OTHER_RATIO)
    if declared > most:
        raise CorruptFileError(
            layout.path,
            f"{held} bytes of compressed pixels cannot hold {layout.frames} frames of {layout.rows}x{layout.columns}x{layout.allocated} bit "
            f"({declared} bytes); fetch the file again or exclude it",
        )
