"""DICOM series as a dataset, without conversion: decoded when asked for, kept while there is room."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medio.archive.series import Series, series
from medio.derived.segmentation_reader import read_segmentation
from medio.dicom.instances import is_dicom
from medio.errors import GeometryError, SampleError
from medio.geometry import resample
from medio.image import Image
from medio.keyed import SampleKey
from medio.loading.sampler import Draw
from medio.reading import read as read_image
from medio.shards.crop import Crop, Landmarks, pad_to
from medio.shards.foreground import foreground_rows, places_of
from medio.shards.image_statistics import image_statistics

Sample = dict[str, Any]
Array = npt.NDArray[Any]
Labels = Mapping[str, Mapping[str, float]]

# Of these every file is an image by itself, whatever series it came in.
_RADIOGRAPHS = frozenset({"CR", "DX", "MG", "RG", "IO", "PX"})
_SERIES_COLUMN = "series_instance_uid"


class DicomDataset:
    """A dataset of DICOM series, with the interface of `ShardDataset`.

    `dataset[draw]` is a dict of `image` (C, *S) as `medio.read` gives it, `mask` (*S) where one is named, `label` (K,) float32 with NaN where unknown,
    `spacing` (dims,) mm, `affine` (4, 4) of what is returned (absent for films), `key`, `meta` (patient, site, vendor, study_date, modality, unit,
    series_description, body_part) and `statistics` of the whole image.

    A series is decoded whole when it is first asked for, and kept until `cache_bytes` are full, in every worker by itself. Training for long on many series is the
    work of shards: a crop out of a shard costs milliseconds.

    The object is picklable, and may be read by several threads.

    Args:
        source: the table that `medio.scan` gives, or some of the series that `medio.series` makes of it. Every file of a radiograph's series is a sample.
        labels: by sample id, a mapping of findings to numbers; or a table with a column `series_instance_uid` and one numeric column a finding, null where
            unknown.
        masks: by sample id, a file with the mask: NIfTI, NRRD, MetaImage, or DICOM SEG. It is put on the image's grid by nearest neighbour in millimetres.
        keys: of `image` and `mask`, those to give.
        crop: cut every sample by its key; None gives whole images.
        transform: applied last to each sample, in the worker.
        read: paths of a series to an `Image`; e.g. `functools.partial(medio.read, tilt="resample")`, or a function that also reorients and resamples.
        cache_bytes: of decoded images that a process keeps.
        partial: read only the slices that a crop touches, for series of one slice a file, without mask and cache. The rest of the series is not looked at: it may
            have gaps, and there are no `statistics`.

    Attributes:
        table: pyarrow table, one row a sample.
        labels: names of the columns of `label`.
        sample_ids: series instance UIDs (folders where files have none), for radiographs with `/` and the file's name where a series has several.
        patients: the patient of each sample, in the same order.
        version: SHA-256 of ids and file names.

    Raises:
        ValueError: without a series, for ids that come twice, labels or masks of no sample, or options that exclude each other.
    """

    def __init__(
        self,
        source: pa.Table | Sequence[Series],
        *,
        labels: Labels | pa.Table | None = None,
        masks: Mapping[str, Path | str] | None = None,
        keys: Sequence[str] = ("image", "mask"),
        crop: Crop | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        read: Callable[[Sequence[Path]], Image] = read_image,
        cache_bytes: int = 2 << 30,
        partial: bool = False,
    ) -> None:
        found = series(source) if isinstance(source, pa.Table) else list(source)
        items = [item for one in found for item in _items(one)]
        if not items:
            raise ValueError("DicomDataset got no series; see the errors in the scan's table")
        self._files = [paths for _, _, paths in items]
        self.sample_ids: tuple[str, ...] = tuple(name for name, _, _ in items)
        self.patients: tuple[str, ...] = tuple(one.patient_id for _, one, _ in items)
        if len(set(self.sample_ids)) < len(self.sample_ids):
            twice = next(name for i, name in enumerate(self.sample_ids) if name in self.sample_ids[:i])
            raise ValueError(f"sample {twice} comes twice; keep one of the series")
        self.keys, self.crop, self.transform = tuple(keys), crop, transform
        if partial and (crop is None or masks or read is not read_image):
            raise ValueError("partial reads the slices of a crop as they are stored; give a crop, and neither masks nor read")
        self._read, self._partial, self._cache = read, partial, _Cache(cache_bytes)
        given = _labels(labels)
        self._masks = {name: Path(path) for name, path in (masks or {}).items()}
        for what, names in (("labels", set(given)), ("masks", set(self._masks))):
            if names and not names & set(self.sample_ids):
                raise ValueError(f"none of the {what} is of a sample: {sorted(names)[0]!r} is not among ids like {self.sample_ids[0]!r}")
        self.labels: tuple[str, ...] = tuple(sorted({name for row in given.values() for name in row}))
        self.table = _table(items, given)
        self.version = hashlib.sha256("\n".join(f"{name} {[p.name for p in paths]}" for name, _, paths in items).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, at: int | Draw) -> Sample:
        """Return a sample: of an index at the key (0, 0, sample_id, 0), or of a draw.

        Raises:
            IndexError: beyond the last sample.
            SampleError: when it cannot be read or transformed; names the series.
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
            raise SampleError(self.sample_ids[index], reason) from error

    def spatial_shapes(self) -> list[tuple[int, ...]]:
        """Give the stored shape of each sample as its headers say, (files, rows, columns) or (rows, columns): what `shape_buckets` needs, without decoding."""
        rows = self.table.select(["files", "rows", "columns", "modality"]).to_pylist()
        return [(r["rows"], r["columns"]) if r["modality"] in _RADIOGRAPHS else (r["files"], r["rows"], r["columns"]) for r in rows]

    def mask_classes(self) -> list[frozenset[int]]:
        """Give the classes above 0 of each sample's mask; reads every series that has one."""
        return [
            frozenset() if name not in self._masks else frozenset(p.value for p in self._volume(index).landmarks.classes)
            for index, name in enumerate(self.sample_ids)
        ]

    def _load(self, index: int, key: SampleKey) -> Sample:
        if self._partial and len(self._files[index]) > 1:
            return self._load_part(index, key)
        volume = self._volume(index)
        shape = volume.image.shape[1:]
        size, offset = shape, (0,) * len(shape)
        if self.crop is not None:
            size = self.crop.voxels(volume.spacing)
            offset = self.crop.offset(shape, volume.landmarks, key, volume.spacing)
        sample: Sample = {}
        for name, array, fill in (("image", volume.image, volume.statistics["min"]), ("mask", volume.mask, 0)):
            if name in self.keys and array is not None:
                sample[name] = _cut(array, offset, size, fill)
        return {**sample, **self._facts(index, key, volume, offset), "statistics": dict(volume.statistics)}

    def _load_part(self, index: int, key: SampleKey) -> Sample:
        """Read the slices of a crop alone; their own positions place them."""
        assert self.crop is not None
        files = self._files[index]
        row = self.table.slice(index, 1).to_pylist()[0]
        if self.crop.size_mm is not None:
            raise GeometryError(self.sample_ids[index], "partial needs a crop in voxels: the spacing is known only when slices were read")
        shape = (len(files), row["rows"], row["columns"])
        size, offset = self.crop.size, self.crop.offset(shape, None, key)
        first = max(offset[0], 0)
        # One slice alone has no spacing along the normal.
        low = min(first, len(files) - 2)
        image = self._read(files[low : max(offset[0] + size[0], low + 2)])
        if len(image.spacing) != 3 or image.spatial_shape[1:] != shape[1:]:
            raise GeometryError(self.sample_ids[index], f"its slices give {image.spatial_shape}, its headers {shape}; leave partial out")
        part = _Volume.of(image, None)
        here = (offset[0] - low, *offset[1:])
        cut = _cut(part.image, here, size, float(part.image.min()))
        return {"image": cut, **self._facts(index, key, part, here)}

    def _facts(self, index: int, key: SampleKey, volume: "_Volume", offset: Sequence[int]) -> Sample:
        row = self.table.slice(index, 1).to_pylist()[0]
        facts: Sample = {"spacing": np.array(volume.spacing, np.float64)}
        if volume.affine is not None:
            affine = volume.affine.copy()
            affine[:3, 3] += affine[:3, : len(offset)] @ np.array(offset, np.float64)
            facts["affine"] = affine
        if self.labels:
            known = dict(row["labels"])
            facts["label"] = np.array([known.get(name, np.nan) for name in self.labels], np.float32)
        said = {name: row[name] for name in ("site", "vendor", "study_date", "modality", "series_description", "body_part")}
        return {**facts, "key": key, "meta": {"patient": row["patient_id"], "unit": volume.unit, **said}}

    def _volume(self, index: int) -> "_Volume":
        kept = self._cache.get(index)
        if kept is None:
            name = self.sample_ids[index]
            image = self._read(self._files[index])
            kept = _Volume.of(image, _mask(self._masks[name], image) if name in self._masks else None, name)
            self._cache.put(index, kept)
        return kept


