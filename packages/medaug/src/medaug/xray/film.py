"""What every transform of a film asks of it."""

from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import value_range


def check_film(image: Tensor, draws: Draws) -> None:
    """Raise unless the images are 2D."""
    if image.ndim != 4:
        raise draws.error(f"has {image.ndim - 2} spatial axes, but a film has 2; use the transforms of its modality")


def pixel_mm(image: Tensor, draws: Draws, spacing: Numbers | None) -> Numbers:
    """Check a film and give its pixel, (B, 2) mm."""
    check_film(image, draws)
    if spacing is None:
        raise draws.error(
            "has no spacing, so millimetres mean nothing; give `spacing`, or an estimate such as 430 mm over the width of a chest film"
        )
    return spacing


def to_density(image: Tensor, dense_is_bright: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scale films to [0, 1] where 1 is the densest: (unit, least value, extent). `image` is overwritten where it is float32."""
    least, extent = value_range(image.float())
    unit = image.float().sub_(least).div_(extent)
    return (unit if dense_is_bright else unit.neg_().add_(1)), least, extent


def from_density(unit: Tensor, least: Tensor, extent: Tensor, dense_is_bright: bool) -> Tensor:
    """Undo `to_density`, in place."""
    return (unit if dense_is_bright else unit.neg_().add_(1)).mul_(extent).add_(least)
