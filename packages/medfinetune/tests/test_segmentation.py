from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medfinetune import BatchError, SegmentationConfig, SegmentationTask
from medmodels import Preprocessing, Progress, TrainingTask, create_model, load_encoder, save_artifact
from medmodels.contracts import Artifact

CLASSES = ("background", "organ", "lesion")
PROGRESS = Progress(0, 1)


@dataclass
class Scan:
    array: np.ndarray
    affine: np.ndarray | None
    spacing: tuple[float, ...]


def make_task(dims=3, patch=(16, 16, 16), seed=0, classes=CLASSES, **config):
    torch.manual_seed(seed)
    backbone = create_model("resunet_tiny", spatial_dims=dims)
    pre = Preprocessing(spatial_dims=dims, patch_size=patch, spacing_mm=(2.0, 1.0, 1.0)[-dims:])
    return SegmentationTask(backbone, classes=classes, preprocessing=pre, config=SegmentationConfig(**config))


def phantom(shape=(16, 16, 16), seed=0):
    # an organ (box, value 100) that holds a lesion (box, value 300) in noise around 0
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[3:13, 2:12, 4:14] = 1
    mask[6:10, 5:9, 7:11] = 2
    return np.array([0, 100, 300])[mask] + rng.normal(0, 10, shape), mask


def scan_of(array, spacing=(2.0, 1.0, 1.0)):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.array(spacing)
    affine[:3, 3] = [-10, 20, 30]
    return Scan(array, affine, spacing)


@pytest.fixture(scope="module")
def trained():
    """A task overfitted to one tiny volume, and that volume."""
    array, mask = phantom()
    task = make_task()
    image = task.preprocessing.intensity.apply(torch.from_numpy(array)[None])
    batch = {"image": image[None], "mask": torch.from_numpy(mask)[None].long(), "key": [(0, 0, "a", 0)]}
    optimiser = torch.optim.AdamW(task.param_groups(lr=2e-2, weight_decay=1e-2))
    first = None
    for step in range(60):
        out = task(batch, Progress(step, 60))
        first = float(out.loss.detach()) if first is None else first
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
        task.after_step(Progress(step, 60))
    assert float(out.loss.detach()) < first / 4
    return task, array, mask


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_tiny_volume_is_learned_to_a_dice_above_095(trained):
    task, array, mask = trained
    result = task.predict(scan_of(array))
    for k in (1, 2):
        assert dice(result.mask == k, mask == k) > 0.95


def test_prediction_keeps_the_geometry_it_was_given(trained):
    task, array, _ = trained
    scan = scan_of(np.concatenate([array, array], axis=2))  # two windows wide and more
    result = task.predict(scan)
    assert result.mask.shape == (16, 16, 32)
    assert result.mask.dtype == np.uint8
    assert result.affine is scan.affine
    assert result.spacing == (2.0, 1.0, 1.0)
    assert result.classes == CLASSES


def test_volumes_are_voxel_counts_times_the_voxel_volume(trained):
    task, array, _ = trained
    result = task.predict(scan_of(array))
    # 2 x 1 x 1 mm = 2 mm3 = 0.002 ml a voxel
    assert result.volumes_ml == pytest.approx({name: 0.002 * (result.mask == k).sum() for k, name in enumerate(CLASSES) if k})
    assert result.volumes_ml["organ"] > 0
    assert result.areas_mm2 == {}


def test_a_sheared_stack_has_the_volume_of_its_cells_not_of_its_edges(trained):
    task, array, _ = trained
    scan = scan_of(array)
    upright = task.predict(scan).volumes_ml
    # slices 2 mm apart, each shifted by 1 mm: the edge grows to sqrt(5), the cell's volume stays 2 x 1 x 1
    scan.affine[1, 0] = 1.0
    scan.spacing = (float(np.sqrt(5)), 1.0, 1.0)
    assert task.predict(scan).volumes_ml == pytest.approx(upright)


def test_an_image_smaller_than_the_window_is_predicted_at_its_own_size(trained):
    task, array, mask = trained
    cut = (slice(1, 15), slice(0, 14), slice(2, 16))
    result = task.predict(scan_of(array[cut]))
    assert result.mask.shape == (14, 14, 14)
    assert dice(result.mask > 0, mask[cut] > 0) > 0.8


def test_probabilities_sum_to_one_and_agree_with_the_mask(trained):
    task, array, _ = trained
    assert task.predict(scan_of(array)).probabilities is None
    result = task.predict(scan_of(array), probabilities=True)
    assert result.probabilities.shape == (3, *array.shape)
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(result.probabilities.argmax(0), result.mask)


def test_the_window_that_holds_the_whole_image_is_the_network_itself(trained):
    task, array, _ = trained
    cut = array[:16, :16, :16]
    result = task.predict(scan_of(cut), probabilities=True)
    with torch.no_grad():
        x = task.preprocessing.intensity.apply(torch.from_numpy(cut)[None])[None]
        expected = task.eval().network(x).softmax(1)[0]
    np.testing.assert_allclose(result.probabilities, expected.numpy(), atol=1e-6)


def test_flip_averaging_makes_the_prediction_follow_a_flipped_image(trained):
    task, array, _ = trained
    cut = array[:16, :16, :16].copy()
    averaged = make_task(tta_flips=(0, 2))
    averaged.load_state_dict(task.state_dict())
    straight = averaged.predict(scan_of(cut), probabilities=True).probabilities
    flipped = averaged.predict(scan_of(cut[::-1, :, ::-1]), probabilities=True).probabilities
    np.testing.assert_allclose(flipped[:, ::-1, :, ::-1], straight, atol=1e-5)
    plain = task.predict(scan_of(cut[::-1, :, ::-1]), probabilities=True).probabilities
    unaveraged = task.predict(scan_of(cut), probabilities=True).probabilities
    assert np.abs(plain[:, ::-1, :, ::-1] - unaveraged).max() > 1e-3  # without averaging it does not


