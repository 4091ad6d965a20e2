"""Pictures for the report: what the encoder painted, what the task outlined."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from medeval import overlay
from medpretrain import MaskedAutoencoder


def picture_reconstruction(task: MaskedAutoencoder, batch: dict[str, Any], path: Path) -> None:
    """Draw one image of a batch (B, C, *S) and what the encoder made of it, its hidden patches painted; the middle slice of a volume."""
    image, painted = batch["image"][0, 0].numpy(), task.reconstruct(batch)[0, 0].numpy()
    if image.ndim == 3:
        image, painted = image[image.shape[0] // 2], painted[painted.shape[0] // 2]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    low, high = float(image.min()), float(image.max())
    for axes, picture, title in zip(figure.subplots(1, 2), (image, painted), ("image", "hidden patches painted"), strict=True):
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def picture_case(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing: Sequence[float],
    window: tuple[float, float] | None,
) -> bytes:
    """Draw the slice of a volume (D, H, W) in which the reference is largest, with both contours."""
    areas = (reference > 0).sum(axis=(1, 2))
    z = int(np.argmax(areas))
    return overlay(image[z], mask[z], reference[z], spacing=(spacing[1], spacing[2]), window=window)
