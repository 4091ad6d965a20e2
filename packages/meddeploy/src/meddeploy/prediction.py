"""What a deployed model answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medio import Image


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """The answer to one image, on that image's own grid.

    Attributes:
        kind: `segmentation` or `classification`.
        classes: names of the classes or labels.
        affine: the input image's own; None for a film.
        spacing: the input image's own, mm.
        mask: (*S) index into `classes`, on the input image's grid; None for a classification.
        volumes_ml: of each foreground class, ml; empty for films and classifications.
        areas_mm2: of each foreground class, mm2; for segmented films.
        probabilities: by label, calibrated where the bundle has a calibration; empty for a segmentation.
        calibrated: whether it has.
        model_sha256: of the graph that answered.
    """

    kind: str
    classes: tuple[str, ...]
    affine: npt.NDArray[np.float64] | None
    spacing: tuple[float, ...]
    mask: npt.NDArray[np.integer[Any]] | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    areas_mm2: Mapping[str, float] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    calibrated: bool = False
    model_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the mask is left out."""
        return {
            "kind": self.kind,
            "classes": list(self.classes),
            "volumes_ml": dict(self.volumes_ml),
            "areas_mm2": dict(self.areas_mm2),
            "probabilities": dict(self.probabilities),
            "calibrated": self.calibrated,
            "model_sha256": self.model_sha256,
        }


def measure(mask: npt.NDArray[np.integer[Any]], classes: tuple[str, ...], image: Image) -> tuple[dict[str, float], dict[str, float]]:
    """Volume in ml (volumes) or area in mm2 (films) of each foreground class.

    A voxel's volume is the determinant of the affine: in a sheared stack the product of the spacings would be too large.
    """
    counts = np.bincount(mask.ravel(), minlength=len(classes))
    if mask.ndim == 3:
        assert image.affine is not None  # volumes always have one
        voxel = abs(float(np.linalg.det(image.affine[:3, :3]))) / 1000.0
        return {name: float(counts[k]) * voxel for k, name in enumerate(classes) if k > 0}, {}
    return {}, {name: float(counts[k]) * float(np.prod(image.spacing)) for k, name in enumerate(classes) if k > 0}
