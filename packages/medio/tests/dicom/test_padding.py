"""Padding: its values are said, and turned to air by choice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

import medio

WriteSeries = Callable[..., list[Path]]


@pytest.mark.parametrize(("limit", "padded"), [(None, [-2000]), (-1990, [-2000, -1995])])
def test_padding_is_kept_and_said_or_turned_to_the_smallest_other_value(
    write_series: WriteSeries, tmp_path: Path, limit: int | None, padded: list[int]
) -> None:
    stored = np.array([[-2000, -1995, 24, 1500]], np.int16)
    common = {"SOPClassUID": CTImageStorage, "Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}
    write_series(
        tmp_path / "ct", [(stored, (0, 0, 2 * z), {}) for z in range(2)], PixelPaddingValue=-2000, PixelPaddingRangeLimit=limit, **common
    )
    kept = medio.read(tmp_path / "ct")
    assert kept.array[0].tolist() == [[-3024, -3019, -1000, 476]]
    assert kept.meta["padding"] == (-3024, -3014 if limit else -3024)
    aired = medio.read(tmp_path / "ct", padding="air")
    least = -1000 if limit else -3019
    assert aired.array[0].tolist() == [[least if value in padded else value - 1024 for value in stored[0].tolist()]]
    assert aired.meta["findings"] == (f"{2 * len(padded)} padding voxels set to {least}",)
    assert aired.array.dtype == kept.array.dtype == np.int16


def test_without_padding_nothing_changes(write_series: WriteSeries, tmp_path: Path) -> None:
    stored = np.array([[0, 5]], np.uint16)
    write_series(tmp_path / "mr", [(stored, (0, 0, 2 * z), {}) for z in range(2)])
    image = medio.read(tmp_path / "mr", padding="air")
    assert image.array[0].tolist() == stored.tolist()
    assert image.meta["padding"] is None


def test_a_padding_value_written_with_the_wrong_sign_still_finds_its_pixels(write_series: WriteSeries, tmp_path: Path) -> None:
    stored = np.array([[-2000, 7]], np.int16)
    (path,) = write_series(tmp_path / "ct", [(stored, (0, 0, 0), {})])
    ds = dcmread(path)
    ds.add_new(0x00280120, "US", 65536 - 2000)
    ds.save_as(path)
    assert medio.read(path, padding="air").array.tolist() == [[[7, 7]]]
