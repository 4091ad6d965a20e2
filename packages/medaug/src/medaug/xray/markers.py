"""Markers: letters of lead in the corner of a film."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample, value_range
from medaug.errors import AugmentationError
from medaug.options import Span, check_probability, span
from medaug.xray.film import pixel_mm
from medaug.xray.font import word_dots


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """Writes one word near a corner.

    The sides stay true: "L" comes to the right of the film, where the patient's left is shown, "R" to the left; other words to either. Put flips before
    it, never after. Works on any scale of values.

    Attributes:
        words: to draw one from, of the letters that `xray.font` has.
        height_mm: of a letter; a number, or (low, high) to draw it.
        margin_mm: from the edges of the film; a number, or (low, high) to draw it, for each direction anew.
        density: of the letters, as a share of the film's range; a number, or (low, high) to draw it.
        dense_is_bright: lead is bright, as most films are shown.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for no word or one that cannot be spelt, a height that is not positive, an image that is not 2D or has no spacing, a p outside [0, 1].

    Source: Zech et al., "Variable generalization performance of a deep learning model to detect pneumonia in chest radiographs", PLOS Medicine 15(11), 2018:
    networks read markers; those drawn at random tell them nothing.
    """

    words: tuple[str, ...] = ("L", "R", "AP", "PA", "ERECT", "SUPINE", "PORTABLE")
    height_mm: Span = (8.0, 20.0)
    margin_mm: Span = (5.0, 25.0)
    density: Span = (0.8, 1.0)
    dense_is_bright: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Markers", self.p)
        span("Markers", "height_mm", self.height_mm, low=0, open_low=True)
        span("Markers", "margin_mm", self.margin_mm, low=0)
        span("Markers", "density", self.density, low=0, high=1)
        if not self.words:
            raise AugmentationError("Markers", "words is empty; name at least one")
        for word in self.words:
            word_dots(word)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        pixel = pixel_mm(image, draws, spacing)
        chosen = draws.integers("word", 0, len(self.words))
        words = np.array(self.words)[chosen]
        height = draws.uniform("height_mm", *span("Markers", "height_mm", self.height_mm))
        margin = draws.uniform("margin_mm", *span("Markers", "margin_mm", self.margin_mm), size=(2,))
        right = np.where(words == "L", True, np.where(words == "R", False, draws.chance("right", 0.5)))
        dots = _dots(self.words)
        width = np.array([word_dots(word).shape[1] for word in self.words])[chosen]
        dot = height / 7
        size = np.array(image.shape[2:]) * pixel
        top = np.where(draws.chance("bottom", 0.5), size[:, 0] - margin[:, 0] - height, margin[:, 0])
        left = np.where(right, size[:, 1] - margin[:, 1] - width * dot, margin[:, 1])
        rows, columns = (
            torch.from_numpy(_dot_index(image.shape[2 + axis], pixel[:, axis], start, dot, dots.shape[1 + axis])).to(image.device)
            for axis, start in ((0, top), (1, left))
        )
        # An index past the picture is its empty border.
        picture = torch.from_numpy(dots[chosen]).to(image.device)
        written = picture[torch.arange(len(image), device=image.device)[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]
        density = draws.uniform("density", *span("Markers", "density", self.density))
        result = image.float()
        least, extent = value_range(result)
        lead = extent * per_sample(density if self.dense_is_bright else 1 - density, image) + least
        return torch.where(written, lead, result).to(image.dtype)


def _dots(words: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Pictures of all words with an empty border at their lower and right end, (words, 8, widest + 1)."""
    widest = max(word_dots(word).shape[1] for word in words)
    return np.stack([np.pad(word_dots(word), ((0, 1), (0, widest + 1 - word_dots(word).shape[1]))) for word in words])


def _dot_index(length: int, pixel: Numbers, start: Numbers, dot: Numbers, size: int) -> npt.NDArray[np.int64]:
    """Which dot each pixel's centre lies in, (B, length); outside, that of the border."""
    index = np.floor(((np.arange(length) + 0.5) * pixel[:, None] - start[:, None]) / dot[:, None])
    return np.where((index >= 0) & (index < size - 1), index, size - 1).astype(np.int64)
