"""The crops that presets begin with."""

from medaug.compose import Transform
from medaug.errors import AugmentationError
from medaug.geometry.turns import Flip
from medaug.geometry.windows import Crop

Shape = tuple[int, ...]
Spacing = tuple[float, ...]


def crop(preset: str, patch: Shape | None, spacing: Spacing | None) -> list[Transform]:
    """Begin a preset: a random crop of `patch` voxels, on the image's own grid or on one of `spacing` mm; nothing where neither is given.

    Raises:
        AugmentationError: for a spacing without a patch.
    """
    if patch is None:
        if spacing is not None:
            raise AugmentationError(preset, "has a spacing but no patch, and a batch needs one shape; give `patch` too")
        return []
    return [Crop(size=tuple(patch), spacing_mm=None if spacing is None else tuple(spacing))]


def flips(axes: tuple[int, ...]) -> list[Transform]:
    """Mirror the axes that a preset allows; nothing where it allows none."""
    return [Flip(axes=tuple(axes))] if axes else []
