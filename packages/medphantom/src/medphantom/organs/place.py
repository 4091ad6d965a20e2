"""Points of the anatomy frame, and the distances found there so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from medphantom.anatomy import Anatomy
from medphantom.shapes import Field


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Points at which organs are asked for; organs that need each other share what was found.

    Attributes:
        anatomy: the thorax.
        x: mm to the left, broadcasting with y and z.
        y: mm to posterior.
        z: mm to superior.
        organs: how each name's distance is found.
        found: those found so far; they broadcast to the points' common shape and are not to be written to.
    """

    anatomy: Anatomy
    x: Field
    y: Field
    z: Field
    organs: Mapping[str, Callable[["Place"], Field]]
    found: dict[str, Field] = field(default_factory=dict, init=False)

    def distance(self, name: str) -> Field:
        """Give the mm to an organ's surface, negative inside."""
        if name not in self.found:
            self.found[name] = self.organs[name](self)
        return self.found[name]
