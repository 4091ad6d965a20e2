"""One sample as a shard stores it: its arrays, and the row of the index that lets a crop be read without looking at them first."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.errors import GeometryError
from medio.shards.foreground import foreground_rows
from medio.shards.image_statistics import image_statistics

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardSample:
    """One sample as a recipe returns it and a shard stores it.

    Attributes:
        sample_id: unique in the dataset; every random draw about the sample depends on it.
        patient_id: whose it is; splits and intervals go by patient.
        arrays: `image` (C, *S) in its native type (store int16 HU, not z-scores); optionally `mask` (*S) int, `boxes` (n, 2·dims), `points` (n, dims),
            and others by name.
        spacing: mm along each spatial axis of the image, (z, y, x) or (y, x).
        affine: (4, 4) index (z, y, x, 1) to LPS mm; a volume must have one, films have none.
        modality: DICOM modality, `CT`, `MR`, `DX`, ...
        unit: of the image's values, `HU` or ``.
        split: `train`, `val`, `test` or any name.
        study_date: YYYYMMDD or ``.
        site: where it was acquired.
        vendor: of the scanner.
        labels: finding to 0, 1 or any number; leave a finding out (or NaN) where it is unknown.
        report: the text, or None.
        prior_sample_id: the same patient's sample before this one, e.g. as `find_priors` finds it; None where there is none.
        days_since_prior: days between the two.
        meta: further strings handed on in a sample's `meta`.

    Raises:
        ValueError, GeometryError: where the parts contradict each other.
    """

    sample_id: str
    patient_id: str
    arrays: Mapping[str, Array]
    spacing: Sequence[float]
    affine: Array | None = None
    modality: str = ""
    unit: str = ""
    split: str = ""
    study_date: str = ""
    site: str = ""
    vendor: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)
    report: str | None = None
    prior_sample_id: str | None = None
    days_since_prior: float | None = None
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sample_id or not self.patient_id:
            raise ValueError(f"sample_id and patient_id must not be empty, got {self.sample_id!r} and {self.patient_id!r}")
        if self.prior_sample_id == self.sample_id:
            raise ValueError(f"sample {self.sample_id} is named as its own prior; name the one before it")
        dims = len(self.spacing)
        if dims not in (2, 3) or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise GeometryError(self.sample_id, f"spacing must be 2 or 3 positive numbers of mm, got {tuple(self.spacing)}")
        if dims == 3 and self.affine is None:
            raise GeometryError(self.sample_id, "a volume needs an affine; pass the image's, nothing is assumed")
        if self.affine is not None and (np.shape(self.affine) != (4, 4) or not np.isfinite(self.affine).all()):
            raise GeometryError(self.sample_id, "affine must be a finite 4x4 matrix")
        image = self.arrays.get("image")
        if image is None:
            raise ValueError(f"sample {self.sample_id}: arrays must hold an 'image'; got {sorted(self.arrays)}")
        if image.ndim != dims + 1 or image.size == 0:
            raise ValueError(
                f"sample {self.sample_id}: image has shape {image.shape}; with {dims} spacings it must be (C, *S) with {dims} spatial axes"
            )
        for name, array in self.arrays.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"sample {self.sample_id}: array name {name!r} must be lower_snake_case")
            if array.dtype.kind not in "biuf":
                raise ValueError(f"sample {self.sample_id}: {name} has type {array.dtype}; store numbers")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"sample {self.sample_id}: {name} holds NaN or infinite values; fill them before storing")
        mask = self.arrays.get("mask")
        if mask is not None and (mask.shape != image.shape[1:] or mask.dtype.kind not in "biu"):
            raise ValueError(
                f"sample {self.sample_id}: mask is {mask.dtype} {mask.shape}, the image's voxels are {image.shape[1:]}; give integers of that shape"
            )
        for name, width in (("boxes", 2 * dims), ("points", dims)):
            array = self.arrays.get(name, np.empty((0, width)))
            if array.ndim != 2 or array.shape[1] != width:
                raise ValueError(f"sample {self.sample_id}: {name} must be (n, {width}) in index space, got {array.shape}")


def array_key(row: int, name: str) -> str:
    """Key of an array in a shard's zip."""
    return f"/{row:06d}/{name}"


def member_name(row: int, name: str) -> str:
    """Name of the zip's member that holds an array."""
    return f"{row:06d}/{name}.b2nd"


def storable(array: Array) -> Array:
    """Return an array as it is stored: contiguous, in this machine's byte order, bool as uint8, else its own type."""
    array = np.ascontiguousarray(array)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array.astype(array.dtype.newbyteorder("="), copy=False)


def index_row_of(row: int, sample: ShardSample, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return the index's row of a sample whose arrays are stored as `arrays`."""
    mask = arrays.get("mask")
    return {
        "row": row,
        "sample_id": sample.sample_id,
        "patient_id": sample.patient_id,
        "split": sample.split,
        "study_date": sample.study_date,
        "site": sample.site,
        "vendor": sample.vendor,
        "modality": sample.modality,
        "unit": sample.unit,
        "spacing": [float(s) for s in sample.spacing],
        "affine": None if sample.affine is None else np.asarray(sample.affine, dtype=np.float64).ravel().tolist(),
        "labels": sorted((str(k), float(v)) for k, v in sample.labels.items() if not np.isnan(v)),
        "report": sample.report,
        "prior_sample_id": sample.prior_sample_id,
        "days_since_prior": None if sample.days_since_prior is None else float(sample.days_since_prior),
        "meta": sorted((str(k), str(v)) for k, v in sample.meta.items()),
        "statistics": image_statistics(arrays["image"]),
        "arrays": [{"name": n, "dtype": a.dtype.str, "shape": list(a.shape), "sha256": array_hash(a)} for n, a in arrays.items()],
        "foreground": [] if mask is None else foreground_rows(mask, sample.sample_id),
    }


def array_hash(array: Array) -> str:
    """SHA-256 of an array's type, shape and bytes (row-major, little-endian)."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode())
    digest.update(little.data if little.size else b"")
    return digest.hexdigest()
