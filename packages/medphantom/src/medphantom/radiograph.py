"""Films: Beer-Lambert line integrals, scattered photons, counting noise and the detector's response."""

import numpy as np
import numpy.typing as npt

from medphantom.filters import smooth_widely
from medphantom.projection import WATER_PER_MM

VALUES_PER_NEPER = 512
"""Stored value of a line integral of 1: the film's scale is fixed, so its values compare between patients."""
BITS = 12
_LARGEST = 2**BITS - 1
_SCATTER_MM = 40.0  # standard deviation of the spread of scattered photons at the detector


def line_integrals(hu: npt.NDArray[np.number], spacing_mm: float) -> npt.NDArray[np.float64]:
    """Sum attenuation from front to back along parallel rays.

    Args:
        hu: (D, H, W) in HU; the beam runs along H (y).
        spacing_mm: distance in mm between voxels along H.

    Returns:
        (D, W) nepers (-ln of the share of photons that pass), in the volume's own order.

    Source: Beer-Lambert; HU = 1000 (mu / mu_water - 1). The beam is taken as parallel and of one energy, without scatter.
    """
    water = np.maximum(hu / 1000 + 1, 0)  # share of water's attenuation; below air nothing is left
    return np.asarray(water.sum(axis=1, dtype=np.float64) * (WATER_PER_MM * spacing_mm))


def expose(
    integrals: npt.NDArray[np.floating],
    photons: float,
    rng: np.random.Generator,
    *,
    scatter: float = 0.0,
    curve: float = 1.0,
    pixel_mm: tuple[float, float] = (1.0, 1.0),
) -> npt.NDArray[np.uint16]:
    """Make the film of line integrals as a viewer shows it, rows from head to feet: **denser is brighter**.

    Args:
        integrals: (rows, columns) nepers, rows from feet to head as a volume's slices run.
        photons: photons a pixel without a patient; fewer mean more noise.
        rng: generator of the counting noise.
        scatter: scattered over primary photons behind the patient; 0 for none.
        curve: exponent of the response between the darkest and the brightest value: 1 is linear in nepers, below 1 lifts what is faint.
        pixel_mm: distance between pixels (rows, columns), for the spread of scatter.

    Returns:
        (rows, columns) uint16 of 12 bits: `VALUES_PER_NEPER` a neper before the curve, more attenuation is a higher value (MONOCHROME2).

    Source: scatter as in Siewerdsen & Jaffray, Med Phys 2001: a smooth picture, here the primary's behind the patient, blurred by 40 mm,
        added to the primary; the patient's edge, thinner than 1 neper, scatters in proportion.
    """
    shown = integrals[::-1]
    passing = np.exp(-shown)
    if scatter:
        passing = passing + scatter * smooth_widely(passing * np.clip(shown, 0, 1), _SCATTER_MM, pixel_mm)
    counted = np.maximum(rng.poisson(photons * passing), 1)
    values = np.clip(-np.log(counted / photons) * VALUES_PER_NEPER, 0, _LARGEST)
    if curve != 1:
        values = _LARGEST * (values / _LARGEST) ** curve
    return np.asarray(np.rint(values), np.uint16)
