"""What every finding can do."""

from typing import Protocol, runtime_checkable

from medphantom.anatomy import Anatomy
from medphantom.errors import PhantomError
from medphantom.findings.spots import Spot
from medphantom.findings.truth import Truth
from medphantom.organs.lungs import LOBES
from medphantom.scene import Scene
from medphantom.shapes import Field


class FindingError(PhantomError, ValueError):
    """A finding with a parameter that no patient can have."""


class Finding(Protocol):
    """Something wrong with a thorax, as frozen parameters in the anatomy's frame."""

    @property
    def kind(self) -> str:
        """What it is, as in `Truth.kind`."""
        ...

    @property
    def tracking_id(self) -> str:
        """Its name within the patient, the same on every visit."""
        ...

    def paint(self, scene: Scene) -> Truth:
        """Paint it into a scene over what is there, and say what is true of it on the scene's grid."""
        ...


@runtime_checkable
class Reshaping(Protocol):
    """A finding that changes organs' shapes, before a scene is made."""

    def reshape(self, anatomy: Anatomy) -> Anatomy:
        """Give the anatomy of a patient who has the finding."""
        ...


@runtime_checkable
class Filling(Protocol):
    """A finding that fills a part of a lung, so that nothing else is seen there."""

    def distance(self, at: Spot) -> Field:
        """Mm to its surface, negative inside."""
        ...


def check_side(kind: str, side: str) -> None:
    """Refuse what is not a side."""
    if side not in ("left", "right"):
        raise FindingError(f"{kind}: side must be 'left' or 'right', got {side!r}")


def check_lobe(kind: str, lobe: str) -> None:
    """Refuse what is not a lobe."""
    if lobe not in LOBES:
        raise FindingError(f"{kind}: there is no lobe {lobe!r}; use one of {', '.join(LOBES)}")


def check_range(kind: str, name: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of its range."""
    if not low <= value <= high:
        raise FindingError(f"{kind}: {name} must lie between {low:g} and {high:g}, got {value}")


def side_of(lobe: str) -> str:
    """The side of a lobe."""
    return lobe.split("_")[0]
