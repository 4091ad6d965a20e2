"""Samples out of shards: whole or by crop, reading only the chunks that a crop touches."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from medio.errors import CorruptFileError, MedioError, MissingFileError, SampleError
from medio.keyed import SampleKey
from medio.loading.sampler import Draw
from medio.shards.crop import Crop, pad_to
from medio.shards.index import SCHEMA, dataset_version, index_paths, local_root, read_index
from medio.shards.sample import array_key

Sample = dict[str, Any]
Array = npt.NDArray[Any]

_OPEN_SHARDS = 256


class ShardDataset:
    """A dataset of shards as `build_shards` wrote it; local folders only in this version.

    `dataset[i]` is sample i at the key (0, 0, sample_id, 0), `dataset[draw]` the sample at the draw's key; samples are ordered by shard and row. A sample
    is a dict of `image` (C, *S) in its stored type, `mask` (*S), `label` (K,) float32 with NaN where unknown, `spacing` (dims,) mm, `affine` (4, 4) of
    what is returned (absent for films), `key`, `meta` (patient, site, vendor, study_date, modality, unit, and what the recipe added), `statistics` of
    the whole stored image, and `report`, `boxes`, `points` where there are any. Absent keys are absent.

    The object is picklable and safe under fork and spawn: files are opened in the process that reads them.

    Args:
        root: the dataset's folder.
        split: keep only these splits.
        keys: arrays to read where a sample has them.
        labels: names of the columns of `label`; None takes every name in the dataset, sorted.
        crop: cut every sample by its key; None returns whole images.
        transform: applied last to each sample, in the worker.

    Attributes:
        version: SHA-256 of the indexes' content.
        table: pyarrow table, one row a sample: the index's columns (without `foreground`) and `shard`.
        sample_ids: ids in order.
        patients: the patient of each sample, in the same order.
        labels: names of the columns of `label`.
        quarantined: (item, reason) of what the build could not use.

    Raises:
        MissingFileError: where there is no dataset, or none of its samples is in `split`.
        CorruptFileError: for a damaged index.
        ValueError: for label names that no sample has.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: str | Sequence[str] | None = None,
        keys: Sequence[str] = ("image", "mask"),
        labels: Sequence[str] | None = None,
        crop: Crop | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.root = local_root(root)
        self.keys = tuple(keys)
        self.crop = crop
        self.transform = transform
        self.version = dataset_version(self.root)
        rows = _read_rows(self.root)
        bad = rows.filter(pc.is_valid(rows["error"])).select(["item", "error"])
        self.quarantined = tuple((row["item"], row["error"]) for row in bad.to_pylist())
        rows = rows.filter(pc.is_null(rows["error"])).drop_columns(["item", "error"])
        if not len(rows):
            raise MissingFileError(self.root, f"every item was quarantined, the first because: {self.quarantined[0][1]}")
        if split is not None:
            wanted = [split] if isinstance(split, str) else list(split)
            known = sorted(set(rows["split"].to_pylist()))
            rows = rows.filter(pc.is_in(rows["split"], pa.array(wanted, pa.string())))
            if not len(rows):
                raise MissingFileError(self.root, f"no sample is in split {wanted}; the dataset has {known}")
        self.table = rows.combine_chunks()
        self.sample_ids: tuple[str, ...] = tuple(rows["sample_id"].to_pylist())
        self.patients: tuple[str, ...] = tuple(rows["patient_id"].to_pylist())
        known_labels = sorted({name for row in rows["labels"].to_pylist() for name, _ in row})
        self.labels: tuple[str, ...] = tuple(known_labels if labels is None else labels)
        unknown = sorted(set(self.labels) - set(known_labels))
        if unknown:
            raise ValueError(f"{self.root}: no sample has the labels {unknown}; the dataset has {known_labels}")
        self._open: OrderedDict[str, _Shard] = OrderedDict()
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, at: int | Draw) -> Sample:
        """Return a sample.

        Raises:
            IndexError: beyond the last sample.
            SampleError: when it cannot be read or transformed; names the sample.
        """
        if isinstance(at, Draw):
            index, key = at
        else:
            index = range(len(self))[at]
            key = (0, 0, self.sample_ids[index], 0)
        try:
            sample = self._load(index, key)
            return sample if self.transform is None else self.transform(sample)
        except Exception as error:
            reason = error.reason if isinstance(error, SampleError) else f"{type(error).__name__}: {error}"
            raise SampleError(self.sample_ids[index], f"{reason} (dataset {self.root})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def read(self, index: int, name: str, region: Sequence[slice] | None = None) -> Array:
        """Read one array of a sample, or a part of it; only the chunks that the part touches are read.

        Args:
            index: of the sample.
            name: of the array, `image`, `mask`, ...
            region: one slice an axis from the first on, without step; axes left out are read whole. Same meaning as indexing the whole array.

        Returns:
            A new array of the stored type.

        Raises:
            KeyError: where the sample has no such array.
            ValueError: for a region that is not such a tuple of slices.
            CorruptFileError: where the file does not hold what the index says.
        """
        return self._read(self._row(index), name, region)

    def _load(self, index: int, key: SampleKey) -> Sample:
        row = self._row(index)
        held = {array["name"]: tuple(array["shape"]) for array in row["arrays"]}
        dims = len(row["spacing"])
        shape = held["image"][1:]
        size: tuple[int, ...] = shape
        offset = (0,) * dims
        if self.crop is not None:
            size = self.crop.size
            classes = self._shard(row["shard"]).foreground(row["row"]) if self.crop.foreground else []
            offset = self.crop.offset(shape, classes, key)
        sample: Sample = {}
        for name in self.keys:
            if name not in held:
                continue
            if name in ("boxes", "points") or held[name][-dims:] != shape:
                sample[name] = self._read(row, name, None)
                continue
            lead = len(held[name]) - dims
            inside = tuple(slice(max(o, 0), o + s) for o, s in zip(offset, size, strict=True))
            part = self._read(row, name, (slice(None),) * lead + inside)
            sample[name] = pad_to(part, [max(-o, 0) for o in offset], size, row["statistics"]["min"] if name == "image" else 0)
        if self.crop is not None:
            _shift_annotations(sample, offset, size)
        sample["spacing"] = np.array(row["spacing"], dtype=np.float64)
        if row["affine"] is not None:
            affine = np.array(row["affine"], dtype=np.float64).reshape(4, 4)
            affine[:3, 3] += affine[:3, :dims] @ np.array(offset, dtype=np.float64)
            sample["affine"] = affine
        if self.labels:
            given = dict(row["labels"])
            sample["label"] = np.array([given.get(name, np.nan) for name in self.labels], dtype=np.float32)
        if row["report"] is not None:
            sample["report"] = row["report"]
        sample["key"] = key
        facts = {name: row[name] for name in ("site", "vendor", "study_date", "modality", "unit", "split")}
        sample["meta"] = {"patient": row["patient_id"], **facts, **dict(row["meta"])}
        sample["statistics"] = row["statistics"]
        return sample

    def _row(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self.table.slice(range(len(self))[index], 1).to_pylist()[0]
        return row

    def _read(self, row: Mapping[str, Any], name: str, region: Sequence[slice] | None) -> Array:
        entry = next((array for array in row["arrays"] if array["name"] == name), None)
        if entry is None:
            raise KeyError(f"sample {row['sample_id']} has no array {name!r}; it has {[array['name'] for array in row['arrays']]}")
        bounds = _bounds(region, entry["shape"])
        shape = tuple(stop - start for start, stop in bounds)
        if 0 in shape:
            return np.empty(shape, dtype=entry["dtype"])
        return self._shard(row["shard"]).read(row["row"], name, tuple(slice(*b) for b in bounds), np.dtype(entry["dtype"]), shape)

    def _shard(self, name: str) -> "_Shard":
        if self._pid != os.getpid():
            # A forked worker: what the parent opened is the parent's.
            self._open, self._pid = OrderedDict(), os.getpid()
        if name not in self._open:
            while len(self._open) >= _OPEN_SHARDS:
                self._open.popitem(last=False)
            self._open[name] = _Shard(self.root / name)
        self._open.move_to_end(name)
        return self._open[name]


class _Shard:
    """One open shard."""

    def __init__(self, stem: Path) -> None:
        self.path = stem.with_name(f"{stem.name}.b2z")
        self.index = stem.with_name(f"{stem.name}.parquet")
        try:
            # One thread: workers already use the cores.
            self.store = blosc2.DictStore(str(self.path), mode="r", dparams=blosc2.DParams(nthreads=1))
        except Exception as error:
            raise CorruptFileError(self.path, f"cannot be opened ({error}); delete it and its .parquet and build again") from error
        self._foreground: list[list[npt.NDArray[np.uint32]]] | None = None

    def read(self, row: int, name: str, region: tuple[slice, ...], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        try:
            part: Array = self.store[array_key(row, name)][region]
        except Exception as error:
            reason = f"{array_key(row, name)} cannot be read ({error}); delete the file and its .parquet and build again"
            raise CorruptFileError(self.path, reason) from error
        if part.shape != shape or part.dtype != dtype:
            reason = (
                f"{array_key(row, name)} gave {part.dtype} {part.shape}, the index says {dtype} {shape}; delete both files and build again"
            )
            raise CorruptFileError(self.path, reason)
        return part

    def foreground(self, row: int) -> list[npt.NDArray[np.uint32]]:
        """Per class, the voxels that the index keeps."""
        if self._foreground is None:
            column = read_index(self.index, ["foreground"])["foreground"].to_pylist()
            self._foreground = [[np.array(c["voxels"], dtype=np.uint32) for c in classes or ()] for classes in column]
        return self._foreground[row]


def _read_rows(root: Path) -> pa.Table:
    columns = [name for name in SCHEMA.names if name != "foreground"]
    tables = []
    for path in index_paths(root):
        if not path.with_suffix(".b2z").is_file():
            raise MedioError(path.with_suffix(".b2z"), "is missing while its index exists; delete the .parquet and build again")
        table = read_index(path, columns).replace_schema_metadata(None)
        tables.append(table.append_column("shard", pa.array([path.stem] * len(table), pa.string())))
    return pa.concat_tables(tables)


def _bounds(region: Sequence[slice] | None, shape: Sequence[int]) -> list[tuple[int, int]]:
    given = list(region or ())
    if len(given) > len(shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise ValueError(f"region must be at most {len(shape)} slices without step, got {region}")
    full = [*given, *[slice(None)] * (len(shape) - len(given))]
    bounds = [s.indices(n)[:2] for s, n in zip(full, shape, strict=True)]
    return [(start, max(start, stop)) for start, stop in bounds]


def _shift_annotations(sample: Sample, offset: Sequence[int], size: Sequence[int]) -> None:
    """Move boxes and points into the crop's index space; points outside are dropped, boxes are cut and dropped when nothing is left."""
    low, extent = np.array(offset), np.array(size)
    if "points" in sample:
        points = sample["points"] - low
        sample["points"] = points[((points >= 0) & (points < extent)).all(axis=1)]
    if "boxes" in sample:
        dims = len(size)
        boxes = sample["boxes"] - np.concatenate([low, low])
        first, last = np.clip(boxes[:, :dims], 0, extent), np.clip(boxes[:, dims:], 0, extent)
        sample["boxes"] = np.concatenate([first, last], axis=1)[(last > first).all(axis=1)]
