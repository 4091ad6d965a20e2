"""medaug's side of bench_augment: the preset `nnunet`, and single operations with the parameters of augment_peers."""

from typing import Any

import torch
from augment_peers import Run, Sample

from medaug.compose import Compose, Transform
from medaug.geometry.affine import Affine
from medaug.geometry.turns import Flip
from medaug.geometry.windows import Crop
from medaug.intensity.blur import Blur
from medaug.intensity.brightness import Brightness
from medaug.intensity.contrast import Contrast
from medaug.intensity.gamma import Gamma
from medaug.intensity.low_resolution import LowResolution
from medaug.intensity.median import Median
from medaug.intensity.noise import Noise
from medaug.presets.general import nnunet


def pipeline(patch: tuple[int, ...]) -> Run:
    """nnU-Net's default pipeline, turned by at most 30 degrees in 2D too, as the peers are."""
    return _run(nnunet(dims=len(patch), patch=patch, rotation_deg=30.0), len(patch))


def batches(patch: tuple[int, ...], sample: Sample, size: int) -> Run:
    """The same pipeline on batches of one sample: the numbers `size` * n and on are batch n."""
    dims = len(patch)
    compose = nnunet(dims=dims, patch=patch, rotation_deg=30.0)
    whole = {name: torch.stack([tensor] * size) for name, tensor in sample.items()} | {"spacing": torch.ones(size, dims)}

    def run(sample: Sample, number: int) -> Any:
        return compose.batch({**whole, "key": [(size * number + row, 0, "sample", 0) for row in range(size)]})

    return run


def operations(patch: tuple[int, ...]) -> dict[str, Run]:
    """Single operations, each always applied."""
    dims = len(patch)
    steps: dict[str, list[Transform]] = {
        "affine, with mask": [Affine(rotation_deg=(20, 20), scale=(0.8, 0.8)), Crop(size=patch, random=False)],
        "flip, with mask": [Flip(axes=tuple(range(dims)), p=1.0)],
        "noise": [Noise(std=0.1)],
        "blur": [Blur(sigma_voxels=0.8)],
        "brightness": [Brightness(factor=1.2)],
        "contrast": [Contrast(factor=1.2)],
        "low resolution": [LowResolution(factor=0.6)],
        "gamma, statistics kept": [Gamma(range=(0.8, 0.8), retain_stats=True)],
        "median": [Median()],
    }
    return {name: _run(Compose(transforms), dims) for name, transforms in steps.items()}


def _run(compose: Compose, dims: int) -> Run:
    spacing = torch.ones(dims)

    def run(sample: Sample, number: int) -> Any:
        return compose({**sample, "spacing": spacing}, (number, 0, "sample", 0))

    return run
