"""Batches to the device that trains on them."""

from typing import TYPE_CHECKING, Any

from medio.loading.collation import need_torch

if TYPE_CHECKING:
    import torch


def to_device(batch: Any, device: "torch.device | str", *, non_blocking: bool = True) -> Any:
    """Move the tensors of a batch, in nested dicts, lists and tuples too; whatever is no tensor stays as it is.

    Args:
        batch: as a loader gives it.
        device: where to.
        non_blocking: do not wait for copies out of pinned memory (`make_loader(..., pin_memory=True)`); they are ordered before what the same CUDA
            stream does next. Copies out of other memory wait in any case.

    Returns:
        The same structure; the tensors are the same objects where nothing had to move.
    """
    return each_tensor(batch, lambda tensor: tensor.to(device, non_blocking=non_blocking))


def pin(batch: Any) -> Any:
    """Copy the tensors of a batch to pinned memory of torch's own pool, which is not used again before copies out of it are done."""
    return each_tensor(batch, lambda tensor: tensor.pin_memory())


def each_tensor(tree: Any, change: Any) -> Any:
    """Apply a function to every tensor in nested dicts, lists and tuples."""
    torch = need_torch()

    def visit(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return change(value)
        if isinstance(value, dict):
            return {name: visit(item) for name, item in value.items()}
        if isinstance(value, list):
            return [visit(item) for item in value]
        if isinstance(value, tuple):
            items = [visit(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        return value

    return visit(tree)
