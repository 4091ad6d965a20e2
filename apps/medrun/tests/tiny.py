"""A tiny run: four-feature regression with dropout, noise by torch's generator, and data that need no files.

As a script: `python tiny.py OUT [key=value ...]` trains and prints the loss of every step.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medmodels.cards import EncoderCard
from medmodels.contracts import Artifact, Batch, Progress, StepOutput
from medmodels.preprocessing import Preprocessing

TRUTH = torch.tensor([1.0, -2.0, 0.5, 3.0])


class TinyData:
    """Rows x with label x·TRUTH; the sample follows from its key alone."""

    def __init__(self, count: int = 24, poisoned: str = "", slow_s: float = 0.0) -> None:
        self.sample_ids = tuple(f"s{i:02d}" for i in range(count))
        self.poisoned, self.slow_s = poisoned, slow_s

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, draw: Any) -> dict[str, Any]:
        if self.slow_s:
            time.sleep(self.slow_s)
        seed, epoch, sample_id, _ = draw.key
        x = np.random.default_rng([draw.index, seed, epoch]).normal(size=(1, 4, 1)).astype("float32")
        if sample_id == self.poisoned:
            x[:] = np.nan
        return {"image": x, "label": x.reshape(4)[None].dot(TRUTH.numpy()).astype("float32"), "key": draw.key, "meta": {}}


@dataclass(frozen=True)
class TinyConfig:
    dropout: float = 0.1


class TinyTask(nn.Module):
    """Linear regression; its buffer counts the calls of after_step."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = TinyConfig(dropout)
        self.layer = nn.Linear(4, 1)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.dropout = nn.Dropout(dropout)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        x = batch["image"].flatten(1)
        predicted = self.layer(self.dropout(x))
        loss = (predicted - batch["label"]).square().mean()
        return StepOutput(loss, {"bias": self.layer.bias.detach().mean()}, {"logits": predicted.detach()})

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return [
            {"params": [self.layer.weight], "lr": lr, "weight_decay": weight_decay},
            {"params": [self.layer.bias], "lr": 0.5 * lr, "weight_decay": 0.0},
        ]

    def after_step(self, progress: Progress) -> None:
        self.calls += 1

    def artifact(self) -> Artifact:
        return Artifact(
            kind="encoder",
            module=self.layer,
            card=EncoderCard(arch="tiny"),
            preprocessing=Preprocessing(spatial_dims=2, patch_size=(4, 1)),
        )


def distance(task: Any) -> dict[str, float]:
    """Validation: how far the weights are from the truth; draws from the generators to prove that training does not feel it."""
    torch.rand(3)
    return {"distance": float((task.layer.weight[0] - TRUTH).norm())}


def fit_tracked(out: Path, name: str, tracker: Any) -> Any:
    from medrun import EngineConfig, TrainData, fit

    config = EngineConfig(out=out, name=name, max_steps=2, log_every=1, device="cpu")
    return fit(TinyTask(), TrainData(dataset=TinyData(), batch_size=4), distance, config, tracker=tracker)


def run(
    out: Path, *, slow_s: float = 0.0, batch_size: int = 8, workers: int = 0, dropout: float = 0.1, validate: Any = None, **options: Any
) -> Any:
    from medrun import EngineConfig, TrainData, fit

    settings = {"max_steps": 40, "lr": 0.1, "log_every": 1, "checkpoint_every": 5, "validate_every": 10, "tracker": "none", "device": "cpu"}
    config = EngineConfig(out=out, monitor="distance", mode="min", **(settings | options))
    data = TrainData(dataset=TinyData(slow_s=slow_s), batch_size=batch_size, seed=3, workers=workers)
    return fit(TinyTask(dropout), data, validate or distance, config)


if __name__ == "__main__":
    from medrun.cli import UserError

    arguments = {k: json.loads(v) for k, v in (a.split("=", 1) for a in sys.argv[2:])}
    try:
        result = run(Path(sys.argv[1]), **arguments)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"done {result.step} resumed_from={result.resumed_from}\n")
