"""Image-report pairs out of a folder of shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from medio import Draw, ShardDataset
from medmodels import Preprocessing
from medrun.data import Normalize
from medrun.errors import UserError


class Pairs:
    """The samples of one split that have a report, normalised.

    Args:
        root: folder of shards.
        split: its name.
        preprocessing: what is done to the images.

    Attributes:
        version: of the dataset.
        sample_ids: of the pairs, in order.
        patients: the patient of each.
        reports: the text of each.
        without_report: ids that were left out for want of a report.

    Raises:
        UserError: where no sample has a report.
        medio.MissingFileError: where there is no dataset or no such split.
    """

    def __init__(self, root: Path, split: str, preprocessing: Preprocessing) -> None:
        self._dataset = ShardDataset(root, split=split, keys=("image",), transform=Normalize(preprocessing))
        texts = [text or "" for text in self._dataset.table["report"].to_pylist()]
        self._rows = [row for row, text in enumerate(texts) if text.strip()]
        if not self._rows:
            raise UserError(f"{root}: no sample of split {split!r} has a report; give build_shards a recipe that sets `report`")
        self.version = self._dataset.version
        self.sample_ids = tuple(self._dataset.sample_ids[row] for row in self._rows)
        self.patients = tuple(self._dataset.patients[row] for row in self._rows)
        self.reports = tuple(texts[row] for row in self._rows)
        with_report = set(self._rows)
        self.without_report = tuple(name for row, name in enumerate(self._dataset.sample_ids) if row not in with_report)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | Draw) -> dict[str, Any]:
        """Give one pair."""
        return self._dataset[Draw(self._rows[at.index], at.key)] if isinstance(at, Draw) else self._dataset[self._rows[at]]


def splits(root: Path) -> tuple[str, ...]:
    """Names of a dataset's splits, sorted."""
    return tuple(sorted(pc.unique(ShardDataset(root).table["split"]).to_pylist()))


def image_shape(root: Path) -> tuple[int, ...]:
    """Shape (C, *S) that all images of a dataset share.

    Raises:
        UserError: where they differ; names two samples.
    """
    dataset = ShardDataset(root)
    first: dict[tuple[int, ...], str] = {}
    for name, arrays in zip(dataset.sample_ids, dataset.table["arrays"].to_pylist(), strict=True):
        first.setdefault(_shape(arrays), name)
    if len(first) > 1:
        (one, a), (other, b) = list(first.items())[:2]
        raise UserError(f"{root}: images differ in shape: {a} is {one}, {b} is {other}; resize them alike when you build the shards")
    return next(iter(first))


def _shape(arrays: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    return tuple(int(n) for n in next(array["shape"] for array in arrays if array["name"] == "image"))
