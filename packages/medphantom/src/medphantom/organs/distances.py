"""Every organ by its name."""

from collections.abc import Callable, Mapping

from medphantom.anatomy import Anatomy
from medphantom.errors import PhantomError
from medphantom.organs import airways, belly, heart, lungs, skeleton, trunk
from medphantom.organs.place import Place
from medphantom.shapes import Field

ORGANS: Mapping[str, Callable[[Place], Field]] = {
    organ.__name__: organ
    for organ in (
        *(trunk.body, trunk.trunk, trunk.breast, trunk.chest, trunk.diaphragm, trunk.abdomen),
        *(lungs.lung, lungs.pleura, lungs.lung_right, lungs.lung_left, lungs.fissure_right, lungs.fissure_left, lungs.fissure_horizontal),
        *(lungs.lung_right_upper, lungs.lung_right_middle, lungs.lung_right_lower, lungs.lung_left_upper, lungs.lung_left_lower),
        *(heart.heart, heart.ventricle_left, heart.ventricle_right, heart.atria, heart.aorta, heart.pulmonary_trunk, heart.vena_cava),
        *(airways.trachea, belly.liver, belly.spleen, belly.stomach, belly.stomach_gas, belly.kidney),
        *(
            skeleton.rib,
            skeleton.sternum,
            skeleton.vertebra,
            skeleton.spine,
            skeleton.canal,
            skeleton.cord,
            skeleton.clavicle,
            skeleton.scapula,
        ),
    )
}
"""How to find the distance in mm to each organ's surface, negative inside; what each means is said where it is defined."""


def place(anatomy: Anatomy, x: Field, y: Field, z: Field) -> Place:
    """Stand at points (x, y, z) in mm of the anatomy frame, which broadcast with each other, to ask for distances."""
    return Place(anatomy, x, y, z, ORGANS)


def organ_distance(anatomy: Anatomy, name: str, x: Field, y: Field, z: Field) -> Field:
    """Find the distance from points to one organ, without any picture.

    Args:
        anatomy: the thorax.
        name: one of `ORGANS`.
        x: mm to the left, float32, broadcasting with y and z.
        y: mm to posterior.
        z: mm to superior.

    Returns:
        mm, negative inside; of a shape that broadcasts to the points'.

    Raises:
        PhantomError: for an unknown name.
    """
    check_organ(name, ORGANS)
    return place(anatomy, x, y, z).distance(name)


def check_organ(name: str, known: Mapping[str, object]) -> None:
    """Refuse a name that no organ has."""
    if name not in known:
        raise PhantomError(f"distance: there is no organ {name!r}; ask for one of {', '.join(known)}")
