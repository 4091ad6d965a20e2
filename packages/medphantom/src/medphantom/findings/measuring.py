"""A finding's truth, measured on the distances that it was drawn from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medphantom.findings.truth import Truth
from medphantom.scene import Scene
from medphantom.shapes import Field, Region

_ANGLES = np.linspace(0, np.pi, 180, endpoint=False)


def measure(
    scene: Scene,
    region: Region,
    distance: Field,
    *,
    kind: str,
    tracking_id: str,
    side: str | None = None,
    lobe: str | None = None,
    diameters: bool = False,
    outline: Field | None = None,
    parameters: Mapping[str, float | str | bool] | None = None,
    parents: tuple[str, ...] = (),
) -> Truth:
    """Make the truth of a finding whose surface is where `distance` is 0.

    Args:
        scene: where it is painted.
        region: box of voxels.
        distance: mm on the region's voxels, negative inside.
        kind: of the finding.
        tracking_id: of the finding.
        side: one of `SIDES` or None.
        lobe: of the lungs or None.
        diameters: whether a long and a short axis describe it.
        outline: distance whose 0 the axes are measured on where that is not the surface: a spiculated lesion's body.
        parameters: what it was drawn from.
        parents: tracking ids of what it came out of.

    Returns:
        Its truth on the scene's grid; without a voxel inside, the box is None, the centre is the region's middle, diameters are None.
    """
    grid = scene.grid
    starts = [s.indices(n)[0] for s, n in zip(region, grid.shape, strict=True)]
    distance = np.broadcast_to(distance, scene.shape(region))
    inside = distance < 0
    tight, box = _tighten(inside, starts)
    mask = inside[tight].copy()
    spacing = np.array(grid.spacing_mm)
    start = np.array([s.start for s in tight]) + starts
    where = np.argwhere(mask).mean(axis=0) if mask.any() else (np.array(mask.shape) - 1) / 2
    first = np.array([axis[0] for axis in (grid.z, grid.y, grid.x)], np.float64)
    center = (first + (start + where) * spacing)[::-1] + scene.anatomy.table_mm
    axes = (
        planar_axes(np.broadcast_to(distance if outline is None else outline, inside.shape), grid.spacing_mm[1:])
        if diameters and mask.any()
        else None
    )
    return Truth(
        kind=kind,
        tracking_id=tracking_id,
        side=side,
        lobe=lobe,
        shape=grid.shape,
        region=tuple(slice(int(a), int(a) + n) for a, n in zip(start, mask.shape, strict=True)),  # type: ignore[arg-type]
        mask=mask,
        box=box,
        diameter_mm=None if axes is None else axes[0],
        short_axis_mm=None if axes is None else axes[1],
        volume_ml=float(scene.cover(distance).sum(dtype=np.float64) * spacing.prod() / 1000),
        center_mm=(float(center[0]), float(center[1]), float(center[2])),
        parameters=dict(parameters or {}),
        parents=parents,
    )


def planar_axes(distance: Field, spacing_mm: tuple[float, float]) -> tuple[float, float] | None:
    """Measure the longest diameter within an axial plane, and the extent at right angles to it in that plane.

    Args:
        distance: (D, H, W) mm, negative inside.
        spacing_mm: (y, x).

    Returns:
        Long and short axis in mm, or None where nothing lies inside. The outline is where `distance` crosses 0 between voxels, so that both
        are finer than a voxel; the long axis is right to cos(0.5 degrees).

    Source: Eisenhauer et al., "New response evaluation criteria in solid tumours: RECIST 1.1", Eur J Cancer 2009.
    """
    best: tuple[float, float] | None = None
    cosines, sines = np.cos(_ANGLES), np.sin(_ANGLES)
    for plane in distance:
        if not (plane < 0).any():
            continue
        y, x = (c * s for c, s in zip(_outline(plane), spacing_mm, strict=True))
        if not len(y):  # the finding fills the whole plane: no outline, no diameter
            continue
        extents = np.array([np.ptp(x * c + y * s) for c, s in zip(cosines, sines, strict=True)])
        longest = int(extents.argmax())
        if best is None or extents[longest] > best[0]:
            best = float(extents[longest]), float(extents[(longest + len(_ANGLES) // 2) % len(_ANGLES)])
    return best


def _outline(plane: Field) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where a plane's values change sign between neighbours, in fractional indices (y, x)."""
    rows, columns = [], []
    for axis in (0, 1):
        before, after = (plane[:-1], plane[1:]) if axis == 0 else (plane[:, :-1], plane[:, 1:])
        y, x = np.nonzero((before < 0) != (after < 0))
        low, high = before[y, x].astype(np.float64), after[y, x].astype(np.float64)
        share = low / (low - high)
        rows.append(y + share * (axis == 0))
        columns.append(x + share * (axis == 1))
    return np.concatenate(rows), np.concatenate(columns)


def _tighten(inside: npt.NDArray[np.bool_], starts: list[int]) -> tuple[Region, tuple[int, int, int, int, int, int] | None]:
    """The smallest box around a mask, as slices and as indices of the grid."""
    spans: list[Any] = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(hit):
            return (slice(0, 0), slice(0, 0), slice(0, 0)), None
        spans.append((int(hit[0]), int(hit[-1]) + 1))
    (z0, z1), (y0, y1), (x0, x1) = spans
    a, b, c = starts
    return (slice(z0, z1), slice(y0, y1), slice(x0, x1)), (z0 + a, y0 + b, x0 + c, z1 + a, y1 + b, x1 + c)
