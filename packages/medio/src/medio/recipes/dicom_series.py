"""DICOM series out of a scanned archive: one sample a series."""

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from medio.archive.series import Series, series
from medio.errors import MissingFileError
from medio.geometry import reorient, resample
from medio.read import read
from medio.shards.build import Quarantined
from medio.shards.sample import ShardSample


@dataclass(frozen=True)
class SeriesItem:
    """One series on its way into a shard.

    Attributes:
        series: its files and what they say.
        split: see `ShardSample`.
    """

    series: Series
    split: str = ""


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

    The sample is named by its Series Instance UID, or by the folder of its files where they have none.

    Attributes:
        spacing_mm: (z, y, x) of the stored volumes; None keeps each one's own. Films keep theirs.
        axes: where a volume's stored axes run to, see `reorient`.
    """

    spacing_mm: tuple[float, float, float] | None = None
    axes: str = "SPL"

    def __call__(self, item: SeriesItem) -> ShardSample:
        """Read one series.

        Raises:
            MedioError: for broken files, or files that form no volume.
            ValueError: for a series without PatientID.
        """
        found = item.series
        image = read(found.paths)
        if len(image.spacing) == 3:
            image = reorient(image, self.axes)
            image = image if self.spacing_mm is None else resample(image, spacing=self.spacing_mm)
        if not found.patient_id:
            raise ValueError(
                f"{found.paths[0].parent}: its files have no PatientID, so it cannot be split by patient; set one or exclude them"
            )
        dims = len(image.spacing)
        return ShardSample(
            sample_id=found.series_instance_uid or str(found.paths[0].parent),
            patient_id=found.patient_id,
            arrays={"image": image.array[None] if image.array.ndim == dims else image.array},
            spacing=image.spacing,
            affine=image.affine,
            modality=found.modality,
            unit=image.unit,
            split=item.split,
            study_date=found.study_date,
            site=found.institution_name,
            vendor=found.manufacturer,
            meta={"study_instance_uid": found.study_instance_uid},
        )


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
