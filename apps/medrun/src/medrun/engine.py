"""The one training loop: `fit(task, train, validate, config)`."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from medmodels import save_artifact
from medmodels.contracts import Batch, Progress, TrainingTask
from medrun.checkpoints import check_fingerprint, newest_checkpoint, prune, write_checkpoint, write_weights
from medrun.configs import did_you_mean, to_plain
from medrun.console import Advance, progress
from medrun.data import TrainData, part, to_device
from medrun.engine_config import EngineConfig
from medrun.errors import ConfigError, RunInterruptedError
from medrun.finite import FiniteCheck
from medrun.journal import Journal
from medrun.page import write_page
from medrun.schedules import learning_rate_factor
from medrun.seeding import generator_state, restore_generators, seed_everything
from medrun.signals import StopSignals
from medrun.tracking import open_tracker

Validate = Callable[[TrainingTask], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a run left behind.

    Attributes:
        step: optimiser steps done.
        best: figures of the validation whose weights were kept, with its `step`; empty without validation.
        artifact: folder that `medmodels.read_artifact` reads.
        page: the run's curves.
        metrics: metrics.jsonl.
        resumed_from: step of the checkpoint it went on from, None for a fresh run.
        stopped: `steps` when all were done, `time` when `max_minutes` ended it.
    """

    step: int
    best: Mapping[str, float]
    artifact: Path
    page: Path
    metrics: Path
    resumed_from: int | None
    stopped: Literal["steps", "time"]


def fit(
    task: TrainingTask,
    train: TrainData,
    validate: Validate | None = None,
    config: EngineConfig | None = None,
    *,
    tracker: GeneralTracker | None = None,
) -> FitResult:
    """Train a task, going on from the newest checkpoint in `config.out` if there is one.

    A step takes one batch of `train`. With `accumulate=k` the batch is run in k parts, each weighted by its share of the samples, so that the
    gradient is that of the mean loss over the batch (exact for losses that are means over samples; statistics over a batch, as in contrastive
    losses or batch normalisation, see one part). On CPU a resumed run ends with the same bits as an undisturbed one.

    Args:
        task: an `nn.Module`; its `forward(batch, progress)` is the step. It holds the weights of the artifact afterwards.
        train: the batches.
        validate: takes the task in evaluation mode and returns figures; called on the main process, and leaves the generators as they were.
        config: options; `EngineConfig(out=..., max_steps=...)`.
        tracker: an open session of `open_tracker`, to share one over several runs; None opens `config.tracker`.

    Returns:
        Where the results lie. `out` holds `artifact/`, `metrics.jsonl`, `training.html` and `checkpoints/`.

    Raises:
        ResumeError: when `out` holds a run of other settings; names the keys.
        NonFiniteLossError: names the samples; the last checkpoint is kept.
        RunInterruptedError: after SIGTERM or SIGINT, when the checkpoint is written.
        ConfigError: when `monitor` is no figure of the validation.
    """
    if config is None:
        raise ValueError("fit needs config=EngineConfig(out=..., max_steps=...)")
    if config.monitor is not None and validate is None:
        raise ConfigError(f"monitor={config.monitor} needs a validation to take the figure from; give validate or monitor=null")
    with ExitStack() as stack:
        live = tracker
        if live is None:
            live = stack.enter_context(open_tracker(config.tracker, config.out, config.project, config.name))
        if live is not None:
            live.start()  # now, since ClearML takes the signals to itself when it starts
        signals = stack.enter_context(StopSignals())
        run = _Run(task, train, validate, config, live, signals)
        stack.callback(run.release)
        result = run.run()
        if signals.received:  # it came after the last step: the results are whole, but whoever sent it wants an end
            raise RunInterruptedError(result.step, signals.received, str(result.artifact))
        return result