@dataclass(frozen=True, eq=False)
class _Volume:
    """A decoded series: what a crop is cut from."""

    image: Array
    mask: Array | None
    affine: npt.NDArray[np.float64] | None
    spacing: tuple[float, ...]
    unit: str
    statistics: dict[str, float]
    landmarks: Landmarks

    @classmethod
    def of(cls, image: Image, mask: Array | None, name: str | None = None) -> "_Volume":
        """Describe an image; its statistics only where the sample's name says that it is whole."""
        array = image.array if image.array.ndim > len(image.spacing) else image.array[None]
        landmarks = Landmarks(classes=() if mask is None or name is None else places_of(foreground_rows(mask, name)))
        statistics = {} if name is None else image_statistics(array)
        return cls(array, mask, image.affine, image.spacing, image.unit, statistics, landmarks)

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + (0 if self.mask is None else self.mask.nbytes)


class _Cache:
    """The volumes used last, up to a number of bytes; each process has its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._begin()

    def get(self, index: int) -> _Volume | None:
        with self._lock:
            volume = self._kept.get(index)
            if volume is not None:
                self._kept.move_to_end(index)
            return volume

    def put(self, index: int, volume: _Volume) -> None:
        with self._lock:
            self._kept[index] = volume
            self._kept.move_to_end(index)
            held = sum(v.nbytes for v in self._kept.values())
            while held > self.limit:
                held -= self._kept.popitem(last=False)[1].nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.limit = state["limit"]
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Volume] = OrderedDict()


def _items(one: Series) -> list[tuple[str, Series, tuple[Path, ...]]]:
    """Give the samples of a series: id, series, files."""
    name = one.series_instance_uid or str(one.paths[0].parent)
    if one.modality in _RADIOGRAPHS and len(one.paths) > 1:
        return [(f"{name}/{path.name}", one, (path,)) for path in one.paths]
    return [(name, one, one.paths)]


def _labels(labels: Labels | pa.Table | None) -> Labels:
    if not isinstance(labels, pa.Table):
        return labels or {}
    if _SERIES_COLUMN not in labels.column_names:
        raise ValueError(f"the table of labels needs a column {_SERIES_COLUMN}; it has {', '.join(labels.column_names)}")
    numeric = [f.name for f in labels.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_boolean(f.type)]
    return {row[_SERIES_COLUMN]: {n: float(row[n]) for n in numeric if row[n] is not None} for row in labels.to_pylist()}


def _table(items: Sequence[tuple[str, Series, tuple[Path, ...]]], given: Labels) -> pa.Table:
    names = {"site": "institution_name", "vendor": "manufacturer", "body_part": "body_part_examined"}
    same = ("patient_id", "study_instance_uid", "series_instance_uid", "study_date", "modality", "series_description", "rows", "columns")
    rows = [
        {
            "sample_id": name,
            **{column: getattr(one, column) for column in same},
            **{column: getattr(one, source) for column, source in names.items()},
            "files": len(paths),
            "labels": sorted({**given.get(one.series_instance_uid, {}), **given.get(name, {})}.items()),
        }
        for name, one, paths in items
    ]
    schema = pa.schema(
        [
            ("sample_id", pa.string()),
            *((column, pa.int64() if column in ("rows", "columns") else pa.string()) for column in same),
            *((column, pa.string()) for column in names),
            ("files", pa.int64()),
            ("labels", pa.map_(pa.string(), pa.float64())),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _mask(path: Path, image: Image) -> Array:
    """Read a mask on the image's grid, in the smallest type that holds it."""
    found = (
        read_segmentation(path, like=image)
        if path.is_file() and is_dicom(path)
        else resample(read_image(path), like=image, order=0, fill=0)
    )
    mask = found.array
    if mask.shape != image.spatial_shape:
        raise GeometryError(path, f"the mask has shape {mask.shape}, the image {image.spatial_shape}; give one number a voxel")
    if mask.dtype.kind == "f":
        whole = np.rint(mask)
        if not np.array_equal(whole, mask):
            raise GeometryError(path, "the mask holds fractions; give whole numbers, one a class")
        mask = whole.astype(np.int32)
    if mask.size and mask.min() < 0:
        raise GeometryError(path, "the mask holds negative numbers; classes count from 0, the background")
    return mask.astype(np.min_scalar_type(int(mask.max(initial=0))), copy=False)


def _cut(array: Array, offset: Sequence[int], size: Sequence[int], fill: float) -> Array:
    """Copy a box out of the last axes of an array, filled where it reaches beyond."""
    dims = len(size)
    inside = tuple(slice(max(o, 0), o + s) for o, s in zip(offset, size, strict=True))
    part = array[(slice(None),) * (array.ndim - dims) + inside]
    padded = pad_to(part, [max(-o, 0) for o in offset], size, fill)
    return padded.copy() if padded is part else padded
