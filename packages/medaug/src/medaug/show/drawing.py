"""Draw images and outlines of masks as one grid of grey panels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[Any]

_COLOURS = np.array([(230, 60, 60), (70, 200, 90), (80, 140, 255), (250, 200, 40), (220, 90, 230), (60, 220, 220)], np.uint8)
_GAP, _LABEL = 4, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What one cell of the grid shows.

    Attributes:
        image: (*S), grey.
        spacing: mm along S.
        title: written above it.
        mask: (*S) labels to outline, or None.
        window: (low, high) values that become black and white.
    """

    image: Array
    spacing: tuple[float, ...]
    title: str
    window: tuple[float, float]
    mask: Array | None = None


def grey_window(images: Sequence[Array]) -> tuple[float, float]:
    """Give the 1st and 99.5th percentile of some images together."""
    values = np.concatenate([image.ravel()[:: max(1, image.size // 200_000)] for image in images]).astype(np.float64)
    low, high = np.percentile(values, (1, 99.5))
    return float(low), float(high if high > low else low + 1)


def draw_grid(panels: Sequence[Panel], size: int = 224) -> Image.Image:
    """Draw panels in rows.

    Args:
        panels: 2D ones are a cell each; of a 3D one the planes through the middle, axial, coronal and sagittal, the head up.
        size: pixels of the longer side of a plane.

    Returns:
        An RGB image; pixels are square in mm.
    """
    cells = [_cell(panel, size) for panel in panels]
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    columns = max(1, round(math.sqrt(len(cells) * height / width)))
    rows = math.ceil(len(cells) / columns)
    grid = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), (24, 24, 24))
    for number, cell in enumerate(cells):
        grid.paste(cell, (_GAP + number % columns * (width + _GAP), _GAP + number // columns * (height + _GAP)))
    return grid


def outline(mask: Array) -> Array:
    """Find the pixels of a label (H, W) that touch another label or the edge: True there."""
    padded = np.pad(mask, 1)
    middle = padded[1:-1, 1:-1]
    differs = [
        padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx] != middle
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    found: Array = (middle != 0) & np.logical_or.reduce(differs)
    return found


def _cell(panel: Panel, size: int) -> Image.Image:
    """A panel's planes side by side below its title."""
    planes = [_plane(panel, axis, size) for axis in range(panel.image.ndim)] if panel.image.ndim == 3 else [_plane(panel, None, size)]
    cell = Image.new("RGB", (sum(plane.width for plane in planes) + 2 * (len(planes) - 1), max(plane.height for plane in planes) + _LABEL))
    ImageDraw.Draw(cell).text((2, 1), panel.title, fill=(240, 240, 240))
    left = 0
    for plane in planes:
        cell.paste(plane, (left, _LABEL))
        left += plane.width + 2
    return cell


def _plane(panel: Panel, axis: int | None, size: int) -> Image.Image:
    """One plane of a panel, square in mm."""
    image, mask, spacing = panel.image, panel.mask, panel.spacing
    if axis is not None:
        # The plane where the most of the mask lies tells more than the middle one.
        counts = None if mask is None else np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        place = int(counts.argmax()) if counts is not None and counts.any() else image.shape[axis] // 2
        image = image.take(place, axis)
        mask = None if mask is None else mask.take(place, axis)
        spacing = spacing[:axis] + spacing[axis + 1 :]
        if axis > 0:  # z runs to the head: turn it up
            image, mask = image[::-1], None if mask is None else mask[::-1]
    low, high = panel.window
    grey = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1) * 255
    extent = [count * step for count, step in zip(image.shape, spacing, strict=True)]
    height, width = (max(1, round(size * length / max(extent))) for length in extent)
    scaled = Image.fromarray(np.round(grey).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR).convert("RGB")
    if mask is None:
        return scaled
    labels = np.asarray(Image.fromarray(mask.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST))
    pixels = np.array(scaled)
    edge = outline(labels)
    pixels[edge] = _COLOURS[(labels[edge] - 1) % len(_COLOURS)]
    return Image.fromarray(pixels)
