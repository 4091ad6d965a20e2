"""A PA film from a CT: Beer-Lambert line integrals along the beam, with counting noise."""

import numpy as np
import numpy.typing as npt

WATER_PER_MM = 0.0193
"""Linear attenuation of water at about 70 keV, 1/mm (NIST XCOM: 0.193 / cm)."""
VALUES_PER_NEPER = 512
"""Stored value of a line integral of 1: the film's scale is fixed, so its values compare between patients."""
BITS = 12


def line_integrals(hu: npt.NDArray[np.number], spacing_mm: float) -> npt.NDArray[np.float64]:
    """Sum attenuation from front to back.

    Args:
        hu: (D, H, W) in HU; the beam runs along H (y).
        spacing_mm: distance in mm between voxels along H.

    Returns:
        (D, W) nepers (-ln of the share of photons that pass), in the volume's own order.

    Source: Beer-Lambert; HU = 1000 (mu / mu_water - 1). The beam is taken as parallel and of one energy, without scatter.
    """
    water = np.maximum(hu / 1000 + 1, 0)  # share of water's attenuation; below air nothing is left
    return np.asarray(water.sum(axis=1, dtype=np.float64) * (WATER_PER_MM * spacing_mm))


def expose(integrals: npt.NDArray[np.float64], photons: float, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Make the film of line integrals as a viewer shows it: head up, the patient's left at the viewer's right, **denser is brighter**.

    Args:
        integrals: (D, W) nepers, z to superior, x to the left.
        photons: photons a pixel without a patient; fewer mean more noise.
        rng: generator of the counting noise.

    Returns:
        (D, W) uint16 of 12 bits, rows from head to feet: `VALUES_PER_NEPER` a neper, more attenuation is a higher value (MONOCHROME2).
    """
    counted = np.maximum(rng.poisson(photons * np.exp(-integrals[::-1])), 1)
    values = np.rint(-np.log(counted / photons) * VALUES_PER_NEPER)
    return np.asarray(np.clip(values, 0, 2**BITS - 1), np.uint16)
