"""nnU-Net's default training augmentation as each library writes it, and single operations side by side.

A pipeline or operation is a function of (sample, number): the number seeds what is random, so every repeat draws the same. batchgeneratorsv2 changes its input, so every
call gets an image of its own, copied outside the clock.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchio as tio
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from monai import transforms as mt
from monai.data import MetaTensor

Sample = dict[str, torch.Tensor]  # image (1, *S) float32, mask (*S) uint8
Run = Callable[[Sample, int], Any]

warnings.filterwarnings("ignore")

ROTATION, SCALE, ELSEWHERE = math.radians(30), (0.7, 1.4), 0.36  # 0.36: either of two tosses of 0.2


def batchgenerators(patch: tuple[int, ...], mode_seg: str = "bilinear") -> Run:
    """nnU-Net v2's own list, in its order, with what it leaves at its defaults; a mask by linear interpolation of its labels is its default."""
    axes = tuple(range(len(patch)))
    transforms: list[BasicTransform] = [
        SpatialTransform(
            patch, patch_center_dist_from_border=0, random_crop=False, p_elastic_deform=0, p_rotation=0.2, rotation=(-ROTATION, ROTATION), p_scaling=0.2, scaling=SCALE,
            p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False, mode_seg=mode_seg,
        )
    ]  # fmt: skip
    for probability, transform in (
        (0.1, GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True)),
        (
            0.2,
            GaussianBlurTransform(
                blur_sigma=(0.5, 1.0), synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5, benchmark=True
            ),
        ),
        (0.15, MultiplicativeBrightnessTransform(multiplier_range=BGContrast((0.75, 1.25)), synchronize_channels=False, p_per_channel=1)),
        (
            0.15,
            ContrastTransform(contrast_range=BGContrast((0.75, 1.25)), preserve_range=True, synchronize_channels=False, p_per_channel=1),
        ),
        (
            0.25,
            SimulateLowResolutionTransform(
                (0.5, 1), synchronize_channels=False, synchronize_axes=True, ignore_axes=None, p_per_channel=0.5
            ),
        ),
        (
            0.1,
            GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=1, synchronize_channels=False, p_per_channel=1, p_retain_stats=1),
        ),
        (
            0.3,
            GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=0, synchronize_channels=False, p_per_channel=1, p_retain_stats=1),
        ),
    ):
        transforms.append(RandomTransform(transform, apply_probability=probability))
    return _batchgenerators(ComposeTransforms([*transforms, MirrorTransform(allowed_axes=axes)]))


def monai(patch: tuple[int, ...], lazy: bool = True) -> Run:
    """The same by MONAI's dictionary transforms; rotation and scale by one affine, which is the cheaper way."""
    dims = len(patch)
    both, mode = ("image", "mask"), ("bilinear", "nearest")
    upsampling = "trilinear" if dims == 3 else "bilinear"
    transform = mt.Compose(
        [
            mt.RandAffined(both, prob=ELSEWHERE, rotate_range=(ROTATION,) * (dims if dims == 3 else 1), scale_range=(-0.3, 0.4), mode=mode, padding_mode="zeros"),
            mt.CenterSpatialCropd(both, patch),
            *[mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(dims)],
            mt.RandGaussianNoised("image", prob=0.1, std=0.1),
            mt.RandGaussianSmoothd("image", prob=0.2 * 0.5, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)),
            mt.RandScaleIntensityd("image", factors=0.25, prob=0.15),
            mt.RandScaleIntensityFixedMeand("image", factors=0.25, prob=0.15, preserve_range=True),
            mt.RandSimulateLowResolutiond("image", prob=0.25 * 0.5, upsample_mode=upsampling, zoom_range=(0.5, 1.0)),
            mt.RandAdjustContrastd("image", prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            mt.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ],
        lazy=lazy,
    )  # fmt: skip
    return _monai(transform)


def torchio(patch: tuple[int, ...]) -> Run:
    """The same by TorchIO, which has neither brightness nor contrast: they are left out, in its favour."""
    dims = len(patch)
    shape = (*patch, 1)[:3]
    degrees = 30 if dims == 3 else (0, 0, 0, 0, -30, 30)
    scales = (*SCALE,) if dims == 3 else (*SCALE, *SCALE, 1, 1)
    return _torchio(
        tio.Compose(
            [
                tio.RandomAffine(scales=scales, degrees=degrees, isotropic=dims == 3, p=ELSEWHERE),
                tio.CropOrPad(shape),
                tio.RandomNoise(std=(0, 0.1), p=0.1),
                tio.RandomBlur(std=(0.5, 1), p=0.2 * 0.5),
                tio.RandomAnisotropy(axes=tuple(range(dims)), downsampling=(1, 2), p=0.25 * 0.5),
                tio.RandomGamma(log_gamma=(math.log(0.7), math.log(1.5)), p=0.4),
                tio.RandomFlip(axes=tuple(range(dims)), flip_probability=0.5),
            ]
        )
    )


