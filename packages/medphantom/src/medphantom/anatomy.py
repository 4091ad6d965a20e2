"""What a synthetic patient is made of: frozen parameters in mm and HU, drawn from the patient's key."""

import math
from dataclasses import dataclass, replace

import numpy as np

CARDIOMEGALY_RATIO = 0.5
"""Cardiothoracic ratio above which a heart counts as enlarged (the usual threshold on a PA film)."""

# Directions of the heart's own axes in (x to left, y to posterior, z to superior): the long one points to the apex, left, front and down.
_APEX = np.array([0.77, -0.42, -0.48])
_APEX /= math.hypot(*_APEX)
_ACROSS = np.cross(_APEX, [0.0, 0.0, 1.0])
_ACROSS /= math.hypot(*_ACROSS)
HEART_FRAME = np.stack([_APEX, _ACROSS, np.cross(_APEX, _ACROSS)])
_HEART_PROPORTIONS = np.array([1.25, 1.0, 0.95])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chest:
    """The thoracic cavity: a superellipse across, closing in a dome towards the apex."""

    half_width: float
    half_depth: float
    center_y: float
    widest_z: float
    apex_z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The trunk's outline, the fat under its skin, and the breasts' size: 1 on average, 0 for none."""

    half_width: float
    half_depth: float
    fat: float
    shoulder_z: float
    breast_size: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diaphragm:
    """Two domes; the right one stands higher."""

    right_z: float
    left_z: float
    drop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heart:
    """An ellipsoid whose long axis points left, front and down.

    Attributes:
        center: (x, y, z) mm.
        semi_axes: mm, along the rows of `HEART_FRAME`.
        hu: attenuation of its muscle and blood.
    """

    center: tuple[float, float, float]
    semi_axes: tuple[float, float, float]
    hu: float

    @property
    def half_width(self) -> float:
        """Half of its transverse diameter in mm: an ellipsoid's extent along x is the norm of its scaled axes' x parts."""
        return math.hypot(*(HEART_FRAME[:, 0] * np.array(self.semi_axes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """Spine (vertebrae and discs in one column) and rib cage (ribs and sternum)."""

    spine_y: float
    kyphosis: float
    vertebra_radius: float
    vertebra_pitch: float
    rib_pitch: float
    rib_slope: float
    rib_phase: float
    bone_hu: float
    clavicle_rise: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fissures:
    """Heights z of the fissures in the middle of the lungs, and how steeply the oblique ones rise to the back."""

    right_z: float
    right_slope: float
    left_z: float
    left_slope: float
    horizontal_z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Belly:
    """Sizes of the organs below the diaphragm, 1 on average, and the share of the stomach's depth that is gas."""

    liver_size: float
    spleen_size: float
    stomach_size: float
    gas_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mediastinum:
    """What lies between the lungs besides the heart: aorta and trachea."""

    half_width: float
    aorta_radius: float
    arch_z: float
    trachea_radius: float
    carina_z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """All parameters of one thorax, in mm from its middle: x to the left, y to posterior, z to superior.

    Attributes:
        table_mm: where that middle lies in the scanner's patient frame (LPS mm); multiples of 0.5, never the origin.
    """

    chest: Chest
    body: Body
    diaphragm: Diaphragm
    heart: Heart
    skeleton: Skeleton
    mediastinum: Mediastinum
    fissures: Fissures
    belly: Belly
    lung_hu: float
    table_mm: tuple[float, float, float]

    @property
    def cardiothoracic_ratio(self) -> float:
        """The heart's transverse diameter over the inner width of the chest."""
        return self.heart.half_width / self.chest.half_width


