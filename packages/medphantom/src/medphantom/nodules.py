"""Where a patient's nodules lie: ellipsoids wholly inside the lungs, apart from each other."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Nodule

Points = npt.NDArray[np.float64]

_PREVALENCE = 0.6
_MOST = 4
_CANDIDATES = 256
_WALL_MM = 3.0
_APART_MM = 6.0


def draw_nodules(
    rng: np.random.Generator,
    lung_distance: Callable[[Points], npt.NDArray[np.floating]],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    table_mm: tuple[float, float, float],
) -> tuple[Nodule, ...]:
    """Draw none (two patients in five) to four nodules of 7 to 32 mm, small ones more often.

    Args:
        rng: the patient's generator for the stream "nodules".
        lung_distance: mm from (n, 3) points (x, y, z) to the lung's surface, negative inside.
        low: corner (x, y, z) of a box around the lungs, anatomy frame.
        high: its other corner.
        table_mm: where the anatomy frame's origin lies in LPS.

    Returns:
        Nodules with centres in LPS mm; each keeps 3 mm of lung around it and 6 mm to the next.
    """
    count = int(rng.integers(1, _MOST + 1)) if rng.random() < _PREVALENCE else 0
    nodules: list[Nodule] = []
    for _ in range(count):
        diameter = 7 + 25 * rng.beta(1.2, 2.5)
        shape = rng.uniform(0.8, 1.0, 3)
        semi_axes = diameter / 2 * shape / shape.max()
        ground_glass = rng.random() < 0.15
        hu = float(rng.uniform(-600, -450) if ground_glass else rng.uniform(-50, 60))
        centers = rng.uniform(low, high, (_CANDIDATES, 3))
        surface = centers[:, None] + _DIRECTIONS * (semi_axes + _WALL_MM)
        fits = (lung_distance(surface.reshape(-1, 3)).reshape(_CANDIDATES, -1) < 0).all(axis=1)
        for other in nodules:
            reach = max(semi_axes) + max(other.semi_axes_mm) + _APART_MM
            fits &= np.linalg.norm(centers + table_mm - other.center_mm, axis=1) > reach
        if not fits.any():  # no room left for this one; the list is the truth, so it is simply not there
            continue
        x, y, z = (centers[int(fits.argmax())] + table_mm).round(3)
        a, b, c = semi_axes.round(3)
        nodules.append(Nodule(center_mm=(float(x), float(y), float(z)), semi_axes_mm=(float(a), float(b), float(c)), hu=hu))
    return tuple(nodules)


def _spread_directions(count: int) -> Points:
    """Spread unit vectors evenly over the sphere along a golden spiral, (count, 3), and add the middle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - height**2)
    return np.concatenate([np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1), np.zeros((1, 3))])


_DIRECTIONS = _spread_directions(96)
