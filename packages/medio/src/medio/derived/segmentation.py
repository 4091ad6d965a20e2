"""Masks as DICOM SEG: BINARY, FRACTIONAL or LABELMAP, frame by frame on the source images.

Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20 (Segmentation), C.7.6.16 (functional groups).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom.uid import RLELossless

from medio.atomic import replacing
from medio.derived.segment import Segment, describe
from medio.derived.segmentation_reader import KINDS, decode
from medio.derived.source import (
    Equipment,
    Files,
    UidMaker,
    in_file_order,
    maker,
    making,
    new_uid,
    open_source,
    pixel_centre,
    placed_frames,
    set_dimension_uid,
    slices_of,
)
from medio.dicom.stack import POSITION_TOLERANCE, Frame
from medio.errors import GeometryError, UnsupportedError
from medio.geometry import index_to_world

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
_LARGEST = 255
"""Stored value of a fraction of 1: PS3.3 leaves it to the maker within 8 bits."""


def write_segmentation(
    mask: npt.NDArray[Any],
    source: Files,
    segments: Sequence[Segment],
    path: Path | str,
    *,
    affine: npt.NDArray[np.float64] | None,
    kind: Kind = "BINARY",
    fractional_type: Literal["PROBABILITY", "OCCUPANCY"] = "PROBABILITY",
    compressed: bool = False,
    series_description: str = "Segmentation",
    series_number: int = 900,
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write a mask as DICOM SEG, frame by frame on its source images.

    Frames without a voxel are left out (`read_segmentation(..., like=...)` restores the full grid). The file is read back before it takes its name: every
    segment must have its voxels, and its centroid must lie where the mask says, within 0.1 mm.

    Args:
        mask: (D, H, W) integers, 0 is background; on the grid that `medio.read(source)` returns. Or (N, D, H, W), one mask of 0 and 1 for each segment in
            the order of their numbers; these may overlap (not in a LABELMAP). For FRACTIONAL (N, D, H, W) from 0 to 1, kept to 1/255.
        source: the DICOM files of the series (or its folder, or one enhanced file).
        segments: the meaning of every value in the mask; numbers 1 to N. A segment may be empty.
        path: where to write.
        affine: of the mask, index (z, y, x, 1) to LPS mm. None for a series that no affine describes (variable spacing, gantry tilt): then `mask[i]` lies on
            the i-th source frame along the normal.
        kind: BINARY (1 bit a voxel and segment, read by every viewer), FRACTIONAL (8 bit) or LABELMAP (one number a voxel; new in 2024, so many archives and
            dcmtk before 3.7 do not know it).
        fractional_type: whether fractions are probabilities or the share of the voxel that is occupied.
        compressed: RLE Lossless, for FRACTIONAL and LABELMAP.
        series_description: of the new series.
        series_number: of the new series.
        equipment: who makes it; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`, `dimension`); fresh ones by default, `keyed_uids` for reproducible ones.

    Returns:
        `path`.

    Raises:
        GeometryError: the mask does not lie on the source frames, or the written file does not say what the mask says.
        UnsupportedError: values without a segment, numbers with gaps, overlap in a LABELMAP, a projection image, or a source that highdicom refuses.
        CorruptFileError: a source that lacks an identifier.
    """
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    path = Path(path)
    ordered = sorted(segments, key=lambda segment: segment.number)
    _check_values(mask, ordered, kind, path)
    if kind == "BINARY" and mask.shape[-2] * mask.shape[-1] < 8:
        raise UnsupportedError(
            path, f"frames of {mask.shape[-2]}x{mask.shape[-1]} are smaller than a byte, which highdicom packs wrongly; use kind='LABELMAP'"
        )
    if compressed and kind == "BINARY":
        raise UnsupportedError(path, "BINARY is 1 bit a voxel and is not compressed; leave compressed= out")
    opened = open_source(source, path, "a DICOM SEG")
    frames = placed_frames(opened, path, "a DICOM SEG")
    places = slices_of(frames, tuple(mask.shape[-3:]), affine, path)
    on_source, order = in_file_order(opened, frames, places)
    with making("a DICOM SEG", opened):
        seg = highdicom.seg.Segmentation(
            **on_source,
            pixel_array=_planes(mask, order, kind),
            segmentation_type=kind,
            segment_descriptions=[describe(segment) for segment in ordered],
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            fractional_type=fractional_type,
            max_fractional_value=_LARGEST,
            content_label="SEGMENTATION",
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **maker(equipment or Equipment()),
        )
        if compressed:
            # Not by highdicom, which takes the first encoder that is installed: GDCM's aborts the process.
            seg.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    set_dimension_uid(seg, uid("dimension"))
    with replacing(path) as partial:
        seg.save_as(partial)
        _check_written(partial, _Expected(mask, ordered, kind, affine, dict(zip(places, frames, strict=True))), path)
    return path


