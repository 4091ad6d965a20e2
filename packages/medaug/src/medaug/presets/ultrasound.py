"""Ultrasound: what varies between probes, gains and the way to the organ.

All take images of any scale with the probe at the top, put each image's own range to [0, 1], and give z-scores. None mirrors unless told (the heart's side), and
depth never: shadows and gain run away from the probe.
"""

from medaug.compose import Compose, Transform
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline
from medaug.geometry.windows import RandomResizedCrop
from medaug.intensity.blur import Blur
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.normalise import Rescale, ZScore
from medaug.presets.windows import Shape, flips
from medaug.ultrasound.gain import DepthGain
from medaug.ultrasound.haze import Haze
from medaug.ultrasound.shadow import Shadow
from medaug.ultrasound.speckle import Speckle


def ultrasound_classification(*, size: Shape | None = (224, 224), mirror_axes: tuple[int, ...] = ()) -> Compose:
    """Classify ultrasound images: pose of the probe, gain, speckle, shadow and haze.

    Args:
        size: pixels (H, W) of the output, which shows 60 to 100 % of the image's area in its form; None keeps the image's grid.
        mirror_axes: (-1,) where side does not matter.
    """
    return Compose(
        [
            *([] if size is None else [RandomResizedCrop(shape=tuple(size), scale=(0.6, 1.0), ratio=(0.9, 1.1))]),
            Affine(rotation_deg=10.0, scale=(0.9, 1.1), p=0.5),
            *flips(mirror_axes),
            Rescale(),
            *_probe(),
            CoarseDropout(p=0.1),
            ZScore(),
        ]
    )


def ultrasound_segmentation(*, mirror_axes: tuple[int, ...] = ()) -> Compose:
    """Segment structures in ultrasound images: pose and pressure of the probe, gain, speckle, shadow and haze.

    Args:
        mirror_axes: as `ultrasound_classification`.
    """
    return Compose(
        [
            Affine(rotation_deg=10.0, scale=(0.9, 1.1), p=0.5),
            BSpline(spacing_mm=30.0, magnitude_mm=(0.0, 4.0), p=0.2),
            *flips(mirror_axes),
            Rescale(),
            *_probe(),
            ZScore(),
        ]
    )


def _probe() -> list[Transform]:
    """What differs between sweeps of one patient; values in [0, 1] before."""
    return [
        DepthGain(p=0.3),
        Speckle(p=0.2),
        Shadow(p=0.15),
        Haze(p=0.1),
        Gamma(range=(0.7, 1.4), p=0.3),
        Blur(sigma_voxels=(0.3, 1.0), p=0.1),
    ]
