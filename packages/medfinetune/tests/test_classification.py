import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medfinetune import BatchError, ClassificationConfig, ClassificationTask
from medmodels import Preprocessing, Progress, TrainingTask, create_model

LABELS = ("effusion", "nodule")
PROGRESS = Progress(0, 1)


@dataclass
class Film:
    array: np.ndarray
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] = (0.5, 0.5)


def make_task(seed=0, **config):
    torch.manual_seed(seed)
    backbone = create_model("resunet_tiny", spatial_dims=2)
    pre = Preprocessing(spatial_dims=2, patch_size=(16, 16), whole_image=True)
    return ClassificationTask(backbone, labels=LABELS, preprocessing=pre, config=ClassificationConfig(**config))


def batch_of(n=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {"image": torch.randn(n, 1, 16, 16, generator=g), "label": torch.randint(0, 2, (n, 2), generator=g).float()}


def test_unknown_labels_move_neither_loss_nor_gradients():
    task, batch = make_task(), batch_of()
    batch["label"][0, 1] = math.nan
    task(batch, PROGRESS).loss.backward()
    first = [p.grad.clone() for p in task.parameters()]
    # the expected loss by hand: the mean over the seven known terms
    logits = task(batch, PROGRESS).preds["logits"]
    known = ~torch.isnan(batch["label"])
    by_hand = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], batch["label"][known])
    assert float(task(batch, PROGRESS).loss.detach()) == pytest.approx(float(by_hand), rel=1e-5)
    assert all(torch.isfinite(g).all() for g in first)
    task.zero_grad()
    task({**batch, "label": torch.full((4, 2), math.nan)}, PROGRESS).loss.backward()
    assert all(not p.grad.any() for p in task.parameters())


def test_bright_and_dark_films_are_learned_apart():
    task = make_task().train()
    g = torch.Generator().manual_seed(0)
    label = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 8)
    image = torch.randn(16, 1, 16, 16, generator=g)
    image[:, :, :8] += 2 * label[:, 0, None, None, None]
    image[:, :, 8:, :4] += 2 * label[:, 1, None, None, None]
    optimiser = torch.optim.AdamW(task.param_groups(lr=1e-2, weight_decay=0.0))
    for step in range(30):
        out = task({"image": image, "label": label}, Progress(step, 30))
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
    assert float(out.loss.detach()) < 0.2
    assert ((out.preds["logits"] > 0) == (label > 0)).all()


def test_calibration_changes_probabilities_as_sigmoid_of_scale_and_bias_and_keeps_logits():
    task = make_task()
    film = Film(np.random.default_rng(0).normal(size=(16, 16)))
    before = task.predict(film)
    assert not before.calibrated
    for name in LABELS:
        assert before.probabilities[name] == pytest.approx(1 / (1 + math.exp(-before.logits[name])), abs=1e-6)
    g = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(400, 2, generator=g)
    labels = (torch.rand(400, 2, generator=g) < torch.sigmoid(0.5 * logits - 1)).float()
    assert task.calibrate(logits, labels) == ()
    after = task.predict(film)
    assert after.calibrated
    assert after.logits == before.logits
    calibration = task.artifact().calibration
    for k, name in enumerate(LABELS):
        z = calibration["scale"][k] * after.logits[name] + calibration["bias"][k]
        assert after.probabilities[name] == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-6)
        assert calibration["scale"][k] == pytest.approx(0.5, abs=0.15)  # what the labels were drawn with
        assert calibration["bias"][k] == pytest.approx(-1, abs=0.4)


def test_an_uncalibrated_task_says_so_in_its_artifact():
    assert make_task().artifact().calibration == {}


def test_a_label_without_both_classes_is_named_and_left_alone():
    task = make_task()
    labels = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    (note,) = task.calibrate(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), labels)
    assert note.startswith("effusion: no case of one class")
    assert (float(task.platt_scale[0]), float(task.platt_bias[0])) == (1.0, 0.0)


def test_a_positive_weight_reaches_the_loss():
    batch = batch_of()
    batch["label"][:] = 1.0
    plain, weighted = make_task(), make_task(positive_weight=(3.0, 3.0))
    assert float(weighted(batch, PROGRESS).loss.detach()) == pytest.approx(3 * float(plain(batch, PROGRESS).loss.detach()), rel=1e-5)


def test_a_film_of_another_size_is_refused_with_the_mend():
    with pytest.raises(BatchError, match=r"\(20, 16\).*whole images of \(16, 16\); resize it first"):
        make_task().predict(Film(np.zeros((20, 16))))


def test_a_batch_without_labels_or_with_others_is_refused():
    task, batch = make_task(), batch_of()
    with pytest.raises(BatchError, match="no `label`"):
        task({"image": batch["image"]}, PROGRESS)
    with pytest.raises(BatchError, match=r"\(4, 3\).*effusion, nodule"):
        task({**batch, "label": torch.zeros(4, 3)}, PROGRESS)


def test_the_task_and_what_it_refuses():
    assert isinstance(make_task(), TrainingTask)
    backbone = create_model("resunet_tiny", spatial_dims=2)
    with pytest.raises(ValueError, match="whole_image must be True"):
        ClassificationTask(backbone, labels=LABELS, preprocessing=Preprocessing(spatial_dims=2, patch_size=(16, 16)))
    with pytest.raises(ValueError, match="3 values for 2 labels"):
        make_task(positive_weight=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="different names"):
        ClassificationTask(backbone, labels=("a", "a"), preprocessing=Preprocessing(spatial_dims=2, patch_size=(16, 16), whole_image=True))
