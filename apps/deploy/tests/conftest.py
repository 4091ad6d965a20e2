from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from meddeploy import export
from medfinetune import ClassificationTask, SegmentationConfig, SegmentationTask
from medio import Image
from medmodels import Intensity, Preprocessing, create_model, save_artifact


def lps(spacing, origin=(-20.0, -30.0, 40.0)) -> np.ndarray:
    """Affine of an axial volume whose axes run S, P, L."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:3, 3], affine[3, 3] = origin, 1
    return affine


def volume() -> Image:
    """A bright ball in noise, 3 x 1.5 x 1.5 mm."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:14, :22, :24]
    distance = np.sqrt(((z - 7) * 3.0) ** 2 + ((y - 10) * 1.5) ** 2 + ((x - 13) * 1.5) ** 2)
    return Image((rng.normal(0, 15, distance.shape) + 150 * (distance < 9)).astype(np.int16), lps((3.0, 1.5, 1.5)), (3.0, 1.5, 1.5), "HU")


def segmenter() -> SegmentationTask:
    torch.manual_seed(0)
    pre = Preprocessing(
        spatial_dims=3,
        patch_size=(16, 16, 16),
        spacing_mm=(2.0, 2.0, 2.0),
        axes="SPL",
        intensity=Intensity(kind="window", low=-100, high=200),
    )
    backbone = create_model("resunet_tiny", spatial_dims=3)
    config = SegmentationConfig(overlap=0.25, tta_flips=(2,))
    return SegmentationTask(backbone, classes=("background", "ball"), preprocessing=pre, config=config)


def classifier() -> ClassificationTask:
    torch.manual_seed(0)
    pre = Preprocessing(spatial_dims=2, patch_size=(32, 24), whole_image=True, intensity=Intensity(kind="percentile"))
    task = ClassificationTask(create_model("resunet_tiny", spatial_dims=2), labels=("effusion", "nodule"), preprocessing=pre)
    torch.nn.init.normal_(task.network.head.linear.weight, std=1.0)
    generator = torch.Generator().manual_seed(0)
    task.calibrate(2 * torch.randn(60, 2, generator=generator), torch.randint(0, 2, (60, 2), generator=generator).float())
    return task


def _saved(task, root: Path) -> SimpleNamespace:
    artifact = task.artifact()
    save_artifact(artifact, root / "artifact")
    export(artifact, root / "bundle")
    return SimpleNamespace(task=task, artifact=root / "artifact", bundle=root / "bundle")


@pytest.fixture(scope="session")
def segmentation(tmp_path_factory) -> SimpleNamespace:
    """A segmenter that learned the ball of `volume` for a few steps, saved and exported."""
    from meddeploy import prepare
    from medmodels import Progress

    task, image = segmenter(), volume()
    ready = prepare(image, task.preprocessing)
    x = task.preprocessing.intensity.apply(torch.from_numpy(ready.array.astype("float32"))[None])[None, :, :16, :16, :16]
    mask = (x[:, 0] > 0.3).long()  # the window maps 50 HU to 0 and 95 HU to 0.3
    optimiser = torch.optim.AdamW(task.param_groups(lr=1e-2, weight_decay=0.0))
    for step in range(8):
        optimiser.zero_grad()
        task({"image": x, "mask": mask}, Progress(step, 8)).loss.backward()
        optimiser.step()
    return _saved(task, tmp_path_factory.mktemp("segmentation"))


@pytest.fixture(scope="session")
def classification(tmp_path_factory) -> SimpleNamespace:
    return _saved(classifier(), tmp_path_factory.mktemp("classification"))


@pytest.fixture(scope="session")
def scan() -> Image:
    return volume()
