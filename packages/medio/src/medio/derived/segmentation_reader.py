"""DICOM SEG in: BINARY, FRACTIONAL and LABELMAP, from any maker.

Source: DICOM PS3.3 C.8.20.2 (segments), C.7.6.16 (functional groups), PS3.5 8.1.1 (bit packing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from medio.derived.grid import Grid, Place, check_like, check_patient, grid_of, identity_of, place_in, upright
from medio.derived.segment import Segment, read_segment
from medio.derived.segmentation_frames import Layer, layers_of, pixels_of, tile_places
from medio.derived.source import Files, dataset_of, open_source, parsing, pixel_centre, placed_frames
from medio.dicom.instances import open_instance
from medio.dicom.stack import POSITION_TOLERANCE, Frame, frames_of
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.image import Image

Overlap = Literal["error", "stack"]
_LARGEST_PLANE = 2**31
"""Pixels of a slide, over all segments, that are laid out at once."""
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """The decoded frames of one SEG.

    Attributes:
        path: the file.
        header: its elements before the pixels.
        kind: BINARY, FRACTIONAL or LABELMAP.
        segments: those that were asked for, by number.
        frames: the geometry of every frame; empty where the frames have no place in the patient (films, slides).
        layers: the pixels of the frames that hold wanted segments.
    """

    path: Path
    header: Dataset
    kind: str
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    layers: tuple[Layer, ...]

    @property
    def identity(self) -> dict[str, str]:
        """Patient, study, series and frame of reference, empty where not said."""
        return identity_of(self.header)

    def centroids(self) -> dict[int, tuple[float, npt.NDArray[np.float64]]]:
        """Sum the weight of each segment (voxels, or fractions of them) and find its mean position in LPS mm."""
        sums: dict[int, tuple[float, npt.NDArray[np.float64]]] = {}
        for layer in self.layers:
            frame = self.frames[layer.index]
            for number, plane in layer.split():
                rows, columns = pixels_of(plane)
                weights = plane[rows, columns].astype(np.float64)
                weight, total = sums.get(number, (0.0, np.zeros(3)))
                right = frame.orientation[:3] * frame.spacing[1] * (weights @ columns)
                down = frame.orientation[3:] * frame.spacing[0] * (weights @ rows)
                sums[number] = (weight + float(weights.sum()), total + frame.position * weights.sum() + right + down)
        return {number: (weight, total / weight) for number, (weight, total) in sums.items() if weight}

    def lay(self, shape: tuple[int, ...], place: Callable[[Layer], Place], overlap: Overlap) -> npt.NDArray[Any]:
        """Lay the layers in an array of (D, H, W): labels, or (N, D, H, W) for `stack` and FRACTIONAL.

        Raises:
            UnsupportedError: segments that overlap where labels are wanted.
            GeometryError: voxels outside the array.
        """
        stacked = overlap == "stack" or self.kind == "FRACTIONAL"
        channels = {segment.number: channel for channel, segment in enumerate(self.segments)}
        wide = max(channels, default=0) > 255
        dtype: type[Any] = np.float32 if self.kind == "FRACTIONAL" else np.uint16 if wide and not stacked else np.uint8
        out = np.zeros((len(channels), *shape) if stacked else shape, dtype)
        limits = np.array(shape)[:, None]
        for layer in self.layers:
            where = place(layer)
            for number, plane in layer.split():
                rows, columns = pixels_of(plane)
                index = where.indices(rows, columns)
                if not len(rows):
                    continue
                inside = ((np.array(index) >= 0) & (np.array(index) < limits)).all(axis=0)
                if not inside.all():
                    raise GeometryError(
                        self.path,
                        f"{np.count_nonzero(~inside)} voxels of segment {number} lie outside the grid of {shape}; pass the whole image that it was drawn on",
                    )
                if stacked:
                    out[channels[number]][index] = plane[rows, columns]
                    continue
                before = out[index]
                clash = np.flatnonzero((before > 0) & (before != number))
                if len(clash):
                    raise UnsupportedError(
                        self.path,
                        f"segments {before[clash[0]]} and {number} overlap: one label a voxel cannot hold both; "
                        "read them as a stack with overlap='stack', or one by one with segments=",
                    )
                out[index] = number
        return out


def read_segmentation(
    path: Path | str, *, like: Image | None = None, segments: Sequence[int] | None = None, overlap: Overlap = "error"
) -> Image:
    """Read a DICOM SEG as one label array, or as one mask a segment.

    Args:
        path: the file.
        like: an image on whose grid to return the masks, e.g. the source volume, flipped or reordered as you like. Without it the grid spans the stored
            frames only, since a SEG leaves out empty ones. For a SEG on a film, the film.
        segments: numbers to read; all by default.
        overlap: `error` for labels, which cannot hold two segments in one voxel; `stack` for one mask a segment.

    Returns:
        (D, H, W) uint8 labels (uint16 above 255 segments), 0 is background, with the affine of its frames. With `stack`, (N, D, H, W) uint8, 0 or 1. FRACTIONAL
        always gives (N, D, H, W) float32 from 0 to 1. A SEG on a film or a whole slide is (H, W) and has no affine. `meta["segments"]` is a tuple of `Segment`
        in the order of the channels; `meta["segmentation_type"]` is BINARY, FRACTIONAL or LABELMAP, `meta["fractional_type"]` PROBABILITY or OCCUPANCY.

    Raises:
        GeometryError: frames that form no regular grid, that do not lie on the grid of `like`, or another frame of reference (both UIDs are named).
        UnsupportedError: segments that overlap, another patient than `like`, or not a SEG.
        CorruptFileError: a broken file.
    """
    path = Path(path)
    if overlap not in ("error", "stack"):
        raise ValueError(f"overlap must be 'error' or 'stack', got {overlap!r}")
    found = decode(path, segments)
    with parsing(path):
        return _place(found, like, overlap)


def read_segmentation_frames(
    path: Path | str, source: Files, *, segments: Sequence[int] | None = None, overlap: Overlap = "error"
) -> npt.NDArray[Any]:
    """Read a DICOM SEG on the frames of its source, also where no affine describes them (variable spacing, gaps, gantry tilt).

    Args:
        path: the file.
        source: the DICOM files of the series that it was drawn on (or its folder, or one enhanced file).
        segments: numbers to read; all by default.
        overlap: as for `read_segmentation`.

    Returns:
        (D, H, W) labels, or (N, D, H, W) for `stack` and FRACTIONAL; slice i lies on the i-th source frame along the normal, as `write_segmentation` takes it.

    Raises:
        GeometryError: a frame that lies on no source frame, or another frame of reference.
        UnsupportedError: segments that overlap, another patient, or not a SEG.
        CorruptFileError: a broken file.
    """
    path = Path(path)
    found = decode(path, segments)
    if not found.frames:
        raise UnsupportedError(path, "is drawn on a film or a slide, not on placed frames; use medio.read_segmentation")
    opened = open_source(source, path, "a DICOM SEG")
    frames = placed_frames(opened, path, "a DICOM SEG")
    first = opened.headers[0]
    if str(first.PatientID or "") and found.identity["patient_id"] and str(first.PatientID) != found.identity["patient_id"]:
        raise UnsupportedError(
            path,
            f"belongs to another patient (study {found.identity['study_instance_uid']}) than its source (study {first.StudyInstanceUID})",
        )
    there = str(first.FrameOfReferenceUID)
    if found.identity["frame_of_reference_uid"] not in ("", there):
        raise GeometryError(
            path, f"lies in another FrameOfReferenceUID ({found.identity['frame_of_reference_uid']}) than its source ({there})"
        )
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    depths = np.array([frame.position @ normal for frame in frames])

    def place(layer: Layer) -> Place:
        frame = found.frames[layer.index]
        z = int(np.abs(depths - frame.position @ normal).argmin())
        here, that = frame.size, frames[z]
        ends = ((0, 0), (0, here[1] - 1), (here[0] - 1, 0))
        off = max(float(np.linalg.norm(pixel_centre(frame, *end) - pixel_centre(that, *end))) for end in ends)
        if here != that.size or off > POSITION_TOLERANCE * min(1.0, *that.spacing):
            raise GeometryError(
                path, f"{frame.name} lies {off:.2f} mm off the nearest source frame {that.name}; pass the series it was drawn on"
            )
        return upright(z)

    return found.lay((len(frames), *frames[0].size), place, overlap)


def decode(path: Path, segments: Sequence[int] | None) -> Segmentation:
    """Decode the frames of the asked segments (all for None).

    Raises:
        UnsupportedError: not a SEG, or numbers that it does not hold.
        CorruptFileError: a broken file.
        GeometryError: frames with half a place.
    """
    instance = open_instance(path)
    header = dataset_of(instance)
    with parsing(path):
        if not header.get("SegmentSequence") or "SegmentationType" not in header:
            raise UnsupportedError(path, "not a DICOM SEG; read images with medio.read")
        kind = str(header.SegmentationType)
        if kind not in KINDS:
            raise UnsupportedError(path, f"a {kind} segmentation is not read; {', '.join(KINDS)} are")
        described = {int(item.SegmentNumber): item for item in header.SegmentSequence}
        wanted = sorted(described if segments is None else set(segments))
        absent = [number for number in wanted if number not in described]
        if absent:
            raise UnsupportedError(path, f"holds segments {sorted(described)}, not {absent}; choose among them")
        wanted = [number for number in wanted if number != 0]  # 0: the background of a LABELMAP
        flat = not _is_placed(header)
        frames = () if flat else tuple(frames_of(instance))
        if (not flat and not frames) or int(header.get("NumberOfFrames") or 0) < 1:
            raise CorruptFileError(path, "holds no frame; write it again")
        layers = tuple(layer for layer in layers_of(instance, header, kind) if layer.keep(wanted))
        chosen = tuple(read_segment(described[number]) for number in wanted)
    return Segmentation(path, header, kind, chosen, frames, layers)


def _place(found: Segmentation, like: Image | None, overlap: Overlap) -> Image:
    path = found.path
    meta: dict[str, Any] = {
        "path": str(path),
        "modality": "SEG",
        **found.identity,
        "segments": found.segments,
        "segmentation_type": found.kind,
        "fractional_type": str(found.header.get("SegmentationFractionalType") or ""),
    }
    if not found.frames:
        return _read_flat(found, like, overlap, meta)
    if like is not None:
        affine = check_like(like, found.identity, path)
        shape = like.spatial_shape
        array = found.lay(shape, lambda layer: place_in(found.frames[layer.index], affine, shape, path), overlap)
        return Image(array, affine.copy(), like.spacing, "", meta)
    kept = [found.frames[layer.index] for layer in found.layers] or list(found.frames)
    grid: Grid = grid_of(kept, path)
    array = found.lay(grid.shape, lambda layer: place_in(found.frames[layer.index], grid.affine, grid.shape, path), overlap)
    return Image(array, grid.affine, grid.spacing, "", meta)


def _is_placed(header: Dataset) -> bool:
    groups = [*(header.get("SharedFunctionalGroupsSequence") or [])[:1], *(header.get("PerFrameFunctionalGroupsSequence") or [])[:1]]
    return any("PlanePositionSequence" in group for group in groups)


def _read_flat(found: Segmentation, like: Image | None, overlap: Overlap, meta: dict[str, Any]) -> Image:
    """Read a SEG on a film or a whole slide: one plane without a place in the patient."""
    header = found.header
    places = tile_places(header, found.path)
    shape = tuple(int(header.get(f"TotalPixelMatrix{side}") or header.get(side)) for side in ("Rows", "Columns"))
    if shape[0] * shape[1] * max(1, len(found.segments)) > _LARGEST_PLANE:
        raise UnsupportedError(
            found.path,
            f"covers {shape[0]}x{shape[1]} pixels in {len(found.segments)} segments; read fewer with segments=, or a coarser level",
        )
    array = found.lay((1, *shape), lambda layer: places[layer.index], overlap)[..., 0, :, :]
    if like is not None:
        check_patient(like, found.identity, found.path)
        if len(like.spacing) != 2 or like.spatial_shape != shape:
            raise GeometryError(
                found.path,
                f"is drawn on one plane of {shape[0]}x{shape[1]}, `like` has the shape {like.spatial_shape}; pass the film that it was drawn on",
            )
        return Image(array, None, like.spacing, "", meta)
    for group in header.get("SharedFunctionalGroupsSequence") or []:
        measures = group.get("PixelMeasuresSequence")
        if measures and measures[0].get("PixelSpacing"):
            row, column = measures[0].PixelSpacing
            return Image(array, None, (float(row), float(column)), "", meta)
    raise GeometryError(found.path, "is drawn on a film and says no PixelSpacing; pass like= the film that it was drawn on")
