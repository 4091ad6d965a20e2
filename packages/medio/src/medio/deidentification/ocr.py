"""Text in a picture, found by RapidOCR; its models come with the package, nothing is fetched.

What was measured: text from 8 pixels of height is found at contrasts from 8 % of the range, dark on light, over anatomy, at the very edge, upright or
turned by 90 degrees. It is not found where a window hides it (16-bit pixels shown over their full range), hence the views. A picture of 512x512 costs 0.2 s
on one core, 2000x2000 about 1.5 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_TILE, _OVERLAP = 1600, 200
_FEWEST, _SURE, _LIKELY = 3, 0.6, 0.5
MARKERS = frozenset(
    {"L", "R", "LT", "RT", "LEFT", "RIGHT", "AP", "PA", "LAT", "ERECT", "UPRIGHT", "SUPINE", "PRONE", "PORTABLE", "CC", "MLO", "RCC", "LCC"}
    | {"RMLO", "LMLO", "LL", "A", "P", "H", "F", "AR", "AL", "PR", "PL"}
)
"""Words that tell a side or a projection: they are needed, and tell nobody's name."""


@dataclass(frozen=True)
class TextBox:
    """One piece of text in a picture.

    Attributes:
        left, top, right, bottom: pixels, right and bottom exclusive.
        text: as read.
        score: 0 to 1.
    """

    left: int
    top: int
    right: int
    bottom: int
    text: str
    score: float


def find_text(picture: npt.NDArray[Any]) -> list[TextBox]:
    """Find text that could tell a person.

    Args:
        picture: (H, W) of any number type, or (H, W, 3) uint8 RGB.

    Returns:
        Boxes, possibly overlapping; markers of side and projection, and shapes of anatomy that only look like a letter, left out.

    Raises:
        ImportError: without the extra `ocr`.
    """
    boxes = [box for view in _views(picture) for top, left, tile in _tiles(view) for box in _read(tile, top, left)]
    return [box for box in boxes if _is_text(box, picture.shape[0], picture.shape[1])]


@cache
def _engine() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-untyped]  # it has no stubs
    except ImportError as error:
        raise ImportError('text in pixels is found by rapidocr-onnxruntime; pip install "medio[ocr]"') from error
    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)


def _views(picture: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.uint8]]:
    """The picture as 8 bit: as it is or over its full range, and between its outer percentiles where that differs."""
    if picture.ndim == 3:
        yield np.ascontiguousarray(picture, dtype=np.uint8)
        return
    values = picture.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return
    full = (low, high) if picture.dtype != np.uint8 else (0.0, 255.0)
    yield _window(values, *full)
    inner = np.percentile(values, (0.5, 99.5))
    # Text of two grey levels on an even ground has no range between the percentiles; the first view shows it.
    if inner[1] > inner[0] and (inner[1] - inner[0]) < 0.7 * (full[1] - full[0]):
        yield _window(values, float(inner[0]), float(inner[1]))


def _window(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip((values - low) * (255.0 / (high - low)), 0, 255), dtype=np.uint8)


def _tiles(view: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int, npt.NDArray[np.uint8]]]:
    """Pieces that are read at full size; the engine would shrink larger ones."""
    height, width = view.shape[:2]
    for top in _starts(height):
        for left in _starts(width):
            yield top, left, np.ascontiguousarray(view[top : top + _TILE + _OVERLAP, left : left + _TILE + _OVERLAP])


def _starts(size: int) -> range:
    return range(0, max(size - _OVERLAP, 1), _TILE)


def _read(tile: npt.NDArray[np.uint8], top: int, left: int) -> Iterator[TextBox]:
    # The engine takes BGR.
    found, _ = _engine()(tile[..., ::-1] if tile.ndim == 3 else tile)
    for corners, text, score in found or []:
        xs, ys = np.asarray(corners, dtype=float).T
        yield TextBox(
            left + int(np.floor(xs.min())),
            top + int(np.floor(ys.min())),
            left + int(np.ceil(xs.max())),
            top + int(np.ceil(ys.max())),
            text,
            float(score),
        )


def _is_text(box: TextBox, height: int, width: int) -> bool:
    word = "".join(char for char in box.text if char.isalnum())
    if not word or word.upper() in MARKERS:
        return False
    # A ventricle or a loop of bowel is read as a large letter; writing is small, or has several letters.
    letter_height, side = min(box.right - box.left, box.bottom - box.top), min(height, width)
    if len(word) < _FEWEST:
        return box.score >= _SURE and letter_height <= max(0.08 * side, 24)
    return box.score >= _LIKELY and letter_height <= max(0.25 * side, 24)