def operations(dims: int) -> dict[str, dict[str, Run]]:
    """Peers of single operations, each always applied, parameters within the ranges of the pipelines."""
    both, mode = ("image", "mask"), ("bilinear", "nearest")
    angle, turn = math.radians(20), (math.radians(20),) * (dims if dims == 3 else 1)
    degrees = (20,) * 6 if dims == 3 else (0, 0, 0, 0, 20, 20)

    def spatial(mode_seg: str) -> Run:
        return _batchgenerators(
            SpatialTransform((96,) * 3 if dims == 3 else (512,) * 2, 0, False, p_rotation=1, rotation=(angle, angle), p_scaling=1, scaling=(0.8, 0.8), p_synchronize_scaling_across_axes=1, mode_seg=mode_seg)
        )  # fmt: skip

    crop = [mt.CenterSpatialCropd(both, (96,) * 3)] if dims == 3 else []
    return {
        "affine, with mask": {
            "batchgeneratorsv2": spatial("nearest"),
            "MONAI": _monai(mt.Compose([mt.Affined(both, rotate_params=turn, scale_params=(0.8,) * dims, mode=mode, padding_mode="zeros"), *crop], lazy=True)),
            "TorchIO": _torchio(tio.Compose([tio.RandomAffine(scales=(0.8, 0.8), degrees=degrees, isotropic=True), *([tio.CropOrPad(96)] if dims == 3 else [])])),
        },
        "flip, with mask": {
            "batchgeneratorsv2": _batchgenerators(_Mirror(dims)),
            "MONAI": _monai(mt.Flipd(both, spatial_axis=tuple(range(dims)))),
            "TorchIO": _torchio(tio.Flip(axes=tuple(range(dims)))),
        },
        "noise": {
            "batchgeneratorsv2": _batchgenerators(GaussianNoiseTransform((0.1, 0.1), 1, True)),
            "MONAI": _monai(mt.RandGaussianNoised("image", prob=1, std=0.1, sample_std=False)),
            "TorchIO": _torchio(tio.RandomNoise(std=(0.1, 0.1))),
        },
        "blur": {
            "batchgeneratorsv2": _batchgenerators(GaussianBlurTransform((0.8, 0.8), False, False, 1, benchmark=True)),
            "MONAI": _monai(mt.GaussianSmoothd("image", sigma=0.8)),
            "TorchIO": _torchio(tio.RandomBlur(std=(0.8, 0.8))),
        },
        "brightness": {
            "batchgeneratorsv2": _batchgenerators(MultiplicativeBrightnessTransform((1.2, 1.2), False, 1)),
            "MONAI": _monai(mt.ScaleIntensityd("image", minv=None, maxv=None, factor=0.2)),
        },
        "contrast": {
            "batchgeneratorsv2": _batchgenerators(ContrastTransform((1.2, 1.2), True, False, 1)),
            "MONAI": _monai(mt.RandScaleIntensityFixedMeand("image", factors=(0.2, 0.2), prob=1, preserve_range=True)),
        },
        "low resolution": {
            "batchgeneratorsv2": _batchgenerators(SimulateLowResolutionTransform((0.6, 0.6), False, True, None, None, 1)),
            "MONAI": _monai(mt.RandSimulateLowResolutiond("image", prob=1, upsample_mode="trilinear" if dims == 3 else "bilinear", zoom_range=(0.6, 0.6))),
            "TorchIO": _torchio(tio.RandomAnisotropy(axes=(0,), downsampling=(1.6, 1.6))),
        },
        "gamma, statistics kept": {
            "batchgeneratorsv2": _batchgenerators(GammaTransform((0.8, 0.8), 0, False, 1, 1)),
            "MONAI": _monai(mt.RandAdjustContrastd("image", prob=1, gamma=(0.799, 0.801), retain_stats=True)),
            "TorchIO": _torchio(tio.RandomGamma(log_gamma=(-0.223, -0.223))),
        },
        "median": {
            "batchgeneratorsv2": _batchgenerators(MedianFilterTransform(filter_size=3)),
            "MONAI": _monai(mt.MedianSmoothd("image", radius=1)),
        },
    }  # fmt: skip


class _Mirror(MirrorTransform):
    """All axes at once, always."""

    def __init__(self, dims: int) -> None:
        super().__init__(tuple(range(dims)))

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        return {"axes": list(self.allowed_axes)}


def _batchgenerators(transform: BasicTransform) -> Run:
    def run(sample: Sample, number: int) -> Any:
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002 it draws from there
        return transform(image=sample["image"], segmentation=sample["mask"][None])

    return run


def _monai(transform: Any) -> Run:
    def run(sample: Sample, number: int) -> Any:
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(number)
        return transform({"image": MetaTensor(sample["image"]), "mask": MetaTensor(sample["mask"][None])})

    return run


def _torchio(transform: Any) -> Run:
    def run(sample: Sample, number: int) -> Any:
        torch.manual_seed(number)
        image, mask = sample["image"], sample["mask"][None]
        if image.ndim == 3:
            image, mask = image[..., None], mask[..., None]
        return transform(tio.Subject(image=tio.ScalarImage(tensor=image), mask=tio.LabelMap(tensor=mask)))

    return run
