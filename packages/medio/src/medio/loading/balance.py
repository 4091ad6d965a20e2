"""Weights and buckets for a sampler, from what a dataset says of its samples."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medio.loading.orders import codes
from medio.shards.index import read_index

By = Literal["shape", "size", "aspect", "length"]


def balance(dataset: Any, by: str | Sequence[Hashable], *, power: float = 1.0) -> npt.NDArray[np.float64]:
    """Weights that even out groups: a sample weighs (samples of its group)^-power.

    With power 1 every group is drawn equally often, with 0 every sample, with 0.5 groups by the root of their size.

    Args:
        dataset: a `ShardDataset` or `DicomDataset`: anything with `table`, a pyarrow table of one row a sample.
        by: a column of the table (`site`, `vendor`, `modality`, `patient_id`, …); `label:NAME` for the values of a label, unknown ones a group of their own;
            `class:N` for whether the mask holds class N; or one group a sample.
        power: see above, 0 or more.

    Returns:
        (samples,) float64, sum 1; for `Sampler(..., weights=...)`.

    Raises:
        ValueError: for a column or label that the dataset has not, or a class that none or all samples hold.
    """
    if power < 0:
        raise ValueError(f"power must be 0 or more, got {power}")
    groups = codes(_groups(dataset, by) if isinstance(by, str) else by)
    if len(groups) != len(dataset.sample_ids):
        raise ValueError(f"got {len(groups)} groups for {len(dataset.sample_ids)} samples; give one a sample")
    weights = (np.bincount(groups).astype(np.float64) ** -power)[groups]
    return np.asarray(weights / weights.sum(), np.float64)


def shape_buckets(dataset: Any, by: By = "shape", count: int = 8) -> npt.NDArray[np.int64]:
    """Sort samples into buckets of like shapes, for `Sampler(..., buckets=...)`.

    Args:
        dataset: a dataset with `table`, or the spatial shape of each sample, (D, H, W) or (H, W).
        by: `shape` for equal shapes; else `count` buckets of about equally many samples by `size` (voxels), `aspect` (H / W, for films) or `length` (the
            first axis, for volumes of many slices).
        count: buckets at most; equal values are never parted.

    Returns:
        (samples,) int64 from 0, small to large: neighbouring buckets are alike.
    """
    given = _shapes(dataset) if hasattr(dataset, "sample_ids") else dataset
    if len({len(shape) for shape in given}) != 1:
        raise ValueError("shapes must be one (D, H, W) or (H, W) a sample, all of one length; batch volumes and films apart")
    shapes = np.array(given, dtype=np.int64)
    if by == "shape":
        distinct, inverse = np.unique(shapes, axis=0, return_inverse=True)
        rank = np.empty(len(distinct), np.int64)
        rank[np.argsort(distinct.prod(axis=1), kind="stable")] = np.arange(len(distinct))
        return np.asarray(rank[inverse.ravel()], np.int64)
    measures = {"size": shapes.prod(axis=1), "aspect": shapes[:, -2] / shapes[:, -1], "length": shapes[:, 0]}
    if by not in measures or count < 1:
        raise ValueError(f"by must be shape, {', '.join(measures)} and count at least 1, got {by!r} and {count}")
    values = measures[by]
    edges = np.quantile(values, np.arange(1, count) / count)
    bins = np.searchsorted(edges, values, side="left")
    # Equal edges leave empty bins: number those that are used.
    return np.asarray(np.unique(bins, return_inverse=True)[1], np.int64)


def mask_classes(dataset: Any) -> list[frozenset[int]]:
    """Give the classes above 0 in each sample's mask: as the dataset says (`mask_classes()`), or from the indexes of its shards."""
    if hasattr(dataset, "mask_classes"):
        given: list[frozenset[int]] = dataset.mask_classes()
        return given
    held: dict[tuple[str, int], frozenset[int]] = {}
    for shard in sorted(set(dataset.table["shard"].to_pylist())):
        index = read_index(dataset.root / f"{shard}.parquet", ["row", "foreground"])
        for row in index.to_pylist():
            held[shard, row["row"]] = frozenset(entry["class"] for entry in row["foreground"] or ())
    rows = dataset.table.select(["shard", "row"]).to_pylist()
    return [held[row["shard"], row["row"]] for row in rows]


def _groups(dataset: Any, by: str) -> Sequence[Hashable]:
    table = dataset.table
    kind, _, name = by.partition(":")
    if kind == "label" and name:
        given = [dict(labels or ()) for labels in table["labels"].to_pylist()]
        if not any(name in labels for labels in given):
            raise ValueError(f"no sample has the label {name!r}; the dataset has {sorted({n for labels in given for n in labels})}")
        return [labels.get(name) for labels in given]
    if kind == "class" and name:
        wanted = int(name)
        has = [wanted in classes for classes in mask_classes(dataset)]
        if len(set(has)) < 2:
            raise ValueError(f"{'every' if has[0] else 'no'} mask holds class {wanted}; there is nothing to balance")
        return has
    if by not in table.column_names:
        raise ValueError(f"by must be a column of the dataset, label:NAME or class:N, got {by!r}; columns: {', '.join(table.column_names)}")
    groups: list[Hashable] = table[by].to_pylist()
    return groups


def _shapes(dataset: Any) -> Sequence[Sequence[int]]:
    if hasattr(dataset, "spatial_shapes"):
        stored: Sequence[Sequence[int]] = dataset.spatial_shapes()
        return stored
    rows = dataset.table.select(["spacing", "arrays"]).to_pylist()
    return [next(a["shape"] for a in row["arrays"] if a["name"] == "image")[-len(row["spacing"]) :] for row in rows]
