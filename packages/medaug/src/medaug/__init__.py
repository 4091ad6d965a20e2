"""2D and 3D augmentation: one geometry, keyed randomness."""

from medaug.compose import Compose, Transform
from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.intensity.gamma import Gamma
from medaug.intensity.noise import Noise
from medaug.intensity.transform import IntensityTransform
from medaug.keyed import SampleKey, key_digest, keyed_generator
from medaug.spatial import Affine, Flip, SpatialTransform

__all__ = [
    "Affine",
    "AugmentationError",
    "Compose",
    "Draws",
    "Flip",
    "Gamma",
    "IntensityTransform",
    "Noise",
    "SampleKey",
    "SpatialTransform",
    "Transform",
    "key_digest",
    "keyed_generator",
]
