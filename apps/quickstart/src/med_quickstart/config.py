"""The settings of `med-quickstart`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medrun.cli import choice, option


@dataclass(frozen=True, kw_only=True)
class PhantomSource:
    """Synthetic patients, made on the spot."""

    patients: int = option(30, "how many synthetic patients to make")
    spacing_mm: float = option(6.0, "voxel of their CT; coarse, so that two cores train in minutes")

    def __post_init__(self) -> None:
        if not 1 <= self.spacing_mm <= 10:
            raise ValueError(f"source.spacing_mm must lie between 1 and 10, got {self.spacing_mm}")
        if self.patients < 6:
            raise ValueError(
                f"source.patients must be at least 6, so that training, validation and test each have some; got {self.patients}"
            )


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Your images: `images/` with `labels/` (NIfTI, or a DICOM folder a case), or films with a CSV of findings."""

    path: Path = option(help="folder with images/ and labels/, or with films and a CSV")
    table: str = option("", "CSV to use where there are several, e.g. labels_64.csv; empty takes the one nearest in size to recipe.size")
    spacing: tuple[float, ...] | None = option(None, "mm between rows and columns of films, e.g. [0.143,0.143], where the CSV does not say")
    strict: bool = option(False, "stop at the first broken file instead of setting it aside")


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe:
    """Pretrain by masked autoencoding, then learn to outline the labelled structures in volumes."""

    model: str = option("resunet_small", "encoder, see medmodels.list_models()")
    classes: tuple[str, ...] = option((), "names of the labels 0, 1, 2, …; empty reads dataset.json, else class_1, class_2, …")
    pretrain_steps: int = option(40, "optimiser steps without labels; 0 starts from random weights")
    steps: int | None = option(None, "optimiser steps with labels; null plans them: few for the phantom, more for real images")
    batch_size: int | None = option(None, "crops a step; null plans it")
    lr: float | None = option(None, "peak learning rate; null plans it")
    patch_size: tuple[int, ...] | None = option(None, "crop in voxels, z,y,x; null plans it from the volumes")
    tolerance_mm: float = option(1.0, "distance at which two surfaces agree, for the normalised surface distance")

    def __post_init__(self) -> None:
        if self.pretrain_steps < 0 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"steps must be at least 1 and pretrain_steps at least 0, got {self.steps} and {self.pretrain_steps}")


@dataclass(frozen=True, kw_only=True)
class FilmRecipe:
    """Pretrain by masked autoencoding, then learn the findings on radiographs."""

    model: str = option("resunet_small", "encoder, see medmodels.list_models()")
    size: int = option(64, "side of the square film in pixels")
    min_patients: int = option(20, "findings seen in fewer patients are left out, and listed")
    pretrain_steps: int = option(150, "optimiser steps without labels; 0 starts from random weights")
    steps: int = option(300, "optimiser steps with labels")
    batch_size: int = option(32, "films a step")
    lr: float = option(1e-3, "peak learning rate")

    def __post_init__(self) -> None:
        if self.size % 16 or self.size < 32:
            raise ValueError(f"recipe.size must be a multiple of 16 of at least 32, got {self.size}")
        if self.pretrain_steps < 0 or self.steps < 1:
            raise ValueError(f"steps must be at least 1 and pretrain_steps at least 0, got {self.steps} and {self.pretrain_steps}")


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """Everything that one run depends on."""

    source: PhantomSource | FolderSource = choice(
        {"phantom": PhantomSource, "folder": FolderSource}, "phantom", "where the images come from"
    )
    recipe: SegmentationRecipe | FilmRecipe = choice(
        {"segmentation": SegmentationRecipe, "xray_classification": FilmRecipe}, "segmentation", "what to learn"
    )
    out: Path | None = option(None, "run folder; null: runs/quickstart-SOURCE. The same folder goes on where it was stopped")
    seed: int = option(0, "every random draw follows from it")
    fresh: bool = option(False, "throw away what the run folder holds and start anew")
    test_share: float = option(0.2, "share of patients held out for the final figures")
    val_share: float = option(0.1, "share of patients that chooses the best weights and calibrates")
    workers: int = option(0, "processes that load data; 0 loads in the main one")
    intervals: int = option(1000, "bootstrap samples behind each interval")
    tracker: Literal["clearml", "tensorboard", "none"] = option(
        "clearml", "where curves go; ClearML works offline where no server is configured"
    )

    def __post_init__(self) -> None:
        if not (0 < self.test_share < 1 and 0 < self.val_share < 1 and self.test_share + self.val_share < 1):
            raise ValueError(
                f"test_share and val_share must be positive and leave something to train on, got {self.test_share} and {self.val_share}"
            )
        if self.out is None:
            object.__setattr__(self, "out", Path("runs") / f"quickstart-{self.source_name}")

    @property
    def source_name(self) -> str:
        """What the images are called in names of folders and runs."""
        return "phantom" if isinstance(self.source, PhantomSource) else self.source.path.resolve().name

    @property
    def root(self) -> Path:
        """The run folder, absolute."""
        assert self.out is not None  # __post_init__ saw to it
        return self.out.resolve()
