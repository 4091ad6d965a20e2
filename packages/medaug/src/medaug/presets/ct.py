"""CT: what varies between scanners, protocols and readers.

All take HU of one channel, axis 0 across the slices, and give [0, 1] between the window's ends. None mirrors unless told: an organ's side is part of the anatomy.
"""

from medaug.compose import Compose, Transform
from medaug.ct.dose import DoseNoise
from medaug.ct.kernel import KernelChange
from medaug.ct.window import WindowJitter
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline
from medaug.geometry.windows import Crop, Zoom
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.slice_thickness import SliceThickness
from medaug.presets.windows import Shape, Spacing, crop, flips
from medaug.views.multi_crop import CropViews, MultiCrop


def ct_segmentation(
    *,
    patch: Shape | None = None,
    spacing: Spacing | None = None,
    center_hu: float = 40.0,
    width_hu: float = 400.0,
    mirror_axes: tuple[int, ...] = (),
) -> Compose:
    """Segment organs or lesions in CT: pose, deformation, scanner physics in HU, then the window.

    Args:
        patch: voxels (D, H, W) to crop at random; None keeps the image's grid.
        spacing: mm (z, y, x) of the patch; None keeps the image's.
        center_hu: of the window that becomes [0, 1], jittered by 20 HU.
        width_hu: of the window, jittered by a quarter.
        mirror_axes: axes that may flip; only where side does not matter.
    """
    return Compose(
        [
            *crop("ct_segmentation", patch, spacing),
            Affine(rotation_deg=((-15, 15), (-7, 7), (-7, 7)), scale=(0.85, 1.18), p=0.5),
            BSpline(spacing_mm=48.0, magnitude_mm=(0.0, 8.0), p=0.2),
            *flips(mirror_axes),
            *_scanner(),
            WindowJitter(center_hu=center_hu, width_hu=width_hu),
            Gamma(range=(0.8, 1.25), p=0.2),
        ]
    )


def ct_detection(
    *,
    patch: Shape | None = None,
    spacing: Spacing | None = None,
    center_hu: float = -200.0,
    width_hu: float = 1400.0,
    mirror_axes: tuple[int, ...] = (),
) -> Compose:
    """Detect lesions in CT with boxes or points: sizes in mm and small contrasts stay near the truth.

    Args:
        patch: as `ct_segmentation`.
        spacing: as `ct_segmentation`.
        center_hu: of the window that becomes [0, 1]; the default shows lung and soft tissue.
        width_hu: of the window.
        mirror_axes: as `ct_segmentation`.
    """
    return Compose(
        [
            *crop("ct_detection", patch, spacing),
            Affine(rotation_deg=((-15, 15), (-5, 5), (-5, 5)), scale=(0.93, 1.07), p=0.5),
            *flips(mirror_axes),
            *_scanner(),
            WindowJitter(center_hu=center_hu, width_hu=width_hu, width_factor=(0.9, 1.1)),
        ]
    )


def ct_classification(
    *, patch: Shape | None = None, spacing: Spacing | None = None, center_hu: float = 40.0, width_hu: float = 400.0
) -> Compose:
    """Classify CT volumes: wide pose and scanner physics, and cuboids hidden so that no single place decides.

    Args:
        patch: voxels (D, H, W) about the middle, since the finding may lie anywhere; None keeps the image's grid.
        spacing: mm (z, y, x) of the patch.
        center_hu: of the window that becomes [0, 1].
        width_hu: of the window.
    """
    window = [
        Crop(size=step.size, spacing_mm=step.spacing_mm, random=False)
        for step in crop("ct_classification", patch, spacing)
        if isinstance(step, Crop)
    ]
    return Compose(
        [
            *window,
            Affine(rotation_deg=((-20, 20), (-10, 10), (-10, 10)), scale=(0.8, 1.25), translation_mm=15.0, p=0.7),
            *_scanner(),
            WindowJitter(center_hu=center_hu, width_hu=width_hu),
            Gamma(range=(0.7, 1.4), p=0.3),
            CoarseDropout(p=0.2),
        ]
    )


def ct_mae(
    *, patch: Shape = (96, 96, 96), spacing: Spacing | None = (1.5, 1.5, 1.5), center_hu: float = 0.0, width_hu: float = 2000.0
) -> Compose:
    """Pretrain a masked autoencoder on CT: where and how large; values stay those of the scan.

    Args:
        patch: voxels (D, H, W) to crop at random.
        spacing: mm (z, y, x) of the patch; None keeps the image's.
        center_hu: of the window that becomes [0, 1]; the default keeps lung, soft tissue and most bone apart.
        width_hu: of the window.

    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022: crops are all that a masked autoencoder needs.
    """
    return Compose(
        [
            *crop("ct_mae", patch, spacing),
            Zoom(factor=(0.75, 1.33)),
            WindowJitter(center_hu=center_hu, width_hu=width_hu, center_jitter_hu=0.0, width_factor=1.0),
        ]
    )


def ct_dino(*, size: Shape = (96, 96, 96), local_size: Shape = (48, 48, 48), center_hu: float = 0.0, width_hu: float = 2000.0) -> MultiCrop:
    """Pretrain by self-distillation on CT: two views of most of a region, six of small ones, windows apart.

    Args:
        size: voxels of the two global views.
        local_size: voxels of the six local views.
        center_hu: of the window that becomes [0, 1], jittered by 150 HU: views must agree on anatomy, not on brightness.
        width_hu: of the window, jittered by a third.

    Source: Caron et al., "Emerging properties in self-supervised vision transformers", ICCV 2021.
    """
    look = WindowJitter(center_hu=center_hu, width_hu=width_hu, center_jitter_hu=(-150.0, 150.0), width_factor=(0.67, 1.5))
    augment = Compose([Affine(rotation_deg=((-15, 15), (-5, 5), (-5, 5)), p=0.5), *_scanner(), look, Gamma(range=(0.7, 1.4), p=0.5)])
    return MultiCrop(
        views=(
            CropViews(shape=size, count=2, size_mm=(100.0, 180.0), augment=augment),
            CropViews(shape=local_size, count=6, size_mm=(40.0, 90.0), overlap=0.5, augment=augment),
        )
    )


def _scanner() -> list[Transform]:
    """What differs between protocols, in HU."""
    return [
        SliceThickness(p=0.1),
        LowResolution(factor=(0.5, 1.0), p=0.1),
        KernelChange(p=0.2),
        DoseNoise(p=0.2),
    ]
