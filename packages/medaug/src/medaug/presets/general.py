"""Presets for any modality."""

from medaug.compose import Compose
from medaug.errors import AugmentationError
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline
from medaug.geometry.windows import Crop
from medaug.intensity.blur import Blur
from medaug.intensity.brightness import Brightness
from medaug.intensity.contrast import Contrast
from medaug.intensity.gamma import Gamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.noise import Noise
from medaug.presets.windows import Shape, Spacing, crop, flips


def nnunet(
    *,
    dims: int = 3,
    patch: Shape | None = None,
    rotation_deg: float | None = None,
    mirror_axes: tuple[int, ...] | None = None,
    flat: bool = False,
) -> Compose:
    """Train as nnU-Net v2 does by default: rotation, scale, noise, blur, brightness, contrast, low resolution, gamma, all mirrors.

    Takes z-scores, as nnU-Net's preprocessing makes them.

    Args:
        dims: 2 or 3.
        patch: voxels to take out of the middle, from an image that is larger so that rotation brings nothing in from outside; None keeps the image's grid.
        rotation_deg: greatest angle about each axis; None takes 30, in the plane alone (2D, `flat`) 180, as nnU-Net does for patches near a cube or a square.
        mirror_axes: axes that may flip; None: all. Give () where an organ's side matters.
        flat: for volumes whose slices are far apart: turn, scale and degrade in their plane only.

    Raises:
        AugmentationError: for other dims.

    Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature Methods 2021. Scales and
    gammas are drawn log-uniformly in nnU-Net's ranges, within which it draws otherwise.
    """
    if dims not in (2, 3):
        raise AugmentationError("nnunet", f"dims is 2 or 3, got {dims}")
    angle = (30.0 if dims == 3 and not flat else 180.0) if rotation_deg is None else rotation_deg
    turn = ((-angle, angle), (0.0, 0.0), (0.0, 0.0)) if flat and dims == 3 else angle
    size = (1 / 1.4, 1 / 0.7)
    axes = tuple(range(dims)) if mirror_axes is None else mirror_axes
    return Compose(
        [
            *([] if patch is None else [Crop(size=tuple(patch), random=False)]),
            Affine(rotation_deg=turn, p=0.2),
            Affine(scale=((1.0, 1.0), size, size) if flat and dims == 3 else size, p=0.2),
            *flips(axes),
            Noise(std=(0.0, 0.1), p=0.1),
            Blur(sigma_voxels=(0.5, 1.0), per_axis=True, per_channel=True, p_channel=0.5, p=0.2),
            Brightness(factor=(0.75, 1.25), per_channel=True, p=0.15),
            Contrast(factor=(0.75, 1.25), per_channel=True, p=0.15),
            LowResolution(factor=(0.5, 1.0), axes=(1, 2) if flat and dims == 3 else None, per_channel=True, p_channel=0.5, p=0.25),
            Gamma(range=(0.7, 1.5), invert=True, retain_stats=True, per_channel=True, p=0.1),
            Gamma(range=(0.7, 1.5), retain_stats=True, per_channel=True, p=0.3),
        ]
    )


def light(*, mirror_axes: tuple[int, ...] = ()) -> Compose:
    """Augment a little, for any modality and task: small turns, a little noise, contrast and blur.

    Takes z-scores or values of about that scale, 2D or 3D.

    Args:
        mirror_axes: axes that may flip.
    """
    return Compose(
        [
            Affine(rotation_deg=10.0, scale=(0.9, 1.1), translation_mm=5.0, p=0.5),
            *flips(mirror_axes),
            Contrast(factor=(0.8, 1.25), p=0.2),
            Gamma(range=(0.8, 1.25), retain_stats=True, p=0.2),
            Blur(sigma_voxels=(0.3, 0.8), p=0.1),
            Noise(std=(0.0, 0.05), p=0.2),
        ]
    )


def registration(*, patch: Shape | None = None, spacing: Spacing | None = None) -> Compose:
    """Register an image with its `prior`: both move alike, so the truth between them holds, while their intensities vary apart.

    Takes z-scores or values of about that scale, 3D.

    Args:
        patch: voxels (D, H, W) to crop at random, at the same place of both about their centres; None keeps the grids.
        spacing: mm (z, y, x) of the patch.
    """
    return Compose(
        [
            *crop("registration", patch, spacing),
            Affine(rotation_deg=10.0, scale=(0.9, 1.1), translation_mm=5.0, p=0.7),
            BSpline(spacing_mm=48.0, magnitude_mm=(0.0, 8.0), p=0.3),
            Contrast(factor=(0.8, 1.25), p=0.3),
            Gamma(range=(0.75, 1.33), retain_stats=True, p=0.3),
            Blur(sigma_mm=(0.3, 1.0), p=0.2),
            Noise(std=(0.0, 0.1), p=0.2),
        ]
    )
