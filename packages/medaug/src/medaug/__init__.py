"""2D and 3D augmentation: one geometry, keyed randomness."""

from medaug.compose import Compose, Transform
from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.geometry.affine import Affine
from medaug.geometry.plan import Plan
from medaug.geometry.transform import SpatialTransform
from medaug.geometry.turns import Flip, Rot90
from medaug.geometry.windows import Crop, Pad, RandomResizedCrop, Resize, Zoom
from medaug.intensity.gamma import Gamma
from medaug.intensity.noise import Noise
from medaug.intensity.transform import IntensityTransform
from medaug.keyed import SampleKey, key_digest, keyed_generator
from medaug.one_of import OneOf

__all__ = [
    "Affine",
    "AugmentationError",
    "Compose",
    "Crop",
    "Draws",
    "Flip",
    "Gamma",
    "IntensityTransform",
    "Noise",
    "OneOf",
    "Pad",
    "Plan",
    "RandomResizedCrop",
    "Resize",
    "Rot90",
    "SampleKey",
    "SpatialTransform",
    "Transform",
    "Zoom",
    "key_digest",
    "keyed_generator",
]
