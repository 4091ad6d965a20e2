"""Where a patient's nodules lie: wholly inside the lungs, apart from each other and from what fills the lung."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.findings.nodule import Nodule, spread_directions
from medphantom.findings.spots import Avoid, Sample, draw_form, lung_box
from medphantom.organs.distances import place
from medphantom.organs.lungs import LOBES

Points = npt.NDArray[np.float64]

_PREVALENCE = 0.6
_MOST = 4
_CANDIDATES = 256
_WALL_MM = 3.0
_APART_MM = 6.0
_DIRECTIONS = np.concatenate([spread_directions(96), np.zeros((1, 3))])


def draw_nodules(
    rng: np.random.Generator,
    lung_distance: Callable[[Points], npt.NDArray[np.floating]],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    table_mm: tuple[float, float, float],
) -> tuple[Nodule, ...]:
    """Draw none (two patients in five) to four smooth nodules of 7 to 32 mm, small ones more often.

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
    return _draw(rng, count, lung_distance, low, high, table_mm)


def draw_varied_nodules(
    rng: np.random.Generator,
    anatomy: Anatomy,
    sample: Sample,
    *,
    avoid: Avoid = None,
    count: int | None = None,
    others: tuple[Nodule, ...] = (),
    first_number: int = 1,
) -> tuple[Nodule, ...]:
    """Draw one to four nodules with margins, calcifications and densities.

    Args:
        rng: the generator of their stream.
        anatomy: the thorax that they lie in.
        sample: points through its lungs.
        avoid: distance to what they keep clear of.
        count: how many, or None for a draw.
        others: nodules that they keep 6 mm away from.
        first_number: number of the first one's tracking id.

    Returns:
        Nodules that know their lobe; each keeps 3 mm of lung around it. Fewer where there is no room.
    """

    def free(points: Points) -> npt.NDArray[np.floating]:
        x, y, z = points.T.astype(np.float32)
        at = place(anatomy, x, y, z)
        return at.distance("lung") if avoid is None else np.maximum(at.distance("lung"), -avoid(at))

    count = int(rng.integers(1, _MOST + 1)) if count is None else count
    low, high = lung_box(anatomy)
    plain = _draw(rng, count, free, low, high, anatomy.table_mm, others=others, largest=1.45)
    return tuple(
        replace(_vary(rng, nodule, anatomy), tracking_id=f"nodule-{number}") for number, nodule in enumerate(plain, start=first_number)
    )


def fits(nodule: Nodule, anatomy: Anatomy, avoid: Avoid = None) -> bool:
    """Whether a nodule lies wholly inside the lungs, 1 mm from their surface, and clear of what fills them."""
    surface = np.subtract(nodule.center_mm, anatomy.table_mm) + _DIRECTIONS * (np.array(nodule.semi_axes_mm) * nodule.reach + 1)
    x, y, z = surface.T.astype(np.float32)
    at = place(anatomy, x, y, z)
    return bool((at.distance("lung") < 0).all() and (avoid is None or bool((avoid(at) > 0).all())))


def lobe_of(anatomy: Anatomy, center_mm: tuple[float, float, float]) -> str | None:
    """The lobe that holds a point (x, y, z) in LPS mm, or None outside of the lungs."""
    x, y, z = np.subtract(center_mm, anatomy.table_mm)[:, None].astype(np.float32)
    at = place(anatomy, x, y, z)
    return next((lobe for lobe in LOBES if at.distance(f"lung_{lobe}")[0] < 0), None)


def _draw(
    rng: np.random.Generator,
    count: int,
    lung_distance: Callable[[Points], npt.NDArray[np.floating]],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    table_mm: tuple[float, float, float],
    *,
    others: tuple[Nodule, ...] = (),
    largest: float = 1.0,
) -> tuple[Nodule, ...]:
    """Draw smooth nodules with room for `largest` times their semi-axes."""
    nodules: list[Nodule] = []
    for number in range(1, count + 1):
        diameter = 7 + 25 * rng.beta(1.2, 2.5)
        shape = rng.uniform(0.8, 1.0, 3)
        semi_axes = diameter / 2 * shape / shape.max()
        ground_glass = rng.random() < 0.15
        hu = float(rng.uniform(-600, -450) if ground_glass else rng.uniform(-50, 60))
        centers = rng.uniform(low, high, (_CANDIDATES, 3))
        surface = centers[:, None] + _DIRECTIONS * (largest * semi_axes + _WALL_MM)
        fit = (lung_distance(surface.reshape(-1, 3)).reshape(_CANDIDATES, -1) < 0).all(axis=1)
        for other in (*others, *nodules):
            reach = largest * max(semi_axes) + max(other.semi_axes_mm) * other.reach + _APART_MM
            fit &= np.linalg.norm(centers + table_mm - other.center_mm, axis=1) > reach
        if not fit.any():  # no room left for this one; the list is the truth, so it is simply not there
            continue
        x, y, z = (centers[int(fit.argmax())] + table_mm).round(3)
        a, b, c = semi_axes.round(3)
        nodules.append(
            Nodule(
                center_mm=(float(x), float(y), float(z)),
                semi_axes_mm=(float(a), float(b), float(c)),
                hu=hu,
                tracking_id=f"nodule-{number}",
            )
        )
    return tuple(nodules)


def _vary(rng: np.random.Generator, nodule: Nodule, anatomy: Anatomy) -> Nodule:
    """Give a nodule its density, margin and calcification: calcium in smooth solid ones, spicules in those that are not calcified."""
    part_solid = rng.random() < 0.12
    density = "part-solid" if part_solid else "ground-glass" if nodule.hu < -300 else "solid"
    kind, calcium = rng.random(), rng.random()
    margin = "smooth" if kind < 0.5 else "lobulated" if kind < 0.75 else "spiculated"
    calcification = "none"
    if density == "solid" and margin != "spiculated" and calcium < 0.3:
        calcification = ("central", "diffuse", "popcorn")[int(calcium * 10)]
    return replace(
        nodule,
        hu=round(float(rng.uniform(-620, -480)), 1) if part_solid else nodule.hu,
        density=density,  # type: ignore[arg-type]
        margin=margin,  # type: ignore[arg-type]
        calcification=calcification,  # type: ignore[arg-type]
        lobe=lobe_of(anatomy, nodule.center_mm),
        form=draw_form(rng),
    )
