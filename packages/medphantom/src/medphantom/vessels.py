"""The trees of the lungs: airways, and the vessels that go with them, grown to fill their lobes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.organs.airways import central_airways
from medphantom.organs.distances import place
from medphantom.organs.lungs import LOBES
from medphantom.tubes import Tube

Points = npt.NDArray[np.float64]

_CANDIDATES = 12000
_WALL_MM = 4.0  # how far inside its lobe a tree ends
_AIRWAY_GENERATIONS, _VESSEL_GENERATIONS = 6, 8
_THINNEST_AIRWAY_MM, _THINNEST_VESSEL_MM = 0.7, 0.8
_NARROWING = 0.84  # times 0.9 to 1, about 2 ** (-1/3): both children of a fork together carry what their parent does (Murray's law)
_REACH = 0.46  # share of the way to the middle of what a branch serves


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Tubes of both lungs.

    Attributes:
        vessels: from the hila outwards.
        airways: lumen of the bronchi beyond the main ones.
    """

    vessels: tuple[Tube, ...]
    airways: tuple[Tube, ...]


def grow_trees(rng: np.random.Generator, anatomy: Anatomy) -> Trees:
    """Grow airways and vessels into every lobe.

    Args:
        rng: the patient's generator for the stream "vessels".
        anatomy: the thorax.

    Returns:
        The tubes. Airways start at the main bronchi's ends; after each stem all end inside their lobe.

    Source: the volume-filling way of Tawhai et al., Ann Biomed Eng 2000: a branch heads for the middle of the points that it serves, which its children share.
    """
    chest, domes = anatomy.chest, anatomy.diaphragm
    low = (-chest.half_width, chest.center_y - chest.half_depth, domes.left_z - domes.drop)
    points = rng.uniform(low, (chest.half_width, chest.center_y + chest.half_depth, chest.apex_z), (_CANDIDATES, 3))
    at = place(anatomy, *points.T.astype(np.float32))
    bronchi = central_airways(anatomy)
    vessels: list[Tube] = []
    airways: list[Tube] = []
    for lobe in LOBES:
        served = points[at.distance(f"lung_{lobe}") < -_WALL_MM]
        if len(served) < 2:
            continue
        hilum = np.array(bronchi[1 if lobe.startswith("right") else 2][1])
        airways += _grow(rng, hilum, served, rng.uniform(3.6, 4.4), _AIRWAY_GENERATIONS, _THINNEST_AIRWAY_MM)
        # Arteries run beside the bronchi, above and in front of them; veins come from below.
        for offset, share, radius in (((0.0, -7.0, 5.0), slice(0, None, 2), 5.4), ((0.0, -9.0, -14.0), slice(1, None, 2), 4.6)):
            start = hilum + offset + rng.normal(0, 1.5, 3)
            vessels += _grow(rng, start, served[share], radius * rng.uniform(0.92, 1.08), _VESSEL_GENERATIONS, _THINNEST_VESSEL_MM)
    return Trees(vessels=tuple(vessels), airways=tuple(airways))


def _grow(rng: np.random.Generator, start: Points, served: Points, radius: float, generations: int, thinnest: float) -> list[Tube]:
    if len(served) < 2 or radius < thinnest or generations == 0:
        return []
    middle = served.mean(axis=0)
    end = start + (middle - start) * _REACH + rng.normal(0, 0.8, 3)
    along = end - start
    length = float(np.sqrt((along * along).sum()))
    if length < radius:
        return []
    tube = Tube(start_mm=_triple(start), end_mm=_triple(end), radii_mm=(radius, radius * 0.9))
    off = served - middle
    off -= ((off * along).sum(axis=1) / length**2)[:, None] * along
    # The children share what is served along the direction in which it spreads most.
    widest = np.zeros(3)
    widest[int((off * off).sum(axis=0).argmax())] = 1.0
    widest -= (widest * along).sum() / length**2 * along
    first = (off * widest).sum(axis=1) < 0
    narrower = radius * _NARROWING
    return [
        tube,
        *_grow(rng, end, served[first], narrower * rng.uniform(0.9, 1.0), generations - 1, thinnest),
        *_grow(rng, end, served[~first], narrower * rng.uniform(0.9, 1.0), generations - 1, thinnest),
    ]


def _triple(point: Points) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
