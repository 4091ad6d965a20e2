"""Samples out of shards: whole or by crop, reading only the chunks that a crop touches."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from medio.errors import CorruptFileError, MissingFileError, SampleError
from medio.keyed import SampleKey
from medio.loading.sampler import Draw
from medio.shards.cache import Cache
from medio.shards.crop import Crop, Landmarks, pad_to
from medio.shards.foreground import places_of
from medio.shards.index import dataset_version, read_index
from medio.shards.place import Place, open_place
from medio.shards.reader import ShardReader
from medio.shards.rows import Column, Rows, read_rows

Sample = dict[str, Any]
Array = npt.NDArray[Any]

_OPEN_SHARDS = 256
_ATTEMPTS = 3  # to read a staged shard that others may remove meanwhile


class ShardDataset:
    """A dataset of shards as `build_shards` wrote it.

    `dataset[i]` is sample i at the key (0, 0, sample_id, 0), `dataset[draw]` the sample at the draw's key; samples are ordered by shard and row. A sample
    is a dict of `image` (C, *S) in its stored type, `mask` (*S), `label` (K,) float32 with NaN where unknown, `spacing` (dims,) mm, `affine` (4, 4) of
    what is returned (absent for films), `key`, `meta` (patient, site, vendor, study_date, modality, unit, and what the recipe added), `statistics` of
    the whole stored image, and `report`, `boxes`, `points` where there are any. Absent keys are absent.

    The object is picklable, safe under fork and spawn, and readable by several threads: nothing is kept open, and the rows lie in buffers that processes
    share.

    Args:
        root: the dataset's folder, or its URL, which fsspec opens; a shard of a URL is staged in `cache` when it is first read.
        split: keep only these splits.
        keys: arrays to read where a sample has them.
        labels: names of the columns of `label`; None takes every name in the dataset, sorted.
        crop: cut every sample by its key; None returns whole images.
        with_prior: give each sample `prior`, the sample that its row names as the one before it, as a nested sample of its own key, or None; and
            `days_since_prior` in its `meta`. A crop is drawn for each of the two: they lie on grids of their own.
        transform: applied last to each sample, in the worker; a prior is inside, untransformed.
        storage_options: of the URL's file system, e.g. `{"endpoint_url": …}`.
        cache: of a URL's shards; None takes a temporary folder of at most 16 GiB, removed with this object.
        check: prove each array by its stored hash before its first use in a process (it is then read whole once). Without, damage that still decompresses
            is found by `verify_shards` only.

    Attributes:
        url: where the dataset lies, as given.
        version: SHA-256 of the indexes' content.
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
        with_prior: bool = False,
        transform: Callable[[Sample], Sample] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache: Cache | None = None,
        check: bool = False,
    ) -> None:
        self._place: Place = open_place(root, storage_options, cache)
        self.url = str(root)
        self.keys = tuple(keys)
        self.crop = crop
        self.transform = transform
        self.check = check
        self.version = dataset_version(self.root)
        self._split = None if split is None else (split,) if isinstance(split, str) else tuple(split)
        table, self.quarantined, known_labels = read_rows(self.root, self._split, checksums=check, where=self.url)
        self._rows = Rows(table)
        self.labels: tuple[str, ...] = tuple(known_labels if labels is None else labels)
        unknown = sorted(set(self.labels) - set(known_labels))
        if unknown:
            raise ValueError(f"{self.url}: no sample has the labels {unknown}; the dataset has {known_labels}")
        self._priors: npt.NDArray[np.int32] | None = None
        if with_prior:
            found = pc.index_in(self.table["prior_sample_id"], self.table["sample_id"].combine_chunks(), skip_nulls=True)
            self._priors = found.fill_null(-1).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int32)
        self._open = _Kept()

    @property
    def root(self) -> Path:
        """The dataset's folder; for a URL, the local copy of its indexes."""
        return self._place.root

    @property
    def table(self) -> pa.Table:
        """One row a sample: the index's columns (without `foreground` and hashes) and `shard`."""
        return self._rows.table

    @property
    def sample_ids(self) -> Column:
        """Ids in order, a sequence of texts."""
        return self._rows.texts("sample_id")

    @property
    def patients(self) -> Column:
        """The patient of each sample, in the same order."""
        return self._rows.texts("patient_id")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | Draw) -> Sample:
        """Return a sample.

        Raises:
            IndexError: beyond the last sample.
            SampleError: when it cannot be read or transformed; names the sample.
        """
        return self.load(at)

    def load(self, at: int | Draw, out: Mapping[str, Array] | None = None) -> Sample:
        """Return a sample, reading arrays into buffers of the caller where they are given.

        Args:
            at: index, or draw.
            out: buffers by key, of the shape and type that the sample has; the sample then holds them.

        Raises:
            IndexError: beyond the last sample.
            SampleError: when it cannot be read or transformed, or does not fit a buffer; names the sample.
        """
        if isinstance(at, Draw):
            index, key = at
        else:
            index = range(len(self))[at]
            key = (0, 0, self.sample_ids[index], 0)
        try:
            sample = self._load(index, key, out or {})
            if self._priors is not None:
                before = int(self._priors[index])
                seed, epoch, _, view = key
                sample["prior"] = None if before < 0 else self._load(before, (seed, epoch, self.sample_ids[before], view), {})
            return sample if self.transform is None else self.transform(sample)
        except Exception as error:
            reason = error.reason if isinstance(error, SampleError) else f"{type(error).__name__}: {error}"
            raise SampleError(self.sample_ids[index], f"{reason} (dataset {self.url})") from error

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
        return self._read(self._rows.row(range(len(self))[index]), name, region, None)

    def read_into(self, index: int, name: str, region: Sequence[slice] | None, out: Array) -> None:
        """Read like `read` into a buffer of the caller; other threads run meanwhile.

        Args:
            index: of the sample.
            name: of the array.
            region: as `read` takes it; None reads the whole array.
            out: of the part's shape and the stored type; filled without a copy where it is C-contiguous.

        Raises:
            KeyError, ValueError, CorruptFileError: as `read`; ValueError also where `out` has another shape or type.
        """
        self._read(self._rows.row(range(len(self))[index]), name, region, out)

    def __getstate__(self) -> dict[str, Any]:
        left = {name: value for name, value in self.__dict__.items() if name not in ("_rows", "_open")}
        return {**left, "rows": self._rows.__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state.pop("rows")
        self.__dict__.update(state)
        self._place.restore()
        try:
            self._rows = Rows.__new__(Rows)
            self._rows.__setstate__(rows)
        except FileNotFoundError:
            # The process that shared its rows has ended: read them again.
            if dataset_version(self.root) != self.version:
                raise MissingFileError(self.url, "was built anew since this dataset was pickled; open it again") from None
            self._rows = Rows(read_rows(self.root, self._split, checksums=self.check, where=self.url)[0])
        self._open = _Kept()

    def _load(self, index: int, key: SampleKey, out: Mapping[str, Array]) -> Sample:
        row = self._rows.row(index)
        held = {array["name"]: tuple(array["shape"]) for array in row["arrays"]}
        dims = len(row["spacing"])
        shape = held["image"][1:]
        size: tuple[int, ...] = shape
        offset = (0,) * dims
        if self.crop is not None:
            size = self.crop.voxels(row["spacing"])
            offset = self.crop.offset(shape, self._landmarks(row, held), key, row["spacing"])
        sample: Sample = {}
        for name in self.keys:
            if name not in held:
                continue
            if name in ("boxes", "points") or held[name][-dims:] != shape:
                sample[name] = self._read(row, name, None, out.get(name))
                continue
            inside = tuple(slice(max(o, 0), o + s) for o, s in zip(offset, size, strict=True))
            region = (slice(None),) * (len(held[name]) - dims) + inside
            if all(0 <= o <= n - s for o, s, n in zip(offset, size, shape, strict=True)):
                sample[name] = self._read(row, name, region, out.get(name))
                continue
            part = self._read(row, name, region, None)
            sample[name] = pad_to(part, [max(-o, 0) for o in offset], size, row["statistics"]["min"] if name == "image" else 0)
            if name in out:
                _check_buffer(out[name], sample[name].shape, part.dtype)
                out[name][...] = sample[name]
                sample[name] = out[name]
        if self.crop is not None:
            _shift_annotations(sample, offset, size)
        return {**sample, **self._facts(row, key, offset)}

    def _facts(self, row: Mapping[str, Any], key: SampleKey, offset: Sequence[int]) -> Sample:
        """What a sample says beside its arrays."""
        dims = len(row["spacing"])
        facts: Sample = {"spacing": np.array(row["spacing"], dtype=np.float64)}
        if row["affine"] is not None:
            affine = np.array(row["affine"], dtype=np.float64).reshape(4, 4)
            affine[:3, 3] += affine[:3, :dims] @ np.array(offset, dtype=np.float64)
            facts["affine"] = affine
        if self.labels:
            given = dict(row["labels"])
            facts["label"] = np.array([given.get(name, np.nan) for name in self.labels], dtype=np.float32)
        if row["report"] is not None:
            facts["report"] = row["report"]
        facts["key"] = key
        said = {name: row[name] for name in ("site", "vendor", "study_date", "modality", "unit", "split")}
        facts["meta"] = {"patient": row["patient_id"], **said, **dict(row["meta"])}
        if self._priors is not None:
            facts["meta"]["days_since_prior"] = row["days_since_prior"]
        facts["statistics"] = row["statistics"]
        return facts

    def _landmarks(self, row: Mapping[str, Any], held: Mapping[str, tuple[int, ...]]) -> Landmarks | None:
        """What the crop may be centred on; nothing is read where it will not be asked for."""
        assert self.crop is not None
        around = self.crop.around
        if not self.crop.foreground or around not in held:
            return None
        if around != "mask":
            places = self._read(row, around, None, None)
            return Landmarks(boxes=places) if around == "boxes" else Landmarks(points=places)
        with self._kept() as kept:
            column = kept.foreground.get(row["shard"])
        if column is None:
            column = read_index(self.root / f"{row['shard']}.parquet", ["foreground"])["foreground"]
            with self._kept() as kept:
                _keep(kept.foreground, row["shard"], column)
        return Landmarks(classes=places_of(column[row["row"]].as_py() or ()))

    def _read(self, row: Mapping[str, Any], name: str, region: Sequence[slice] | None, out: Array | None) -> Array:
        entry = next((array for array in row["arrays"] if array["name"] == name), None)
        if entry is None:
            raise KeyError(f"sample {row['sample_id']} has no array {name!r}; it has {[array['name'] for array in row['arrays']]}")
        start, stop = _bounds(region, entry["shape"])
        shape, dtype = tuple(b - a for a, b in zip(start, stop, strict=True)), np.dtype(entry["dtype"])
        if out is None:
            out = np.empty(shape, dtype)
        else:
            _check_buffer(out, shape, dtype)
        if 0 in shape:
            return out
        for attempt in range(_ATTEMPTS):
            reader = self._reader(row["shard"])
            try:
                reader.read_into(row["row"], name, start, stop, out, shape=entry["shape"], checksum=entry.get("sha256"))
                break
            except CorruptFileError:
                if attempt == _ATTEMPTS - 1 or not self._place.is_lost(reader.path):
                    raise
                with self._kept() as kept:
                    kept.readers.pop(row["shard"], None)
        return out

    def _reader(self, shard: str) -> ShardReader:
        with self._kept() as kept:
            reader = kept.readers.get(shard)
            if reader is not None:
                kept.readers.move_to_end(shard)
        if reader is None or not self._place.is_current(reader.path):
            reader = ShardReader(self._place.shard(shard))
            with self._kept() as kept:
                _keep(kept.readers, shard, reader)
        return reader

    @contextmanager
    def _kept(self) -> Iterator["_Kept"]:
        if self._open.pid != os.getpid():
            # A forked worker: a lock that another thread of the parent held would stay locked for ever.
            self._open = _Kept()
        with self._open.lock:
            yield self._open


class _Kept:
    """What one process keeps of the shards that it reads."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.readers: OrderedDict[str, ShardReader] = OrderedDict()
        self.foreground: OrderedDict[str, pa.ChunkedArray] = OrderedDict()


def _keep(kept: OrderedDict[str, Any], shard: str, value: Any) -> None:
    kept[shard] = value
    kept.move_to_end(shard)
    while len(kept) > _OPEN_SHARDS:
        kept.popitem(last=False)


def _check_buffer(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"the buffer is {out.dtype} {out.shape}, what is read {dtype} {shape}; give one of that shape and type")


def _bounds(region: Sequence[slice] | None, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    given = list(region or ())
    if len(given) > len(shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
        raise ValueError(f"region must be at most {len(shape)} slices without step, got {region}")
    full = [*given, *[slice(None)] * (len(shape) - len(given))]
    bounds = [s.indices(n)[:2] for s, n in zip(full, shape, strict=True)]
    return tuple(start for start, _ in bounds), tuple(max(start, stop) for start, stop in bounds)


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
