"""What a spatial transform is."""

from typing import Protocol, runtime_checkable

from medaug.draws import Draws
from medaug.geometry.plan import Plan, Rows


@runtime_checkable
class SpatialTransform(Protocol):
    """Moves the content of images, or the window through which they are seen, each sample by parameters of its own.

    One that sets the output's shape says so by a class attribute `sets_shape = True`: a batch has one shape, so `OneOf` does not take it.
    """

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """Add this transform to the plan of a batch.

        Args:
            plan: what came before; use `plan.move`, `plan.deform`, `plan.look`.
            draws: B streams; draw parameters as `draws.uniform("name", low, high)`, (B,), and toss a probability as `draws.chance("apply", p)`.
            on: (B,) bool, False for samples that must stay as they are because `OneOf` picked something else for them.

        Returns:
            The longer plan.
        """
        ...
