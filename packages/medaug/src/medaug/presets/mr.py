"""MR: what varies between coils, sequences, fields and patients who move.

All take magnitudes of any scale, put each image's own range to [0, 1] for the physics, and give z-scores. None mirrors unless told.
"""

from medaug.compose import Compose, Transform
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline
from medaug.geometry.windows import Crop, Zoom
from medaug.intensity.blur import Blur
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.normalise import Rescale, ZScore
from medaug.intensity.rician import RicianNoise
from medaug.mr.bias import BiasField
from medaug.mr.contrast import TissueContrast
from medaug.mr.ghosting import Ghosting
from medaug.mr.gibbs import Gibbs
from medaug.mr.motion import Motion
from medaug.mr.spike import Spike
from medaug.presets.windows import Shape, Spacing, crop, flips
from medaug.views.multi_crop import CropViews, MultiCrop

# Thin slabs are common in MR: what tilts out of their plane is lost.
_TURN = ((-15.0, 15.0), (-7.0, 7.0), (-7.0, 7.0))


def mr_segmentation(*, patch: Shape | None = None, spacing: Spacing | None = None, mirror_axes: tuple[int, ...] = ()) -> Compose:
    """Segment structures in MR: pose, deformation, coil, sequence and motion.

    Args:
        patch: voxels (D, H, W) to crop at random; None keeps the image's grid.
        spacing: mm (z, y, x) of the patch; None keeps the image's.
        mirror_axes: axes that may flip; (-1,) where left and right carry the same labels.
    """
    return Compose(
        [
            *crop("mr_segmentation", patch, spacing),
            Affine(rotation_deg=_TURN, scale=(0.85, 1.18), p=0.5),
            BSpline(spacing_mm=40.0, magnitude_mm=(0.0, 6.0), p=0.2),
            *flips(mirror_axes),
            Rescale(),
            *_scanner(),
            Gamma(range=(0.7, 1.5), p=0.2),
            ZScore(),
        ]
    )


def mr_classification(*, patch: Shape | None = None, spacing: Spacing | None = None, mirror_axes: tuple[int, ...] = ()) -> Compose:
    """Classify MR volumes: wide pose, coil, sequence and motion, and cuboids hidden so that no single place decides.

    Args:
        patch: voxels (D, H, W) about the middle, since the finding may lie anywhere; None keeps the image's grid.
        spacing: mm (z, y, x) of the patch.
        mirror_axes: as `mr_segmentation`.
    """
    window = [
        Crop(size=step.size, spacing_mm=step.spacing_mm, random=False)
        for step in crop("mr_classification", patch, spacing)
        if isinstance(step, Crop)
    ]
    return Compose(
        [
            *window,
            Affine(rotation_deg=_TURN, scale=(0.8, 1.25), translation_mm=10.0, p=0.7),
            *flips(mirror_axes),
            Rescale(),
            *_scanner(),
            Gamma(range=(0.7, 1.5), p=0.3),
            CoarseDropout(p=0.2),
            ZScore(),
        ]
    )


def mr_mae(*, patch: Shape = (96, 96, 96), spacing: Spacing | None = (1.0, 1.0, 1.0)) -> Compose:
    """Pretrain a masked autoencoder on MR: where, how large, and another coil; contrasts stay those of the scan.

    Args:
        patch: voxels (D, H, W) to crop at random.
        spacing: mm (z, y, x) of the patch; None keeps the image's.

    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022.
    """
    return Compose([*crop("mr_mae", patch, spacing), Zoom(factor=(0.75, 1.33)), Rescale(), BiasField(p=0.2), ZScore()])


def mr_dino(*, size: Shape = (96, 96, 96), local_size: Shape = (48, 48, 48)) -> MultiCrop:
    """Pretrain by self-distillation on MR: two views of most of a region, six of small ones, contrasts apart.

    Args:
        size: voxels of the two global views.
        local_size: voxels of the six local views.

    Source: Caron et al., "Emerging properties in self-supervised vision transformers", ICCV 2021.
    """
    augment = Compose(
        [
            Affine(rotation_deg=_TURN, p=0.5),
            Rescale(),
            BiasField(p=0.5),
            TissueContrast(p=0.5),
            Blur(sigma_mm=(0.3, 1.0), p=0.3),
            RicianNoise(std=(0.0, 0.05), p=0.3),
            Gamma(range=(0.6, 1.6), p=0.5),
            ZScore(),
        ]
    )
    return MultiCrop(
        views=(
            CropViews(shape=size, count=2, size_mm=(80.0, 150.0), augment=augment),
            CropViews(shape=local_size, count=6, size_mm=(30.0, 70.0), overlap=0.5, augment=augment),
        )
    )


def _scanner() -> list[Transform]:
    """What differs between scans of one patient; values in [0, 1] before."""
    return [
        BiasField(p=0.3),
        TissueContrast(p=0.15),
        Motion(p=0.05),
        Ghosting(p=0.05),
        Spike(p=0.02),
        Gibbs(p=0.1),
        LowResolution(factor=(0.5, 1.0), p=0.15),
        Blur(sigma_mm=(0.3, 1.0), p=0.1),
        RicianNoise(std=(0.0, 0.06), p=0.2),
    ]
