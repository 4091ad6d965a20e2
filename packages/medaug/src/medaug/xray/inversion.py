"""Inversion: MONOCHROME1 and MONOCHROME2."""

from dataclasses import dataclass

from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.options import check_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """Turns bright to dark between the sample's own minimum and maximum, as a film whose Photometric Interpretation was overlooked; twice is nothing.

    Works on any scale of values and any modality; channels turn about the range of all.

    Attributes:
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a p outside [0, 1].

    Source: DICOM PS3.3 C.7.6.3.1.2.
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Inversion", self.p)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        flat = image.float().flatten(1)
        ends = (flat.amin(1) + flat.amax(1)).view((-1,) + (1,) * (image.ndim - 1))
        return image.float().neg_().add_(ends).to(image.dtype)
