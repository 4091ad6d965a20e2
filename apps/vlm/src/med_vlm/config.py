"""The settings of `med-vlm`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medrun.cli import option


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Size of the language model, a Llama with random weights."""

    hidden_size: int = option(256, "channels of a token, a multiple of heads")
    layers: int = option(4, "transformer layers")
    heads: int = option(4, "attention heads")
    vocab_size: int = option(1024, "largest vocabulary that is learned from the training reports; at least 260")

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.layers, self.heads) < 1 or self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be a multiple of 2 x heads, got {self.hidden_size} with {self.heads} heads")
        if self.vocab_size < 260:
            raise ValueError(f"vocab_size must be at least 260 (256 bytes and 4 special tokens), got {self.vocab_size}")


@dataclass(frozen=True, kw_only=True)
class VlmConfig:
    """Everything that one run depends on."""

    data: Path = option(help="folder of shards whose samples carry a report")
    out: Path = option(Path("runs/vlm"), "run folder; the same folder goes on where it was stopped")
    encoder: Path | None = option(None, "artifact to start the image encoder from, e.g. of med-pretrain; null starts from random weights")
    model: str = option("vit_tiny", "image encoder where `encoder` is null, see medmodels.list_models()")
    patch_size: int | None = option(None, "side of a ViT's patch in pixels; null takes the model's own")
    depth: int | None = option(None, "blocks of a ViT; null takes the model's own")
    intensity: Literal["percentile", "zscore"] = option("percentile", "how stored values are normalised; an encoder brings its own")
    decoder: DecoderConfig = option(DecoderConfig(), "the language model")
    prompt: str = option("\nReport: ", "text between the image and the report")
    max_report_tokens: int = option(256, "longer reports are cut in training, and generation stops there")
    steps: int = option(1000, "optimiser steps")
    batch_size: int = option(8, "pairs a step")
    lr: float = option(1e-3, "peak learning rate")
    encoder_lr_scale: float = option(1.0, "learning rate of the encoder over that of the rest; 0 freezes it")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "mixed precision")
    checkpoint_every: int = option(200, "steps between checkpoints")
    validate_every: int | None = option(None, "steps between validations on split `val`; null validates at the end")
    test_split: str = option("test", "split of the final figures")
    reports: int | None = option(None, "how many reports to write for the figures; null writes all of the split")
    intervals: int = option(1000, "bootstrap samples behind each interval")
    seed: int = option(0, "every random draw follows from it")
    workers: int = option(0, "processes that load data; 0 loads in the main one")
    device: Literal["auto", "cpu"] = option("auto", "auto takes a GPU where there is one")
    tracker: Literal["clearml", "tensorboard", "none"] = option(
        "clearml", "where curves go; ClearML works offline where no server is configured"
    )

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_report_tokens", "intervals"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.reports is not None and self.reports < 1:
            raise ValueError(f"reports must be at least 1 or null, got {self.reports}")
