"""What is done to an image before the network: one description for training and deployment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

IntensityKind = Literal["window", "zscore", "percentile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """How stored values become the network's input.

    Attributes:
        kind: `window` maps [low, high], in the image's unit, to [-1, 1] and clips; `percentile` does the same with the image's own
            0.5 and 99.5 percentiles; `zscore` subtracts the image's mean and divides by its standard deviation.
        low: lower end of the window; for `window` only.
        high: upper end of the window; for `window` only.
    """

    kind: IntensityKind = "zscore"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("window", "zscore", "percentile"):
            raise ValueError(f"intensity kind must be window, zscore or percentile, got {self.kind!r}")
        if self.kind == "window" and (self.low is None or self.high is None or not self.low < self.high):
            raise ValueError(f"a window needs low < high, got low={self.low}, high={self.high}")

    def apply(self, image: Tensor, statistics: Mapping[str, float] | None = None) -> Tensor:
        """Normalise one image.

        Args:
            image: (C, *S) of any real dtype, in the image's unit; one sample, not a batch.
            statistics: `mean`, `std`, `p0_5`, `p99_5` of the whole image, so that a crop is normalised as the whole is; computed from `image` where None.

        Returns:
            (C, *S) float32.
        """
        x = image.float()
        if self.kind == "window":
            assert self.low is not None  # __post_init__ saw to it
            assert self.high is not None
            return _to_unit(x, self.low, self.high)
        found = statistics if statistics is not None else image_statistics(x)
        if self.kind == "percentile":
            return _to_unit(x, found["p0_5"], found["p99_5"])
        return (x - found["mean"]) / max(found["std"], 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From a stored image to the network's input.

    Attributes:
        spatial_dims: 2 or 3.
        patch_size: (d, h, w) or (h, w) in pixels: the crop of training and the window of sliding inference; for a whole-image task the image's size.
        spacing_mm: resample to this, in the same order; None keeps the image's own.
        axes: order and direction of the array's axes, e.g. `SPL` (array axis 0 runs to superior, 1 to posterior, 2 to left); None keeps the image's own.
        intensity: see `Intensity`.
        whole_image: True resizes the image to `patch_size` and runs once (classification); False slides a window (segmentation).
    """

    spatial_dims: int
    patch_size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    axes: str | None = None
    intensity: Intensity = Intensity()
    whole_image: bool = False

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {self.spatial_dims}")
        for name, value in (("patch_size", self.patch_size), ("spacing_mm", self.spacing_mm)):
            if value is not None and (len(value) != self.spatial_dims or min(value) <= 0):
                raise ValueError(f"{name} needs {self.spatial_dims} positive numbers, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        spacing = data.get("spacing_mm")
        return cls(
            spatial_dims=int(data["spatial_dims"]),
            patch_size=tuple(int(n) for n in data["patch_size"]),
            spacing_mm=None if spacing is None else tuple(float(s) for s in spacing),
            axes=data.get("axes"),
            intensity=Intensity(**data.get("intensity", {})),
            whole_image=bool(data.get("whole_image", False)),
        )


def image_statistics(image: Tensor) -> dict[str, float]:
    """Statistics of one image (C, *S), in its unit: `min`, `max`, `mean`, `std` (population), `p0_5`, `p99_5` (linear interpolation)."""
    values = image.detach().cpu().numpy().astype("float64", copy=False).ravel()
    low, high = np.percentile(values, [0.5, 99.5])
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "p0_5": float(low),
        "p99_5": float(high),
    }


def _to_unit(x: Tensor, low: float, high: float) -> Tensor:
    """Map [low, high] to [-1, 1] and clip."""
    return ((x - low) * (2.0 / max(high - low, 1e-6)) - 1.0).clamp(-1.0, 1.0)
