"""Parametric maps (ADC, T1, perfusion, probability…) as DICOM, out and in.

Source: DICOM PS3.3 A.75 (Parametric Map IOD), C.7.6.16.2.11 (Real World Value Mapping), C.7.6.24 (Float Pixel Data).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio.atomic import replacing
from medio.derived.codes import Code, check_code, concept, read_code
from medio.derived.grid import check_like, grid_of, identity_of, place_in
from medio.derived.source import (
    Equipment,
    Files,
    UidMaker,
    dataset_of,
    in_file_order,
    maker,
    making,
    new_uid,
    open_source,
    parsing,
    pixel_centre,
    placed_frames,
    set_dimension_uid,
    slices_of,
)
from medio.dicom.instances import Instance, open_instance
from medio.dicom.pixels import frames as decode_frames
from medio.dicom.stack import POSITION_TOLERANCE, Frame, frames_of
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.image import Image

_QUANTITY = "246205007"
_STEPS = 65535


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """The decoded frames of one parametric map: real values, in stored order."""

    header: Dataset
    frames: tuple[Frame, ...]
    planes: tuple[npt.NDArray[Any], ...]
    mapping: Dataset


def write_parametric_map(
    values: npt.NDArray[Any],
    source: Files,
    path: Path | str,
    *,
    affine: npt.NDArray[np.float64] | None,
    quantity: Code,
    unit: Code,
    stored: Literal["float32", "uint16"] = "float32",
    label: str = "",
    series_description: str = "Parametric map",
    series_number: int = 902,
    equipment: Equipment | None = None,
    uid: UidMaker = new_uid,
) -> Path:
    """Write real values as a DICOM parametric map, frame by frame on its source images.

    The file is read back before it takes its name: every voxel must have its value (`uint16`: within half a step), every frame its place within 0.1 mm.

    Args:
        values: (D, H, W) numbers on the grid that `medio.read(source)` returns; NaN where there is none (`float32` alone).
        source: the DICOM files of the series (or its folder, or one enhanced file).
        path: where to write.
        affine: of the values, index (z, y, x, 1) to LPS mm; None for a series that no affine describes: then `values[i]` lies on the i-th source frame.
        quantity: what the values are, e.g. ("113041", "DCM", "Apparent Diffusion Coefficient").
        unit: UCUM, e.g. ("um2/s", "UCUM", "um2/s"); ("1", "UCUM", "no units") for a pure number.
        stored: `float32`, or `uint16` steps between the least and the greatest value, which more viewers show.
        label: of the mapping, at most 16 characters; the quantity's meaning by default.
        series_description: of the new series.
        series_number: of the new series.
        equipment: who makes it; medio by default.
        uid: gives the new UIDs (roles `series`, `instance`, `dimension`).

    Returns:
        `path`.

    Raises:
        GeometryError: the values do not lie on the source frames, or the written file does not say what was given.
        UnsupportedError: infinite values, NaN in `uint16`, a projection image, or a source that highdicom refuses.
        CorruptFileError: a source that lacks an identifier.
    """
    import highdicom  # here, not above: it takes a second to import, which readers need not wait for

    path = Path(path)
    check_code(quantity, "quantity")
    check_code(unit, "unit")
    _check_values(values, stored, path)
    opened = open_source(source, path, "a parametric map")
    frames = placed_frames(opened, path, "a parametric map")
    places = slices_of(frames, values.shape, affine, path, "map")
    on_source, order = in_file_order(opened, frames, places)
    pixels, slope, intercept, ends = _stored(values, stored)
    # A first window for viewers, over the stored range.
    window = (ends[0] + ends[1]) / 2, max(ends[1] - ends[0], 1e-6)
    with making("a parametric map", opened):
        mapping = highdicom.pm.RealWorldValueMapping(
            lut_label=(label or quantity[2])[:16],
            lut_explanation=quantity[2][:64],
            unit=concept(unit),
            value_range=ends,
            slope=slope,
            intercept=intercept,
            quantity_definition=concept(quantity),
        )
        made = highdicom.pm.ParametricMap(
            **on_source,
            pixel_array=np.ascontiguousarray(pixels[order]),
            series_instance_uid=uid("series"),
            series_number=series_number,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[highdicom.VOILUTTransformation(*window, voi_lut_function="LINEAR_EXACT")],
            content_label="MAP",
            series_description=series_description,
            specific_character_set="ISO_IR 192",
            **maker(equipment or Equipment()),
        )
    set_dimension_uid(made, uid("dimension"))
    made.Laterality = opened.headers[0].get("Laterality") or ""  # may be empty, may not be absent
    with replacing(path) as partial:
        made.save_as(partial)
        _check_written(partial, values, dict(zip(places, frames, strict=True)), 0.5001 * slope if stored == "uint16" else 0.0, path)
    return path


def read_parametric_map(path: Path | str, *, like: Image | None = None, label: str | None = None) -> Image:
    """Read a DICOM parametric map of any maker as real values.

    Args:
        path: the file.
        like: an image on whose grid to return the values; without it the grid spans the stored frames.
        label: LUT label of the mapping, where the file states several.

    Returns:
        (D, H, W) float32 (float64 where it is stored so), NaN where no frame lies; `unit` is the UCUM code; `meta["quantity"]` is the code of what the values
        are (None where not said), `meta["unit_code"]` that of the unit, `meta["label"]` the mapping's.

    Raises:
        GeometryError: frames that form no regular grid or do not lie on that of `like`, or another frame of reference (both UIDs are named).
        UnsupportedError: not a parametric map, several mappings and no label, or another patient than `like`.
        CorruptFileError: a broken file.
    """
    path = Path(path)
    found = _decode(path, label)
    identity = identity_of(found.header)
    with parsing(path):
        unit = read_code(found.mapping.MeasurementUnitsCodeSequence[0])
        definitions = [
            item
            for item in found.mapping.get("QuantityDefinitionSequence") or []
            if read_code(item.ConceptNameCodeSequence[0])[0] == _QUANTITY
        ]
        quantity = read_code(definitions[0].ConceptCodeSequence[0]) if definitions else None
    meta: dict[str, Any] = {
        "path": str(path),
        "modality": str(found.header.get("Modality") or ""),
        **identity,
        "quantity": quantity,
        "unit_code": unit,
        "label": str(found.mapping.get("LUTLabel") or ""),
    }
    if like is not None:
        affine, shape, spacing = check_like(like, identity, path).copy(), like.spatial_shape, like.spacing
    else:
        grid = grid_of(found.frames, path)
        affine, shape, spacing = grid.affine, grid.shape, grid.spacing
    array = np.full(shape, np.nan, found.planes[0].dtype)
    filled = np.zeros(shape, bool)
    for frame, plane in zip(found.frames, found.planes, strict=True):
        height, width = plane.shape
        grid_rows, grid_columns = np.arange(height)[:, None], np.arange(width)[None, :]
        index = np.broadcast_arrays(*place_in(frame, affine, shape, path).indices(grid_rows, grid_columns))
        if not all(axis.min() >= 0 and axis.max() < size for axis, size in zip(index, shape, strict=True)):
            raise GeometryError(path, f"{frame.name} reaches outside the grid of {tuple(shape)}; pass the whole image that it was made on")
        if filled[index].any():
            raise UnsupportedError(path, f"{frame.name} lies where another frame lies: several maps in one file are not read; split it")
        array[index], filled[index] = plane, True
    return Image(array, affine, spacing, unit[0], meta)


def _check_values(values: npt.NDArray[Any], stored: str, path: Path) -> None:
    if stored not in ("float32", "uint16"):
        raise ValueError(f"stored must be 'float32' or 'uint16', got {stored!r}")
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise GeometryError(path, f"a map is a (D, H, W) array of numbers, got shape {values.shape} of {values.dtype}")
    if np.isinf(values).any() or np.isnan(values).all():
        raise UnsupportedError(path, "a map with infinite values, or with none at all, cannot be shown; mark missing values NaN")
    if stored == "uint16" and np.isnan(values).any():
        raise UnsupportedError(path, "uint16 cannot hold NaN; store float32, or fill the missing values")
    if stored == "float32" and np.nanmax(np.abs(values.astype(np.float64))) > np.finfo(np.float32).max:
        raise UnsupportedError(path, "holds values that float32 cannot; change the unit")


def _stored(values: npt.NDArray[Any], stored: str) -> tuple[npt.NDArray[Any], float, float, tuple[Any, Any]]:
    """Give the stored pixels, the slope and intercept that make them real, and the first and last stored value that they hold for."""
    if stored == "float32":
        pixels = values.astype(np.float32)
        return pixels, 1.0, 0.0, (float(np.nanmin(pixels)), float(np.nanmax(pixels)))
    exact = values.astype(np.float64)
    least, most = float(exact.min()), float(exact.max())
    slope = (most - least) / _STEPS or 1.0
    return np.rint((exact - least) / slope).astype(np.uint16), slope, least, (0, _STEPS)


def _decode(path: Path, label: str | None) -> _Map:
    instance = open_instance(path)
    header = dataset_of(instance)
    with parsing(path):
        if header.get("SOPClassUID") != "1.2.840.10008.5.1.4.1.1.30":
            raise UnsupportedError(path, "not a DICOM parametric map; read images with medio.read")
        frames = tuple(frames_of(instance))
        if not frames:
            raise CorruptFileError(path, "holds no frame; write it again")
        shared = list(header.get("SharedFunctionalGroupsSequence") or [])
        groups = list(header.PerFrameFunctionalGroupsSequence)
        mappings = [_mapping(path, [group, *shared], label) for group in groups]
        planes = tuple(_real(plane, mapping) for plane, mapping in zip(_pixels(instance, header, path), mappings, strict=True))
        units = {read_code(mapping.MeasurementUnitsCodeSequence[0])[:2] for mapping in mappings}
        if len(units) > 1:
            raise UnsupportedError(path, f"its frames have different units ({', '.join(sorted(unit[0] for unit in units))}); split it")
    return _Map(header, frames, planes, mappings[0])


def _mapping(path: Path, groups: Sequence[Dataset], label: str | None) -> Dataset:
    items: list[Dataset] = [item for group in groups for item in group.get("RealWorldValueMappingSequence") or []]
    chosen = [item for item in items if label is None or str(item.get("LUTLabel")) == label]
    if len(chosen) != 1:
        labels = ", ".join(sorted({str(item.get("LUTLabel")) for item in items})) or "none"
        raise UnsupportedError(
            path, f"states the real world mappings {labels}; choose one with label=" if items else "states no real world mapping"
        )
    return chosen[0]


def _pixels(instance: Instance, header: Dataset, path: Path) -> list[npt.NDArray[Any]]:
    shape = int(header.NumberOfFrames), int(header.Rows), int(header.Columns)
    whole = dcmread(path, force=True)
    for keyword, dtype in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        if keyword in whole:
            if instance.syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
                raise UnsupportedError(
                    path, f"float pixels in transfer syntax {instance.syntax} are not read; transcode to Explicit VR Little Endian"
                )
            data = whole[keyword].value
            needed = int(np.prod(shape)) * int(dtype[-1])
            if len(data) < needed:
                raise CorruptFileError(path, f"{keyword} holds {len(data)} of {needed} bytes; the file is truncated, fetch it again")
            return list(np.frombuffer(data[:needed], dtype).reshape(shape))
    return list(decode_frames(instance))


def _real(plane: npt.NDArray[Any], mapping: Dataset) -> npt.NDArray[Any]:
    if "RealWorldValueLUTData" in mapping:
        table, first = np.array(mapping.RealWorldValueLUTData, np.float64), int(mapping.RealWorldValueFirstValueMapped)
        index = plane.astype(np.int64) - first
        inside = (index >= 0) & (index < len(table))
        return np.where(inside, table[np.where(inside, index, 0)], np.nan).astype(np.float32)
    slope, intercept = float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
    if (slope, intercept) == (1, 0) and plane.dtype.kind == "f":
        return plane.astype(plane.dtype.newbyteorder("="))
    real = plane * np.float64(slope) + np.float64(intercept)
    return real if plane.dtype == np.float64 else real.astype(np.float32)


def _check_written(partial: Path, values: npt.NDArray[Any], frame_at: dict[int, Frame], tolerance: float, path: Path) -> None:
    """Compare every frame of the written file, its place and its values, with what was given."""
    written = _decode(partial, None)
    left = dict(frame_at)
    for frame, plane in zip(written.frames, written.planes, strict=True):
        here = frame.position
        z, nearest = min(left.items(), key=lambda item: float(np.linalg.norm(item[1].position - here)), default=(-1, frame))
        end = frame.size[0] - 1, frame.size[1] - 1
        off = max(float(np.linalg.norm(pixel_centre(frame, *at) - pixel_centre(nearest, *at))) for at in ((0, 0), end))
        expected = values[z].astype(np.float32 if not tolerance else np.float64)
        room = tolerance + np.spacing(np.abs(expected).astype(np.float32)) * bool(tolerance)
        same = np.isclose(plane, expected, rtol=0, atol=0, equal_nan=True) | (np.abs(plane - expected) <= room)
        if z < 0 or off > POSITION_TOLERANCE or not same.all():
            raise GeometryError(
                path,
                f"{np.count_nonzero(~same)} voxels of slice {z} came out with other values, {off:.2f} mm off; nothing was written, check affine and source",
            )
        del left[z]
    if left:
        raise GeometryError(path, f"{len(left)} slices did not come out; nothing was written")
