"""Samples to one batch: what is stacked, padded or listed, and how a batch lies in one piece of memory."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Sample = Mapping[str, Any]
Array = npt.NDArray[Any]
Ragged = Literal["error", "pad", "list"]

_PLAIN = ("key", "meta", "statistics")
_TARGETS = {"mask": np.int64, "affine": np.float64, "label": np.float32, "spacing": np.float32}
_ALIGNMENT = 64
_SMALL = 1 << 16


def collate(samples: Sequence[Sample], *, ragged: Ragged = "error") -> dict[str, Any]:
    """Make a batch of samples.

    Args:
        samples: as `ShardDataset` gives them, arrays or tensors.
        ragged: what to do where shapes differ. `error` names the samples. `pad` fills every array that has the image's voxels (`image`, `mask`, …) at the
            far end of each axis up to the largest, the image with its minimum and others with 0, and adds `valid` (B, *S) bool, true where a sample has
            voxels; index space and affine stay right. `list` gives a list of tensors instead of one tensor.

    Returns:
        A dict: `image` (B, C, *S), float32 where it was a float and in its stored integer type otherwise (int16 is a quarter of the traffic of a
        worker; normalise in the dataset's transform to get floats); `mask` (B, *S) int64; `label` (B, K) float32, NaN kept; `spacing`
        (B, dims) float32; `affine` (B, 4, 4) float64; lists of `key`, `meta`, `statistics`, `boxes` and `points` (tensors (n, 2·dims) and (n, dims)),
        `report` (str, empty where a sample has none); `prior` a nested batch.

    Raises:
        ValueError: when shapes differ or a key is missing in some samples; names them.
        ImportError: without torch; names the extra.
    """
    need_torch()
    return dict(finish(arrange(samples, ragged)))


class Leaf(Protocol):
    """An array of a batch to be: its type and shape are known before it is written anywhere."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type it will have."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape it will have."""
        ...

    @property
    def kind(self) -> str:
        """`array` or `tensor`, or the name of a torch type that numpy has not and that travels as integers."""
        ...

    def write(self, out: Array) -> None:
        """Write the values into memory of that type and shape."""
        ...

    def value(self) -> Any:
        """Give the array or tensor, in memory of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """The arrays of all samples as one, smaller ones filled up at the far end."""

    parts: Sequence[Array]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fills: Sequence[float] = ()
    kind: str = "tensor"

    def write(self, out: Array) -> None:
        """Write each sample's array into its place."""
        for i, part in enumerate(self.parts):
            target = out[i]
            if part.shape != target.shape:
                target[...] = self.fills[i]
                target = target[tuple(slice(n) for n in part.shape)]
            np.copyto(target, part, casting="unsafe")

    def value(self) -> Any:
        """Give the tensor."""
        out = np.empty(self.shape, self.dtype)
        self.write(out)
        return as_value(out, self.kind)


@dataclass(frozen=True, slots=True)
class Single:
    """One array, or the numbers of one tensor."""

    array: Array
    kind: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    def write(self, out: Array) -> None:
        """Copy the array."""
        np.copyto(out, self.array)

    def value(self) -> Any:
        """Give the array or tensor itself."""
        return as_value(self.array, self.kind)


@dataclass(frozen=True, slots=True)
class Listed:
    """A list or tuple with leaves in it; other lists are handed on unseen, whatever they hold."""

    items: list[Any]
    make: Callable[[list[Any]], Any] = list


class Place(NamedTuple):
    """Where an array of a batch lies in the batch's memory; a tuple, for it travels with every batch."""

    offset: int
    nbytes: int
    dtype: str
    shape: tuple[int, ...]
    kind: str


def arrange(samples: Sequence[Sample], ragged: Ragged = "error") -> dict[str, Any]:
    """Say what a batch will hold, without copying: a dict of leaves, lists and nested dicts; see `collate`."""
    if not samples:
        raise ValueError("collate got no samples")
    ids = [str(s["key"][2]) if "key" in s else f"#{i}" for i, s in enumerate(samples)]
    batch: dict[str, Any] = {}
    padded = _padded_names(samples) if ragged == "pad" else ()
    for name in dict.fromkeys(name for s in samples for name in s):
        if name == "report":
            batch[name] = [s.get(name) or "" for s in samples]
            continue
        lacking = [i for i, s in zip(ids, samples, strict=True) if name not in s]
        if lacking:
            raise ValueError(f"samples {lacking[:8]} of the batch have no {name!r} and others do; choose keys or a split where all agree")
        values = [s[name] for s in samples]
        if name in ("boxes", "points"):
            batch[name] = Listed([_single(v, "tensor") for v in values])
        elif name == "prior":
            batch[name] = _prior(values, ids, ragged)
        elif name not in _PLAIN and _is_array(values[0]):
            fills = [_fill(name, s) for s in samples] if name in padded else None
            batch[name] = _stacked(name, [_numbers(v) for v in values], ids, ragged, fills)
        else:
            batch[name] = values
    if ragged == "pad" and "image" in batch:
        shapes = [np.shape(s["image"])[1:] for s in samples]
        batch["valid"] = _stacked("valid", [np.broadcast_to(np.True_, shape) for shape in shapes], ids, "pad", [0.0] * len(shapes))
    return batch


def leaves_of(tree: Any) -> Any:
    """Replace the arrays and tensors in nested dicts, lists and tuples, as a caller's own collate returns them, by leaves."""
    if isinstance(tree, dict):
        return {name: leaves_of(value) for name, value in tree.items()}
    if _is_array(tree) and (not isinstance(tree, np.ndarray) or tree.dtype.kind in "biufc"):
        return _single(tree, "array" if isinstance(tree, np.ndarray) else "tensor")
    if isinstance(tree, list) or type(tree) is tuple:
        items = [leaves_of(value) for value in tree]
        return tree if all(a is b for a, b in zip(items, tree, strict=True)) else Listed(items, type(tree))
    return tree


def finish(tree: Any) -> Any:
    """Make arrays and tensors of the leaves of a tree, each in memory of its own."""
    return _mapped(tree, lambda leaf: leaf.value())


def lay_out(tree: Any) -> tuple[Any, list[tuple[Place, Leaf]], int]:
    """Give every leaf a place in one piece of memory.

    Returns:
        the tree with places for leaves, the places with what goes there, and the bytes in all.
    """
    writes: list[tuple[Place, Leaf]] = []
    end = 0

    def place(leaf: Leaf) -> Place:
        nonlocal end
        # Aligned for vector loads, and for the cast of a view to a wider type.
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        nbytes = leaf.dtype.itemsize * prod(leaf.shape)
        end = offset + nbytes
        placed = Place(offset, nbytes, leaf.dtype.str, tuple(leaf.shape), leaf.kind)
        writes.append((placed, leaf))
        return placed

    return _mapped(tree, place, keep_lists=True), writes, end


def write(writes: Sequence[tuple[Place, Leaf]], memory: Array) -> None:
    """Write leaves to their places in memory, (bytes,) uint8."""
    for place, leaf in writes:
        leaf.write(_view(place, memory))


def take_up(tree: Any, memory: Array) -> Any:
    """Make arrays and tensors of the places of a tree.

    Large ones share the memory and keep it alive. Small ones are copied: who collects the labels of an epoch must not keep its images.
    """

    def take(place: Place) -> Any:
        view = _view(place, memory)
        return as_value(view if place.nbytes > _SMALL else view.copy(), place.kind)

    return _mapped(tree, take)


def as_value(array: Array, kind: str) -> Any:
    """Give an array, or a tensor that shares its memory."""
    if kind == "array":
        return array
    torch = need_torch()
    tensor = torch.from_numpy(array)
    return tensor if kind == "tensor" else tensor.view(getattr(torch, kind))


def need_torch() -> Any:
    """Import torch, or say which extra brings it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError('batches of tensors need torch: pip install "medio[torch]"') from error
    return torch


def _mapped(tree: Any, change: Callable[[Any], Any], *, keep_lists: bool = False) -> Any:
    if isinstance(tree, dict):
        return {name: _mapped(value, change, keep_lists=keep_lists) for name, value in tree.items()}
    if isinstance(tree, Listed):
        items = [_mapped(value, change, keep_lists=keep_lists) for value in tree.items]
        return Listed(items, tree.make) if keep_lists else tree.make(items)
    return change(tree) if isinstance(tree, Stack | Single | Place) else tree


def _view(place: Place, memory: Array) -> Array:
    return memory[place.offset : place.offset + place.nbytes].view(place.dtype).reshape(place.shape)


def _is_array(value: Any) -> bool:
    # A tensor can only come from a torch that is imported; a worker that needs none is spared the seconds and the memory.
    torch = sys.modules.get("torch")
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))


def _single(value: Any, kind: str) -> Single:
    if not isinstance(value, np.ndarray) and _is_array(value):
        torch = sys.modules["torch"]
        value = value.detach().cpu().contiguous()
        if value.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
            kind = str(value.dtype).removeprefix("torch.")
            value = value.view(torch.int16 if value.itemsize == 2 else torch.uint8)
        value = value.numpy()
    array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
    return Single(array.astype(array.dtype.newbyteorder("="), copy=False), kind)


def _numbers(value: Any) -> Array:
    """Give the numbers of an array or tensor in a type that numpy has."""
    if isinstance(value, np.ndarray):
        return value
    torch = sys.modules["torch"]
    value = torch.as_tensor(value).detach().cpu()
    numbers: Array = (value.float() if value.is_floating_point() else value).numpy()
    return numbers


def _stacked(name: str, values: Sequence[Array], ids: Sequence[str], ragged: Ragged, fills: Sequence[float] | None) -> Stack | Listed:
    kind = np.result_type(*values)
    dtype = np.dtype(_TARGETS.get(name, np.float32 if kind.kind == "f" else kind)).newbyteorder("=")
    shapes = [v.shape for v in values]
    if len(set(shapes)) == 1:
        return Stack(values, dtype, (len(values), *shapes[0]))
    listed = ", ".join(f"{i} {s}" for i, s in list(zip(ids, shapes, strict=True))[:8])
    if ragged == "list":
        return Listed([Single(np.ascontiguousarray(v, dtype), "tensor") for v in values])
    if fills is not None and len({len(s) for s in shapes}) == 1:
        largest = tuple(int(n) for n in np.max(shapes, axis=0))
        return Stack(values, dtype, (len(values), *largest), fills)
    mend = "cut them alike with Crop(size=...), give make_loader ragged='pad' or 'list', or use batch_size=1"
    raise ValueError(f"{name} differs in shape within a batch: {listed}; {mend}")


def _padded_names(samples: Sequence[Sample]) -> set[str]:
    """Names of the arrays that have the image's voxels in every sample."""
    spatial = [np.shape(s["image"])[1:] if "image" in s else None for s in samples]
    names = {name for s in samples for name, value in s.items() if name not in _PLAIN and _is_array(value)}
    return {
        name
        for name in names
        if all(shape and name in s and tuple(np.shape(s[name])[-len(shape) :]) == shape for s, shape in zip(samples, spatial, strict=True))
    }


def _fill(name: str, sample: Sample) -> float:
    if name != "image":
        return 0.0
    # A normalised image has no statistics any more: then its own minimum.
    statistics = sample.get("statistics")
    return float(statistics["min"] if statistics else _numbers(sample[name]).min())


def _prior(values: Sequence[Any], ids: Sequence[str], ragged: Ragged) -> dict[str, Any] | None:
    if all(value is None for value in values):
        return None
    lacking = [i for i, value in zip(ids, values, strict=True) if value is None]
    if lacking:
        raise ValueError(f"samples {lacking[:8]} of the batch have no prior and others do; batch them apart")
    return arrange(values, ragged)
