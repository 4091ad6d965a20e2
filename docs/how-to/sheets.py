"""Pictures side by side, for the pages of this folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (190, 160)
COLOURS = np.random.default_rng(7).integers(60, 256, (64, 3))


def grey(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """A plane as RGB between two values."""
    unit = np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1)
    return np.repeat((unit * 255).astype(np.uint8)[..., None], 3, axis=2)


def auto(plane: np.ndarray) -> np.ndarray:
    """A plane as RGB between its own percentiles."""
    return grey(plane, float(np.percentile(plane, 1)), float(np.percentile(plane, 99.5)))


def lung(plane: np.ndarray) -> np.ndarray:
    """The lung window."""
    return grey(plane, -1350, 150)


def soft(plane: np.ndarray) -> np.ndarray:
    """The soft-tissue window."""
    return grey(plane, -160, 240)


def coloured(plane: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A plane with its labels laid over it."""
    over = COLOURS[labels]
    return np.where((labels > 0)[..., None], (0.55 * plane + 0.45 * over), plane).astype(np.uint8)


def sheet(path: Path, rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> None:
    """Write pictures with titles, row by row."""
    width, height = SIZE[0] + 6, SIZE[1] + 18
    page = Image.new("RGB", (max(map(len, rows)) * width, len(rows) * height), "white")
    pen = ImageDraw.Draw(page)
    for r, row in enumerate(rows):
        for c, (title, picture) in enumerate(row):
            shown = Image.fromarray(picture)
            shown.thumbnail(SIZE)
            page.paste(shown, (c * width + 3, r * height + 15))
            pen.text((c * width + 4, r * height + 2), title, fill="black")
    page.save(path, optimize=True)
