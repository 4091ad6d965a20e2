"""Settings of med-finetune."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrun.cli import choice, option
from medrun.engine_config import RunOptions
from medrun.input_options import InputOptions


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Each voxel gets one of several classes."""

    classes: tuple[str, ...] | None = option(
        None, "names of the mask's values 0, 1, ..., e.g. [background,lung]; null numbers those of the training masks"
    )
    dice_weight: float = option(1.0, "weight of the soft Dice term")
    ce_weight: float = option(1.0, "weight of the cross entropy")
    batch_dice: bool = option(False, "sum overlaps over the batch before the ratio; for structures that many crops lack")
    layer_decay: float = option(1.0, "learning rate of each encoder layer relative to the next deeper one")
    overlap: float = option(0.5, "overlap of neighbouring windows at prediction")
    tolerance_mm: float = option(1.0, "of the surface Dice (NSD)")


@dataclass(frozen=True, kw_only=True)
class Classification:
    """An image has any number of several findings."""

    labels: tuple[str, ...] | None = option(None, "findings to learn; null takes all of the dataset")
    layer_decay: float = option(1.0, "learning rate of each encoder layer relative to the next deeper one")
    positive_weight: tuple[float, ...] | None = option(None, "factor of the positive term of each label")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of med-finetune."""

    data: Path = option(help="folder of shards, as med-ingest builds it, with splits train and val, and test for the final figures")
    out: Path = option(Path("runs/finetune"), "run folder")
    task: Segmentation | Classification = choice(
        {"segmentation": Segmentation, "classification": Classification}, "segmentation", "what to learn"
    )
    encoder: Path | None = option(None, "folder of a pretrained encoder (OUT/artifact of med-pretrain); null starts from random weights")
    model: str | None = option(
        None, "encoder: resunet_tiny, resunet_small, vit_small, ...; null takes the pretrained one, else resunet_small"
    )
    model_args: Mapping[str, Any] | None = option(None, "its own arguments, e.g. {patch_size:[8,8,8]}")
    steps: int = option(1000, "optimiser steps")
    batch_size: int = option(4, "samples a step, over all processes")
    lr: float = option(1e-3, "peak learning rate")
    seed: int = option(0, "of weights, order, crops and augmentation")
    workers: int = option(0, "loading processes")
    val_cases: int | None = option(None, "cases of the split val that choose the best weights; null takes all")
    samples: int = option(1000, "bootstrap replicates of the final figures")
    input: InputOptions = option(InputOptions(), "what goes into the network")
    run: RunOptions = option(RunOptions(validate_every=100), "how the run goes")

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed and workers must not be negative, got {self.seed} and {self.workers}")
        if self.val_cases is not None and self.val_cases < 1:
            raise ValueError(f"val_cases must be at least 1 or null, got {self.val_cases}")
