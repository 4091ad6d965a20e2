"""Windows: which HU are shown, and how two readers differ in that."""

from dataclasses import dataclass

from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import per_sample
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowJitter:
    """Clips HU to a window whose centre and width vary from sample to sample.

    Attributes:
        center_hu: the window's centre.
        width_hu: the window's width.
        center_jitter_hu: what is added to the centre; a number, or (low, high) to draw it.
        width_factor: what the width is multiplied by, drawn log-uniformly; a number, or (low, high).
        unit: give [0, 1] from the window's foot to its top; False stays in HU, clipped.
        p: probability that a sample is changed. Below 1 with `unit`, the samples that are not keep their HU: use 1 there, and jitter of 0 for none.

    Raises:
        AugmentationError: for a width or factor that is not positive, a p outside [0, 1].

    Source: DICOM PS3.3 C.11.2.1.2 (window centre and width); as augmentation, Lee et al., "Practical window setting optimization for medical image deep
    learning", NeurIPS ML4H 2018.
    """

    center_hu: float = 40.0
    width_hu: float = 400.0
    center_jitter_hu: Span = (-20.0, 20.0)
    width_factor: Span = (0.8, 1.25)
    unit: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("WindowJitter", self.p)
        span("WindowJitter", "center_hu", self.center_hu)
        span("WindowJitter", "width_hu", self.width_hu, low=0, open_low=True)
        span("WindowJitter", "center_jitter_hu", self.center_jitter_hu)
        span("WindowJitter", "width_factor", self.width_factor, low=0, open_low=True)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        center = self.center_hu + draws.uniform("center", *span("WindowJitter", "center_jitter_hu", self.center_jitter_hu))
        width = self.width_hu * draws.log_uniform("width", *span("WindowJitter", "width_factor", self.width_factor))
        foot = per_sample(center - width / 2, image)
        result = image.float()
        if self.unit:
            return result.sub_(foot).div_(per_sample(width, image)).clamp_(0, 1).to(image.dtype)
        return result.clamp_(foot, per_sample(center + width / 2, image)).to(image.dtype)
