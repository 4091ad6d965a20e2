"""From a folder of shards to preprocessing, training data and whole images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medaug import Affine, Compose, Flip, Gamma, Noise
from medaug.presets import light, nnunet
from medio import Crop, Image, ShardDataset, balance
from medio.geometry import axis_letters
from medmodels.contracts import Batch
from medmodels.preprocessing import Intensity, Preprocessing
from medrun.data import Normalize, TrainData
from medrun.errors import UserError
from medrun.input_options import InputOptions


@dataclass(frozen=True)
class Facts:
    """What all samples of a dataset have in common.

    Attributes:
        spatial_dims: 2 or 3.
        channels: of the image.
        size: of the images, None where they differ.
        spacing_mm: None where it differs by more than 1 %.
        axes: where the array axes run to, None for films.
        has_masks: whether every sample has one.
    """

    spatial_dims: int
    channels: int
    size: tuple[int, ...] | None
    spacing_mm: tuple[float, ...] | None
    axes: str | None
    has_masks: bool


def open_shards(root: Path, split: str | None = None, **options: Any) -> ShardDataset:
    """Open a dataset.

    Raises:
        FileNotFoundError: for a folder that does not exist.
        medio.MissingFileError: for a folder without shards, or without the split.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give data=DIR with shards that med-ingest built")
    return ShardDataset(root, split=split, **options)


def has_split(root: Path, split: str) -> bool:
    """Whether a dataset holds samples of a split."""
    return split in set(open_shards(root).table["split"].to_pylist())


def facts_of(dataset: ShardDataset) -> Facts:
    """Look at the index, at no image.

    Raises:
        UserError: for a dataset that mixes dimensions or channels, or volumes of different axes; names two samples.
    """
    rows = dataset.table.select(["sample_id", "spacing", "affine", "arrays"]).to_pylist()
    shapes = [next(tuple(a["shape"]) for a in row["arrays"] if a["name"] == "image") for row in rows]
    axes = [None if row["affine"] is None else axis_letters(np.array(row["affine"], dtype=np.float64).reshape(4, 4)) for row in rows]
    for what, values in (("dimensions", [len(s) for s in shapes]), ("channels", [s[0] for s in shapes]), ("axes", axes)):
        for row, value in zip(rows, values, strict=True):
            if value != values[0]:
                raise UserError(
                    f"{dataset.root}: {rows[0]['sample_id']} has {what} {values[0]}, {row['sample_id']} has {value}; build one dataset for each"
                )
    spacings = np.array([row["spacing"] for row in rows], dtype=np.float64)
    alike = bool(np.all(np.abs(spacings / spacings[0] - 1) < 0.01))
    return Facts(
        spatial_dims=len(shapes[0]) - 1,
        channels=shapes[0][0],
        size=shapes[0][1:] if len(set(shapes)) == 1 else None,
        spacing_mm=tuple(float(s) for s in np.median(spacings, axis=0)) if alike else None,
        axes=axes[0],
        has_masks=all(any(a["name"] == "mask" for a in row["arrays"]) for row in rows),
    )


def preprocessing_of(facts: Facts, options: InputOptions, *, whole_image: bool = False, encoder: Intensity | None = None) -> Preprocessing:
    """Decide what is done to images before the network.

    Args:
        facts: of the training samples.
        options: from the command line.
        whole_image: the network sees the whole image at once.
        encoder: intensity of the encoder that training starts from.

    Raises:
        UserError: for a patch of the wrong dimensions, or whole images of different sizes.
    """
    dims = facts.spatial_dims
    patch = options.patch_size
    if whole_image:
        if facts.size is None:
            raise UserError("the stored images differ in size, and this task sees whole images; build the shards with one size")
        if patch is not None and patch != facts.size:
            raise UserError(
                f"input.patch_size={list(patch)}, but the stored images are {list(facts.size)}; build the shards with that size"
            )
        patch = facts.size
    elif patch is None:
        patch = (64,) * dims
    if len(patch) != dims:
        raise UserError(f"input.patch_size={list(patch)} has {len(patch)} numbers, the images have {dims} axes")
    if options.intensity is None and options.window is None:
        intensity = encoder or Intensity()
    elif options.window is not None:
        intensity = Intensity(kind="window", low=options.window[0], high=options.window[1])
    else:
        intensity = Intensity(kind=options.intensity or "zscore")
    return Preprocessing(
        spatial_dims=dims, patch_size=patch, spacing_mm=facts.spacing_mm, axes=facts.axes, intensity=intensity, whole_image=whole_image
    )


def augmentation_of(options: InputOptions, dims: int) -> Callable[[Batch], Batch] | None:
    """Choose the augmentation of each batch of 2 or 3 `dims`; in degrees and mm, keyed by the sample. Images are normalised before."""
    if options.augment == "none" and not options.flip:
        return None
    if options.augment == "light":
        return light(mirror_axes=options.flip).batch
    if options.augment == "nnunet":
        return nnunet(dims=dims, mirror_axes=options.flip).batch
    transforms: list[Any] = [Flip(axes=options.flip)] if options.flip else []
    if options.augment != "none":
        transforms.append(Affine(rotation_deg=12.0, scale=(0.88, 1.14), translation_mm=4.0))
    if options.augment == "standard":
        transforms += [Gamma(range=(0.8, 1.25), p=0.5), Noise(std=(0.0, 0.1), p=0.5)]
    return Compose(transforms).batch


def train_data(
    root: Path,
    split: str | None,
    preprocessing: Preprocessing,
    options: InputOptions,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    keys: Sequence[str] = ("image", "mask"),
    labels: Sequence[str] | None = None,
) -> TrainData:
    """Open the training samples, cut and normalised.

    Raises:
        UserError: for a column to balance by that the samples lack.
    """
    foreground = options.foreground if "mask" in keys else 0.0
    crop = None if preprocessing.whole_image else Crop(preprocessing.patch_size, foreground=foreground)
    dataset = open_shards(root, split, keys=keys, labels=labels, crop=crop, transform=Normalize(preprocessing))
    return TrainData(
        dataset=dataset,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        augment=augmentation_of(options, preprocessing.spatial_dims),
        weights=_weights(dataset, options.balance),
        on_error=options.bad_samples,
        pin_memory=torch.cuda.is_available(),
    )


def _weights(dataset: ShardDataset, by: str | None) -> tuple[float, ...] | None:
    if by is None:
        return None
    try:
        return tuple(balance(dataset, by).tolist())
    except (ValueError, KeyError) as error:
        raise UserError(f"input.balance={by}: {error.args[0]}") from error


def stored_image(dataset: ShardDataset, index: int) -> Image:
    """Take one whole image as stored, with its geometry; for `predict` of a task."""
    sample = dataset[index]
    return Image(
        sample["image"], sample.get("affine"), tuple(float(s) for s in sample["spacing"]), meta={"path": dataset.sample_ids[index]}
    )
