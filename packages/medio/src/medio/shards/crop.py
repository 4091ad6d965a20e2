"""Random crops, drawn by key, that know where the foreground lies before anything is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.keyed import SampleKey, keyed_generator


@dataclass(frozen=True)
class Crop:
    """A keyed random crop of fixed size.

    With probability `foreground` the crop is centred on a voxel of the mask: a class is drawn evenly among those present, then one of its voxels, so
    that small classes come as often as large ones. Otherwise, or where there is no foreground, every place is equally likely. A crop keeps inside
    the image; along an axis where the image is smaller, the image is centred and padded (image: its minimum, mask: 0).

    Attributes:
        size: voxels along each spatial axis, (z, y, x) or (y, x).
        foreground: probability, 0 to 1.
    """

    size: tuple[int, ...]
    foreground: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise ValueError(f"crop size must be 2 or 3 positive numbers of voxels, got {self.size}")
        if not 0 <= self.foreground <= 1:
            raise ValueError(f"foreground is a probability, got {self.foreground}")

    def offset(self, shape: Sequence[int], classes: Sequence[npt.NDArray[np.uint32]], key: SampleKey) -> tuple[int, ...]:
        """Draw where the crop begins, from the key's stream `crop`.

        Args:
            shape: the image's spatial shape.
            classes: per class its known voxels, as flat indices into `shape`.
            key: of the draw.

        Returns:
            First index along each axis; negative where the image is smaller than the crop.

        Raises:
            ValueError: for an image of another dimension.
        """
        if len(shape) != len(self.size):
            raise ValueError(f"a crop of {self.size} does not fit an image of spatial shape {tuple(shape)}")
        generator = keyed_generator(key, "crop")
        room = [n - size for n, size in zip(shape, self.size, strict=True)]
        if generator.random() < self.foreground and len(classes):
            voxels = classes[int(generator.integers(len(classes)))]
            centre = np.unravel_index(int(voxels[int(generator.integers(len(voxels)))]), tuple(shape))
            wanted = [int(c) - size // 2 for c, size in zip(centre, self.size, strict=True)]
        else:
            wanted = [int(generator.integers(max(r, 0) + 1)) for r in room]
        return tuple(min(max(w, 0), r) if r >= 0 else -(-r // 2) for w, r in zip(wanted, room, strict=True))


def pad_to(array: npt.NDArray[Any], before: Sequence[int], size: Sequence[int], value: float) -> npt.NDArray[Any]:
    """Place an array (..., *S) at `before` in one of spatial `size`, filled with `value`."""
    if array.shape[-len(size) :] == tuple(size):
        return array
    padded = np.full((*array.shape[: -len(size)], *size), value, dtype=array.dtype)
    inside = [slice(None)] * (array.ndim - len(size)) + [slice(b, b + n) for b, n in zip(before, array.shape[-len(size) :], strict=True)]
    padded[tuple(inside)] = array
    return padded
