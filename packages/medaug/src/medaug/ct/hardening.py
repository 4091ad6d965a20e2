"""Beam hardening: dark centres, and dark bands between bones."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medaug.ct.projection import WATER_PER_MM, attenuation, coarse, fine, in_volume, project, reconstruct
from medaug.draws import Draws, Numbers
from medaug.elementwise import smooth_step_
from medaug.options import Span, check_probability, span

_SIZE, _DEPTH, _VIEWS = 64, 16, 60
_SOFT_HU, _BONE_HU = 150.0, 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamHardening:
    """Lowers the measured line integrals in proportion to their square, as a polychromatic beam does, and adds what reconstruction makes of that.

    Takes HU. A line integral p loses water · p_water² + bone · p_bone (p_bone + 2 p_water). Scanners correct most of the first, less of the second. What lies
    outside the image does not count.

    Attributes:
        water: what the scanner's correction left, per neper; 0.01 cups a cylinder of 200 mm by 49 HU. A number, or (low, high) to draw it.
        bone: the same of bone, per neper; a number, or (low, high) to draw it.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative coefficient, a sample without spacing or of several channels, a p outside [0, 1].

    Source: Joseph and Spital, "A method for correcting bone induced artifacts in computed tomography scanners", J. Comput. Assist. Tomogr. 2(1), 1978.
    """

    water: Span = (0.0, 0.008)
    bone: Span = (0.005, 0.05)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("BeamHardening", self.p)
        span("BeamHardening", "water", self.water, low=0)
        span("BeamHardening", "bone", self.bone, low=0)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        volume, pixel = in_volume(image, draws, spacing)
        water = draws.uniform("water", *span("BeamHardening", "water", self.water))
        bone = draws.uniform("bone", *span("BeamHardening", "bone", self.bone))
        return volume.add_(hardening(volume, pixel, water, bone)).view(image.shape).to(image.dtype)


def hardening(volume: Tensor, pixel: Numbers, water: Numbers, bone: Numbers) -> Tensor:
    """What beam hardening adds, in HU.

    Args:
        volume: (B, 1, D, H, W) float32 HU.
        pixel: (B, 2) mm in the plane.
        water: (B,) per neper.
        bone: (B,) per neper.

    Returns:
        (B, 1, D, H, W) float32.
    """
    small, size = coarse(volume, pixel, _SIZE, _DEPTH)
    total = attenuation(small)
    hard = total * smooth_step_((small - _SOFT_HU) / (_BONE_HU - _SOFT_HU))
    depth = small.shape[2]
    sizes = np.repeat(size, depth, axis=0)
    through_all, through_bone = (project(part.flatten(0, 2), sizes, _VIEWS) for part in (total, hard))
    through_water = through_all - through_bone
    weights = [volume.new_tensor(np.repeat(weight, depth).astype(np.float32))[:, None, None] for weight in (water, bone)]
    loss = weights[0] * (through_water * through_water) + weights[1] * (through_bone * (through_bone + 2 * through_water))
    change = reconstruct(loss, (small.shape[3], small.shape[4]), sizes).mul_(-1000 / WATER_PER_MM)
    return fine(change.view(small.shape), tuple(volume.shape[2:]))
