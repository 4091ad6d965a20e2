"""The frames of a DICOM SEG, decoded and placed.

Source: DICOM PS3.3 C.8.20.2 (segments), PS3.5 8.1.1 (bit packing).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.dicom.instances import Instance, open_instance, sound
from medio.dicom.pixels import frames as decode_frames
from medio.dicom.stack import POSITION_TOLERANCE, SHEAR_TOLERANCE, Frame, frames_of
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.geometry import world_to_index

_ALIGNED = 0.1
"""Share of a voxel that a frame may lie beside its place in a grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The frames of one SEG.

    Attributes:
        path: the file.
        header: its elements before the pixels.
        descriptions: the items of its SegmentSequence that were asked for.
        frames: the geometry of each kept frame.
        planes: (H, W) segment numbers, 0 is background, one a kept frame; of BINARY each plane holds one number.
    """

    path: Path
    header: Dataset
    descriptions: tuple[Dataset, ...]
    frames: tuple[Frame, ...]
    planes: tuple[npt.NDArray[Any], ...]

    def centroids(self) -> dict[int, tuple[int, npt.NDArray[np.float64]]]:
        """Count the voxels of each segment and find their mean position in LPS mm."""
        sums: dict[int, tuple[int, npt.NDArray[np.float64]]] = {}
        for frame, plane in zip(self.frames, self.planes, strict=True):
            for number in np.unique(plane[plane > 0]).tolist():
                rows, columns = np.nonzero(plane == number)
                along = frame.orientation[:3] * frame.spacing[1] * columns.sum() + frame.orientation[3:] * frame.spacing[0] * rows.sum()
                count, total = sums.get(number, (0, np.zeros(3)))
                sums[number] = (count + len(rows), total + frame.position * len(rows) + along)
        return {number: (count, total / count) for number, (count, total) in sums.items()}

    def volume(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], tuple[float, float, float]]:
        """Lay the frames on the regular grid that they span.

        Returns:
            (D, H, W) labels, affine of index (z, y, x, 1) to LPS mm, spacing (z, y, x) mm.

        Raises:
            GeometryError: they span none.
        """
        first = self.frames[0]
        row, column = first.orientation[:3], first.orientation[3:]
        normal = np.cross(row, column)
        for frame in self.frames:
            if not np.allclose(frame.orientation, first.orientation, atol=1e-3) or not np.allclose(frame.spacing, first.spacing, rtol=1e-4):
                raise GeometryError(
                    self.path, "its frames lie in planes of different orientation or spacing; read it with like= the source"
                )
        positions = np.stack([frame.position for frame in self.frames])
        depth = (positions - positions[0]) @ normal
        start, end = positions[depth.argmin()], positions[depth.argmax()]
        step = self._step(start, end, depth, normal)
        length = float(np.linalg.norm(step))
        slices = np.rint((positions - start) @ step / length**2).astype(int)
        off = np.linalg.norm(positions - start - slices[:, None] * step, axis=1).max()
        sideways = float(np.linalg.norm(step - (step @ normal) * normal))
        if off > POSITION_TOLERANCE * min(1.0, length) or sideways > SHEAR_TOLERANCE * length:
            raise GeometryError(
                self.path, f"its frames are not evenly stacked (up to {off:.2f} mm off): no single affine is right; read frame by frame"
            )
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = step, column * first.spacing[0], row * first.spacing[1], start
        array = np.zeros((int(slices.max()) + 1, *self.planes[0].shape), self._dtype())
        for z, plane in zip(slices, self.planes, strict=True):
            self._lay(array[z], plane)
        return array, affine, (length, *first.spacing)

    def volume_like(self, affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Lay the frames on a given grid: (D, H, W) labels.

        Raises:
            GeometryError: a frame does not lie on the grid.
        """
        array = np.zeros(shape, self._dtype())
        for frame, plane in zip(self.frames, self.planes, strict=True):
            height, width = plane.shape
            last = (
                frame.position
                + frame.orientation[:3] * frame.spacing[1] * (width - 1)
                + frame.orientation[3:] * frame.spacing[0] * (height - 1)
            )
            exact = world_to_index(affine, np.stack([frame.position, last]))
            (z, y, x), end = np.rint(exact[0]).astype(int), np.rint(exact[1]).astype(int)
            on_grid = np.abs(exact - np.rint(exact)).max() <= _ALIGNED and (end - [z, y, x] == [0, height - 1, width - 1]).all()
            inside = 0 <= z < shape[0] and y >= 0 and x >= 0 and end[1] < shape[1] and end[2] < shape[2]
            if not (on_grid and inside):
                raise GeometryError(
                    self.path,
                    f"{frame.name} does not lie on the grid of `like` (its corners are at index {exact.round(2).tolist()} of {shape}); "
                    "read it without like= and resample(..., like=..., order=0)",
                )
            self._lay(array[z, y : y + height, x : x + width], plane)
        return array

    def _step(
        self,
        start: npt.NDArray[np.float64],
        end: npt.NDArray[np.float64],
        depth: npt.NDArray[np.float64],
        normal: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        gaps = np.diff(np.unique(depth.round(3)))
        said = self.frames[0].thickness
        if not len(gaps):
            if not said:
                raise GeometryError(
                    self.path,
                    "a single plane without SpacingBetweenSlices or SliceThickness has no third spacing; read it with like= the source",
                )
            return np.asarray(normal * said, np.float64)
        # The stated distance is that of the source; frames left out make gaps of several of it. Where it does not fit, the smallest gap is the distance.
        distance = float(gaps.min())
        if said and abs(round(distance / said) * said - distance) < POSITION_TOLERANCE * min(1.0, said) and round(distance / said) >= 1:
            distance = said
        count = max(1, round(float((end - start) @ normal) / distance))
        return np.asarray((end - start) / count, np.float64)

    def _lay(self, target: npt.NDArray[Any], plane: npt.NDArray[Any]) -> None:
        clash = (target > 0) & (plane > 0) & (target != plane)
        if clash.any():
            a, b = int(target[clash][0]), int(plane[clash][0])
            raise UnsupportedError(
                self.path, f"segments {a} and {b} overlap: one label a voxel cannot hold both; read them one by one with segments="
            )
        np.maximum(target, plane, out=target)

    def _dtype(self) -> type[np.unsignedinteger[Any]]:
        return np.uint8 if max((int(item.SegmentNumber) for item in self.descriptions), default=0) < 256 else np.uint16


def read_labels(path: Path, segments: Sequence[int] | None) -> Labels:
    """Decode the frames of the asked segments (all for None).

    Raises:
        UnsupportedError: FRACTIONAL, or not a SEG.
        CorruptFileError: a broken file.
        GeometryError: frames without a place.
    """
    instance = open_instance(path)
    header = instance.header
    if "SegmentSequence" not in header or "SegmentationType" not in header:
        raise UnsupportedError(path, "not a DICOM SEG; read images with medio.read")
    with sound(path):
        kind = str(header.SegmentationType)
        if kind not in ("BINARY", "LABELMAP"):
            raise UnsupportedError(path, f"a {kind} segmentation is not read as labels; threshold it to BINARY first")
        numbers = {int(item.SegmentNumber) for item in header.SegmentSequence}
        wanted = numbers if segments is None else set(segments)
        if wanted - numbers:
            raise UnsupportedError(path, f"holds segments {sorted(numbers)}, not {sorted(wanted - numbers)}; choose among them")
        geometry = frames_of(instance)
        if not geometry:
            raise CorruptFileError(path, "holds no frame; write it again")
        planes = list(_binary(instance, geometry) if kind == "BINARY" else _labelmap(instance, wanted))
        kept = [i for i, plane in enumerate(planes) if kind == "LABELMAP" or _number(instance, i) in wanted]
    descriptions = tuple(
        item for item in header.SegmentSequence if int(item.SegmentNumber) in wanted - {0}
    )  # 0: the background of a LABELMAP
    chosen = kept or list(range(len(planes)))
    blank = [plane if kept else np.zeros_like(plane) for plane in planes]
    return Labels(path, header, descriptions, tuple(geometry[i] for i in chosen), tuple(blank[i] for i in chosen))


def _binary(instance: Instance, geometry: Sequence[Frame]) -> Iterator[npt.NDArray[Any]]:
    header = instance.header
    rows, columns, count = int(header.Rows), int(header.Columns), len(geometry)
    if int(header.BitsAllocated) != 1:
        raise CorruptFileError(instance.path, f"a BINARY segmentation with BitsAllocated {header.BitsAllocated}; write it again")
    if instance.syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian) or instance.offset is None:
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
        plane = bits[begin % 8 : begin % 8 + rows * columns].reshape(rows, columns)
        yield plane.astype(np.uint16) * np.uint16(_number(instance, index))


def _labelmap(instance: Instance, wanted: set[int]) -> Iterator[npt.NDArray[Any]]:
    for plane in decode_frames(instance):
        if plane.ndim != 2:
            raise UnsupportedError(instance.path, "a LABELMAP in colour is not read; write it as MONOCHROME2")
        yield np.where(np.isin(plane, list(wanted)), plane, 0).astype(np.uint16)


def _number(instance: Instance, index: int) -> int:
    header = instance.header
    for group in (header.PerFrameFunctionalGroupsSequence[index], *header.get("SharedFunctionalGroupsSequence", [])):
        if "SegmentIdentificationSequence" in group:
            return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise CorruptFileError(instance.path, f"frame {index + 1} does not say its segment; write it again")
