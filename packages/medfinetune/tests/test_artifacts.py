from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medfinetune import (
    ClassificationConfig,
    ClassificationTask,
    RebuildError,
    SegmentationConfig,
    SegmentationTask,
    load_artifact,
    load_task,
)
from medmodels import Intensity, ModelError, Preprocessing, create_model, read_artifact, save_artifact
from medmodels.contracts import Artifact


@dataclass
class Scan:
    array: np.ndarray
    affine: np.ndarray | None
    spacing: tuple[float, ...]


def segmentation(name, **model):
    torch.manual_seed(3)
    backbone = create_model(name, spatial_dims=3, **model)
    pre = Preprocessing(
        spatial_dims=3,
        patch_size=(16, 16, 16),
        spacing_mm=(3.0, 2.0, 2.0),
        axes="SPL",
        intensity=Intensity(kind="window", low=-100, high=200),
    )
    config = SegmentationConfig(overlap=0.25, tta_flips=(1,), batch_dice=True, image_skip=name.startswith("vit"))
    return SegmentationTask(backbone, classes=("background", "organ"), preprocessing=pre, config=config, data_fingerprint="f00d")


@pytest.mark.parametrize(
    ("name", "model"),
    [("resunet_tiny", {}), ("vit_tiny", {"patch_size": 8, "depth": 1})],
)
def test_a_segmenter_predicts_the_same_after_saving_and_loading(tmp_path, name, model):
    task = segmentation(name, **model)
    scan = Scan(np.random.default_rng(0).normal(50, 60, (18, 17, 20)), np.diag([1.0, 2, 3, 1]), (1.0, 2.0, 3.0))
    save_artifact(task.artifact(), tmp_path / "a")
    again = load_task(tmp_path / "a")
    a, b = task.predict(scan, probabilities=True), again.predict(scan, probabilities=True)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    np.testing.assert_array_equal(a.mask, b.mask)
    assert again.config == task.config
    assert again.preprocessing == task.preprocessing


def test_a_calibrated_classifier_predicts_the_same_after_saving_and_loading(tmp_path):
    backbone = create_model("resunet_tiny", spatial_dims=2)
    pre = Preprocessing(spatial_dims=2, patch_size=(16, 16), whole_image=True, intensity=Intensity(kind="percentile"))
    task = ClassificationTask(backbone, labels=("a", "b"), preprocessing=pre, config=ClassificationConfig(positive_weight=(1.0, 2.5)))
    g = torch.Generator().manual_seed(0)
    task.calibrate(torch.randn(50, 2, generator=g), torch.randint(0, 2, (50, 2), generator=g).float())
    save_artifact(task.artifact(), tmp_path / "a")
    again = load_task(tmp_path / "a")
    film = Scan(np.random.default_rng(0).normal(size=(16, 16)), None, (1.0, 1.0))
    assert again.predict(film).probabilities == task.predict(film).probabilities
    assert again.predict(film).calibrated
    assert again.config == task.config
    torch.testing.assert_close(again.positive_weight, torch.tensor([1.0, 2.5]))


def test_the_artifact_says_where_the_weights_come_from_and_survives_a_second_round(tmp_path):
    task = segmentation("resunet_tiny")
    first = task.artifact()
    assert first.kind == "segmentation"
    assert first.card.objective == "segmentation"
    assert first.card.data_fingerprint == "f00d"
    assert first.card.spacing_mm == (3.0, 2.0, 2.0)
    assert first.card.axes == "SPL"
    save_artifact(first, tmp_path / "a")
    save_artifact(load_artifact(tmp_path / "a"), tmp_path / "b")
    assert read_artifact(tmp_path / "a")[1] == read_artifact(tmp_path / "b")[1]


def test_an_encoder_comes_back_with_its_weights_and_is_no_task(tmp_path):
    encoder = create_model("resunet_tiny", spatial_dims=2)
    pre = Preprocessing(spatial_dims=2, patch_size=(16, 16))
    save_artifact(Artifact(kind="encoder", module=encoder, card=encoder.card, preprocessing=pre), tmp_path / "e")
    artifact = load_artifact(tmp_path / "e")
    for name, value in encoder.state_dict().items():
        assert torch.equal(artifact.module.state_dict()[name], value)
    with pytest.raises(RebuildError, match="kind 'encoder' is no task"):
        load_task(tmp_path / "e")


def test_a_network_that_the_weights_do_not_fit_is_refused(tmp_path):
    artifact = segmentation("resunet_tiny").artifact()
    other = create_model("resunet_small", spatial_dims=3)
    wrong = Artifact(
        kind=artifact.kind,
        module=artifact.module,
        card=other.card,
        preprocessing=artifact.preprocessing,
        classes=artifact.classes,
        config=artifact.config,
    )
    save_artifact(wrong, tmp_path / "a")
    with pytest.raises(RebuildError, match="weights do not fit"):
        load_artifact(tmp_path / "a")


def test_a_config_of_another_version_is_refused_with_the_field(tmp_path):
    artifact = segmentation("resunet_tiny").artifact()
    config = {**artifact.config, "task": {**artifact.config["task"], "focal_weight": 1.0}}
    other = Artifact(
        kind=artifact.kind,
        module=artifact.module,
        card=artifact.card,
        preprocessing=artifact.preprocessing,
        classes=artifact.classes,
        config=config,
    )
    save_artifact(other, tmp_path / "a")
    with pytest.raises(RebuildError, match="focal_weight"):
        load_task(tmp_path / "a")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_task(tmp_path / "nowhere")
