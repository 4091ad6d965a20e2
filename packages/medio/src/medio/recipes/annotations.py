"""What is known of a sample beside its pixels, on its way into a shard: labels, report, boxes, points, the sample before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medio.errors import GeometryError
from medio.image import Image

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The same patient's sample before one.

    Attributes:
        sample_id: of that sample.
        days: between the two.
    """

    sample_id: str
    days: float


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What tables say of a sample.

    Attributes:
        labels: finding to 0, 1 or any number; a finding left out is unknown.
        report: the text, or None.
        boxes: first and last corner of each, (z, y, x, z, y, x) or (y, x, y, x); None where boxes were not looked for, empty where there is none. In index
            space a box covers whole voxels: the lowest index, then one past the highest.
        points: centres, (z, y, x) or (y, x).
        space: of boxes and points: `index` of the file's array as `read` gives it, or `lps`, mm (x, y, z) in the patient, for volumes.
        prior: the sample before this one, see `link_priors`.
    """

    labels: Mapping[str, float] = field(default_factory=dict)
    report: str | None = None
    boxes: tuple[tuple[float, ...], ...] | None = None
    points: tuple[tuple[float, ...], ...] | None = None
    space: Literal["index", "lps"] = "index"
    prior: Prior | None = None

    def __post_init__(self) -> None:
        if self.space not in ("index", "lps"):
            raise ValueError(f"space must be 'index' or 'lps', got {self.space!r}")

    def row(self, labels: Mapping[str, float]) -> dict[str, Any]:
        """Return what `ShardSample` takes of them, with further `labels`; unknown ones (NaN) are left out."""
        return {
            "labels": {name: value for name, value in {**labels, **self.labels}.items() if not math.isnan(value)},
            "report": self.report,
            "prior_sample_id": None if self.prior is None else self.prior.sample_id,
            "days_since_prior": None if self.prior is None else self.prior.days,
        }

    def placed(self, source: Image, stored: Image) -> dict[str, Floats]:
        """Return boxes and points in the index space of what is stored.

        Args:
            source: the image as read.
            stored: the same, turned, resampled or resized.

        Returns:
            `boxes` (n, 2·dims) and `points` (n, dims), where there are any; a box that was turned by an oblique angle grows to the box around it.

        Raises:
            GeometryError: for coordinates of another dimension, or in mm for an image without a place in the patient.
        """
        dims = len(source.spacing)
        move = self._move(source, stored, dims)
        arrays: dict[str, Floats] = {}
        if self.points is not None:
            arrays["points"] = _at(move, self._table(self.points, dims, "points", source))
        if self.boxes is not None:
            table = self._table(self.boxes, 2 * dims, "boxes", source)
            # Borders of voxels lie half a voxel before their centres; in mm there are no voxels.
            shift = 0.5 if self.space == "index" else 0.0
            ends = table.reshape(-1, 2, dims) - shift
            corners = np.stack(
                [ends[:, [int(i) for i in np.binary_repr(corner, dims)], range(dims)] for corner in range(2**dims)], axis=1
            ).reshape(-1, dims)
            moved = _at(move, corners).reshape(-1, 2**dims, dims) + 0.5
            # Exact up to the rounding of two affines: a border on a voxel's border stays there.
            arrays["boxes"] = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).round(6).reshape(-1, 2 * dims)
        return arrays

    def _move(self, source: Image, stored: Image, dims: int) -> Floats:
        """(dims + 1, dims + 1) matrix from the coordinates as given to the stored index space."""
        if source.affine is not None and stored.affine is not None:
            into = np.linalg.inv(stored.affine)
            return np.asarray(into if self.space == "lps" else into @ source.affine, dtype=np.float64)
        if self.space == "lps":
            raise GeometryError(_name(source), "boxes and points in mm need an image with a place in the patient; give them in index space")
        factors = np.array(stored.spatial_shape, dtype=np.float64) / np.array(source.spatial_shape, dtype=np.float64)
        matrix = np.diag([*factors, 1.0])
        matrix[:dims, dims] = (factors - 1) / 2  # the outer corner stays, see `resize`
        return matrix

    def _table(self, rows: Sequence[Sequence[float]], width: int, what: str, source: Image) -> Floats:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), -1) if len(rows) else np.empty((0, width))
        if table.shape[1] != width or not np.isfinite(table).all():
            raise GeometryError(_name(source), f"its {what} must be {width} finite numbers each, got {rows[:2]}")
        return table


def _at(matrix: Floats, places: Floats) -> Floats:
    dims = places.shape[1]
    moved: Floats = places @ matrix[:dims, :dims].T + matrix[:dims, -1]
    return moved


def _name(image: Image) -> str:
    return str(image.meta.get("path", "image"))
