"""DICOM in: CT, MR, PET and other placed slices as volumes, projection images as films."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.diffusion import diffusion_of
from medio.dicom.films import read_dicom_film, whole_frame
from medio.dicom.frame import Frame
from medio.dicom.grid import Grid, measure_grid, refuse_faults
from medio.dicom.header_meta import header_meta
from medio.dicom.instances import Instance, sound
from medio.dicom.labels import kind_of
from medio.dicom.layout import layout_of
from medio.dicom.luts import modality_table, voi_of
from medio.dicom.options import ReadOptions
from medio.dicom.padding import is_padding, padding_of
from medio.dicom.pixels import read_frames_into
from medio.dicom.planning import ONLY_VOLUME, SeriesPlan, plan_series
from medio.dicom.rescale import read_rescaled, rescale_slices
from medio.dicom.split import Part
from medio.dicom.suv import suv_of, units_of
from medio.dicom.tilt import regularise
from medio.errors import GeometryError, UnsupportedError
from medio.image import Image

_CT_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})


def read_dicom(
    path: Path | Sequence[Path],
    *,
    spacing: tuple[float, ...] | None = None,
    volume: str | None = None,
    options: ReadOptions | None = None,
) -> Image:
    """Read one volume or film of a DICOM series: a folder (with its subfolders), one file, or the files of a series in any order.

    Args:
        path: where it lies. In a folder, files that are not DICOM and objects without pixels (reports, raw data) are passed over and named in `meta["skipped"]`.
        spacing: (row, column) mm for a film that carries none.
        volume: which one, where the series holds several; see `read_series`.
        options: what to do where a series can be read in more than one way.

    Returns:
        A volume (D, H, W), or (3, D, H, W) for colour, ordered along the normal with its affine, int16 where exact else float32, HU for CT, SUVbw for PET (`unit`);
        or a film (H, W) without affine, bright where dense (MONOCHROME1 is inverted). `meta["sop_instance_uids"]` lists the file behind each slice,
        `meta["paths"]` likewise (of a resampled stack: behind its own slices, in their order), `meta["findings"]` what was noticed.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a file that is broken or cut short.
        GeometryError: slices that form no regular volume, missing geometry.
        UnsupportedError: several series, several volumes and none chosen, cine, and pixels that are not read.
    """
    plan = plan_series(path)
    if plan.is_film:
        first = plan.instances[0]
        if volume is not None:
            raise UnsupportedError(plan.name, f"is a film, not a series of volumes; leave volume={volume!r} out")
        if len(plan.instances) > 1:
            raise UnsupportedError(plan.name, f"{len(plan.instances)} films in one series; pass one file, e.g. {first.path.name}")
        with sound(first.path):
            meta = header_meta(whole_frame(first)) | {"path": str(plan.name), "skipped": plan.skipped}
            return read_dicom_film(first, meta, spacing)
    if spacing is not None:
        raise GeometryError(plan.name, "these slices carry their own spacing; leave spacing= out")
    return read_part(plan, plan.part(volume), options or ReadOptions())


def read_part(plan: SeriesPlan, part: Part, options: ReadOptions) -> Image:
    """Read one volume of a planned series.

    Raises:
        CorruptFileError: pixels that do not decode.
        GeometryError: slices that form no regular volume.
        UnsupportedError: pixels that are not read, PET without SUV where it was asked for.
    """
    name: Path | str = f"{plan.name} [{part.name}]" if part.name else plan.name
    with sound(Path(str(name))):
        grid = measure_grid(part.frames, name)
        shear, even = grid.tilted and options.tilt == "resample", grid.uneven and options.gaps == "resample"
        if (grid.tilted and not shear) or (grid.uneven and not even) or (grid.faults and not (grid.tilted or grid.uneven)):
            refuse_faults(grid, name)
        meta = _meta(plan, part, grid)
        factor, unit, suv = _unit(grid.frames, name, options)
        array = _real_values(grid, factor, options, meta)
    meta["suv"] = suv
    if factor != 1:
        meta["voi"] = replace(meta["voi"], slope=1 / factor)
    affine, spacing = grid.affine, grid.spacing
    if shear or even:
        if array.ndim == 4:
            raise UnsupportedError(name, "a colour volume is not interpolated onto a regular grid; exclude the series")
        array, affine, spacing = regularise(array, grid, name, shear=shear, even=even)
        meta["findings"] += (f"interpolated onto a regular grid: {' and '.join(grid.faults)}",)
        meta["resampled"] = True
    return Image(array, affine, spacing, unit, meta)


def _real_values(grid: Grid, factor: float, options: ReadOptions, meta: dict[str, Any]) -> npt.NDArray[Any]:
    """Decode and rescale the slices, (D, H, W) or (3, D, H, W), and note the padding."""
    frames = grid.frames
    instances = list(dict.fromkeys(frame.instance for frame in frames))
    slopes = [(1.0 if frame.slope is None else frame.slope) * factor for frame in frames]
    intercepts = [frame.intercept * factor for frame in frames]
    layouts = [layout_of(instance) for instance in instances]
    colour = any(len(layout.shape) == 3 for layout in layouts)
    tables = {instance: modality_table(instance.header, instance.path) for instance in instances}
    paddings = [padding_of(frame.instance.header) for frame in frames]
    special = colour or frames[0].tile is not None or any(tables.values()) or (options.padding == "air" and any(paddings))
    meta["padding"] = None
    if not any(tables.values()) and not colour:
        meta["padding"] = _real_padding(paddings, slopes, intercepts)
    if not special:
        where = {(frame.instance, frame.index): z for z, frame in enumerate(frames)}
        places = [[where.get((instance, index)) for index in range(instance.frame_count)] for instance in instances]
        return read_rescaled(instances, places, (len(frames), *frames[0].size), slopes, intercepts, threads=options.threads)
    stored = _stored(frames, instances, np.result_type(*{layout.dtype for layout in layouts}), options.threads, colour=colour)
    if colour:
        return np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    padded = None
    if options.padding == "air" and any(paddings):
        padded = np.stack([np.zeros(s.shape, bool) if p is None else is_padding(s, p) for s, p in zip(stored, paddings, strict=True)])
    if any(tables.values()):
        looked_up = [
            plane if (table := tables[frame.instance]) is None else table(plane) for frame, plane in zip(frames, stored, strict=True)
        ]
        stored = np.stack([plane.astype(np.int32) for plane in looked_up])
    array = rescale_slices(stored, slopes, intercepts)
    if padded is not None and padded.any() and not padded.all():
        array[padded] = array[~padded].min()
        meta["findings"] += (f"{int(padded.sum())} padding voxels set to {array[padded][0]:g}",)
        meta["padding"] = None
    return array


def _stored(
    frames: Sequence[Frame], instances: Sequence[Instance], dtype: np.dtype[Any], threads: int | None, *, colour: bool
) -> npt.NDArray[Any]:
    """Decode to (D, H, W) or (D, H, W, 3) stored values, cut out of mosaics."""
    planes = list(dict.fromkeys((frame.instance, frame.index) for frame in frames))
    where = {plane: number for number, plane in enumerate(planes)}
    places = [[where.get((instance, index)) for index in range(instance.frame_count)] for instance in instances]
    header = instances[0].header
    whole = np.empty((len(planes), int(header.Rows), int(header.Columns), *((3,) if colour else ())), dtype)
    read_frames_into(instances, whole, places, threads=threads)
    if frames[0].tile is None:
        return whole
    cut = []
    for frame in frames:
        row, column = frame.tile or (0, 0)
        plane = whole[where[frame.instance, frame.index]]
        cut.append(plane[row : row + frame.size[0], column : column + frame.size[1]])
    return np.stack(cut)


def _real_padding(
    paddings: Sequence[tuple[float, float] | None], slopes: Sequence[float], intercepts: Sequence[float]
) -> tuple[float, float] | None:
    """Return the padding values after rescale, None where there are none or they differ from slice to slice."""
    ends = {
        None if p is None else tuple(sorted((p[0] * slope + intercept, p[1] * slope + intercept)))
        for p, slope, intercept in zip(paddings, slopes, intercepts, strict=True)
    }
    only = ends.pop() if len(ends) == 1 else None
    return None if only is None else (only[0], only[1])


def _unit(frames: Sequence[Frame], name: Path | str, options: ReadOptions) -> tuple[float, str, str]:
    """Return the factor on rescaled values, the unit, and how the SUV came about or why there is none."""
    if str(frames[0].find("Modality")) == "PT":
        units = units_of(frames[0])
        if options.pet != "stored":
            try:
                suv = suv_of(frames, name)
            except UnsupportedError as error:
                if options.pet == "suv":
                    raise
                return 1.0, units, error.reason
            return suv.factor, "SUVbw", suv.method
        return 1.0, units, "values as stored"
    said = all(frame.slope is not None for frame in frames)
    kinds = {frame.rescale_type for frame in frames}
    is_hu = said and all(frame.instance.sop_class_uid in _CT_CLASSES for frame in frames) and kinds <= {"", "HU"}
    return 1.0, "HU" if is_hu else "", ""


def _meta(plan: SeriesPlan, part: Part, grid: Grid) -> dict[str, Any]:
    first = grid.frames[0]
    # Windows differ from slice to slice in MR: the middle of the stack speaks for it.
    meta = header_meta(first) | {"voi": voi_of(grid.frames[len(grid.frames) // 2])}
    b_value, gradient = diffusion_of(first)
    meta |= {"kind": kind_of(first), "b_value": b_value, "gradient": gradient}
    meta |= _times(plan, part)
    return meta | {
        "volume": part.name or ONLY_VOLUME,
        "path": str(plan.name),
        "skipped": plan.skipped,
        "findings": (*plan.findings, *part.findings),
        "resampled": False,
        "paths": tuple(str(frame.instance.path) for frame in grid.frames),
        "sop_instance_uids": tuple(str(frame.instance.header.get("SOPInstanceUID") or "") for frame in grid.frames),
    }


def _times(plan: SeriesPlan, part: Part) -> dict[str, Any]:
    """Return `time_s` (since the first volume of the series) and `phase` (of a cycle, from 1), None where they do not apply."""
    labels: Mapping[str, Any] = part.labels
    cycle = next((key for key in ("cardiac_phase", "trigger_time", "respiratory_phase") if key in labels), None)
    phase = None
    if cycle is not None:
        said = sorted({other.labels[cycle] for other in plan.parts if other.labels.get(cycle) is not None})
        phase = said.index(labels[cycle]) + 1 if labels[cycle] in said else None
    begin = plan.begins[plan.parts.index(part)] if plan.begins else None
    if begin is None:
        return {"time_s": None, "phase": phase}
    return {"time_s": (begin - min(moment for moment in plan.begins if moment is not None)).total_seconds(), "phase": phase}
