"""Series that hold several volumes (b-values, echoes, time points): an item for each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medio.dicom.series import inspect_series
from medio.errors import MedioError
from medio.quarantine import Quarantined
from medio.recipes.dicom_series import SeriesItem


@dataclass(frozen=True)
class SplitItems:
    """What `split_volumes` made.

    Attributes:
        items: in the order of the series, and of the volumes in each.
        set_aside: series whose headers cannot be read, with the reason.
    """

    items: tuple[SeriesItem, ...]
    set_aside: tuple[Quarantined, ...]


def split_volumes(items: Sequence[SeriesItem]) -> SplitItems:
    """Give each volume of a series an item of its own.

    Reads the headers of every series once, no pixels. Films and series of one volume stay as they are. A mask is kept with every volume of its series.

    Args:
        items: one a series.

    Returns:
        The items; `SeriesRecipe` reads the volume that each names.
    """
    split: list[SeriesItem] = []
    set_aside: list[Quarantined] = []
    for item in items:
        if item.series.modality in _FILMS:
            split.append(item)
            continue
        try:
            report = inspect_series(item.series.paths)
        except MedioError as error:
            set_aside.append(Quarantined(str(item.series.paths[0].parent), str(error)))
            continue
        several = len(report.volumes) > 1
        split += [replace(item, volume=volume.name) for volume in report.volumes] if several else [item]
    return SplitItems(tuple(split), tuple(set_aside))


_FILMS = frozenset({"CR", "DX", "MG", "XA", "RF"})
