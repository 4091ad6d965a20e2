"""Decisions that follow from the data, in a plan that can be read: `plan.json` in the run folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from med_quickstart.config import FilmRecipe, SegmentationRecipe
from medio import ShardDataset
from medmodels import Intensity, Preprocessing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train on this dataset.

    Attributes:
        task: `segmentation` or `classification`.
        classes: of the masks, background first; or the findings.
        preprocessing: from a stored image to the network.
        model: encoder.
        pretrain_steps: steps without labels.
        steps: steps with labels.
        batch_size: crops or films a step.
        lr: peak learning rate.
        why: the reason of each planned value.
    """

    task: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    model: str
    pretrain_steps: int
    steps: int
    batch_size: int
    lr: float
    why: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "preprocessing": self.preprocessing.to_dict()}


def plan_segmentation(
    dataset: ShardDataset, classes: Sequence[str], spacing: Sequence[float] | None, recipe: SegmentationRecipe, *, phantom: bool
) -> Plan:
    """Plan a segmentation from the shapes and the unit of the training volumes."""
    rows = dataset.table.to_pylist()
    median = np.median([shape_of(row, "image")[1:] for row in rows], axis=0)
    patch = recipe.patch_size or _patch_within_budget([int(n) for n in median])
    unit = rows[0]["unit"]
    intensity = Intensity(kind="window", low=-1000.0, high=600.0) if unit == "HU" else Intensity(kind="zscore")
    steps = recipe.steps or (_PHANTOM_STEPS if phantom else _REAL_STEPS)
    why = {
        "patch_size": "given"
        if recipe.patch_size
        else f"median volume {[int(n) for n in median]} to multiples of 8, within {_VOXELS} voxels for two cores",
        "intensity": "CT: lung to bone, in HU"
        if unit == "HU"
        else "no calibrated unit: each volume by its own mean and standard deviation",
        "spacing": "all volumes agree" if spacing is None else "median of the volumes",
        "steps": "given"
        if recipe.steps
        else ("enough for the phantom" if phantom else "about eight minutes on two cores for volumes of 36x50x35"),
    }
    preprocessing = Preprocessing(
        spatial_dims=3, patch_size=patch, spacing_mm=None if spacing is None else tuple(spacing), axes="SPL", intensity=intensity
    )
    return Plan(
        task="segmentation",
        classes=tuple(classes),
        preprocessing=preprocessing,
        model=recipe.model,
        pretrain_steps=recipe.pretrain_steps,
        steps=steps,
        batch_size=recipe.batch_size or 2,
        lr=recipe.lr or (_PHANTOM_LR if phantom else _REAL_LR),
        why=why,
    )


def plan_films(findings: Sequence[str], recipe: FilmRecipe) -> Plan:
    """Plan a classification of films."""
    preprocessing = Preprocessing(
        spatial_dims=2, patch_size=(recipe.size, recipe.size), intensity=Intensity(kind="percentile"), whole_image=True
    )
    return Plan(
        task="classification",
        classes=tuple(findings),
        preprocessing=preprocessing,
        model=recipe.model,
        pretrain_steps=recipe.pretrain_steps,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        why={
            "intensity": "films have no calibrated unit: each by its own 0.5 and 99.5 percentiles",
            "classes": "findings seen in enough patients",
        },
    )


def shape_of(row: dict[str, Any], name: str) -> list[int]:
    """Stored shape of an array of an index row."""
    shape: list[int] = next(array["shape"] for array in row["arrays"] if array["name"] == name)
    return shape


def _patch_within_budget(size: Sequence[int]) -> tuple[int, ...]:
    """The volume's size rounded up to multiples of 8, its longest side cut until a crop fits the budget."""
    patch = [max(16, -(-n // 8) * 8) for n in size]
    while prod(patch) > _VOXELS:
        patch[patch.index(max(patch))] -= 8
    return tuple(patch)


_VOXELS = 92_000
_PHANTOM_STEPS, _REAL_STEPS = 200, 500
_PHANTOM_LR, _REAL_LR = 5e-3, 2e-3
