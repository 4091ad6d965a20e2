"""2D and 3D augmentation: one geometry, keyed randomness."""

from medaug.compose import Compose, Transform
from medaug.errors import AugmentationError
from medaug.intensity import Gamma, IntensityTransform, Noise
from medaug.keyed import SampleKey, key_digest, keyed_generator
from medaug.spatial import Affine, Flip, SpatialTransform

__all__ = [
    "Affine",
    "AugmentationError",
    "Compose",
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
