"""The stored frames of a DICOM SEG: which segment each holds, and its pixels.

Source: DICOM PS3.3 C.8.20.2.3 (segmentation type), C.7.6.17.3 (tiled full order), PS3.5 8.1.1 (bit packing).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.derived.grid import Place, upright
from medio.dicom.instances import Instance
from medio.dicom.pixels import frames as decode_frames
from medio.errors import CorruptFileError, UnsupportedError

_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(slots=True, eq=False)
class Layer:
    """The pixels of one stored frame.

    Attributes:
        index: number of the frame in the file, from 0.
        number: its segment; 0 where the pixels are segment numbers themselves (LABELMAP).
        plane: (H, W): 0 or 1, a fraction from 0 to 1, or segment numbers.
    """

    index: int
    number: int
    plane: npt.NDArray[Any]

    def keep(self, wanted: Sequence[int]) -> bool:
        """Blank what is not wanted; tell whether the layer counts."""
        if self.number:
            return self.number in wanted
        self.plane = np.where(np.isin(self.plane, wanted), self.plane, 0)
        return True

    def split(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Give each segment with its (H, W) mask or fractions."""
        if self.number:
            yield self.number, self.plane
            return
        for number in np.unique(self.plane[self.plane > 0]).tolist():
            yield number, self.plane == number


def layers_of(instance: Instance, header: Dataset, kind: str) -> Iterator[Layer]:
    """Decode every frame.

    Raises:
        CorruptFileError: pixels that end early or do not decode, or frames that do not say their segment.
        UnsupportedError: a transfer syntax that is not read.
    """
    if kind == "BINARY":
        for index, plane in enumerate(_binary(instance, header)):
            yield Layer(index, _number(instance, header, index), plane)
    elif kind == "LABELMAP":
        for index, plane in enumerate(_indices(instance, header)):
            yield Layer(index, 0, plane)
    else:
        largest = float(header.get("MaximumFractionalValue") or 0)
        if largest <= 0:
            raise CorruptFileError(instance.path, "a FRACTIONAL segmentation without MaximumFractionalValue; write it again")
        for index, plane in enumerate(decode_frames(instance)):
            yield Layer(index, _number(instance, header, index), (plane / largest).astype(np.float32))


def pixels_of(plane: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the rows and columns of what is not 0; several times faster than `np.nonzero` of a plane."""
    flat = np.flatnonzero(np.ascontiguousarray(plane).reshape(-1) != 0)
    rows, columns = np.divmod(flat, plane.shape[1])
    return rows, columns


def tile_places(header: Dataset, path: Path) -> list[Place]:
    """Give the place of each frame in the one plane of a film, or in the total pixel matrix of a slide.

    Raises:
        UnsupportedError: frames on several films or focal planes.
        CorruptFileError: tiles without a place.
    """
    count = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.Rows), int(header.Columns)
    if "TotalPixelMatrixRows" not in header:
        # A film: every frame is one segment of the one source image.
        seen = {
            str(source.get("ReferencedSOPInstanceUID")) + str(source.get("ReferencedFrameNumber") or "")
            for group in header.get("PerFrameFunctionalGroupsSequence") or []
            for derivation in group.get("DerivationImageSequence") or []
            for source in derivation.get("SourceImageSequence") or []
        }
        if len(seen) > 1:
            raise UnsupportedError(path, f"is drawn on {len(seen)} films; only a SEG on one film is read")
        return [upright(0)] * count
    if str(header.get("DimensionOrganizationType")) == "TILED_FULL":
        if int(header.get("TotalPixelMatrixFocalPlanes") or 1) > 1:
            raise UnsupportedError(path, "is drawn on several focal planes of a slide; only one is read")
        across = -(-int(header.TotalPixelMatrixColumns) // columns)
        tiles = across * -(-int(header.TotalPixelMatrixRows) // rows)
        return [upright(0, i % tiles // across * rows, i % tiles % across * columns) for i in range(count)]
    places = []
    for group in header.get("PerFrameFunctionalGroupsSequence") or []:
        if not group.get("PlanePositionSlideSequence"):
            raise CorruptFileError(path, "a slide's tile without PlanePositionSlideSequence; write it again")
        item = group.PlanePositionSlideSequence[0]
        places.append(upright(0, int(item.RowPositionInTotalImagePixelMatrix) - 1, int(item.ColumnPositionInTotalImagePixelMatrix) - 1))
    return places


def _binary(instance: Instance, header: Dataset) -> Iterator[npt.NDArray[np.uint8]]:
    rows, columns, count = int(header.Rows), int(header.Columns), int(header.NumberOfFrames)
    if int(header.BitsAllocated) != 1:
        raise CorruptFileError(instance.path, f"a BINARY segmentation with BitsAllocated {header.BitsAllocated}; write it again")
    if instance.syntax not in _NATIVE or instance.offset is None:
        raise UnsupportedError(
            instance.path, f"BINARY frames in transfer syntax {instance.syntax} are not read; transcode to Explicit VR Little Endian"
        )
    needed = (rows * columns * count + 7) // 8
    with instance.path.open("rb") as file:
        file.seek(instance.offset)
        data = np.frombuffer(file.read(needed if instance.length is None else min(needed, instance.length)), np.uint8)
    if len(data) < needed:
        raise CorruptFileError(
            instance.path,
            f"PixelData holds {len(data)} bytes, {count} frames of {rows}x{columns}x1 bit need {needed}; the file is truncated, fetch it again",
        )
    for index in range(count):
        # Frames follow one another without padding: a frame may begin inside a byte.
        begin = index * rows * columns
        bits = np.unpackbits(data[begin // 8 : (begin + rows * columns + 7) // 8], bitorder="little")
        yield bits[begin % 8 : begin % 8 + rows * columns].reshape(rows, columns)


def _indices(instance: Instance, header: Dataset) -> Iterator[npt.NDArray[Any]]:
    """Decode the frames of a LABELMAP; one in PALETTE COLOR stores segment numbers too, its palette only colours them."""
    if header.get("PhotometricInterpretation") != "PALETTE COLOR":
        yield from decode_frames(instance)
        return
    if instance.syntax not in _NATIVE:
        raise UnsupportedError(
            instance.path,
            f"a LABELMAP in palette colours and transfer syntax {instance.syntax} is not read; transcode to Explicit VR Little Endian",
        )
    shape = int(header.NumberOfFrames), int(header.Rows), int(header.Columns)
    dtype = np.dtype("<u2" if int(header.BitsAllocated) == 16 else "u1")
    count = int(np.prod(shape))
    with instance.path.open("rb") as file:
        file.seek(instance.offset or 0)
        stored = np.fromfile(file, dtype, count)
    if len(stored) < count:
        raise CorruptFileError(instance.path, f"PixelData holds {len(stored)} of {count} pixels; the file is truncated, fetch it again")
    yield from stored.reshape(shape)


def _number(instance: Instance, header: Dataset, index: int) -> int:
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    own = [per_frame[index]] if index < len(per_frame) else []
    for group in (*own, *(header.get("SharedFunctionalGroupsSequence") or [])):
        if group.get("SegmentIdentificationSequence"):
            return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    if str(header.get("DimensionOrganizationType")) == "TILED_FULL":
        # All tiles of the first segment, then those of the next.
        numbers = sorted(int(item.SegmentNumber) for item in header.SegmentSequence)
        tiles = int(header.NumberOfFrames) // len(numbers)
        return numbers[index // tiles]
    raise CorruptFileError(instance.path, f"frame {index + 1} does not say its segment; write it again")