def test_predict_leaves_the_mode_of_training_as_it_was():
    task = make_task().train()
    task.predict(scan_of(np.random.default_rng(0).normal(size=(12, 12, 12))))
    assert task.training
    assert task.network.training


def test_a_film_has_areas_not_volumes():
    task = make_task(dims=2, patch=(16, 16))
    result = task.predict(Scan(np.random.default_rng(0).normal(size=(20, 18)), None, (0.5, 0.2)))
    assert result.volumes_ml == {}
    assert result.areas_mm2["organ"] == pytest.approx(0.1 * (result.mask == 1).sum())
    assert result.affine is None


def test_unsigned_and_read_only_arrays_are_taken():
    task = make_task(dims=2, patch=(16, 16))
    array = np.arange(256, dtype=np.uint16).reshape(16, 16)
    array.flags.writeable = False
    assert task.predict(Scan(array, None, (1.0, 1.0))).mask.shape == (16, 16)


def test_the_loss_is_the_weighted_sum_of_its_logged_terms_and_preds_are_detached():
    task = make_task(dims=2, patch=(16, 16), dice_weight=0.3, ce_weight=2.0)
    g = torch.Generator().manual_seed(0)
    batch = {"image": torch.randn(2, 1, 16, 16, generator=g), "mask": torch.randint(0, 3, (2, 16, 16), generator=g)}
    out = task(batch, PROGRESS)
    assert float(out.loss.detach()) == pytest.approx(0.3 * float(out.logs["dice_loss"]) + 2.0 * float(out.logs["cross_entropy"]))
    assert not out.preds["logits"].requires_grad
    assert "mask" not in out.preds
    torch.testing.assert_close(task.eval()(batch, PROGRESS).preds["mask"], out.preds["logits"].argmax(1))


def test_unknown_voxels_do_not_move_the_loss_of_the_task():
    task = make_task(dims=2, patch=(16, 16))
    g = torch.Generator().manual_seed(0)
    batch = {"image": torch.randn(1, 1, 16, 16, generator=g), "mask": torch.full((1, 16, 16), -1)}
    assert task(batch, PROGRESS).loss.item() == 0


def test_a_label_beyond_the_classes_names_the_sample():
    task = make_task(dims=2, patch=(16, 16))
    mask = torch.zeros(2, 16, 16, dtype=torch.long)
    mask[1, 0, 0] = 7
    batch = {"image": torch.zeros(2, 1, 16, 16), "mask": mask, "key": [(0, 0, "good", 0), (0, 0, "case_12", 0)]}
    with pytest.raises(
        BatchError, match=r"^case_12: mask holds labels from 0 to 7, the task has classes 0 to 2 \(background, organ, lesion\)"
    ):
        task(batch, PROGRESS)
    with pytest.raises(BatchError, match="no `mask`"):
        task({"image": batch["image"]}, PROGRESS)


def test_an_image_of_other_dimensions_or_channels_is_refused_with_its_shape():
    task = make_task()
    with pytest.raises(BatchError, match=r"\(16, 16\).*3D"):
        task.predict(Scan(np.zeros((16, 16)), None, (1.0, 1.0)))
    with pytest.raises(BatchError, match="takes 1 channels, this has 2"):
        task.predict(Scan(np.zeros((2, 16, 16, 16)), np.eye(4), (1.0, 1.0, 1.0)))


def test_encoder_weights_go_into_the_task(tmp_path):
    torch.manual_seed(1)
    arguments = {"spatial_dims": 3}
    encoder = create_model("resunet_tiny", **arguments)
    pre = Preprocessing(spatial_dims=3, patch_size=(16, 16, 16))
    save_artifact(Artifact(kind="encoder", module=encoder, card=encoder.card, preprocessing=pre), tmp_path / "encoder")
    torch.manual_seed(2)
    fresh = create_model("resunet_tiny", **arguments)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    loaded, report = load_encoder(tmp_path / "encoder", into=fresh)
    assert report.fraction == 1
    task = SegmentationTask(loaded, classes=CLASSES, preprocessing=pre)
    inside = {name: value for name, value in task.state_dict().items() if name.startswith("network.backbone.")}
    assert len(inside) == len(encoder.state_dict())
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(inside[f"network.backbone.{name}"], value, rtol=0, atol=0)
    assert any(not torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_the_task_and_what_it_refuses():
    assert isinstance(make_task(), TrainingTask)
    backbone = create_model("resunet_tiny", spatial_dims=2)
    pre = Preprocessing(spatial_dims=2, patch_size=(16, 16))
    with pytest.raises(ValueError, match="begin with 'background'"):
        SegmentationTask(backbone, classes=("organ", "background"), preprocessing=pre)
    with pytest.raises(ValueError, match="2D, preprocessing 3D"):
        SegmentationTask(backbone, classes=CLASSES, preprocessing=Preprocessing(spatial_dims=3, patch_size=(8, 8, 8)))
    with pytest.raises(ValueError, match="axis that a 2D image lacks"):
        SegmentationTask(backbone, classes=CLASSES, preprocessing=pre, config=SegmentationConfig(tta_flips=(2,)))
    for wrong in (
        {"overlap": 1.0},
        {"layer_decay": 0.0},
        {"dice_weight": 0.0, "ce_weight": 0.0},
        {"window_batch": 0},
        {"tta_flips": (0, 0)},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SegmentationConfig(**wrong)
