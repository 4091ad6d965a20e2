"""Rotation, scale, shear and translation in one."""

from dataclasses import dataclass

import numpy as np

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Plan, Rows
from medaug.geometry.ranges import Range, check_range, draw_axes, pairs_of
from medaug.options import check_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Shear, scale along the array's axes, rotate, then translate: `q = R S H p + t` about the centre of the window.

    Attributes:
        rotation_deg: angles in degrees. In 3D one about each of z, y, x, applied x first; a positive angle about z turns +y towards +x, about y turns
            +x towards +z, about x turns +z towards +y. In 2D one, which turns +y towards +x.
        scale: (low, high) factor, above 1 magnifies, drawn log-uniformly so that shrinking and growing are equally likely; or one pair an axis.
        translation_mm: shift of the content along each axis.
        shear_deg: angles whose tangents shear the first axis of a pair by the second, below 90: in 3D one for each of (z, y), (z, x), (y, x), in 2D one.
        isotropic: one scale for all axes; False draws one an axis.
        p: probability that the transform is applied.

    Raises:
        AugmentationError: for a range that is reversed, a scale that is not positive, a shear of 90 degrees or more, a p outside [0, 1].
    """

    rotation_deg: Range = 0.0
    scale: tuple[float, float] | tuple[tuple[float, float], ...] = (1.0, 1.0)
    translation_mm: Range = 0.0
    shear_deg: Range = 0.0
    isotropic: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Affine", self.p)
        if isinstance(self.scale, int | float):
            raise AugmentationError(
                "Affine", f"scale needs (low, high), got {self.scale}; write ({self.scale}, {self.scale}) for a fixed factor"
            )
        for name in ("rotation_deg", "scale", "translation_mm", "shear_deg"):
            check_range("Affine", name, getattr(self, name))
        for low, high in pairs_of(self.scale):
            if low <= 0:
                raise AugmentationError("Affine", f"scale must be positive, got ({low}, {high}); 1 keeps the size")
        for low, high in pairs_of(self.shear_deg):
            if low <= -90 or high >= 90:
                raise AugmentationError("Affine", f"shear_deg must lie between -90 and 90, got ({low}, {high})")

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        on = on & draws.chance("apply", self.p)
        if not on.any():
            return plan
        dims = plan.dims
        turns = 3 if dims == 3 else 1
        angles = np.deg2rad(draw_axes(draws, "Affine", "rotation_deg", self.rotation_deg, turns))
        logs = tuple((float(np.log(low)), float(np.log(high))) for low, high in pairs_of(self.scale))
        one = self.isotropic and len(logs) == 1
        scales = np.exp(draw_axes(draws, "Affine", "scale", logs if len(logs) > 1 else logs[0], 1 if one else dims))
        shears = np.tan(np.deg2rad(draw_axes(draws, "Affine", "shear_deg", self.shear_deg, turns)))
        forward = np.repeat(np.eye(dims + 1)[None], len(on), axis=0)
        rows, columns = np.triu_indices(dims, 1)
        forward[:, rows, columns] = shears
        forward[:, :dims, :dims] = rotation(angles) @ (forward[:, :dims, :dims] * scales[:, :, None])
        forward[:, :dims, dims] = draw_axes(draws, "Affine", "translation_mm", self.translation_mm, dims)
        return plan.move(forward, on)


def rotation(radians: Numbers) -> Numbers:
    """Rotation matrices (B, dims, dims) of angles (B, 3) in the order of the axes (z, y, x), or (B, 1) in 2D."""
    c, s = np.cos(radians), np.sin(radians)
    if radians.shape[1] == 1:
        return np.stack([np.stack([c[:, 0], -s[:, 0]], -1), np.stack([s[:, 0], c[:, 0]], -1)], -2)
    result = np.repeat(np.eye(3)[None], len(radians), axis=0)
    for axis in range(3):
        b, d = (axis + 1) % 3, (axis + 2) % 3
        turn = np.repeat(np.eye(3)[None], len(radians), axis=0)
        turn[:, b, b] = turn[:, d, d] = c[:, axis]
        turn[:, d, b], turn[:, b, d] = s[:, axis], -s[:, axis]
        result = result @ turn
    return result
