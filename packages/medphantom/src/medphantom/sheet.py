"""A contact sheet: one visit at a glance, CT in three planes, its labels, MR and films."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medphantom.dicom.record import Record
from medphantom.nifti import findings_map

Picture = npt.NDArray[np.uint8]
"""(3, rows, columns), red, green, blue."""

_LOW_HU, _HIGH_HU = -1100.0, 350.0
_GAP = 4
_STRENGTH = 0.55  # of colours over the CT
# "SYNTHETIC" in letters of five by seven dots, a number a row; every picture bears it.
_LETTERS = {
    "S": (15, 16, 16, 14, 1, 1, 30),
    "Y": (17, 17, 10, 4, 4, 4, 4),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "C": (15, 16, 16, 16, 16, 16, 15),
}


def contact_sheet(record: Record, *, pixel_mm: float = 1.5) -> Picture:
    """Draw one visit.

    Rows from above: the CT in an axial, a coronal and a sagittal plane through its largest finding (through the middle where there is
    none); the same with classes and findings in colour; MR in the coronal plane and the films. Heads are up, the patient's left is at the
    right, as on a film. Marked as synthetic.

    Args:
        record: the visit.
        pixel_mm: size of the sheet's pixels.

    Returns:
        (3, rows, columns) uint8.
    """
    focus = _focus(record)
    spacing = record.ct.spacing
    ct = _gray(record.ct.array, _LOW_HU, _HIGH_HU)
    classes = record.labels.astype(np.intp)
    found = findings_map(record)
    classes[found > 0] = len(record.classes) + found[found > 0]
    coloured = _coloured(ct, classes)
    rows = [
        [_plane(ct, axis, focus, spacing, pixel_mm) for axis in range(3)],
        [_plane(coloured, axis, focus, spacing, pixel_mm) for axis in range(3)],
        [
            _plane(_gray(image.array, 0, float(np.percentile(image.array, 99.5))), 1, focus, spacing, pixel_mm)
            for image in record.mr.values()
        ],
    ]
    for film in record.films.values():
        low, high = np.percentile(film.array, (1, 99.5))
        rows[2].append(_sampled(_gray(film.array, float(low), float(high)), film.spacing, pixel_mm))
    return _stacked([_beside(row) for row in rows if row])


def _focus(record: Record) -> tuple[int, int, int]:
    d, h, w = record.labels.shape
    seen = [truth for truth in record.truths if truth.seen]
    if not seen:
        return d // 2, h // 2, w // 2
    center = record.ct.index(np.array(max(seen, key=lambda truth: truth.volume_ml).center_mm))
    z, y, x = (int(np.clip(round(float(c)), 0, n - 1)) for c, n in zip(center, (d, h, w), strict=True))
    return z, y, x


def _gray(array: npt.NDArray[np.generic], low: float, high: float) -> Picture:
    level = (np.asarray(array, np.float32) - low) * (255 / max(high - low, 1e-6))
    gray = np.clip(level, 0, 255).astype(np.uint8)
    return np.stack([gray] * 3)


def _coloured(ct: Picture, classes: npt.NDArray[np.intp]) -> Picture:
    """Tint every class; hues a golden angle apart, so that neighbours in number differ."""
    hue = (np.arange(classes.max() + 1) * 0.61803) % 1
    tints = np.stack([np.clip(np.abs((hue * 6 + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]) * 255
    strength = np.where(classes > 0, np.float32(_STRENGTH), np.float32(0))
    return np.asarray(ct * (1 - strength) + tints.astype(np.float32)[:, classes] * strength, np.uint8)


def _plane(volume: Picture, axis: int, focus: tuple[int, int, int], spacing: Sequence[float], pixel_mm: float) -> Picture:
    plane = np.take(volume, focus[axis], axis + 1)
    if axis > 0:
        plane = plane[:, ::-1]  # the volume runs to superior, the sheet to inferior
    return _sampled(plane, [s for i, s in enumerate(spacing) if i != axis], pixel_mm)


def _sampled(plane: Picture, spacing: Sequence[float], pixel_mm: float) -> Picture:
    """Take the nearest sample at each pixel of the sheet."""
    for axis, distance in enumerate(spacing, start=1):
        count = max(1, round(plane.shape[axis] * distance / pixel_mm))
        nearest = np.minimum(((np.arange(count) + 0.5) * pixel_mm / distance).astype(np.intp), plane.shape[axis] - 1)
        plane = plane.take(nearest, axis)
    return _marked(plane)


def _marked(plane: Picture) -> Picture:
    dots = np.concatenate([np.pad(_letter(letter), ((0, 0), (0, 1))) for letter in "SYNTHETIC"], axis=1)
    marked = plane.copy()
    height, width = (min(a, b) for a, b in zip(dots.shape, (plane.shape[1] - 2, plane.shape[2] - 2), strict=True))
    if height > 0 and width > 0:
        corner = marked[:, 2 : 2 + height, 2 : 2 + width]
        corner[:, dots[: corner.shape[1], : corner.shape[2]]] = 255
    return marked


def _letter(letter: str) -> npt.NDArray[np.bool_]:
    rows = np.array(_LETTERS[letter])
    return np.asarray((rows[:, None] >> np.arange(4, -1, -1)) & 1, bool)


def _beside(pictures: Sequence[Picture]) -> Picture:
    height = max(picture.shape[1] for picture in pictures)
    return np.concatenate([np.pad(p, ((0, 0), (0, height - p.shape[1]), (0, _GAP))) for p in pictures], axis=2)


def _stacked(rows: Sequence[Picture]) -> Picture:
    width = max(row.shape[2] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, _GAP), (0, width - row.shape[2]))) for row in rows], axis=1)
