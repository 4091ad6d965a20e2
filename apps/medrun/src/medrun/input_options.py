"""Options of what goes into a network: what an experiment's command line offers as `input.*`. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from medrun.configs import option


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How a stored sample becomes the network's input."""

    patch_size: tuple[int, ...] | None = option(
        None, "crop, z,y,x or y,x; null takes 64 along each axis, and the stored size for whole images"
    )
    intensity: Literal["window", "zscore", "percentile"] | None = option(None, "normalisation; null takes the encoder's, else zscore")
    window: tuple[float, float] | None = option(None, "low and high of intensity=window, in the image's unit, e.g. [-1000,400]")
    foreground: float = option(0.5, "share of crops that are centred on a structure, where there are masks")
    augment: Literal["none", "geometry", "standard", "light", "nnunet"] = option(
        "standard", "geometry: affine; standard: affine, gamma and noise; light and nnunet: medaug's presets of that name"
    )
    flip: tuple[int, ...] = option((), "axes to mirror at random, e.g. [-1]; none where left and right matter")
    balance: str | None = option(
        None, "draw groups equally often: site, vendor, label:NAME, class:N; null brings each sample once an epoch"
    )
    bad_samples: Literal["raise", "skip"] = option("raise", "a sample that cannot be read: stop, or put another in its place and warn")

    def __post_init__(self) -> None:
        if self.window is not None and self.intensity not in (None, "window"):
            raise ValueError(f"window={list(self.window)} has no meaning with intensity={self.intensity}; use intensity=window")
        if self.intensity == "window" and self.window is None:
            raise ValueError("intensity=window needs window=[low,high]")
        if self.patch_size is not None and (len(self.patch_size) not in (2, 3) or min(self.patch_size) < 1):
            raise ValueError(f"patch_size must be 2 or 3 positive numbers, got {list(self.patch_size)}")
