"""The plan of a batch: all its spatial transforms as one map from the output's grid to the source's, in millimetres."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medaug.draws import Numbers
from medaug.errors import AugmentationError

Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """A deformation of each sample: displacements `u` on a lattice of cubic B-spline control points, added to the place that is read.

    Attributes:
        coefficients: (B, 3, N0, N1, N2) float64, displacement over `spacing_mm` along (z, y, x); the lattice's middle is the window's centre and its four
            outermost planes are zero on each side. 2D has N0 = 1 and no displacement along z.
        spacing_mm: distance of control points, the same along all axes.
        active: (B,) False where a sample is not deformed.
    """

    coefficients: Numbers
    spacing_mm: float
    active: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where each voxel of the output reads.

    Places are mm along the array's axes about the centre of a grid. A place of the output's window goes through `matrices[0]`, `lattices[0]`,
    `matrices[1]`, … and the last matrix, and is then a place of the source. Transforms extend the plan by the methods below; each acts on what the window
    showed before it.

    Attributes:
        source_shape: (D, H, W) or (H, W) of the image given.
        source_spacing: (B, dims) mm.
        shape: of the output; one for the batch.
        spacing: (B, dims) mm of the output.
        matrices: K + 1 arrays (B, dims + 1, dims + 1), homogeneous.
        lattices: K deformations.
        moved: (B,) True where content moved, so that the output no longer lies in the patient frame.
        looked: whether some transform set the window.
        names: sample ids, for errors.
    """

    source_shape: tuple[int, ...]
    source_spacing: Numbers
    shape: tuple[int, ...]
    spacing: Numbers
    matrices: tuple[Numbers, ...]
    lattices: tuple[Lattice, ...]
    moved: Rows
    looked: bool
    names: tuple[str, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing: Numbers, names: tuple[str, ...]) -> "Plan":
        """Start with the source itself: shape (*S), spacing (B, dims) mm."""
        count, dims = spacing.shape
        eye = np.repeat(np.eye(dims + 1)[None], count, axis=0)
        moved = np.zeros(count, np.bool_)
        return cls(
            source_shape=shape,
            source_spacing=spacing,
            shape=shape,
            spacing=spacing,
            matrices=(eye,),
            lattices=(),
            moved=moved,
            looked=False,
            names=names,
        )

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def extent_mm(self) -> Numbers:
        """Size of the window between the outer faces of its voxels, (B, dims) mm."""
        return np.asarray(self.spacing * np.array(self.shape))

    def move(self, forward: Numbers, on: Rows) -> "Plan":
        """Move content about the window's centre.

        Args:
            forward: (B, dims + 1, dims + 1) mm: where content is -> where it goes.
            on: (B,) the samples that move.
        """
        eye = np.eye(self.dims + 1)
        forward = np.where(on[:, None, None], forward, eye)
        first = self.matrices[0] @ np.linalg.inv(forward)
        moved = self.moved | (forward != eye).any(axis=(1, 2))
        return replace(self, matrices=(first, *self.matrices[1:]), moved=moved)

    def deform(self, lattice: Lattice) -> "Plan":
        """Deform content: the output at a place shows what lay at that place plus the lattice's displacement."""
        eye = np.repeat(np.eye(self.dims + 1)[None], len(self.spacing), axis=0)
        return replace(self, matrices=(eye, *self.matrices), lattices=(lattice, *self.lattices), moved=self.moved | lattice.active)

    def look(self, shape: tuple[int, ...], spacing: Numbers, centre_mm: Numbers) -> "Plan":
        """Look through another window; content stays.

        Args:
            shape: of the new window.
            spacing: (B, dims) mm of its voxels.
            centre_mm: (B, dims) of its centre from the present window's.
        """
        shift = np.repeat(np.eye(self.dims + 1)[None], len(self.spacing), axis=0)
        shift[:, : self.dims, self.dims] = centre_mm
        return replace(self, shape=shape, spacing=spacing, matrices=(self.matrices[0] @ shift, *self.matrices[1:]), looked=True)

    def onto(self, shape: tuple[int, ...], spacing: Numbers) -> "Plan":
        """Read another source by the same map: one of this shape and spacing (B, dims) mm with its centre at this source's."""
        return replace(self, source_shape=shape, source_spacing=spacing)

    def index_matrices(self) -> Numbers:
        """Output index -> source index, (B, dims + 1, dims + 1).

        Raises:
            AugmentationError: where a sample is deformed: no matrix says that.
        """
        if any(lattice.active.any() for lattice in self.lattices):
            raise AugmentationError(
                self.names[0], "is deformed, which no matrix says; ask `Compose.plan(...)` and `source_coordinates` instead"
            )
        result = to_mm(self.shape, self.spacing)
        for matrix in self.matrices:
            result = matrix @ result
        return np.asarray(np.linalg.inv(to_mm(self.source_shape, self.source_spacing)) @ result)

    def error(self, reason: str) -> AugmentationError:
        """Make the error that names these samples, at most three."""
        more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
        return AugmentationError(", ".join(self.names[:3]) + more, reason)


def to_mm(shape: tuple[int, ...], spacing: Numbers) -> Numbers:
    """Index -> mm about the grid's centre, (B, dims + 1, dims + 1)."""
    dims = len(shape)
    result = np.zeros((len(spacing), dims + 1, dims + 1))
    for axis, n in enumerate(shape):
        result[:, axis, axis] = spacing[:, axis]
        result[:, axis, dims] = -(n - 1) / 2 * spacing[:, axis]
    result[:, dims, dims] = 1.0
    return result
