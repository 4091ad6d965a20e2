"""The types that pass between loader, model, objective, engine and deployment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from medmodels.cards import EncoderCard
from medmodels.preprocessing import Preprocessing

Batch = dict[str, Any]
"""A plain dict; keys without a value are absent.

`image` (B, C, *S) float32; `mask` (B, *S) int64; `label` (B, K) float32 with NaN where unknown; `boxes` / `points` lists of
(n, 2·dims) / (n, dims) in index space; `report` list of str; `prior` a nested dict of the same keys or None; `spacing` (B, dims) mm;
`affine` (B, 4, 4) index (z, y, x, 1) to LPS mm; `key` list of (seed, epoch, sample_id, view); `meta` list of dicts (site, vendor, view, days, patient).
"""


@dataclass(frozen=True)
class Features:
    """What a backbone returns.

    Attributes:
        maps: feature maps (B, C_i, *S_i), finest first.
        tokens: (B, N, C), row-major over the patch grid (z slowest, x fastest); the visible ones only, in that order, when a mask was given. None for convolutional nets.
        pooled: (B, C) one vector an image.
    """

    maps: tuple[Tensor, ...]
    tokens: Tensor | None
    pooled: Tensor


@runtime_checkable
class Backbone(Protocol):
    """An encoder in 2D or 3D.

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: channels of each map of `Features.maps`, finest first.
        strides: downsampling of each map along each spatial axis, finest first.
        card: registry name and arguments of this network, and where its weights come from.
    """

    spatial_dims: int
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    card: EncoderCard

    def __call__(self, x: Tensor, *, mask: Tensor | None = None, spacing: Tensor | None = None) -> Features:
        """Encode x (B, C, *S); mask (B, N) bool over the patch grid, True is hidden; spacing (B, dims) mm."""
        ...

    def layer_index(self, name: str) -> int:
        """Depth of a parameter by name, 0 for the stem: the layer of layer-wise learning-rate decay."""
        ...

    def shardable_blocks(self) -> Sequence[nn.Module]:
        """The blocks that FSDP wraps and activation checkpointing recomputes."""
        ...


@dataclass(frozen=True)
class Progress:
    """Where a training run is; every schedule is a pure function of it."""

    step: int
    max_steps: int
    epoch: int = 0

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.step / max(self.max_steps, 1)


@dataclass(frozen=True)
class StepOutput:
    """What one training or validation step returns.

    Attributes:
        loss: () scalar; minimised.
        logs: scalars to log, by name.
        preds: what validation needs, by name; detached tensors with B first.
    """

    loss: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)
    preds: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What training hands to deployment and to the next stage.

    Attributes:
        kind: `encoder`, `segmentation` or `classification`.
        module: maps a preprocessed image (B, C, *S) to logits (B, K, *S) or (B, K); for an encoder, the `Backbone`.
        card: where the weights come from.
        preprocessing: what to do to an image before `module`; the same in training and in deployment.
        classes: names of the logits' channels: a segmentation's begins with `background`.
        calibration: per-class `scale` and `bias` of the logits (Platt) or empty.
        config: how to build `module` anew (constructor arguments by name), plain JSON values.
    """

    kind: str
    module: nn.Module
    card: EncoderCard
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    calibration: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class TrainingTask(Protocol):
    """An `nn.Module` that an engine can train: `forward` is the step, since DDP and FSDP hook only forward."""

    def __call__(self, batch: Batch, progress: Progress) -> StepOutput:
        """Run one step on a batch."""
        ...

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser, with their own `lr` and `weight_decay`."""
        ...

    def after_step(self, progress: Progress) -> None:
        """Called after each optimiser step (EMA teachers, centres)."""
        ...

    def artifact(self) -> Artifact:
        """What this task has learned, to save, export or start from."""
        ...


Gather = Callable[[Tensor], Tensor]
"""Collects a tensor (B, ...) over ranks to (world·B, ...); the identity in a single process."""
