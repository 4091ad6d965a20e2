"""What a task's `predict` takes and returns: geometry comes in with the image and stays with the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class HasGeometry(Protocol):
    """Anything that says where its voxels are, such as `medio.Image`."""

    @property
    def array(self) -> npt.NDArray[Any]:
        """([C,] D, H, W) or ([C,] H, W), in z, y, x order."""
        ...

    @property
    def affine(self) -> npt.NDArray[np.float64] | None:
        """(4, 4) array index (z, y, x, 1) to LPS mm; None for a film that is placed nowhere."""
        ...

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres along each spatial axis, in array order."""
        ...


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """Which structure each voxel belongs to.

    Attributes:
        mask: (*S) uint8 (int16 beyond 256 classes), index into `classes`.
        classes: names, background first.
        affine: the image's own.
        spacing: the image's own, mm.
        volumes_ml: volume of each foreground class, ml; empty for a film, which has no depth.
        areas_mm2: area of each foreground class, mm2; empty for a volume.
        probabilities: (K, *S) float32, summing to 1 over K; None unless asked for.
    """

    mask: npt.NDArray[np.integer[Any]]
    classes: tuple[str, ...]
    affine: npt.NDArray[np.float64] | None
    spacing: tuple[float, ...]
    volumes_ml: Mapping[str, float]
    areas_mm2: Mapping[str, float]
    probabilities: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """How likely each finding is.

    Attributes:
        probabilities: by label, after calibration where the task has one.
        logits: by label, before calibration.
        labels: names, in the order of the network's outputs.
        calibrated: whether `probabilities` went through a fitted calibration.
        affine: the image's own.
        spacing: the image's own, mm.
    """

    probabilities: Mapping[str, float]
    logits: Mapping[str, float]
    labels: tuple[str, ...]
    calibrated: bool
    affine: npt.NDArray[np.float64] | None = None
    spacing: tuple[float, ...] = field(default=())


def measure(
    mask: npt.NDArray[np.integer[Any]], classes: tuple[str, ...], affine: npt.NDArray[np.float64] | None, spacing: tuple[float, ...]
) -> tuple[dict[str, float], dict[str, float]]:
    """Volume in ml, or area in mm2, of each foreground class.

    A voxel's volume is the determinant of the affine: in a stack sheared by gantry tilt the product of the spacings would be too large.

    Args:
        mask: (D, H, W) or (H, W), index into `classes`.
        classes: names, background first.
        affine: (4, 4), or None.
        spacing: mm along each axis of `mask`.

    Returns:
        Volumes (empty for a film) and areas (empty for a volume), by class.
    """
    counts = np.bincount(mask.ravel(), minlength=len(classes))
    size = abs(float(np.linalg.det(affine[:3, :3]))) if mask.ndim == 3 and affine is not None else float(np.prod(spacing))
    amounts = {name: float(counts[k]) * size for k, name in enumerate(classes) if k > 0}
    if mask.ndim == 3:
        return {name: amount / 1000.0 for name, amount in amounts.items()}, {}
    return {}, amounts
