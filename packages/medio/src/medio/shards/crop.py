"""Random crops, drawn by key, that know where the foreground lies before anything is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medio.keyed import SampleKey, keyed_generator
from medio.shards.foreground import ClassPlaces

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """What a crop of one sample may be centred on.

    Attributes:
        classes: places of the classes of its mask.
        boxes: (n, 2·dims) first and last corners in index space.
        points: (n, dims) in index space.
    """

    classes: Sequence[ClassPlaces] = ()
    boxes: Array | None = None
    points: Array | None = None


@dataclass(frozen=True)
class Crop:
    """A keyed random crop.

    With probability `foreground` the crop is centred on what `around` names, if the sample has any:

    - `mask`: a class is drawn among those present by `class_weights`; then one of its voxels (`lesions="voxel"`), or first one of its connected
      components, each as likely as the others, and then one of its voxels (`lesions="component"`), so that a small lesion comes as often as a large one;
    - `boxes`: a box is drawn evenly, then a place in it;
    - `points`: a point is drawn evenly.

    Otherwise, or where there is none, every place is equally likely. A crop keeps inside the image, so near its border the crop's centre is as near to
    the drawn voxel as it can be; along an axis where the image is smaller, the image is centred and padded (image: its minimum, mask: 0).

    Attributes:
        size: voxels along each spatial axis, (z, y, x) or (y, x); None where `size_mm` is given.
        foreground: probability, 0 to 1.
        class_weights: weight of each class of the mask, by its value; a class left out is not centred on, and weights are relative to those of the classes
            that a sample has. None weighs all alike.
        lesions: what is drawn evenly within a class.
        jitter: how far the drawn voxel may lie from the crop's centre, as a share of half the size: 0 keeps it in the centre, 1 puts it anywhere in the crop
            with equal probability.
        size_mm: the extent in mm instead of `size`; each sample's spacing says how many voxels that is, rounded, at least 1.
        around: `mask`, `boxes` or `points`.
    """

    size: tuple[int, ...] = ()
    foreground: float = 0.5
    class_weights: Mapping[int, float] | None = None
    lesions: Literal["voxel", "component"] = "voxel"
    jitter: float = 0.0
    size_mm: tuple[float, ...] | None = None
    around: Literal["mask", "boxes", "points"] = "mask"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        if self.size_mm is not None:
            if self.size:
                raise ValueError(f"give a crop's size in voxels or in mm, not both: got {self.size} and {self.size_mm}")
            object.__setattr__(self, "size_mm", tuple(float(n) for n in self.size_mm))
            if len(self.size_mm) not in (2, 3) or not all(np.isfinite(n) and n > 0 for n in self.size_mm):
                raise ValueError(f"crop size_mm must be 2 or 3 positive numbers of mm, got {self.size_mm}")
        elif len(self.size) not in (2, 3) or min(self.size) < 1:
            raise ValueError(f"crop size must be 2 or 3 positive numbers of voxels, got {self.size}")
        if not 0 <= self.foreground <= 1:
            raise ValueError(f"foreground is a probability, got {self.foreground}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share of half the crop's size, 0 to 1, got {self.jitter}")
        if self.lesions not in ("voxel", "component"):
            raise ValueError(f"lesions must be 'voxel' or 'component', got {self.lesions!r}")
        if self.around not in ("mask", "boxes", "points"):
            raise ValueError(f"around must be 'mask', 'boxes' or 'points', got {self.around!r}")
        if self.class_weights is not None:
            weights = {int(value): float(weight) for value, weight in self.class_weights.items()}
            if not weights or not all(np.isfinite(w) and w >= 0 for w in weights.values()) or not any(weights.values()):
                raise ValueError(f"class_weights must be numbers from 0, one of them above 0, got {dict(self.class_weights)}")
            object.__setattr__(self, "class_weights", weights)

    def voxels(self, spacing: Sequence[float]) -> tuple[int, ...]:
        """Return the size in voxels for a sample of this spacing, mm."""
        if self.size_mm is None:
            return self.size
        if len(spacing) != len(self.size_mm):
            raise ValueError(f"a crop of {self.size_mm} mm does not fit an image of spacing {tuple(spacing)}")
        return tuple(max(1, round(extent / step)) for extent, step in zip(self.size_mm, spacing, strict=True))

    def offset(
        self, shape: Sequence[int], landmarks: Landmarks | None, key: SampleKey, spacing: Sequence[float] | None = None
    ) -> tuple[int, ...]:
        """Draw where the crop begins, from the key's stream `crop`.

        Args:
            shape: the image's spatial shape.
            landmarks: what it may be centred on; None where there is nothing.
            key: of the draw.
            spacing: of the image in mm; needed for a size in mm.

        Returns:
            First index along each axis; negative where the image is smaller than the crop.

        Raises:
            ValueError: for an image of another dimension, or a size in mm without spacing.
        """
        if self.size_mm is not None and spacing is None:
            raise ValueError(f"a crop of {self.size_mm} mm needs the image's spacing")
        size = self.voxels(spacing or ())
        if len(shape) != len(size):
            raise ValueError(f"a crop of {size} does not fit an image of spatial shape {tuple(shape)}")
        generator = keyed_generator(key, "crop")
        room = [n - s for n, s in zip(shape, size, strict=True)]
        centre = self._centre(tuple(shape), landmarks or Landmarks(), generator) if generator.random() < self.foreground else None
        if centre is None:
            wanted = [int(generator.integers(max(r, 0) + 1)) for r in room]
        else:
            # Where in the crop the voxel shall lie: the middle, or evenly within `jitter` of the size around it.
            shifts = (generator.random(len(size)) - 0.5) * self.jitter if self.jitter else np.zeros(len(size))
            inside = [int(s * (0.5 + shift)) for s, shift in zip(size, shifts, strict=True)]
            wanted = [c - i for c, i in zip(centre, inside, strict=True)]
        return tuple(min(max(w, 0), r) if r >= 0 else -(-r // 2) for w, r in zip(wanted, room, strict=True))

    def _centre(self, shape: tuple[int, ...], landmarks: Landmarks, generator: np.random.Generator) -> list[int] | None:
        """Draw a voxel to centre on; None where the sample has none."""
        if self.around == "mask":
            voxels = self._voxels_of_a_class(landmarks.classes, generator)
            return None if voxels is None else [int(i) for i in np.unravel_index(int(voxels[int(generator.integers(len(voxels)))]), shape)]
        places = landmarks.boxes if self.around == "boxes" else landmarks.points
        if places is None or not len(places):
            return None
        place = np.asarray(places[int(generator.integers(len(places)))], dtype=np.float64)
        if self.around == "boxes":
            low, high = place[: len(shape)], place[len(shape) :]
            place = low + generator.random(len(shape)) * (high - low)
        return [min(max(int(np.floor(p)), 0), n - 1) for p, n in zip(place, shape, strict=True)]

    def _voxels_of_a_class(self, classes: Sequence[ClassPlaces], generator: np.random.Generator) -> npt.NDArray[np.uint32] | None:
        if self.class_weights is None:
            chosen = classes[int(generator.integers(len(classes)))] if classes else None
        else:
            weights = np.array([self.class_weights.get(c.value, 0.0) for c in classes])
            # The sum of nothing is 0: no class, or none with a weight.
            chosen = classes[int(generator.choice(len(classes), p=weights / weights.sum()))] if weights.sum() > 0 else None
        if chosen is None:
            return None
        if self.lesions == "voxel":
            return chosen.voxels
        return chosen.components[int(generator.integers(len(chosen.components)))]


def pad_to(array: npt.NDArray[Any], before: Sequence[int], size: Sequence[int], value: float) -> npt.NDArray[Any]:
    """Place an array (..., *S) at `before` in one of spatial `size`, filled with `value`."""
    if array.shape[-len(size) :] == tuple(size):
        return array
    padded = np.full((*array.shape[: -len(size)], *size), value, dtype=array.dtype)
    inside = [slice(None)] * (array.ndim - len(size)) + [slice(b, b + n) for b, n in zip(before, array.shape[-len(size) :], strict=True)]
    padded[tuple(inside)] = array
    return padded
