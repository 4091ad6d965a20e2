"""Where the foreground of a mask lies, as the index keeps it: enough to centre a crop without a look at the mask."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medio.keyed import keyed_generator

Array = npt.NDArray[Any]
Voxels = npt.NDArray[np.uint32]

_VOXELS = 512  # of a class
_COMPONENTS = 256  # of a class
_COMPONENT_VOXELS = 64  # of a component, fewer where there are many


@dataclass(frozen=True, eq=False)
class ClassPlaces:
    """Places of one class of a mask.

    Attributes:
        value: of the class in the mask.
        voxels: flat indices, z slowest: all, or 512 drawn by the sample's key.
        components: likewise for each connected component (voxels that touch, corners included), at most 256 of them; one where all are connected.
    """

    value: int
    voxels: Voxels
    components: tuple[Voxels, ...]


def foreground_rows(mask: Array, sample_id: str) -> list[dict[str, Any]]:
    """Describe each class above 0 of a mask (*S) for the index: voxel count, bounding box, places, and components where there are several.

    Raises:
        ValueError: for a mask of more voxels than 32 bits count.
    """
    if mask.size > np.iinfo(np.uint32).max:
        raise ValueError(f"sample {sample_id}: a mask of {mask.size} voxels is too large to index; crop it first")
    rows = []
    for value, box in _boxes(mask):
        inside = mask[box] == value
        own = _flat(inside, box, mask.shape)
        # Drawn by key, so that every rebuild keeps the same ones.
        generator = keyed_generator((0, 0, sample_id, 0), f"foreground/{value}")
        rows.append(
            {
                "class": value,
                "count": len(own),
                "box": [*(s.start for s in box), *(s.stop for s in box)],
                "voxels": _some(own, _VOXELS, generator).tolist(),
                "components": [{"count": len(c), "voxels": v.tolist()} for c, v in _components(inside, box, mask.shape, generator)],
            }
        )
    return rows


def places_of(rows: Sequence[Mapping[str, Any]]) -> tuple[ClassPlaces, ...]:
    """Read what `foreground_rows` described."""
    places = []
    for row in rows:
        voxels = np.array(row["voxels"], dtype=np.uint32)
        components = tuple(np.array(c["voxels"], dtype=np.uint32) for c in row["components"] or ())
        places.append(ClassPlaces(int(row["class"]), voxels, components or (voxels,)))
    return tuple(places)


def _boxes(mask: Array) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield each class above 0 with its bounding box, in one pass over the mask."""
    top = int(mask.max(initial=0))
    if top <= 65535:
        found = ndimage.find_objects(mask if mask.dtype.kind == "u" and mask.dtype.itemsize < 4 else mask.astype(np.int32), top)
        yield from ((value, tuple(box)) for value, box in enumerate(found, start=1) if box is not None)
        return
    # Labels too large to list by number.
    values, numbers = np.unique(mask, return_inverse=True)
    found = ndimage.find_objects(numbers.reshape(mask.shape) + 1, len(values))
    yield from ((int(value), tuple(box)) for value, box in zip(values, found, strict=True) if value > 0)


def _components(
    inside: npt.NDArray[np.bool_], box: Sequence[slice], shape: Sequence[int], generator: np.random.Generator
) -> list[tuple[Voxels, Voxels]]:
    """All voxels and the kept ones of each component, in the order of their first voxels; empty for a single one."""
    labels, count = ndimage.label(inside, np.ones((3,) * inside.ndim, dtype=bool))
    if count < 2:
        return []
    chosen = np.arange(1, count + 1) if count <= _COMPONENTS else np.sort(generator.choice(count, _COMPONENTS, replace=False)) + 1
    keep = max(8, min(_COMPONENT_VOXELS, 4 * _VOXELS // len(chosen)))
    regions = ndimage.find_objects(labels)
    components = []
    for number in chosen:
        region = regions[number - 1]
        outer = tuple(slice(b.start + r.start, b.start + r.stop) for b, r in zip(box, region, strict=True))
        own = _flat(labels[region] == number, outer, shape)
        components.append((own, _some(own, keep, generator)))
    return components


def _flat(inside: npt.NDArray[np.bool_], box: Sequence[slice], shape: Sequence[int]) -> Voxels:
    """Flat indices in the whole array of what is set in a box of it, ascending."""
    places = [axis + part.start for axis, part in zip(np.nonzero(inside), box, strict=True)]
    flat: Voxels = np.ravel_multi_index(tuple(places), tuple(shape)).astype(np.uint32)
    return flat


def _some(voxels: Voxels, count: int, generator: np.random.Generator) -> Voxels:
    return voxels if len(voxels) <= count else np.sort(generator.choice(voxels, count, replace=False))
