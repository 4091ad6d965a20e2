"""Radiotherapy structure sets in: outlines to masks.

Source: DICOM PS3.3 A.19 (RT Structure Set IOD), C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from medio.derived.grid import check_like, identity_of
from medio.derived.polygons import fill_polygons
from medio.derived.source import dataset_of, parsing
from medio.dicom.instances import open_instance
from medio.errors import CorruptFileError, GeometryError, UnsupportedError
from medio.geometry import world_to_index
from medio.image import Image

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.1
"""How far, in voxels of the grid, the points of an outline may lie off its plane."""
_EXACT = 6
"""Decimals of an index that count: what is beyond is rounding of the header and of the affine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A region of interest of a structure set.

    Attributes:
        number: its ROI number.
        name: its name.
        kind: its interpreted type (PTV, CTV, GTV, ORGAN, EXTERNAL, …), empty where not said.
        algorithm: how it was made (AUTOMATIC, SEMIAUTOMATIC, MANUAL), empty where not said.
    """

    number: int
    name: str
    kind: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """A closed outline in the index space of the grid: its plane, and its points within."""

    axis: int
    place: float
    points: npt.NDArray[np.float64]


def read_rtstruct(path: Path | str, *, like: Image, names: Sequence[str] | None = None, slab: float | None = None) -> Image:
    """Read the closed outlines of an RTSTRUCT as one mask a structure.

    A voxel belongs to a structure if its centre lies inside an odd number of its outlines in the plane: an outline inside another is a hole, as is what a keyhole
    leaves out. The planes may cut the grid along any of its axes (axial, sagittal, coronal; oblique where the grid is). An outline stands for a slab about
    its plane: `slab` where given, else what the file states (ContourSlabThickness), else one slice where `like` is the series it was drawn on, else the
    least distance between planes of the file. A slice between two planes takes the nearer one, if its slab reaches so far.

    Args:
        path: the file.
        like: the image on whose grid to return the masks, e.g. the volume that it was drawn on.
        names: structures to read, in this order; by default all that have closed outlines.
        slab: mm along the normal that each outline stands for.

    Returns:
        (N, D, H, W) uint8, 0 or 1; `meta["structures"]` is a tuple of `Structure` in the order of the channels; `meta["not_drawn"]` lists (name, what) of all that
        is no closed outline (points, open lines, structures without any), `meta["outside"]` the names of structures that reach beyond the grid.

    Raises:
        GeometryError: outlines in a plane that is not parallel to two axes of the grid, or another frame of reference (both UIDs are named), or a slab that nothing
            tells.
        UnsupportedError: not an RTSTRUCT, an absent name, or another patient than `like`.
        CorruptFileError: a broken file.
    """
    path = Path(path)
    header = dataset_of(open_instance(path))
    with parsing(path):
        if header.get("SOPClassUID") != RTSTRUCT:
            raise UnsupportedError(path, f"not an RTSTRUCT (modality {header.get('Modality') or 'not said'}); use the reader of that kind")
        identity = identity_of(header) | {"frame_of_reference_uid": ""}  # each structure names its own
        structures = _structures(header)
        contours = {
            int(item.ReferencedROINumber): list(item.get("ContourSequence") or []) for item in header.get("ROIContourSequence") or []
        }
        drawn, not_drawn = _sort(structures, contours)
        chosen = _choose([structure for structure, _ in drawn], names, path)
        frames = {
            str(item.get("ReferencedFrameOfReferenceUID") or "")
            for item in header.get("StructureSetROISequence") or []
            if int(item.ROINumber) in chosen
        }
        for uid in sorted(frames - {""}):
            check_like(like, identity | {"frame_of_reference_uid": uid}, path)
        affine = check_like(like, identity, path)
        outlines = {structure.number: _outlines(structure, items, affine, structure.number in chosen, path) for structure, items in drawn}
        thickness = _slab(slab, drawn, outlines, like, path)
    kept = {structure.number: structure for structure, _ in drawn}
    array = np.zeros((len(chosen), *like.spatial_shape), np.uint8)
    outside = []
    for channel, number in enumerate(chosen):
        if _draw(array[channel], outlines[number], [mm / step for mm, step in zip(thickness, like.spacing, strict=True)]):
            outside.append(kept[number].name)
    meta = {
        "path": str(path),
        "modality": "RTSTRUCT",
        **identity,
        "frame_of_reference_uid": next(iter(sorted(frames - {""})), ""),
        "structures": tuple(kept[number] for number in chosen),
        "not_drawn": tuple(not_drawn),
        "outside": tuple(outside),
    }
    return Image(array, affine.copy(), like.spacing, "", meta)


def _structures(header: Dataset) -> list[Structure]:
    kinds = {
        int(item.ReferencedROINumber): str(item.get("RTROIInterpretedType") or "") for item in header.get("RTROIObservationsSequence") or []
    }
    return [
        Structure(
            number=int(item.ROINumber),
            name=str(item.get("ROIName") or f"ROI {item.ROINumber}"),
            kind=kinds.get(int(item.ROINumber), ""),
            algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
        )
        for item in header.get("StructureSetROISequence") or []
    ]


def _sort(
    structures: Sequence[Structure], contours: dict[int, list[Dataset]]
) -> tuple[list[tuple[Structure, list[Dataset]]], list[tuple[str, str]]]:
    """Part closed outlines from everything else, which is listed."""
    drawn, not_drawn = [], []
    for structure in structures:
        items = contours.get(structure.number, [])
        closed, others = [], []
        for item in items:
            kind = str(item.get("ContourGeometricType") or "unknown")
            if kind in _FILLED and int(item.get("NumberOfContourPoints") or 3) > 2:
                closed.append(item)
            else:
                others.append(kind)
        not_drawn += [(structure.name, f"{others.count(kind)} {kind}") for kind in sorted(set(others))]
        if not items:
            not_drawn.append((structure.name, "no outline"))
        if closed:
            drawn.append((structure, closed))
    return drawn, not_drawn


def _choose(structures: Sequence[Structure], names: Sequence[str] | None, path: Path) -> list[int]:
    if names is None:
        return [structure.number for structure in structures]
    chosen = []
    for name in names:
        numbers = [structure.number for structure in structures if structure.name == name]
        if not numbers:
            raise UnsupportedError(
                path, f"has no closed outline named {name!r}; it has {', '.join(structure.name for structure in structures) or 'none'}"
            )
        if len(numbers) > 1:
            raise UnsupportedError(path, f"has {len(numbers)} structures named {name!r}; read all, and tell them apart by number")
        chosen += numbers
    return chosen


def _outlines(structure: Structure, items: Sequence[Dataset], affine: npt.NDArray[np.float64], wanted: bool, path: Path) -> list[_Outline]:
    """Place the outlines of a structure; one that is not wanted only tells how far planes lie apart, and may lie as it likes."""
    try:
        return [_outline(item, affine, structure.name, path) for item in items]
    except (GeometryError, CorruptFileError):
        if wanted:
            raise
        return []


def _outline(item: Dataset, affine: npt.NDArray[np.float64], name: str, path: Path) -> _Outline:
    index = world_to_index(affine, _points(item, name, path))
    flat = np.ptp(index, axis=0)
    axis = int(flat.argmin())
    if flat[axis] > _FLAT:
        raise GeometryError(
            path,
            f"an outline of {name!r} lies in no plane of the grid of `like` (it runs over {flat.round(2).tolist()} voxels along z, y, x); "
            "pass the volume that it was drawn on",
        )
    rest = [other for other in range(3) if other != axis]
    return _Outline(axis, round(float(index[:, axis].mean()), 3), index[:, rest].round(_EXACT))


def _points(item: Dataset, name: str, path: Path) -> npt.NDArray[np.float64]:
    element: Any = item.get_item("ContourData") if "ContourData" in item else None
    value = element.value if element is not None else None
    # Text as it is in the file: making an object of each of a million numbers takes pydicom longer than all the rest.
    if isinstance(element, RawDataElement) and isinstance(value, bytes):
        numbers = np.array(value.decode("ascii").strip("\0 ").split("\\"), np.float64)
    else:
        numbers = np.array([float(v) for v in value or []], np.float64)
    if len(numbers) < 9 or len(numbers) % 3 or not np.isfinite(numbers).all():
        raise CorruptFileError(path, f"an outline of {name!r} holds {len(numbers)} numbers, not three a point; export it again")
    return numbers.reshape(-1, 3)


def _slab(
    given: float | None,
    drawn: Sequence[tuple[Structure, list[Dataset]]],
    outlines: dict[int, list[_Outline]],
    like: Image,
    path: Path,
) -> list[float]:
    """Thickness in mm of an outline along each axis of the grid."""
    if given is not None:
        if not given > 0:
            raise ValueError(f"slab must be positive mm, got {given}")
        return [given] * 3
    items = [item for _, closed in drawn for item in closed]
    stated = {float(item.ContourSlabThickness) for item in items if item.get("ContourSlabThickness")}
    if len(stated) == 1:
        return [stated.pop()] * 3
    on = {str(image.get("ReferencedSOPInstanceUID")) for item in items for image in item.get("ContourImageSequence") or []}
    if on and on <= set(like.meta.get("sop_instance_uids") or ()):
        return list(like.spacing)
    thickness = []
    for axis in range(3):
        places = np.unique([outline.place for several in outlines.values() for outline in several if outline.axis == axis])
        gaps = np.diff(places)
        gaps = gaps[gaps > _FLAT]
        if len(places) and not len(gaps):
            raise GeometryError(path, "outlines one plane alone, and says neither its thickness nor its images; pass slab= in mm")
        thickness.append(float(gaps.min()) * like.spacing[axis] if len(gaps) else like.spacing[axis])
    return thickness


def _draw(target: npt.NDArray[np.uint8], outlines: Sequence[_Outline], slab: Sequence[float]) -> bool:
    """Fill the outlines of one structure; tell whether it reaches beyond the grid. `slab` is in voxels along each axis."""
    beyond = False
    for axis in sorted({outline.axis for outline in outlines}):
        planes: dict[float, list[npt.NDArray[np.float64]]] = {}
        for outline in outlines:
            if outline.axis == axis:
                near = next((place for place in planes if abs(place - outline.place) <= _FLAT), outline.place)
                planes.setdefault(near, []).append(outline.points)
        view = np.moveaxis(target, axis, 0)
        size = np.array(view.shape[1:])
        places = np.array(sorted(planes))
        reach = slab[axis] / 2 + 1e-6
        beyond |= bool(places[0] < -0.5 or places[-1] > len(view) - 0.5)
        for place in places:
            points = np.concatenate(planes[place])
            beyond |= bool((points.min(axis=0) < -0.5 - _FLAT).any() or (points.max(axis=0) > size - 0.5 + _FLAT).any())
        for z in range(len(view)):
            nearest = float(places[np.abs(places - z).argmin()])
            if abs(nearest - z) <= reach:
                # Several stacks of planes in one structure (rare) are united.
                view[z] |= fill_polygons(planes[nearest], (int(size[0]), int(size[1])))
    return beyond
