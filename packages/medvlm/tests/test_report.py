"""Tuning on reports: the right tokens, the right loss, and in the end the right text."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from medmodels import ArtifactError, Progress, TrainingTask, load_encoder, save_artifact
from medvlm import ReportTask, VisionLanguageConfig, VisionLanguageError, VisionLanguageModel, build_tokenizer, load_report_task

START = Progress(0, 1)


def test_it_is_a_training_task(make_task):
    assert isinstance(make_task(), TrainingTask)


def test_loss_is_the_cross_entropy_of_the_reports_tokens_and_the_end_by_hand(make_task, batch):
    task = make_task()
    tokenizer = task.tokenizer
    by_hand = []
    for image, report in zip(batch["image"], batch["report"], strict=True):
        before = [1, 3, 3, 3, 3, *tokenizer(task.config.prompt)["input_ids"]]  # a 16 x 16 image has 4 patches of 8
        target = [*tokenizer(report)["input_ids"], 2]
        logits = task.model(input_ids=torch.tensor([before + target]), pixel_values=image[None]).logits[0]
        # the last token of the prompt predicts the first of the report
        by_hand.append(cross_entropy(logits[len(before) - 1 : -1], torch.tensor(target)))
    torch.testing.assert_close(task(batch, START).loss, torch.stack(by_hand).mean())


def test_a_samples_loss_does_not_depend_on_its_batch(make_task, batch):
    task = make_task()
    together = task(batch, START).preds["loss"]
    for i in range(4):
        alone = task({"image": batch["image"][i : i + 1], "report": batch["report"][i : i + 1]}, START)
        torch.testing.assert_close(alone.loss.detach(), together[i])


def test_the_loss_reaches_encoder_connector_and_decoder(make_task, batch):
    task = make_task()
    task(batch, START).loss.backward()
    for part in (task.model.backbone, task.model.connector, task.model.decoder):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)


def test_after_overfitting_each_image_tells_its_own_report(make_task, batch, tmp_path):
    task = make_task()
    optimiser = torch.optim.AdamW(task.param_groups(5e-3, 0.0))
    for step in range(120):
        out = task(batch, Progress(step, 120))
        out.loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if out.loss < 0.02:
            break
    assert task.generate(batch, 32) == batch["report"]
    assert task.generate(batch, 32, use_cache=False) == batch["report"]
    assert [task.generate({"image": image[None]}, 32)[0] for image in batch["image"]] == batch["report"]
    swapped = {"image": batch["image"].flip(0)}
    assert task.generate(swapped, 32) == batch["report"][::-1]  # the image alone decides
    save_artifact(task.artifact(), tmp_path / "vlm")
    again = load_report_task(tmp_path / "vlm")
    assert again.generate(batch, 32) == batch["report"]
    assert again.preprocessing == task.preprocessing
    assert again.config == task.config
    assert again.model.backbone.card.objective == "report"
    encoder, matched = load_encoder(tmp_path / "vlm")  # and another task can start from what the encoder learned
    assert matched.fraction == 1.0
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), task.model.backbone.parameters(), strict=True))


def test_generate_gives_back_the_mode_it_found(make_task, batch):
    task = make_task().train()
    task.generate(batch, 1)
    assert task.training


def test_a_long_report_is_cut_without_an_end_and_counted(make_task, batch):
    task = make_task(max_report_tokens=3)
    seen = {}
    task.model.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    out = task(batch, START)
    assert out.logs["truncated"] == 1.0
    assert not (seen["input_ids"] == 2).any()


def test_markers_in_a_report_are_plain_text(make_task, batch):
    task = make_task()
    out = task({**batch, "report": ["see <image> and </s> here", *batch["report"][1:]]}, START)
    assert torch.isfinite(out.loss)


def test_frozen_parts_leave_the_groups_and_norms_do_not_decay(make_task):
    task = make_task(encoder_lr_scale=0.0, train_decoder=False)
    groups = task.param_groups(1e-3, 0.1)
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in task.model.connector.parameters()}
    assert all(g["weight_decay"] == 0.0 for g in groups for p in g["params"] if p.ndim == 1)


def test_groups_hold_every_parameter_once_and_scale_the_encoder(make_task):
    task = make_task(encoder_lr_scale=0.1)
    groups = task.param_groups(1e-3, 0.1)
    found = [id(p) for g in groups for p in g["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {id(p) for p in task.parameters()}
    encoder = {id(p) for p in task.model.backbone.parameters()}
    assert all(g["lr"] == pytest.approx(1e-4 if id(p) in encoder else 1e-3) for g in groups for p in g["params"])


def test_errors_name_the_sample_and_the_mend(make_task, batch, tmp_path):
    task = make_task()
    with pytest.raises(VisionLanguageError, match="case-2: its report is empty; leave the sample out"):
        task({**batch, "report": ["a", "b", "  ", "d"]}, START)
    with pytest.raises(VisionLanguageError, match="no `report`; build shards"):
        task({"image": batch["image"]}, START)
    model = VisionLanguageModel(VisionLanguageConfig())
    with pytest.raises(VisionLanguageError, match="the tokenizer has"):
        ReportTask(
            task.model,
            build_tokenizer(["abc def ghi " * 9, "jkl mno"] * 9 + [f"{i} x{i}" for i in range(400)], vocab_size=400),
            preprocessing=task.preprocessing,
        )
    model.config.image_token_id = 77
    with pytest.raises(VisionLanguageError, match="no special token of this tokenizer"):
        ReportTask(model, task.tokenizer, preprocessing=task.preprocessing)
    with pytest.raises(ArtifactError, match=r"no artifact\.json"):
        load_report_task(tmp_path)
