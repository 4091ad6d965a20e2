"""Where geometry is evaluated: the voxels of a scene's region, or points spread through a lung that stand for its volume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medphantom.anatomy import Anatomy
from medphantom.organs.distances import place
from medphantom.organs.place import Place
from medphantom.scene import ALL, Scene
from medphantom.shapes import Field, Region

Point = tuple[float, float, float]
"""(x, y, z) in mm, anatomy frame unless said otherwise."""
_POINTS = 60_000
_PLASTIC = 1.2207440846057596  # the root of g^4 = g + 1, from which the steps of the sequence come


class Spot(Protocol):
    """Points of the anatomy's frame at which distances can be asked for; `Place` and `Voxels` are."""

    @property
    def anatomy(self) -> Anatomy:
        """The thorax."""
        ...

    @property
    def x(self) -> Field:
        """Mm to the left."""
        ...

    @property
    def y(self) -> Field:
        """Mm to posterior."""
        ...

    @property
    def z(self) -> Field:
        """Mm to superior."""
        ...

    def distance(self, name: str) -> Field:
        """Mm to an organ's surface, negative inside."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """The voxels of a scene's region as a spot; distances that the scene knows already are not found again."""

    scene: Scene
    region: Region = ALL

    @property
    def anatomy(self) -> Anatomy:
        """The scene's."""
        return self.scene.anatomy

    @property
    def x(self) -> Field:
        """Mm to the left."""
        return self.scene.coordinates(self.region)[0]

    @property
    def y(self) -> Field:
        """Mm to posterior."""
        return self.scene.coordinates(self.region)[1]

    @property
    def z(self) -> Field:
        """Mm to superior."""
        return self.scene.coordinates(self.region)[2]

    def distance(self, name: str) -> Field:
        """Mm to an organ's surface, negative inside."""
        return self.scene.distance(name, self.region)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Points spread evenly through the box around the lungs, each of which stands for the same volume.

    Attributes:
        at: the points; arrays of shape (n,).
        point_ml: volume that each stands for.
    """

    at: Place
    point_ml: float

    @classmethod
    def of_lungs(cls, anatomy: Anatomy) -> "Sample":
        """Spread points through the box around both lungs.

        Source: Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018 (the R3 sequence): no two points share a plane, so
            that sorting them by any coordinate finds the level that cuts off a given volume.
        """
        low, high = lung_box(anatomy)
        steps = _PLASTIC ** -np.arange(1.0, 4.0)
        unit = (0.5 + np.arange(1, _POINTS + 1)[:, None] * steps) % 1
        x, y, z = (low + unit * np.subtract(high, low)).T.astype(np.float32)
        return cls(place(anatomy, x, y, z), float(np.prod(np.subtract(high, low))) / _POINTS / 1000)

    def volume_ml(self, inside: npt.NDArray[np.bool_]) -> float:
        """Volume of the chosen points."""
        return float(np.count_nonzero(inside)) * self.point_ml

    def level(self, inside: npt.NDArray[np.bool_], height: Field, volume_ml: float) -> float:
        """Find the value of `height` below which the chosen points make up `volume_ml`; infinite where there are not so many."""
        values = np.sort(height[inside])
        count = volume_ml / self.point_ml
        if count >= len(values):
            return float("inf")
        return float(np.interp(count - 0.5, np.arange(len(values)), values)) if count > 0 else float("-inf")


def lung_box(anatomy: Anatomy) -> tuple[Point, Point]:
    """Corners (x, y, z) of a box around both lungs, mm."""
    chest, domes = anatomy.chest, anatomy.diaphragm
    low = (-chest.half_width, chest.center_y - chest.half_depth, min(domes.left_z, domes.right_z) - 2 * domes.drop)
    return low, (chest.half_width, chest.center_y + chest.half_depth, chest.apex_z)


def lung_region(scene: Scene) -> Region:
    """Box of voxels around both lungs."""
    return scene.region(*lung_box(scene.anatomy))


def wobble(at: Spot, form: int, size_mm: float, wave_mm: float) -> Field:
    """A smooth unevenness to add to a distance: six plane waves of random directions and phases.

    Args:
        at: where.
        form: names the unevenness; the same form is the same everywhere.
        size_mm: standard deviation.
        wave_mm: about the wavelength.

    Returns:
        mm, broadcasting to the points' shape.
    """
    rng = form_generator(form)
    directions = rng.standard_normal((6, 3))
    directions *= 2 * np.pi / (wave_mm * np.sqrt((directions**2).sum(axis=1, keepdims=True)))
    total: Field = np.zeros((1,) * at.x.ndim, np.float32)
    for (a, b, c), phase in zip(directions.astype(np.float32), rng.uniform(0, 2 * np.pi, 6).astype(np.float32), strict=True):
        total = total + np.sin(at.x * a + at.y * b + (at.z * c + phase))
    return np.asarray(total * np.float32(size_mm / np.sqrt(3)), np.float32)


def form_generator(form: int) -> np.random.Generator:
    """The generator of a finding's fine form: counter-based, a pure function of the number that the finding carries."""
    return np.random.Generator(np.random.Philox(key=form))


def draw_form(rng: np.random.Generator) -> int:
    """Draw the number that names a fine form."""
    return int(rng.integers(2**31))


def draw_point(rng: np.random.Generator, sample: Sample, inside: npt.NDArray[np.bool_]) -> Point:
    """Draw one of the chosen points, to a thousandth of a mm."""
    i = int(rng.choice(np.flatnonzero(inside)))
    at = sample.at
    return round(float(at.x[i]), 3), round(float(at.y[i]), 3), round(float(at.z[i]), 3)


Avoid = Callable[[Spot], Field] | None
"""Distance in mm to what something new keeps clear of, negative inside."""
