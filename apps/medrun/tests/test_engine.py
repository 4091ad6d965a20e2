import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from medmodels import read_artifact
from medrun import ConfigError, EngineConfig, NonFiniteLossError, ResumeError, RunInterruptedError, TrainData, fit
from medrun.journal import read_journal

TINY = Path(__file__).with_name("tiny.py")


def losses(out: Path) -> list[float]:
    return [line["train/loss"] for line in read_journal(out / "metrics.jsonl") if "train/loss" in line]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return read_artifact(out / "artifact")[0]


def same(a: Path, b: Path) -> bool:
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) and losses(a) == losses(b)


def start(out: Path, **options: Any) -> "subprocess.Popen[str]":
    words = [f"{k}={json.dumps(v)}" for k, v in options.items()]
    return subprocess.Popen([sys.executable, str(TINY), str(out), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(out: Path, step: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not (out / "checkpoints" / f"step_{step:07d}").is_dir():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_training_finds_the_regression(tiny: ModuleType, tmp_path: Path) -> None:
    result = tiny.run(tmp_path, dropout=0.0, max_steps=150, weight_decay=0.0)
    assert torch.allclose(weights(tmp_path)["weight"][0], tiny.TRUTH, atol=0.05)
    assert result.step == 150
    assert result.best["distance"] < 0.05


def test_a_run_leaves_its_results(tiny: ModuleType, tmp_path: Path) -> None:
    result = tiny.run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["artifact", "checkpoints", "metrics.jsonl", "training.html"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*")) == ["step_0000035", "step_0000040"]
    assert [line["step"] for line in read_journal(result.metrics) if "val/distance" in line] == [10, 20, 30, 40]
    page = result.page.read_text()
    assert "<polyline" in page
    assert "http" not in page.replace("http-equiv", "")


def test_two_runs_of_a_seed_are_equal_and_of_two_seeds_are_not(tiny: ModuleType, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):  # the seed of dropout
        tiny.run(tmp_path / name, seed=seed)
    assert same(tmp_path / "a", tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_workers_do_not_change_a_bit(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "none", max_steps=8)
    tiny.run(tmp_path / "two", max_steps=8, workers=2)
    assert same(tmp_path / "none", tmp_path / "two")


def test_validation_leaves_training_untouched(tiny: ModuleType, tmp_path: Path) -> None:
    # tiny.distance draws from torch's generator, from which dropout draws too
    tiny.run(tmp_path / "seldom", validate_every=None)
    tiny.run(tmp_path / "often", validate_every=1)
    assert losses(tmp_path / "seldom") == losses(tmp_path / "often")


def test_the_gradient_of_parts_is_that_of_the_batch(tiny: ModuleType, tmp_path: Path) -> None:
    # 8 samples in 3 parts of 2, 3 and 3: only weighting by size makes the means agree
    tiny.run(tmp_path / "whole", dropout=0.0)
    tiny.run(tmp_path / "parts", dropout=0.0, accumulate=3)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_the_best_weights_are_kept_not_the_last(tiny: ModuleType, tmp_path: Path) -> None:
    figures = iter([3.0, 1.0, 2.0, float("nan")])
    seen: list[torch.Tensor] = []

    def validate(task: Any) -> dict[str, float]:
        seen.append(task.layer.weight.detach().clone())
        return {"score": next(figures)}

    config = EngineConfig(out=tmp_path, max_steps=8, validate_every=2, monitor="score", mode="min", tracker="none", device="cpu")
    result = fit(tiny.TinyTask(), TrainData(dataset=tiny.TinyData(), batch_size=4), validate, config)
    assert result.best == {"score": 1.0, "step": 4}
    assert torch.equal(weights(tmp_path)["weight"], seen[1])


def test_after_step_is_called_once_a_step(tiny: ModuleType, tmp_path: Path) -> None:
    task = tiny.TinyTask()
    config = EngineConfig(out=tmp_path, max_steps=6, accumulate=2, tracker="none", device="cpu")
    fit(task, TrainData(dataset=tiny.TinyData(), batch_size=4), None, config)
    assert int(task.calls) == 6


def test_each_group_keeps_its_share_of_the_learning_rate(tiny: ModuleType, tmp_path: Path) -> None:
    # cosine over 4 steps without warm-up, peak 0.1: 0.1·(1+cos(pi·i/4))/2 for i = 0..3
    tiny.run(tmp_path, max_steps=4, warmup=0.0)
    rates = [line["train/lr"] for line in read_journal(tmp_path / "metrics.jsonl") if "train/lr" in line]
    assert rates == pytest.approx([0.1, 0.08535534, 0.05, 0.01464466])
    state = torch.load(tmp_path / "checkpoints" / "step_0000004" / "state.pt", weights_only=True)
    assert [g["lr"] for g in state["optimizer"]["param_groups"]] == pytest.approx([0.01464466, 0.00732233])


def test_bf16_trains_and_leaves_the_task_as_it_was(tiny: ModuleType, tmp_path: Path) -> None:
    task = tiny.TinyTask(0.0)
    config = EngineConfig(out=tmp_path, max_steps=60, lr=0.1, precision="bf16", tracker="none", device="cpu")
    fit(task, TrainData(dataset=tiny.TinyData(), batch_size=8), None, config)
    assert losses(tmp_path)[-1] < 0.3 * losses(tmp_path)[0]
    assert task.layer(torch.ones(1, 4)).dtype == torch.float32
    assert "forward" not in vars(task)


def test_a_loss_that_is_not_finite_names_its_samples(tiny: ModuleType, tmp_path: Path) -> None:
    data = TrainData(dataset=tiny.TinyData(poisoned="s07"), batch_size=2, seed=3)
    config = EngineConfig(out=tmp_path, max_steps=50, checkpoint_every=1, tracker="none", device="cpu")
    with pytest.raises(NonFiniteLossError, match="s07") as caught:
        fit(tiny.TinyTask(), data, None, config)
    assert len(caught.value.sample_ids) == 2
    state = torch.load(sorted((tmp_path / "checkpoints").glob("step_*"))[-1] / "state.pt", weights_only=True)
    assert all(t.isfinite().all() for t in state["task"].values())


def test_other_settings_do_not_resume(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path, max_steps=5)
    with pytest.raises(ResumeError, match=r"engine\.lr was 0\.1 and is 0\.2.*out=DIR") as caught:
        tiny.run(tmp_path, max_steps=5, lr=0.2)
    assert "engine.seed" not in str(caught.value)
    with pytest.raises(ResumeError, match=r"data\.batch_size was 8 and is 4"):
        tiny.run(tmp_path, max_steps=5, batch_size=4)
    with pytest.raises(ResumeError, match=r"task\.config\.dropout was 0\.1 and is 0\.2"):
        tiny.run(tmp_path, max_steps=5, dropout=0.2)


def test_a_finished_run_trains_no_more_and_gives_the_same(tiny: ModuleType, tmp_path: Path) -> None:
    first = tiny.run(tmp_path, max_steps=20)
    before, text = weights(tmp_path), first.metrics.read_text()
    again = tiny.run(tmp_path, max_steps=20)
    assert again.resumed_from == 20
    assert again.best == first.best
    assert first.metrics.read_text() == text
    assert all(torch.equal(before[k], v) for k, v in weights(tmp_path).items())


def test_a_monitor_that_is_no_figure_is_named(tiny: ModuleType, tmp_path: Path) -> None:
    config = EngineConfig(out=tmp_path, max_steps=2, monitor="distanse", tracker="none", device="cpu")
    data = TrainData(dataset=tiny.TinyData(), batch_size=4)
    with pytest.raises(ConfigError, match="did you mean distance"):
        fit(tiny.TinyTask(), data, tiny.distance, config)
    with pytest.raises(ConfigError, match="needs a validation"):
        fit(tiny.TinyTask(), data, None, config)


def test_a_time_budget_ends_with_a_result(tiny: ModuleType, tmp_path: Path) -> None:
    result = tiny.run(tmp_path, max_steps=100000, slow_s=0.002, max_minutes=0.01, checkpoint_every=100000)
    assert result.stopped == "time"
    assert 0 < result.step < 100000
    assert result.best["step"] <= result.step
    assert weights(tmp_path)["weight"].isfinite().all()
    again = tiny.run(tmp_path, max_steps=100000, slow_s=0.002, max_minutes=0.01, checkpoint_every=100000)
    assert (again.step, again.best) == (result.step, result.best)


def test_a_run_killed_and_started_again_ends_with_the_same_bits(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "whole", max_steps=60)
    process = start(tmp_path / "killed", max_steps=60, slow_s=0.004)
    wait_for(tmp_path / "killed", 20, process)
    process.kill()
    process.wait()
    result = tiny.run(tmp_path / "killed", max_steps=60)
    assert result.resumed_from is not None
    assert 20 <= result.resumed_from < 60
    assert same(tmp_path / "whole", tmp_path / "killed")
    steps = [line["step"] for line in read_journal(result.metrics) if "train/loss" in line]
    assert steps == list(range(1, 61))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_next_run_goes_on(tiny: ModuleType, tmp_path: Path, number: int, code: int) -> None:
    tiny.run(tmp_path / "whole")
    sent: list[int] = []

    def interrupted(task: Any) -> dict[str, float]:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return tiny.distance(task)  # type: ignore[no-any-return]

    before = signal.getsignal(number)
    with pytest.raises(RunInterruptedError, match="run the same command again") as caught:
        tiny.run(tmp_path / "stopped", validate=interrupted, checkpoint_every=100)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) == before
    assert tiny.run(tmp_path / "stopped").resumed_from == 10
    assert same(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_command_that_is_terminated_saves_and_exits_with_143_though_clearml_takes_signals_too(tmp_path: Path) -> None:
    process = start(tmp_path / "stopped", max_steps=60, slow_s=0.004, checkpoint_every=7, tracker="clearml")
    wait_for(tmp_path / "stopped", 7, process)
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "run the same command again" in said
    assert list((tmp_path / "stopped" / "clearml").rglob("*.zip"))


def test_a_broken_checkpoint_is_passed_over(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "whole")
    tiny.run(tmp_path / "broken")
    state = tmp_path / "broken" / "checkpoints" / "step_0000040" / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"step_0000040: passed over"):
        result = tiny.run(tmp_path / "broken")
    assert result.resumed_from == 35
    assert same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tiny: ModuleType, tmp_path: Path) -> None:
    options = {"max_steps": 12, "dropout": 0.0}
    tiny.run(tmp_path / "one", **options)
    words = [f"{k}={json.dumps(v)}" for k, v in options.items()]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port=0",
        "--rdzv_backend=c10d",
        "--rdzv_endpoint=localhost:0",
    ]
    done = subprocess.run([*torchrun, str(TINY), str(tmp_path / "two"), *words], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-6)
    # and what two processes saved, one can go on from
    (tmp_path / "two" / "artifact" / "weights.safetensors").unlink()
    assert tiny.run(tmp_path / "two", **options).resumed_from == 12
