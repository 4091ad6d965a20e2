"""Gain along depth: sliders of time-gain compensation that do not fit the patient."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaug.axis import cosine_modes
from medaug.draws import Draws, Numbers
from medaug.options import Span, check_probability, span
from medaug.ultrasound.compression import add_decibels, check_dynamic_range

_MODES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthGain:
    """Amplifies by a smooth random curve along depth, the second last axis.

    Attributes:
        gain_db: greatest gain or loss of the curve; a number, or (low, high) to draw it.
        dynamic_range_db: what the image's range spans if it is log-compressed, as displayed ones are; None: the image is linear amplitude, 0 is no echo.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative gain, a range that is not positive, a p outside [0, 1].

    Source: Szabo, "Diagnostic Ultrasound Imaging: Inside Out", 2nd ed. 2014 (time-gain compensation).
    """

    gain_db: Span = (2.0, 10.0)
    dynamic_range_db: float | None = 60.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("DepthGain", self.p)
        span("DepthGain", "gain_db", self.gain_db, low=0)
        check_dynamic_range("DepthGain", self.dynamic_range_db)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        gain = draws.uniform("gain_db", *span("DepthGain", "gain_db", self.gain_db))
        curve = gain_curves(image.shape[-2], gain, draws.uniform("curve", -1, 1, (_MODES,)))
        decibels = torch.from_numpy(curve.astype(np.float32)).to(image.device)
        return add_decibels(image.float(), decibels.view(len(image), *(1,) * (image.ndim - 3), -1, 1), self.dynamic_range_db).to(
            image.dtype
        )


def gain_curves(length: int, gain_db: Numbers, terms: Numbers) -> Numbers:
    """Smooth curves of cosine modes along depth whose greatest magnitude is gain_db (B,): (B, length); terms are (B, modes)."""
    modes = cosine_modes(length, terms.shape[1])
    curve = (terms[:, :, None] * modes).sum(1)
    return np.asarray(curve * (gain_db / np.maximum(np.abs(curve).max(1), 1e-12))[:, None])
