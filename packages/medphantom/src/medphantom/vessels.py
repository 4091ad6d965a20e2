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
    bronchial: list[_Stem] = []
    vascular: list[_Stem] = []
    for lobe in LOBES:
        served = points[at.distance(f"lung_{lobe}") < -_WALL_MM]
        hilum = np.array(bronchi[1 if lobe.startswith("right") else 2][1])
        bronchial.append(_Stem(hilum, served, rng.uniform(3.6, 4.4)))
        # Arteries run beside the bronchi, above and in front of them; veins come from below.
        for offset, share, radius in (((0.0, -7.0, 5.0), slice(0, None, 2), 5.4), ((0.0, -9.0, -14.0), slice(1, None, 2), 4.6)):
            vascular.append(_Stem(hilum + offset + rng.normal(0, 1.5, 3), served[share], radius * rng.uniform(0.92, 1.08)))
    return Trees(
        vessels=_grow(rng, vascular, _VESSEL_GENERATIONS, _THINNEST_VESSEL_MM),
        airways=_grow(rng, bronchial, _AIRWAY_GENERATIONS, _THINNEST_AIRWAY_MM),
    )


@dataclass(frozen=True, slots=True)
class _Stem:
    """Where a tree begins, (3,) mm; the points that it serves, (n, 3) mm; its radius in mm."""

    start: Points
    served: Points
    radius: float


def _grow(rng: np.random.Generator, stems: list[_Stem], generations: int, thinnest: float) -> tuple[Tube, ...]:
    """Grow all trees of a kind at once, a generation at a time."""
    starts, radii = np.array([stem.start for stem in stems]), np.array([stem.radius for stem in stems])
    points = np.concatenate([stem.served for stem in stems])
    owner = np.repeat(np.arange(len(stems)), [len(stem.served) for stem in stems])  # which branch serves each point
    tubes: list[Tube] = []
    for _ in range(generations):
        count = np.bincount(owner, minlength=len(starts))
        middle = _sums(owner, points, len(starts)) / np.maximum(count, 1)[:, None]
        ends = starts + (middle - starts) * _REACH + rng.normal(0, 0.8, starts.shape)
        along = ends - starts
        length = np.sqrt((along * along).sum(axis=1))
        grows = (count >= 2) & (radii >= thinnest) & (length >= radii)
        tubes += [
            Tube(start_mm=_triple(start), end_mm=_triple(end), radii_mm=(float(radius), float(radius) * 0.9))
            for start, end, radius in zip(starts[grows], ends[grows], radii[grows], strict=True)
        ]
        served = grows[owner]
        points, owner = points[served], (np.cumsum(grows) - 1)[owner[served]]
        middle, ends, along, radii = middle[grows], ends[grows], along[grows] / length[grows, None], radii[grows]
        # Two children share what is served, along the direction across the branch in which it spreads most.
        off = points - middle[owner]
        off -= (off * along[owner]).sum(axis=1, keepdims=True) * along[owner]
        widest = _sums(owner, off * off, len(ends)).argmax(axis=1)
        across = np.eye(3)[widest]
        across -= (across * along).sum(axis=1, keepdims=True) * along
        owner = 2 * owner + ((off * across[owner]).sum(axis=1) >= 0)
        starts, radii = np.repeat(ends, 2, axis=0), np.repeat(radii, 2) * _NARROWING * rng.uniform(0.9, 1.0, 2 * len(ends))
    return tuple(tubes)


def _sums(owner: npt.NDArray[np.intp], values: Points, count: int) -> Points:
    """Add up values (n, 3) of each owner, (count, 3)."""
    return np.stack([np.bincount(owner, values[:, axis], count) for axis in range(3)], axis=1)


def _triple(point: Points) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