class _Run:
    """One call of `fit`: the state that a checkpoint holds, and the steps that change it."""

    def __init__(
        self,
        task: TrainingTask,
        train: TrainData,
        validate: Validate | None,
        config: EngineConfig,
        tracker: GeneralTracker | None,
        signals: StopSignals,
    ) -> None:
        self.task, self.train, self.validate, self.config, self.signals = task, train, validate, config, signals
        self.accelerator = _accelerator(config, tracker)
        self.device = self.accelerator.device
        self.module = cast(nn.Module, task)
        self.module.to(self.device)
        groups = task.param_groups(config.lr, config.weight_decay)
        self.peaks = [float(group.get("lr", config.lr)) for group in groups]
        plain = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, betas=config.betas)
        self.model, self.optimizer = self.accelerator.prepare(self.module, plain)
        self.parameters = [p for group in plain.param_groups for p in group["params"]]
        self.root = config.out / "checkpoints"
        self.step = 0
        self.best: dict[str, Any] = {}
        self.window: dict[str, float | Tensor] = {}
        self.minutes = 0.0
        self.began = self.logged_at = time.monotonic()
        self.logged_step = 0
        self.resumed_from: int | None = None
        self.check_finite = FiniteCheck()

    def run(self) -> FitResult:
        config, accelerator = self.config, self.accelerator
        if accelerator.is_main_process:
            config.out.mkdir(parents=True, exist_ok=True)
        accelerator.wait_for_everyone()
        fingerprint = self._fingerprint()
        found = newest_checkpoint(self.root)
        if found is not None:
            check_fingerprint(found, fingerprint, config.out)
        self.step = found.step if found else 0
        batches = self.train.batches(rank=accelerator.process_index, world_size=accelerator.num_processes, start=self.step)
        if self.step < config.max_steps:
            # A loader draws from torch's generator when its first batch is asked for: ask before the generators get their state.
            batches = chain([next(batches)], batches)
        seed_everything(config.seed + accelerator.process_index)
        if found is not None:
            self._restore(found.load())
            self.resumed_from = found.step
        self.logged_step = self.step
        if accelerator.is_main_process:
            self.journal = Journal(config.out / "metrics.jsonl", self.step)
        accelerator.init_trackers(config.project, config=_flat(config.identity()))
        stopped: Literal["steps", "time"] = "steps"
        self.module.train()
        with progress(config.max_steps, config.name, start=self.step) as advance:
            while self.step < config.max_steps:
                if self._should_stop() == "time":
                    stopped = "time"
                    break
                self._train_step(next(batches))
                self._after_step(advance, fingerprint)
        if stopped == "time" and self.validate is not None and self.step and self.step != self.best.get("seen_step"):
            self._validate()
        return self._finish(fingerprint, stopped)

    def release(self) -> None:
        """Take Accelerate's wrappers off the task, so that it runs as before outside."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        vars(self.module).pop("forward", None)  # it puts the method back on the instance, where a deep copy would keep calling the original
        self.accelerator.free_memory()

    def _train_step(self, batch: Batch) -> None:
        config, accelerator = self.config, self.accelerator
        now = Progress(self.step, config.max_steps, self.train.epoch(self.step))
        factor = learning_rate_factor(now, config.schedule, config.warmup, config.final_lr)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        batch = to_device(batch, self.device)
        if self.train.augment is not None:
            with torch.no_grad():
                batch = self.train.augment(batch)
        ids = [str(key[2]) for key in batch["key"]]
        count = len(ids)
        parts = min(config.accumulate, count)
        bounds = [count * i // parts for i in range(parts + 1)]
        for i, (start, stop) in enumerate(pairwise(bounds)):
            share = (stop - start) / count
            with nullcontext() if i == parts - 1 else accelerator.no_sync(self.model):
                output = self.model(batch if parts == 1 else part(batch, start, stop), now)
                self.check_finite(output.loss, self.step, ids[start:stop], "loss")
                accelerator.backward(output.loss * share)
            self._add("loss", output.loss.detach() * share)
            for name, value in output.logs.items():
                self._add(name, (value.detach() if isinstance(value, Tensor) else value) * share)
        if config.clip_norm is not None:
            norm = accelerator.clip_grad_norm_(self.parameters, config.clip_norm)
            if config.precision != "fp16":  # there the scaler skips such a step and goes on
                self.check_finite(norm, self.step, ids, "norm of the gradient")
                self._add("grad_norm", norm.detach())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.task.after_step(Progress(self.step, config.max_steps, self.train.epoch(self.step)))

    def _after_step(self, advance: Advance, fingerprint: Mapping[str, Any]) -> None:
        config, last = self.config, self.step == self.config.max_steps
        note = ""
        if self.step % config.log_every == 0 or last:
            note = f"loss {self._log_train():.4g}"
        if self.validate is not None and (last or (config.validate_every and self.step % config.validate_every == 0)):
            self.check_finite.settle()
            self._validate()
        advance(1, note)
        if self._should_stop() == "signal":
            folder = self._checkpoint(fingerprint)
            raise RunInterruptedError(self.step, self.signals.received or 15, str(folder))
        if last or self.step % config.checkpoint_every == 0:
            self._checkpoint(fingerprint)

    def _add(self, name: str, value: float | Tensor) -> None:
        # float64, so that a sum survives the way through a checkpoint bit by bit
        term = value.double() if isinstance(value, Tensor) else value
        self.window[name] = self.window.get(name, 0.0) + term

    def _log_train(self) -> float:
        """Write the means since the last line, over all ranks; returns the loss."""
        steps = self.step % self.config.log_every or self.config.log_every
        sums = torch.stack([torch.as_tensor(v, dtype=torch.float64, device=self.device) for v in self.window.values()])
        means = self.accelerator.reduce(sums, reduction="mean")
        figures = {f"train/{name}": value / steps for name, value in zip(self.window, means.tolist(), strict=True)}
        self.window.clear()
        now = time.monotonic()
        rate = (self.step - self.logged_step) * self.train.batch_size / max(now - self.logged_at, 1e-9)
        self.logged_at, self.logged_step = now, self.step
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        self._write({**figures, "train/lr": lr, "train/samples_per_s": round(rate, 3), "seconds": round(60 * self._elapsed(), 3)})
        return float(figures["train/loss"])

    def _write(self, figures: Mapping[str, float]) -> None:
        if self.accelerator.is_main_process:
            self.journal.append({"step": self.step, "epoch": self.train.epoch(self.step), **figures})
        self.accelerator.log({f"{self.config.name}/{k}": float(v) for k, v in figures.items() if k != "seconds"}, step=self.step)

    def _validate(self) -> None:
        """Take the figures on the main process, tell them to all, and keep the weights if they are the best so far."""
        assert self.validate is not None
        figures: dict[str, float] = {}
        if self.accelerator.is_main_process:
            before = generator_state()
            self.module.eval()
            with torch.no_grad():
                figures = {str(k): float(v) for k, v in self.validate(self.task).items()}
            self.module.train()
            restore_generators(before)
        box = [figures]
        broadcast_object_list(box)
        figures = box[0]
        self._write({f"val/{name}": value for name, value in figures.items()})
        monitor = self.config.monitor
        self.best["seen_step"] = self.step
        if monitor is None:
            self.best |= {"figures": figures, "step": self.step}
            return
        if monitor not in figures:
            raise ConfigError(
                f"monitor={monitor} is no figure of the validation, which gave {', '.join(figures)}{did_you_mean(monitor, figures)}"
            )
        value = figures[monitor]
        old = self.best.get("value", -math.inf if self.config.mode == "max" else math.inf)
        if math.isfinite(value) and (value > old if self.config.mode == "max" else value < old):
            self.best |= {"value": value, "figures": figures, "step": self.step, "file": f"best_{self.step:07d}.pt"}
            if self.accelerator.is_main_process:
                write_weights(self.root / self.best["file"], self.module.state_dict())

    def _should_stop(self) -> Literal["", "signal", "time"]:
        """Whether a signal came or the time is up; several ranks agree at the steps that log, so that all stop at the same one."""
        minutes = self.config.max_minutes
        code = 2 if self.signals.received else 1 if minutes is not None and self._elapsed() >= minutes else 0
        if self.accelerator.num_processes > 1:
            if self.step % self.config.log_every:
                return ""
            codes = torch.tensor([code], device=self.device)
            code = int(self.accelerator.gather(codes).max())
        return "signal" if code == 2 else "time" if code == 1 else ""

    def _elapsed(self) -> float:
        return self.minutes + (time.monotonic() - self.began) / 60

    def _checkpoint(self, fingerprint: Mapping[str, Any]) -> Path:
        self.check_finite.settle()
        generators = gather_object([generator_state()])
        folder = self.root / f"step_{self.step:07d}"
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "task": self.module.state_dict(),
                "optimizer": self.optimizer.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
                "generators": generators,
                "sampler": {"position": self.step},
                "best": self.best,
                "window": {name: float(value) for name, value in self.window.items()},
                "minutes": self._elapsed(),
            }
            write_checkpoint(self.root, self.step, state, fingerprint, self.best.get("file"))
            prune(self.root, self.config.keep)
            self._page()
        self.accelerator.wait_for_everyone()
        return folder

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["task"])
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.best, self.window, self.minutes = dict(state["best"]), dict(state["window"]), float(state["minutes"])
        rank = self.accelerator.process_index
        if rank < len(state["generators"]):
            restore_generators(state["generators"][rank])

    def _finish(self, fingerprint: Mapping[str, Any], stopped: Literal["steps", "time"]) -> FitResult:
        self.check_finite.settle()
        if stopped == "time" and self.step != self.resumed_from:
            self._checkpoint(fingerprint)
        file = self.best.get("file")
        if file is not None:
            self.module.load_state_dict(torch.load(self.root / file, map_location="cpu", weights_only=True))
        self.module.eval()
        artifact, page = self.config.out / "artifact", self.config.out / "training.html"
        if self.accelerator.is_main_process:
            save_artifact(self.task.artifact(), artifact)
            self._page()
        self.accelerator.wait_for_everyone()
        figures = dict(self.best.get("figures", {}))
        return FitResult(
            step=self.step,
            best=figures | {"step": self.best["step"]} if figures else {},
            artifact=artifact,
            page=page,
            metrics=self.config.out / "metrics.jsonl",
            resumed_from=self.resumed_from,
            stopped=stopped,
        )

    def _page(self) -> None:
        best = self.best.get("figures", {})
        facts = {
            "step": f"{self.step} of {self.config.max_steps}",
            "minutes": f"{self._elapsed():.2f}",
            **({"best at step": self.best["step"]} if best else {}),
            **{f"best {name}": f"{value:.4g}" for name, value in best.items()},
            **self.config.identity(),
        }
        write_page(self.config.out / "training.html", self.config.name, self.journal.lines, facts)

    def _fingerprint(self) -> dict[str, Any]:
        shapes = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in self.module.state_dict().items()]
        options = getattr(self.task, "config", None)
        task = {
            "kind": type(self.task).__qualname__,
            "weights": hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16],
            "trained": sum(p.numel() for p in self.parameters if p.requires_grad),
            "config": to_plain(options) if is_dataclass(options) and fields(options) else {},
        }
        return _flat({"engine": self.config.identity(), "data": self.train.identity(), "task": task})


def _accelerator(config: EngineConfig, tracker: GeneralTracker | None) -> Accelerator:
    AcceleratorState._reset_state()  # each run of a process chooses its own precision
    cpu = config.device == "cpu" or not torch.cuda.is_available()
    return Accelerator(
        cpu=cpu,
        mixed_precision={"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[config.precision],
        log_with=None if tracker is None else [tracker],
        kwargs_handlers=[
            # A task may leave parameters out of a step (a frozen phase, a head that this batch has no labels for).
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),  # the others wait while one validates
        ],
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
