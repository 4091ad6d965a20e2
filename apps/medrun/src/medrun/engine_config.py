"""Options of the engine."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from medrun.configs import option, to_plain

# What a run may change between a checkpoint and its resume: where and how often it writes, and when it stops early.
_FREE = {"out", "name", "project", "tracker", "device", "log_every", "checkpoint_every", "keep", "max_minutes"}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run goes, whatever it learns: what an experiment's command line offers as `run.*`."""

    weight_decay: float = option(0.05, "AdamW's decoupled decay")
    betas: tuple[float, float] = option((0.9, 0.999), "AdamW's moments")
    warmup: float = option(0.05, "share of the run in which the learning rate rises")
    schedule: Literal["cosine", "linear", "constant"] = option("cosine", "how the learning rate falls after the warm-up")
    final_lr: float = option(0.0, "share of the peak learning rate that the last step comes down to")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "mixed precision")
    accumulate: int = option(1, "parts that each batch is run in, to save memory; the step's gradient is the whole batch's")
    clip_norm: float | None = option(1.0, "largest norm of the gradient; null clips nothing")
    log_every: int = option(10, "steps between lines of metrics.jsonl")
    checkpoint_every: int = option(200, "steps between checkpoints")
    keep: int = option(2, "newest checkpoints that stay")
    validate_every: int | None = option(None, "steps between validations; null validates at the end only")
    max_minutes: float | None = option(None, "stop cleanly after this time, with a result; null runs all steps")
    tracker: str = option("clearml", "where figures go beside metrics.jsonl: clearml, none, tensorboard, wandb, ...")
    project: str = option("medstack", "project in the tracker")
    device: Literal["auto", "cpu"] = option("auto", "auto takes a GPU where there is one")

    def __post_init__(self) -> None:
        for name in ("accumulate", "log_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.validate_every is not None and self.validate_every < 1:
            raise ValueError(f"validate_every must be at least 1 or null, got {self.validate_every}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the run, from 0 to below 1, got {self.warmup}")
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr is a share of lr, from 0 to 1, got {self.final_lr}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be positive or null, got {self.clip_norm}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ValueError(f"max_minutes must be positive or null, got {self.max_minutes}")
        _check_choice("schedule", self.schedule, "cosine", "linear", "constant")
        _check_choice("precision", self.precision, "fp32", "bf16", "fp16")
        _check_choice("device", self.device, "auto", "cpu")


@dataclass(frozen=True, kw_only=True)
class EngineConfig(RunOptions):
    """Options of `fit`; each has its meaning beside it."""

    out: Path = option(help="run folder")
    max_steps: int = option(help="optimiser steps of the run; the learning rate ends there")
    name: str = option("train", "name of the run in progress, page and tracker")
    lr: float = option(1e-3, "peak learning rate")
    seed: int = option(0, "seed of dropout and the like")
    monitor: str | None = option(None, "figure of the validation that chooses the best weights; null takes the last ones")
    mode: Literal["max", "min"] = option("max", "whether more or less of it is better")

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        _check_choice("mode", self.mode, "max", "min")

    @classmethod
    def of(cls, options: RunOptions, **more: Any) -> "EngineConfig":
        """Join the options of a command line with what the experiment decides: `out`, `max_steps`, `name`, ..."""
        return cls(**{item.name: getattr(options, item.name) for item in fields(options)}, **more)

    def identity(self) -> dict[str, Any]:
        """Options that must be equal for a run to resume."""
        return {item.name: to_plain(getattr(self, item.name)) for item in fields(self) if item.name not in _FREE}


def _check_choice(name: str, value: str, *known: str) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
