"""What a scanner makes of a clean picture: its kernel, its slices, its dose, its scale."""

import numpy as np
import numpy.typing as npt

from medphantom.filters import box_weights, gaussian_weights, kept_deviation, smooth
from medphantom.projection import View, attenuation
from medphantom.radiograph import expose
from medphantom.shapes import Field, Grid
from medphantom.sites import Site

HU_RANGE = (-1024, 3071)
"""What 12 bits of CT hold."""
_DETECTOR = (2 / 3, 1 / 6)  # blur of the noise in plane that every reconstruction leaves, whatever its kernel
_BIAS_WAVES = 4


def acquire_ct(clean: Field, grid: Grid, site: Site, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Reconstruct a CT from clean HU.

    Args:
        clean: (D, H, W) HU without noise; left as it is.
        grid: its voxels.
        site: gives `kernel_mm`, `slice_thickness_mm` and `noise_hu`.
        rng: the patient's generator for the stream "ct-noise".

    Returns:
        (D, H, W) int16 HU. Picture and noise pass the same kernel in plane; the noise keeps the site's standard deviation,
        and neighbouring slices share it where slices are thicker than their distance.
    """
    sz, sy, sx = grid.spacing_mm
    through = box_weights(site.slice_thickness_mm, sz)
    noise = rng.standard_normal(clean.shape, np.float32)
    kept = 1.0
    for axis, spacing in ((1, sy), (2, sx)):
        kernel = gaussian_weights(site.kernel_mm, spacing)
        clean = _blurred(clean, axis, kernel)
        noise = _blurred(smooth(noise, axis, _DETECTOR), axis, kernel)
        kept *= kept_deviation(_convolved(_DETECTOR, kernel))
    clean, noise = _blurred(clean, 0, through), _blurred(noise, 0, through)
    kept *= kept_deviation(through)
    noise *= np.float32(site.noise_hu / kept)
    noise += clean
    np.clip(noise, *HU_RANGE, out=noise)
    return np.rint(noise, out=noise).astype(np.int16)


def acquire_mr(clean: Field, grid: Grid, site: Site, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Take an MR picture of a clean signal.

    Args:
        clean: (D, H, W) signal as a share of fully relaxed water's, 0 to 1.
        grid: its voxels.
        site: gives `mr_bias`, `mr_noise`, `mr_scale` and `slice_thickness_mm`.
        rng: the patient's generator for a stream of the contrast's own.

    Returns:
        (D, H, W) uint16: the magnitude of signal times coil sensitivity plus complex noise, in the vendor's scale.

    Source: Gudbjartsson & Patz, Magn Reson Med 1995: the magnitude of a signal with Gaussian noise in both channels is Rician.
    """
    sensed = smooth(clean, 0, box_weights(site.slice_thickness_mm, grid.spacing_mm[0]))
    if site.mr_bias:
        sensed *= coil_sensitivity(grid, site.mr_bias, rng)
    sensed += rng.standard_normal(clean.shape, np.float32) * np.float32(site.mr_noise)
    across = rng.standard_normal(clean.shape, np.float32) * np.float32(site.mr_noise)
    sensed *= sensed
    sensed += across * across
    np.sqrt(sensed, out=sensed)
    sensed *= np.float32(site.mr_scale)
    return np.rint(np.clip(sensed, 0, 65535, out=sensed), out=sensed).astype(np.uint16)


def coil_sensitivity(grid: Grid, largest: float, rng: np.random.Generator) -> Field:
    """Draw a coil's uneven sensitivity.

    Args:
        grid: the voxels.
        largest: largest relative change, 0 to below 1.
        rng: generator.

    Returns:
        (D, H, W) float32 between 1 - largest and 1 + largest: waves longer than the body, a product of one along each axis.
    """
    field = np.zeros(grid.shape, np.float32)
    for _ in range(_BIAS_WAVES):
        waves = [
            np.cos(axis * np.float32(2 * np.pi / rng.uniform(400, 900)) + np.float32(rng.uniform(0, 2 * np.pi))) for axis in grid.axes()
        ]
        field += waves[0] * waves[1] * waves[2]
    field *= np.float32(largest / max(float(np.abs(field).max()), 1e-6))
    field += 1
    return field


def acquire_film(clean: Field, grid: Grid, view: View, site: Site, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Take a film of clean HU.

    Args:
        clean: (D, H, W) HU without noise; the patient is taken to go on above and below as in the last slices.
        grid: its voxels.
        view: where the rays run.
        site: gives `film_photons`, `film_scatter` and `film_curve`.
        rng: the patient's generator for the stream "film-noise".

    Returns:
        (rows, columns) uint16 as `medphantom.radiograph.expose` makes it, `view.shape(grid)`.
    """
    nepers = view.project(attenuation(clean), grid, endless=True)
    return expose(nepers[::-1], site.film_photons, rng, scatter=site.film_scatter, curve=site.film_curve, pixel_mm=view.pixels(grid))


def _blurred(field: Field, axis: int, weights: tuple[float, ...]) -> Field:
    return field if len(weights) == 1 else smooth(field, axis, weights)


def _convolved(first: tuple[float, ...], second: tuple[float, ...]) -> tuple[float, ...]:
    """Weights of one blur after another, the middle one first."""
    whole = np.convolve([*first[:0:-1], *first], [*second[:0:-1], *second])
    return tuple(float(w) for w in whole[len(whole) // 2 :])
