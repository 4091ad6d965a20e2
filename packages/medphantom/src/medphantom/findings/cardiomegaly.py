"""Cardiomegaly: a heart wider than half of the chest."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from medphantom.anatomy import CARDIOMEGALY_RATIO, Anatomy
from medphantom.findings.finding import check_range
from medphantom.findings.measuring import measure
from medphantom.findings.truth import Truth
from medphantom.scene import ALL, Scene

_LOW, _HIGH = 0.52, 0.60


@dataclass(frozen=True, slots=True, kw_only=True)
class Cardiomegaly:
    """An enlarged heart.

    Attributes:
        ratio: cardiothoracic ratio: the heart's transverse diameter over the inner width of the chest, above 0.5 and at most 0.7.
    """

    kind: ClassVar[str] = "cardiomegaly"
    ratio: float
    tracking_id: str = "cardiomegaly-1"
    parents: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_range(self.kind, "ratio", self.ratio, CARDIOMEGALY_RATIO, 0.7)

    def reshape(self, anatomy: Anatomy) -> Anatomy:
        """Give the heart this ratio."""
        return with_ratio(anatomy, self.ratio)

    def paint(self, scene: Scene) -> Truth:
        """Paint nothing, as the anatomy's heart has the size already; say where it is."""
        return measure(
            scene,
            ALL,
            scene.distance("heart"),
            kind=self.kind,
            tracking_id=self.tracking_id,
            parameters={"ratio": self.ratio},
            parents=self.parents,
        )


def with_ratio(anatomy: Anatomy, ratio: float) -> Anatomy:
    """Scale the heart to a cardiothoracic ratio; it stays on the diaphragm and in the same proportion to the left."""
    heart, half_width = anatomy.heart, ratio * anatomy.chest.half_width
    factor = half_width / heart.half_width
    a, b, c = (axis * factor for axis in heart.semi_axes)
    x, y, z = heart.center
    return replace(anatomy, heart=replace(heart, center=(x * factor, y, z + 0.5 * (half_width - heart.half_width)), semi_axes=(a, b, c)))


def draw_cardiomegaly(rng: np.random.Generator) -> Cardiomegaly:
    """Draw a ratio of 0.52 to 0.60, clear of the threshold."""
    return Cardiomegaly(ratio=round(float(rng.uniform(_LOW, _HIGH)), 4))


def normal_heart(anatomy: Anatomy) -> Anatomy:
    """Shrink an enlarged heart to the ratio that lies as far below the threshold as that of others does: 0.12 less."""
    ratio = anatomy.cardiothoracic_ratio
    return with_ratio(anatomy, max(ratio - 0.12, 0.38)) if ratio > CARDIOMEGALY_RATIO else anatomy
