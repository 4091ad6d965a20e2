"""An image with its geometry: the one thing readers return and writers take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.affines import index_to_world, world_to_index
from medio.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels, and where they lie in the patient.

    Attributes:
        array: ([C,] D, H, W) or ([C,] H, W); z, y, x order. The spatial axes are the last `len(spacing)`.
        affine: (4, 4) float64, maps array index (z, y, x, 1) to LPS mm; None where the file places nothing in the patient (films). Volumes always have one.
        spacing: distance in mm between neighbours along each spatial axis, in array order.
        unit: `HU`, `SUVbw`, what the file names otherwise (`BQML`), or `` where the values have no unit.
        meta: what the file said and later steps may need (`modality`, `patient_id`, `series_instance_uid`, `frame_of_reference_uid`, …).
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64] | None
    spacing: tuple[float, ...]
    unit: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = str(self.meta.get("path", "image"))
        dims = len(self.spacing)
        if dims not in (2, 3) or self.array.ndim not in (dims, dims + 1):
            raise GeometryError(
                name, f"array of shape {self.array.shape} does not fit spacing {self.spacing}; give one spacing a spatial axis"
            )
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise GeometryError(name, f"spacing must be positive and finite, got {self.spacing}")
        if dims == 3 and self.affine is None:
            raise GeometryError(name, "a volume needs an affine; pass one, nothing is assumed")
        if self.affine is not None:
            if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
                raise GeometryError(name, "affine must be a finite 4x4 matrix")
            columns = np.linalg.norm(self.affine[:3, :dims], axis=0)
            if not np.allclose(columns, self.spacing, rtol=1e-3, atol=1e-4):
                raise GeometryError(name, f"affine has spacing {tuple(columns)}, the image says {self.spacing}")

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes, (D, H, W) or (H, W)."""
        return tuple(self.array.shape[-len(self.spacing) :])

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """Unit vectors along the array axes, (3, 3): column i is where axis i (z, y, x order) runs in LPS.

        Raises:
            GeometryError: a film, which has no direction in the patient.
        """
        affine = self._placed()
        return np.asarray(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0), np.float64)

    def world(self, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map array indices (..., 3) in (z, y, x) order, voxel centres at whole numbers, to LPS mm (..., 3) in (x, y, z) order.

        Raises:
            GeometryError: a film, which has no place in the patient.
        """
        return index_to_world(self._placed(), index)

    def index(self, world: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map LPS mm (..., 3) in (x, y, z) order to array indices (..., 3) in (z, y, x) order; the inverse of `world`.

        Raises:
            GeometryError: a film, which has no place in the patient.
        """
        return world_to_index(self._placed(), world)

    def _placed(self) -> npt.NDArray[np.float64]:
        if self.affine is None:
            raise GeometryError(str(self.meta.get("path", "image")), "a film has no place in the patient; lengths come from spacing")
        return self.affine
