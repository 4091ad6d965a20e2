"""What an intensity transform is."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from medaug.draws import Draws, Numbers


@runtime_checkable
class IntensityTransform(Protocol):
    """Changes the values of images, each by parameters of its own."""

    @property
    def p(self) -> float:
        """Probability that a sample is changed; `Compose` tosses it."""
        ...

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """Change every image of a batch.

        The transforms of this package compute in float32 and round the result to other types once.

        Args:
            image: (B, C, *S) floating point, contiguous; the transform's own, which it may overwrite.
            draws: B streams; draw parameters as `draws.uniform("name", low, high)`, (B,).
            spacing: (B, dims) mm, or None where the sample has none; who needs millimetres raises `draws.error(...)` then.

        Returns:
            The same shape, dtype and device; `image` itself where it was overwritten.
        """
        ...