def _check_values(mask: npt.NDArray[Any], segments: Sequence[Segment], kind: str, path: Path) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    numbers = [segment.number for segment in segments]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise UnsupportedError(path, f"segment numbers must run from 1 without gaps, got {numbers}; name every class, also an absent one")
    if kind == "FRACTIONAL":
        if mask.ndim != 4 or mask.dtype.kind not in "fiub":
            raise GeometryError(path, f"fractions are an (N, D, H, W) array, one a segment, got shape {mask.shape} of {mask.dtype}")
    elif mask.ndim not in (3, 4) or mask.dtype.kind not in "iub":
        raise GeometryError(
            path, f"a mask is a (D, H, W) integer array, or (N, D, H, W) of 0 and 1, got shape {mask.shape} of {mask.dtype}"
        )
    if mask.ndim == 3:
        unknown = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
        if unknown:
            raise UnsupportedError(path, f"the mask holds values {unknown} that no segment explains; add a Segment with its code for each")
        return
    if len(mask) != len(numbers):
        raise UnsupportedError(
            path, f"{len(mask)} masks for {len(numbers)} segments; give one mask a segment, in the order of their numbers"
        )
    # `not (…)` refuses NaN as well.
    if mask.size and not (mask.min() >= 0 and mask.max() <= 1):
        raise UnsupportedError(path, f"a stack of masks holds values from 0 to 1, got {mask.min()} to {mask.max()}")
    if kind == "LABELMAP" and (np.count_nonzero(mask, axis=0) > 1).any():
        raise UnsupportedError(path, "its segments overlap, which a LABELMAP cannot hold; write it as BINARY")


def _planes(mask: npt.NDArray[Any], order: Sequence[int], kind: str) -> npt.NDArray[Any]:
    """Arrange a mask as highdicom wants it: (frames, H, W) labels, or (frames, H, W, N)."""
    if mask.ndim == 3:
        dtype = np.uint8 if int(mask.max()) < 256 else np.uint16
        return np.ascontiguousarray(mask[order].astype(dtype))
    dtype_of_stack = np.float32 if kind == "FRACTIONAL" else np.uint8
    return np.moveaxis(mask[:, order], 0, -1).astype(dtype_of_stack)


@dataclass(frozen=True, slots=True, eq=False)
class _Expected:
    """What a written file must say."""

    mask: npt.NDArray[Any]
    segments: Sequence[Segment]
    kind: str
    affine: npt.NDArray[np.float64] | None
    frame_at: dict[int, Frame]

    def centroids(self) -> dict[int, tuple[float, npt.NDArray[np.float64]]]:
        """Weight and mean position in LPS mm of each segment that has a voxel."""
        sums: dict[int, tuple[float, npt.NDArray[np.float64]]] = {}
        for z in range(self.mask.shape[-3]):
            for number, weight, y, x in self._moments(z):
                point = index_to_world(self.affine, (z, y, x)) if self.affine is not None else pixel_centre(self.frame_at[z], y, x)
                before, total = sums.get(number, (0.0, np.zeros(3)))
                sums[number] = (before + weight, total + weight * point)
        return {number: (weight, total / weight) for number, (weight, total) in sums.items()}

    def _moments(self, z: int) -> Iterator[tuple[int, float, float, float]]:
        """Number, weight, mean row and mean column of each segment in a slice."""
        if self.mask.ndim == 4:
            for segment, plane in zip(self.segments, self.mask[:, z], strict=True):
                weights = np.rint(plane * np.float32(_LARGEST)) / _LARGEST if self.kind == "FRACTIONAL" else plane.astype(np.float64)
                weight = float(weights.sum())
                if weight:
                    rows, columns = np.arange(plane.shape[0]), np.arange(plane.shape[1])
                    yield segment.number, weight, float(weights.sum(1) @ rows) / weight, float(weights.sum(0) @ columns) / weight
            return
        labels = self.mask[z].ravel()
        rows, columns = (grid.ravel() for grid in np.indices(self.mask.shape[1:]))
        counts, down, right = np.bincount(labels), np.bincount(labels, rows), np.bincount(labels, columns)
        for number in np.flatnonzero(counts).tolist():
            if number:
                yield number, float(counts[number]), float(down[number] / counts[number]), float(right[number] / counts[number])


def _check_written(partial: Path, expected: _Expected, path: Path) -> None:
    """Compare each segment's weight and centroid in mm, as the written file has them, with the mask's."""
    written = decode(partial, None).centroids()
    for number, (weight, where) in expected.centroids().items():
        found, centroid = written.get(number, (0.0, np.full(3, np.nan)))
        distance = float(np.linalg.norm(centroid - where))
        if abs(found - weight) > 1e-3 * weight or not distance <= POSITION_TOLERANCE:
            raise GeometryError(
                path,
                f"segment {number} came out with {found:g} voxels centred at {centroid.round(2).tolist()} mm, the mask has {weight:g} at "
                f"{where.round(2).tolist()} mm; nothing was written, check affine and source",
            )
    extra = sorted(set(written) - set(expected.centroids()))
    if extra:
        raise GeometryError(path, f"segments {extra} came out with voxels that the mask does not have; nothing was written")
