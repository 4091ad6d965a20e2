"""Radiographs: what varies between rooms, exposures and positioning.

All take films of any scale on which denser is brighter (MONOCHROME2; invert MONOCHROME1 first), put each film's own range to [0, 1], and give z-scores. None
mirrors left and right: the heart's side (situs), the markers and the diagnosis depend on it. None turns a film upside down.
"""

from medaug.compose import Compose, Transform
from medaug.geometry.affine import Affine
from medaug.geometry.windows import RandomResizedCrop
from medaug.intensity.blur import Blur
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.noise import Noise
from medaug.intensity.normalise import Rescale, ZScore
from medaug.presets.windows import Shape
from medaug.views.multi_crop import CropViews, MultiCrop
from medaug.xray.collimation import Collimation
from medaug.xray.exposure import Exposure
from medaug.xray.inversion import Inversion
from medaug.xray.markers import Markers
from medaug.xray.occluders import Occluders
from medaug.xray.scatter import Scatter


def xray_classification(*, size: Shape | None = (512, 512)) -> Compose:
    """Classify films: positioning, exposure, scatter, shutters, markers and devices that must not decide.

    Args:
        size: pixels (H, W) of the output, which shows 70 to 100 % of the film's area in its form; None keeps the film's grid.
    """
    return Compose(
        [
            *([] if size is None else [RandomResizedCrop(shape=tuple(size), scale=(0.7, 1.0), ratio=(0.95, 1.05))]),
            Affine(rotation_deg=7.0, scale=(0.92, 1.08), shear_deg=3.0, p=0.7),
            Rescale(),
            *_room(),
            Collimation(p=0.1),
            Markers(p=0.15),
            Occluders(p=0.1),
            CoarseDropout(p=0.1),
            ZScore(),
        ]
    )


def xray_detection() -> Compose:
    """Detect findings on films with boxes or points: positioning and exposure; nothing that hides a finding."""
    return Compose([Affine(rotation_deg=5.0, scale=(0.9, 1.1), p=0.7), Rescale(), *_room(), Markers(p=0.1), ZScore()])


def xray_mae(*, size: Shape = (224, 224)) -> Compose:
    """Pretrain a masked autoencoder on films: crops; values stay those of the film.

    Args:
        size: pixels (H, W) of the output.

    Source: Xiao et al., "Delving into masked autoencoders for multi-label thorax disease classification", WACV 2023: crops of half the film and more.
    """
    return Compose([RandomResizedCrop(shape=tuple(size), scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3)), Rescale(), ZScore()])


def xray_dino(*, size: Shape = (224, 224), local_size: Shape = (96, 96)) -> MultiCrop:
    """Pretrain by self-distillation on films: two views of most of a film, six of parts, rooms apart.

    Args:
        size: pixels (H, W) of the two global views.
        local_size: pixels of the six local views.

    Source: Caron et al., "Emerging properties in self-supervised vision transformers", ICCV 2021, without its mirrors and colours.
    """
    augment = Compose(
        [
            Affine(rotation_deg=7.0, p=0.5),
            Rescale(),
            Exposure(p=0.5),
            Scatter(p=0.3),
            Gamma(range=(0.6, 1.6), p=0.5),
            Blur(sigma_voxels=(0.3, 1.5), p=0.3),
            Noise(std=(0.0, 0.04), p=0.3),
            Inversion(p=0.05),
            ZScore(),
        ]
    )
    return MultiCrop(
        views=(
            CropViews(shape=size, count=2, scale=(0.35, 1.0), augment=augment),
            CropViews(shape=local_size, count=6, scale=(0.05, 0.35), overlap=0.5, augment=augment),
        )
    )


def _room() -> list[Transform]:
    """What differs between exposures of one patient; values in [0, 1] before."""
    return [
        Exposure(p=0.3),
        Scatter(p=0.15),
        Gamma(range=(0.75, 1.4), p=0.3),
        Blur(sigma_voxels=(0.3, 1.0), p=0.1),
        Noise(std=(0.0, 0.03), p=0.2),
    ]
