"""The contact sheet: planes of the very volume, upright, each marked as synthetic."""

from dataclasses import replace

import numpy as np
import pytest

from medphantom.dicom import Record, record_of
from medphantom.findings.truth import Truth
from medphantom.patient import make_patient
from medphantom.sheet import contact_sheet

SPACING = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(make_patient(0, 0, spacing_mm=SPACING, shape=(60, 72, 84), findings=()))


def test_at_the_voxels_size_the_planes_are_the_volumes_own(record):
    sheet = contact_sheet(record, pixel_mm=4.0)
    assert sheet.dtype == np.uint8
    # planes through the middle, side by side with a gap of 4: axial 72 x 84, coronal 60 x 84 and sagittal 60 x 72, the last two head up
    axial, coronal, sagittal = sheet[0, :72, :84], sheet[0, :60, 88:172], sheet[0, :60, 176:248]
    middle = record.ct.array[30], record.ct.array[::-1, 36], record.ct.array[::-1, :, 42]
    for drawn, hu in zip((axial, coronal, sagittal), middle, strict=True):
        shown = np.clip((hu.astype(float) + 1100) * 255 / 1450, 0, 255)
        below = np.s_[10:]  # the mark lies in the first ten rows
        assert np.abs(drawn[below] - shown[below]).max() <= 1


def test_colours_mark_the_classes_and_nothing_else(record):
    sheet = contact_sheet(record, pixel_mm=4.0).astype(int)
    gray, coloured = sheet[:, 10:72, :84], sheet[:, 86:148, :84]  # the second row of planes begins after 72 rows and a gap of 4
    changed = (gray != coloured).any(axis=0)
    labelled = record.labels[30, 10:] > 0
    assert (changed <= labelled).all()
    # a tint can happen to be the gray that it covers, hardly ever
    assert changed.sum() > 0.95 * labelled.sum()


def test_every_picture_bears_the_mark(record):
    mark = contact_sheet(record, pixel_mm=4.0)[0, 2:9, 2:56] == 255
    for row, column in ((0, 88), (0, 176), (76, 0), (76, 88), (76, 176), (152, 0)):
        assert (contact_sheet(record, pixel_mm=4.0)[0, row + 2 : row + 9, column + 2 : column + 56][mark] == 255).all()
    # nine letters of five columns and gaps between: S has 14 dots
    assert mark[:, :5].sum() == sum(bin(row).count("1") for row in (15, 16, 16, 14, 1, 1, 30))


def test_the_planes_go_through_the_largest_finding(record):
    size = {
        "side": "left",
        "lobe": None,
        "diameter_mm": None,
        "short_axis_mm": None,
        "center_mm": (0.0, 0.0, 0.0),
        "shape": record.labels.shape,
    }
    small, large = (
        Truth(
            kind="effusion",
            tracking_id=name,
            region=box(at),
            mask=np.ones((2, 2, 2), bool),
            box=(*at, *np.add(at, 2)),
            volume_ml=ml,
            **size,
        )
        for name, at, ml in (("a", (10, 10, 10), 1.0), ("b", (20, 30, 40), 2.0))
    )
    large = replace(large, center_mm=tuple(record.ct.world((20.4, 30.4, 40.4))))
    axial = contact_sheet(replace(record, truths=(small, large)), pixel_mm=4.0)[0, 10:72, :84]
    assert np.abs(axial - np.clip((record.ct.array[20, 10:].astype(float) + 1100) * 255 / 1450, 0, 255)).max() <= 1


def box(at: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    z, y, x = at
    return slice(z, z + 2), slice(y, y + 2), slice(x, x + 2)