def draw_anatomy(rng: np.random.Generator, *, sex: str, enlarged_heart: bool | None = None) -> Anatomy:
    """Draw one thorax.

    Args:
        rng: the patient's generator for the stream "anatomy".
        sex: `F` or `M`; women's chests are drawn 8 % smaller on average.
        enlarged_heart: whether the cardiothoracic ratio lies above `CARDIOMEGALY_RATIO`, or None to draw that too: about a third of the hearts.

    Returns:
        Its parameters.
    """
    size = (0.95 if sex == "F" else 1.03) * rng.uniform(0.95, 1.05)
    chest = Chest(
        half_width=124 * size * rng.uniform(0.96, 1.04),
        half_depth=81 * size * rng.uniform(0.94, 1.06),
        center_y=-10.0,
        widest_z=rng.uniform(-70, -50),
        apex_z=116 * size * rng.uniform(0.96, 1.04),
    )
    fat = rng.uniform(6, 20)
    body = Body(
        half_width=chest.half_width + 24 + fat,
        half_depth=chest.half_depth + 27 + fat,
        fat=fat,
        shoulder_z=chest.apex_z - rng.uniform(0, 12),
    )
    right_z = rng.uniform(-75, -50) * size
    diaphragm = Diaphragm(right_z=right_z, left_z=right_z - rng.uniform(6, 16), drop=rng.uniform(42, 62))
    thorax = Anatomy(
        chest=chest,
        body=body,
        diaphragm=diaphragm,
        heart=_draw_heart(rng, chest, diaphragm, enlarged_heart),
        skeleton=Skeleton(
            spine_y=chest.center_y + chest.half_depth - 14,
            kyphosis=rng.uniform(0.0004, 0.001),
            vertebra_radius=rng.uniform(16, 20) * size,
            vertebra_pitch=rng.uniform(23, 27) * size,
            rib_pitch=rng.uniform(23, 27) * size,
            rib_slope=rng.uniform(0.35, 0.55),
            rib_phase=rng.uniform(0, 1),
            bone_hu=rng.uniform(520, 760),
        ),
        mediastinum=Mediastinum(
            half_width=rng.uniform(21, 27),
            aorta_radius=rng.uniform(10.5, 14),
            arch_z=rng.uniform(35, 50) * size,
            trachea_radius=rng.uniform(7, 9.5),
            carina_z=rng.uniform(18, 30) * size,
        ),
        fissures=Fissures(right_z=0, right_slope=1, left_z=0, left_slope=1, horizontal_z=0),
        belly=Belly(liver_size=1, spleen_size=1, stomach_size=1, gas_share=0.3),
        lung_hu=rng.uniform(-880, -830),
        # Drawn in halves of a millimetre and away from the origin: code that forgets the origin shows.
        table_mm=(rng.integers(-60, -9) / 2, rng.integers(-400, -259) / 2, rng.integers(-1600, -399) / 2),
    )
    # These came later: drawn last, they leave what a seed gave before as it was.
    return replace(
        thorax,
        fissures=_draw_fissures(rng, diaphragm),
        belly=Belly(
            liver_size=rng.uniform(0.92, 1.08),
            spleen_size=rng.uniform(0.85, 1.15),
            stomach_size=rng.uniform(0.8, 1.15),
            gas_share=rng.uniform(0.15, 0.5),
        ),
        skeleton=replace(thorax.skeleton, clavicle_rise=rng.uniform(-6, 6)),
        body=replace(body, breast_size=rng.uniform(0.75, 1.25) if sex == "F" else 0.0),
    )


def _draw_fissures(rng: np.random.Generator, diaphragm: Diaphragm) -> Fissures:
    right_z = 0.12 * diaphragm.right_z + rng.uniform(-6, 6)
    return Fissures(
        right_z=right_z,
        right_slope=rng.uniform(0.8, 1.0),
        left_z=right_z + rng.uniform(-8, 4),
        left_slope=rng.uniform(0.9, 1.1),
        horizontal_z=right_z + rng.uniform(14, 26),
    )


def _draw_heart(rng: np.random.Generator, chest: Chest, diaphragm: Diaphragm, enlarged: bool | None) -> Heart:
    # About a third of the patients lie above the threshold; nobody lies so near it that a voxel decides.
    drawn = rng.random() < 1 / 3
    ratio = rng.uniform(0.52, 0.60) if (drawn if enlarged is None else enlarged) else rng.uniform(0.38, 0.48)
    half_width = ratio * chest.half_width
    semi_axes = _HEART_PROPORTIONS * (half_width / math.hypot(*(HEART_FRAME[:, 0] * _HEART_PROPORTIONS)))
    return Heart(
        center=(0.30 * half_width, chest.center_y - 12 + rng.uniform(-3, 3), diaphragm.right_z + 0.5 * half_width),
        semi_axes=(float(semi_axes[0]), float(semi_axes[1]), float(semi_axes[2])),
        hu=rng.uniform(35, 50),
    )
