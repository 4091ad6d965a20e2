"""DICOM series out of a scanned archive: one sample a series."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pydicom

from medio.archive.series import Series, series
from medio.derived.rtstruct import read_rtstruct
from medio.derived.segmentation_reader import read_segmentation
from medio.errors import CorruptFileError, MissingFileError, UnsupportedError
from medio.image import Image
from medio.quarantine import Quarantined
from medio.reading import read
from medio.recipes.annotations import Annotations
from medio.recipes.volumes import stored_volume
from medio.shards.sample import ShardSample


@dataclass(frozen=True)
class SeriesItem:
    """One series on its way into a shard.

    Attributes:
        series: its files and what they say.
        split: see `ShardSample`.
        mask: a DICOM SEG or RTSTRUCT that was drawn on it, see `find_masks`; or None.
        annotations: labels, report, boxes, points and prior, see `join_table` and `link_priors`.
        volume: name of the one to take where the series holds several, see `split_volumes`.
    """

    series: Series
    split: str = ""
    mask: Path | None = None
    annotations: Annotations = field(default_factory=Annotations)
    volume: str | None = None

    @property
    def ids(self) -> Mapping[str, str]:
        """Its ids by kind."""
        one = self.series
        sample = one.series_instance_uid or str(one.paths[0].parent)
        return {
            "sample": sample if self.volume is None else f"{sample}/{self.volume}",
            "patient": one.patient_id,
            "study": one.study_instance_uid,
            "series": one.series_instance_uid,
            "file": one.paths[0].name,
            "study_date": one.study_date,
            "modality": one.modality,
            "description": one.series_description,
        }

    def annotated(self, annotations: Annotations) -> Self:
        """Return the same item with other annotations."""
        return replace(self, annotations=annotations)


@dataclass(frozen=True)
class SeriesFolder:
    """What `find_series` found.

    Attributes:
        series: those of the wanted modalities.
        set_aside: files that cannot be read, and series of other modalities, with the reason.
    """

    series: tuple[Series, ...]
    set_aside: tuple[Quarantined, ...]


@dataclass(frozen=True)
class SeriesRecipe:
    """Make a sample of a series: read it; turn a volume to common axes and bring it to a common spacing.

    The sample is named by its Series Instance UID, or by the folder of its files where they have none; followed by `/` and the volume's name where one is chosen.

    Attributes:
        spacing_mm: (z, y, x) of the stored volumes; None keeps each one's own. Films keep theirs.
        axes: where a volume's stored axes run to, see `reorient`.
        segments: numbers of a SEG's segments to take; None takes all. They become the classes of the mask.
        structures: names of an RTSTRUCT's structures to take, which become classes 1, 2, …; None takes all.
    """

    spacing_mm: tuple[float, float, float] | None = None
    axes: str = "SPL"
    segments: tuple[int, ...] | None = None
    structures: tuple[str, ...] | None = None

    def __call__(self, item: SeriesItem) -> ShardSample:
        """Read one series.

        Raises:
            MedioError: for broken files, or files that form no volume.
            ValueError: for a series without PatientID.
        """
        found = item.series
        source = read(found.paths, volume=item.volume)
        if not found.patient_id:
            raise ValueError(
                f"{found.paths[0].parent}: its files have no PatientID, so it cannot be split by patient; set one or exclude them"
            )
        mask = None if item.mask is None else self._mask(item.mask, source)
        if len(source.spacing) == 3:
            image, arrays = stored_volume(source, mask, self.axes, self.spacing_mm)
        else:
            image = source
            arrays = {"image": source.array[None] if source.array.ndim == 2 else source.array}
            arrays |= {} if mask is None else {"mask": mask.array}
        arrays |= item.annotations.placed(source, image)
        return ShardSample(
            sample_id=item.ids["sample"],
            patient_id=found.patient_id,
            arrays=arrays,
            spacing=image.spacing,
            affine=image.affine,
            modality=found.modality,
            unit=image.unit,
            split=item.split,
            study_date=found.study_date,
            site=found.institution_name,
            vendor=found.manufacturer,
            meta={"study_instance_uid": found.study_instance_uid} | ({} if item.volume is None else {"volume": item.volume}),
            **item.annotations.row({}),
        )

    def _mask(self, path: Path, source: Image) -> Image:
        """Read a mask onto the grid of its series, as classes."""
        if _modality(path) != "RTSTRUCT":
            return read_segmentation(path, like=source, segments=self.segments)
        stack = read_rtstruct(path, like=source, names=self.structures)
        if (stack.array.sum(axis=0, dtype=np.uint16) > 1).any():
            raise UnsupportedError(path, "its structures overlap, which classes of one mask cannot; name those to take in structures=")
        classes = np.arange(1, len(stack.array) + 1).reshape(-1, 1, 1, 1)
        return replace(stack, array=(stack.array * classes).sum(axis=0).astype(np.uint8 if len(stack.array) < 256 else np.uint16))


def find_series(table: pa.Table, *, modalities: Collection[str] = ("CT", "MR", "PT")) -> SeriesFolder:
    """Choose the series of a `scan` by modality.

    Args:
        table: as `scan` returns.
        modalities: DICOM modalities to take.

    Raises:
        MissingFileError: where no series is of a wanted modality.
    """
    found = series(table)
    chosen = tuple(s for s in found if s.modality in modalities)
    if not chosen:
        seen = sorted({s.modality or "none" for s in found})
        reason = f"no series is of modality {', '.join(sorted(modalities))}; the {len(found)} series found are of {', '.join(seen) or 'no modality'}"
        raise MissingFileError("scan", reason)
    bad = [Quarantined(row["path"], row["error"]) for row in table.select(["path", "error"]).to_pylist() if row["error"] is not None]
    others = [
        Quarantined(str(s.paths[0].parent), f"series of modality {s.modality or 'none'}, {len(s.paths)} files: not asked for")
        for s in found
        if s.modality not in modalities
    ]
    return SeriesFolder(chosen, tuple(bad + others))


def find_masks(table: pa.Table, found: Sequence[Series]) -> tuple[dict[str, Path], tuple[Quarantined, ...]]:
    """Find the SEG and RTSTRUCT files of a `scan` that were drawn on series.

    Args:
        table: as `scan` returns.
        found: the series, e.g. of `find_series`.

    Returns:
        The file of each series that has one, by Series Instance UID; of several the last by path. And what is left, with the reason.
    """
    wanted = {one.series_instance_uid for one in found if one.series_instance_uid}
    masks: dict[str, Path] = {}
    left: list[Quarantined] = []
    rows = table.select(["path", "modality", "error", "referenced_series_instance_uid"]).to_pylist()
    for row in sorted(rows, key=lambda row: str(row["path"])):
        if row["error"] is not None or row["modality"] not in ("SEG", "RTSTRUCT"):
            continue
        drawn_on = wanted.intersection(row["referenced_series_instance_uid"] or ())
        if len(drawn_on) != 1:
            reason = "was drawn on no series that was found" if not drawn_on else f"was drawn on {len(drawn_on)} series"
            left.append(Quarantined(row["path"], reason))
            continue
        uid = drawn_on.pop()
        if uid in masks:
            left.append(Quarantined(str(masks[uid]), f"was drawn on the same series as {row['path']}, which is taken"))
        masks[uid] = Path(row["path"])
    return masks, tuple(left)


def _modality(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).get("Modality", ""))
    except (pydicom.errors.InvalidDicomError, OSError) as error:
        raise CorruptFileError(path, f"is no DICOM file ({error}); give a SEG or RTSTRUCT") from error
