"""Text burned into pixels: found in a few frames, blanked in all of them, and searched for again.

Source: DICOM PS3.15 E.3.1 (Clean Pixel Data Option), PS3.3 C.8.5.5 (US Region Calibration).
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medio.deidentification.ocr import TextBox, find_text
from medio.dicom.instances import open_instance
from medio.dicom.pixels import frames
from medio.errors import MedioError, PrivacyError

_ROUNDS = 3
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_PIXEL_MODULE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels, right and bottom exclusive."""


@dataclass(frozen=True)
class Cleaned:
    """What was done to the pixels of an object.

    Attributes:
        boxes: where text was blanked.
        encoded: the pixels were written anew, uncompressed little endian.
    """

    boxes: tuple[Box, ...]
    encoded: bool


def clean_pixels(source: Dataset, result: Dataset, name: str, *, outside_regions: bool, anew: bool = False) -> Cleaned:
    """Blank text in the pixels of an object, and what lies outside its ultrasound regions.

    Only the boxes change. Pixels that change are written uncompressed (lossy ones stay marked as such); without a finding they stay as they were encoded.

    Args:
        source: the original.
        result: its de-identified copy, with the same pixels; changed. BurnedInAnnotation becomes NO.
        name: for errors.
        outside_regions: blank what lies outside the regions that the header declares, if it declares any.
        anew: write the pixels uncompressed even without a finding, to lose what a compressed stream carries beside them.

    Returns:
        The boxes that were blanked, and whether the pixels were written anew.

    Raises:
        PrivacyError: text that is still read after three rounds of blanking.
        CorruptFileError, UnsupportedError: pixels that cannot be decoded.
        ImportError: without the extra `ocr`.
    """
    stack = decode(source)
    height, width = stack.shape[1:3]
    regions = _regions(source, height, width) if outside_regions else []
    keep = np.ones((height, width), bool)
    if regions:
        keep[:] = False
        for left, top, right, bottom in regions:
            keep[top:bottom, left:right] = True
    fill = _fill(source, stack)
    outside = ~keep
    if outside.any():
        stack[:, outside] = fill
    blanked: list[Box] = []
    for _ in range(_ROUNDS):
        boxes = [_with_margin(box, height, width) for picture in _pictures(stack) for box in find_text(picture)]
        if not boxes:
            break
        for left, top, right, bottom in boxes:
            stack[:, top:bottom, left:right] = fill
        blanked += boxes
    else:
        if any(find_text(picture) for picture in _pictures(stack)):
            raise PrivacyError(name, f"text is still read in its pixels after {_ROUNDS} rounds of blanking; exclude it or clean it by hand")
    encoded = bool(blanked or outside.any() or anew)
    if encoded:
        _encode(source, result, stack)
    result.BurnedInAnnotation = "NO"
    return Cleaned(tuple(blanked), encoded)


def decode(dataset: Dataset) -> npt.NDArray[Any]:
    """Decode all frames: (F, H, W) stored values, or (F, H, W, 3) RGB for colour and palettes.

    Raises:
        CorruptFileError, UnsupportedError: pixels that cannot be decoded.
    """
    bare = Dataset()
    for keyword in _PIXEL_MODULE:
        if keyword in dataset:
            bare.add(dataset[keyword])
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID") or ExplicitVRLittleEndian
    with tempfile.TemporaryDirectory(prefix="medio-") as folder:
        path = Path(folder) / "pixels.dcm"
        dcmwrite(path, bare, enforce_file_format=True)
        try:
            return np.stack([frame.copy() for frame in frames(open_instance(path))])
        except MedioError as error:
            raise type(error)(str(getattr(dataset, "filename", None) or "dataset"), error.reason) from error


def find_text_in(dataset: Dataset) -> list[TextBox]:
    """Find text in the pixels of an object, as `clean_pixels` does."""
    return [box for picture in _pictures(decode(dataset)) for box in find_text(picture)]


def _pictures(stack: npt.NDArray[Any]) -> Iterable[npt.NDArray[Any]]:
    """What is read: one frame; of several the brightest and the darkest value of each pixel, and three frames.

    A name that stands in any frame stands in one of the projections, if perhaps among other things.
    """
    if len(stack) == 1:
        return [stack[0]]
    picked = sorted({0, len(stack) // 2, len(stack) - 1})
    return [stack.max(axis=0), stack.min(axis=0), *(stack[n] for n in picked)]


def _regions(dataset: Dataset, height: int, width: int) -> list[Box]:
    found = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or []:
        try:
            left, top, right, bottom = (int(item[f"RegionLocation{k}"].value) for k in ("MinX0", "MinY0", "MaxX1", "MaxY1"))
        except (KeyError, TypeError, ValueError):
            continue
        box = (max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height))
        if box[0] < box[2] and box[1] < box[3]:
            found.append(box)
    return found


def _with_margin(box: TextBox, height: int, width: int) -> Box:
    margin = max(2, (box.bottom - box.top) // 4)
    return (max(box.left - margin, 0), max(box.top - margin, 0), min(box.right + margin, width), min(box.bottom + margin, height))


def _fill(dataset: Dataset, stack: npt.NDArray[Any]) -> Any:
    """What is black on the screen."""
    if stack.ndim == 4:
        return 0
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int) and np.iinfo(stack.dtype).min <= padding <= np.iinfo(stack.dtype).max:
        return padding
    return stack.max() if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else stack.min()


def _encode(source: Dataset, result: Dataset, stack: npt.NDArray[Any]) -> None:
    syntax = str(getattr(source, "file_meta", {}).get("TransferSyntaxUID") or "")
    if syntax in _LOSSY and not result.get("LossyImageCompression"):
        result.LossyImageCompression, result.LossyImageCompressionMethod = "01", _LOSSY[syntax]
    if source.get("PhotometricInterpretation") == "PALETTE COLOR" and stack.dtype == np.uint16:
        stack = (stack >> 8).astype(np.uint8)  # tables of 16 bit are shown in 8
    data = np.ascontiguousarray(stack, dtype=stack.dtype.newbyteorder("<")).tobytes()
    result.PixelData = data + b"\0" * (len(data) % 2)
    bits = 8 * stack.dtype.itemsize
    result["PixelData"].VR = "OB" if bits == 8 else "OW"
    result["PixelData"].is_undefined_length = False
    if bits != int(source.BitsAllocated):
        result.BitsAllocated = result.BitsStored = bits
        result.HighBit = bits - 1
    if stack.ndim == 4:
        result.SamplesPerPixel, result.PhotometricInterpretation, result.PlanarConfiguration = 3, "RGB", 0
        for element in list(result):
            if "PaletteColorLookupTable" in element.keyword:
                del result[element.tag]
        result.BitsStored, result.HighBit = bits, bits - 1
        for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
            if keyword in result:
                del result[keyword]
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in result:
            del result[keyword]
