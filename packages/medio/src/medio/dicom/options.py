"""What the caller chooses where a series can be read in more than one way."""

from dataclasses import dataclass
from typing import Literal

Irregular = Literal["refuse", "resample"]
Padding = Literal["keep", "air"]
PetValues = Literal["auto", "suv", "stored"]
_CHOICES = {"tilt": ("refuse", "resample"), "gaps": ("refuse", "resample"), "padding": ("keep", "air"), "pet": ("auto", "suv", "stored")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How a DICOM series becomes volumes.

    Attributes:
        tilt: a sheared stack (CT with a tilted gantry) is refused, or interpolated in its planes onto an upright grid.
        gaps: uneven distances (missing slices, variable spacing) are refused, or interpolated along the normal onto an even grid.
        padding: pixels that the file marks as padding keep their value, or take the smallest value that is none (air in CT).
        pet: `auto` gives SUVbw where the header allows and else the file's units (see `Image.unit`, and `meta["suv"]` for the reason); `suv` refuses what has no
            SUV; `stored` keeps the file's units.
        threads: how many decode at once; None for as many as help.
    """

    tilt: Irregular = "refuse"
    gaps: Irregular = "refuse"
    padding: Padding = "keep"
    pet: PetValues = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {getattr(self, name)!r}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1 or None, got {self.threads}")
