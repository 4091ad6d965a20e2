"""A slice with contours, for pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medeval.errors import ShapeError, ValueRangeError

# Okabe and Ito's palette without black and blue, which vanish on grey: apart for every kind of colour vision.
COLOURS = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#d55e00")


def overlay(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    reference: npt.NDArray[Any] | None = None,
    *,
    spacing: Sequence[float] = (1.0, 1.0),
    window: tuple[float, float] | None = None,
    pixels: int = 360,
) -> bytes:
    """Draw a grey slice with the contour of every class: the prediction solid, the reference dashed; one colour a class.

    Args:
        image: (H, W), shown with row 0 on top.
        mask: (H, W) class ids of the prediction, 0 the background.
        reference: (H, W) class ids of the truth, or None.
        spacing: (row, column) in mm, so that the slice keeps the patient's proportions.
        window: values shown black and white; the 0.5 and 99.5 percentiles where None.
        pixels: length of the longer side of the picture.

    Returns:
        PNG bytes.

    Raises:
        ShapeError: when the arrays are not all of one (H, W), or spacing has not two axes.
        ValueRangeError: when spacing is not positive and finite.
    """
    # Here, not above: matplotlib takes a second to import, and figures without pictures need none of it.
    from matplotlib.figure import Figure

    from medeval.plots import png

    for role, array in (("mask", mask), ("reference", reference)):
        if array is not None and (image.ndim != 2 or array.shape != image.shape):
            raise ShapeError("overlay", f"image {image.shape} and {role} {array.shape} must be one (H, W); pass the same slice of both")
    if len(spacing) != 2:
        raise ShapeError("overlay", f"spacing {tuple(spacing)} must be (row, column) in mm")
    if not all(np.isfinite(step) and step > 0 for step in spacing):
        raise ValueRangeError("overlay", f"spacing must be positive and finite in mm, got {tuple(spacing)}")
    low, high = window if window is not None else (float(v) for v in np.percentile(image, [0.5, 99.5]))
    height, width = image.shape[0] * spacing[0], image.shape[1] * spacing[1]
    inches = pixels / 170 / max(height, width)
    figure = Figure(figsize=(max(width * inches, 0.2), max(height * inches, 0.2)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(image, cmap="gray", vmin=low, vmax=high if high > low else low + 1, aspect="auto", interpolation="bilinear")
    for labels, style, line in ((reference, "dashed", 1.2), (mask, "solid", 1.4)):
        if labels is None:
            continue
        padded = np.pad(labels, 1)  # a contour that closes where a structure meets the edge
        rows, columns = np.arange(padded.shape[0]) - 1, np.arange(padded.shape[1]) - 1
        for label in np.unique(labels[labels > 0]).tolist():
            colour = COLOURS[(int(label) - 1) % len(COLOURS)]
            axes.contour(columns, rows, padded == label, levels=[0.5], colors=[colour], linewidths=line, linestyles=style)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    return png(figure)
