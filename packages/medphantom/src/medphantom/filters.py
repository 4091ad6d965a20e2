"""Blurring along axes, with weights that add up to 1 and edges that go on as they end."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medphantom.shapes import Field

_FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations


def gaussian_weights(fwhm_mm: float, spacing_mm: float) -> tuple[float, ...]:
    """Weights 0, 1, 2, ... voxels from the middle of a Gaussian blur of full width `fwhm_mm` at half maximum.

    Each is the Gaussian's share of that voxel's width, so that a narrow kernel still has the right width on coarse voxels.
    """
    if fwhm_mm == 0:
        return (1.0,)
    sigma = fwhm_mm / _FWHM / spacing_mm
    reach = max(1, math.ceil(3 * sigma))
    edges = [math.erf((i + 0.5) / (sigma * math.sqrt(2))) for i in range(reach + 1)]
    shares = [edges[0], *((b - a) / 2 for a, b in itertools.pairwise(edges))]
    total = shares[0] + 2 * sum(shares[1:])
    return tuple(share / total for share in shares)


def box_weights(width_mm: float, spacing_mm: float) -> tuple[float, ...]:
    """Weights 0, 1, 2, ... voxels from the middle of an average over `width_mm`: each is the share of that voxel's width within it."""
    half = max(width_mm / spacing_mm, 1.0) / 2
    shares = [1.0]
    while len(shares) - 0.5 < half:
        i = len(shares)
        shares.append(min(half - (i - 0.5), 1.0))
    total = shares[0] + 2 * sum(shares[1:])
    return tuple(share / total for share in shares)


def smooth(field: Field, axis: int, weights: Sequence[float]) -> Field:
    """Blur along one axis with symmetric weights (the middle one first); beyond the edge the last value goes on.

    Args:
        field: float32, any shape.
        axis: along which.
        weights: of the voxel itself and of those 1, 2, ... steps away on either side; together they make 1.

    Returns:
        A new array.
    """
    result = field * np.float32(weights[0])
    n = field.shape[axis]
    for distance, weight in enumerate(weights[1:], start=1):
        pull = min(distance, n)
        for sign in (-1, 1):
            here, there, edge, last = (
                (slice(pull, None), slice(0, n - pull), slice(0, pull), slice(0, 1))
                if sign < 0
                else (slice(0, n - pull), slice(pull, None), slice(n - pull, None), slice(n - 1, n))
            )
            result[_at(field, axis, here)] += field[_at(field, axis, there)] * np.float32(weight)
            result[_at(field, axis, edge)] += field[_at(field, axis, last)] * np.float32(weight)
    return result


def kept_deviation(weights: Sequence[float]) -> float:
    """Share of white noise's standard deviation that is left by a blur with these weights along one axis."""
    return math.sqrt(weights[0] ** 2 + 2 * sum(w * w for w in weights[1:]))


def smooth_widely(picture: npt.NDArray[np.floating], sigma_mm: float, pixel_mm: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Blur a picture by about a Gaussian that is many pixels wide: three running means along each axis, at a cost that does not grow with it.

    Args:
        picture: (H, W).
        sigma_mm: standard deviation.
        pixel_mm: distance between pixels (rows, columns).

    Returns:
        (H, W) float64; beyond the edge the last value goes on.
    """
    result = np.asarray(picture, np.float64)
    for axis, spacing in enumerate(pixel_mm):
        # Three means over 2 r + 1 pixels have the variance (2 r + 1)^2 - 1 over 4.
        reach = max(0, round((math.sqrt(4 * (sigma_mm / spacing) ** 2 + 1) - 1) / 2))
        for _ in range(3):
            padding = [(reach + 1, reach) if a == axis else (0, 0) for a in range(2)]
            sums = np.cumsum(np.pad(result, padding, mode="edge"), axis=axis)
            n = sums.shape[axis]
            result = (sums[_at(sums, axis, slice(2 * reach + 1, n))] - sums[_at(sums, axis, slice(0, n - 2 * reach - 1))]) / (2 * reach + 1)
    return result


def _at(field: npt.NDArray[np.floating], axis: int, chosen: slice) -> tuple[slice, ...]:
    return tuple(chosen if a == axis else slice(None) for a in range(field.ndim))
