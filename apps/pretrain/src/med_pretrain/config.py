"""Settings of med-pretrain."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrun.cli import choice, option
from medrun.engine_config import RunOptions
from medrun.input_options import InputOptions


@dataclass(frozen=True, kw_only=True)
class Mae:
    """Masked autoencoder."""

    mask_ratio: float = option(0.75, "share of patches hidden")
    normalize_target: bool = option(True, "predict each patch in units of its own mean and spread")
    decoder_channels: int = option(256, "width of the decoder of a ViT")
    decoder_depth: int = option(4, "blocks of that decoder")
    decoder_heads: int = option(8, "attention heads of that decoder")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of med-pretrain."""

    data: Path = option(help="folder of shards, as med-ingest builds it")
    out: Path = option(Path("runs/pretrain"), "run folder")
    split: str | None = option("train", "samples to learn from; null takes all")
    objective: Mae = choice({"mae": Mae}, "mae", "how to learn without labels")
    model: str = option("resunet_small", "encoder: resunet_tiny, resunet_small, resunet_base, vit_tiny, vit_small, vit_base, ...")
    model_args: Mapping[str, Any] | None = option(None, "its own arguments, e.g. {patch_size:[8,8,8]}")
    steps: int = option(2000, "optimiser steps")
    batch_size: int = option(8, "samples a step, over all processes")
    lr: float = option(1e-3, "peak learning rate")
    seed: int = option(0, "of weights, order, crops, masks and augmentation")
    workers: int = option(0, "loading processes")
    input: InputOptions = option(InputOptions(augment="geometry"), "what goes into the network")
    run: RunOptions = option(RunOptions(), "how the run goes")

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed and workers must not be negative, got {self.seed} and {self.workers}")
