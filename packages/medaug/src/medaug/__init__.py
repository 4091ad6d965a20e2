"""2D and 3D augmentation: one geometry, keyed randomness."""

from medaug.compose import Compose, Transform
from medaug.ct.dose import DoseNoise
from medaug.ct.hardening import BeamHardening
from medaug.ct.kernel import KernelChange
from medaug.ct.metal import MetalStreaks
from medaug.ct.window import WindowJitter
from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline, Elastic
from medaug.geometry.perspective import Perspective
from medaug.geometry.plan import Plan
from medaug.geometry.transform import SpatialTransform
from medaug.geometry.turns import Flip, Rot90
from medaug.geometry.windows import Crop, Pad, RandomResizedCrop, Resize, Zoom
from medaug.intensity.blur import Blur
from medaug.intensity.brightness import Brightness
from medaug.intensity.contrast import Contrast
from medaug.intensity.dropout import CoarseDropout
from medaug.intensity.gamma import Gamma
from medaug.intensity.histogram import HistogramWarp
from medaug.intensity.local import LocalBrightness, LocalGamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.median import Median
from medaug.intensity.noise import Noise
from medaug.intensity.normalise import Clip, Rescale, Window, ZScore
from medaug.intensity.poisson import PoissonNoise
from medaug.intensity.rician import RicianNoise
from medaug.intensity.sharpen import Sharpen
from medaug.intensity.slice_thickness import SliceThickness
from medaug.intensity.transform import IntensityTransform
from medaug.keyed import SampleKey, key_digest, keyed_generator
from medaug.mr.bias import BiasField
from medaug.mr.contrast import TissueContrast
from medaug.mr.ghosting import Ghosting
from medaug.mr.gibbs import Gibbs
from medaug.mr.motion import Motion
from medaug.mr.spike import Spike
from medaug.one_of import OneOf
from medaug.resampling.places import source_coordinates
from medaug.ultrasound.gain import DepthGain
from medaug.ultrasound.haze import Haze
from medaug.ultrasound.shadow import Shadow
from medaug.ultrasound.speckle import Speckle
from medaug.views.blocks import BlockMask, JepaMask
from medaug.views.copy_paste import CopyPaste
from medaug.views.correspondence import Correspondence, correspond
from medaug.views.masks import GridMask, MaskGenerator, RandomMask, TubeMask, voxel_mask
from medaug.views.mixing import CutMix, Mixup, mix_labels
from medaug.views.multi_crop import CropViews, MultiCrop
from medaug.views.pairs import PairViews, PatientPairs, view_keys
from medaug.views.partners import batch_partners, partner_id
from medaug.xray.collimation import Collimation
from medaug.xray.exposure import Exposure
from medaug.xray.grid import GridLines
from medaug.xray.inversion import Inversion
from medaug.xray.markers import Markers
from medaug.xray.occluders import Occluders
from medaug.xray.scatter import Scatter

__all__ = [
    "Affine",
    "AugmentationError",
    "BSpline",
    "BeamHardening",
    "BiasField",
    "BlockMask",
    "Blur",
    "Brightness",
    "Clip",
    "CoarseDropout",
    "Collimation",
    "Compose",
    "Contrast",
    "CopyPaste",
    "Correspondence",
    "Crop",
    "CropViews",
    "CutMix",
    "DepthGain",
    "DoseNoise",
    "Draws",
    "Elastic",
    "Exposure",
    "Flip",
    "Gamma",
    "Ghosting",
    "Gibbs",
    "GridLines",
    "GridMask",
    "Haze",
    "HistogramWarp",
    "IntensityTransform",
    "Inversion",
    "JepaMask",
    "KernelChange",
    "LocalBrightness",
    "LocalGamma",
    "LowResolution",
    "Markers",
    "MaskGenerator",
    "Median",
    "MetalStreaks",
    "Mixup",
    "Motion",
    "MultiCrop",
    "Noise",
    "Occluders",
    "OneOf",
    "Pad",
    "PairViews",
    "PatientPairs",
    "Perspective",
    "Plan",
    "PoissonNoise",
    "RandomMask",
    "RandomResizedCrop",
    "Rescale",
    "Resize",
    "RicianNoise",
    "Rot90",
    "SampleKey",
    "Scatter",
    "Shadow",
    "Sharpen",
    "SliceThickness",
    "SpatialTransform",
    "Speckle",
    "Spike",
    "TissueContrast",
    "Transform",
    "TubeMask",
    "Window",
    "WindowJitter",
    "ZScore",
    "Zoom",
    "batch_partners",
    "correspond",
    "key_digest",
    "keyed_generator",
    "mix_labels",
    "partner_id",
    "source_coordinates",
    "view_keys",
    "voxel_mask",
]
