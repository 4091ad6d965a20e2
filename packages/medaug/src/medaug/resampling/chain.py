"""A plan in the units of its arrays: from the indices of one grid to those of another."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medaug.draws import Numbers
from medaug.geometry.plan import Lattice, Plan, Rows, to_mm

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Matrices and deformations between two grids; 2D is 3D with one plane.

    Attributes:
        matrices: (B, K + 1, 4, 4): grid index -> units of the first lattice, -> …, -> source index.
        lattices: K deformations.
        backward: for each, whether it is undone instead of done.
    """

    matrices: Numbers
    lattices: tuple[Lattice, ...]
    backward: tuple[bool, ...]

    @classmethod
    def of(cls, plan: Plan) -> "Chain":
        """Where each voxel of the plan's output reads its source."""
        places = to_mm(plan.shape, plan.spacing)
        matrices = []
        for matrix, lattice in zip(plan.matrices[:-1], plan.lattices, strict=True):
            units = _to_units(lattice, plan.dims)
            matrices.append(units @ matrix @ places)
            places = np.asarray(np.linalg.inv(units), np.float64)
        matrices.append(np.linalg.inv(to_mm(plan.source_shape, plan.source_spacing)) @ plan.matrices[-1] @ places)
        spatial = np.stack(matrices, axis=1)
        if plan.dims == 2:
            solid = np.zeros((*spatial.shape[:2], 4, 4))
            solid[..., 0, 0] = 1.0
            solid[..., 1:, 1:] = spatial
            spatial = solid
        return cls(matrices=np.ascontiguousarray(spatial), lattices=plan.lattices, backward=(False,) * len(plan.lattices))

    def inverse(self) -> "Chain":
        """The way back."""
        matrices = np.ascontiguousarray(np.linalg.inv(self.matrices)[:, ::-1])
        return Chain(matrices=matrices, lattices=self.lattices[::-1], backward=tuple(not b for b in self.backward[::-1]))

    @cached_property
    def joined(self) -> Numbers:
        """All matrices in one, (B, 4, 4): the whole way of samples that are not deformed."""
        result = self.matrices[:, 0]
        for k in range(1, self.matrices.shape[1]):
            result = self.matrices[:, k] @ result
        return result

    @cached_property
    def parallel(self) -> bool:
        """Whether no sample's matrices, joined, hold a perspective."""
        return bool((self.joined[:, 3] == np.array([0.0, 0.0, 0.0, 1.0])).all())

    @cached_property
    def deformed(self) -> Rows:
        """(B,) True where some lattice acts."""
        result = np.zeros(len(self.matrices), np.bool_)
        for lattice in self.lattices:
            result |= lattice.active
        return result

    @cached_property
    def exact(self) -> tuple[Rows, Whole]:
        """Samples whose voxels land on voxels, (B,), and every sample's matrix in whole numbers, (B, 4, 4)."""
        joined = self.joined
        whole = np.rint(joined)
        near = np.abs(joined - whole)
        turns = np.abs(whole[:, :3, :3])
        # far below what float32 weights resolve, even across a thousand voxels
        lands = (near[:, :, :3] < 1e-9).all(axis=(1, 2)) & (near[:, :, 3] < 1e-6).all(axis=1)
        lands &= (turns.sum(1) == 1).all(axis=1) & (turns.sum(2) == 1).all(axis=1)
        return lands & ~self.deformed, whole.astype(np.int64)

    @cached_property
    def flat(self) -> tuple[Numbers, Whole, Rows]:
        """All lattices in one array; where each starts there and its shape, (K, 4); and whose samples each deforms, (B, K)."""
        count = len(self.lattices)
        starts = np.cumsum([0] + [lattice.coefficients.size for lattice in self.lattices])
        table = [(starts[k], *lattice.coefficients.shape[2:]) for k, lattice in enumerate(self.lattices)]
        active = np.array([lattice.active for lattice in self.lattices], np.bool_).reshape(count, len(self.matrices)).T
        parts = [lattice.coefficients.ravel() for lattice in self.lattices]
        joined = np.concatenate(parts) if count > 1 else parts[0] if parts else np.zeros(1)
        return joined, np.array(table, np.int64).reshape(-1, 4), np.ascontiguousarray(active)


def _to_units(lattice: Lattice, dims: int) -> Numbers:
    """Millimetres about the centre -> units of a lattice about its middle, (dims + 1, dims + 1)."""
    return np.diag([1 / lattice.spacing_mm] * dims + [1.0])
