"""Prediction over an image of any size by a sliding window."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from medmodels.errors import ModelError


@torch.no_grad()
def sliding_window(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    patch_size: Sequence[int],
    overlap: float = 0.5,
    batch_size: int = 1,
    pad_value: float | None = None,
) -> Tensor:
    """Run a network over overlapping windows and blend what it says.

    Windows begin every `patch * (1 - overlap)` pixels, the last flush with the image's end. Each is weighted by a Gaussian around its
    centre, of deviation patch / 8, never below a thousandth, so that every pixel counts. An image smaller than the window is padded
    on both sides and cut back.

    Args:
        predict: maps windows (n, C, *patch) to (n, K, *patch).
        image: (C, *S), preprocessed.
        patch_size: the window, (d, h, w) or (h, w) in pixels.
        overlap: share of a window that the next one covers again, 0 up to but not 1.
        batch_size: windows a call of `predict`; the last call may have fewer.
        pad_value: outside the image; None takes the image's smallest value.

    Returns:
        (K, *S) float32 on the image's device.

    Raises:
        ModelError: for a window with other axes than the image, an overlap out of range, or a prediction of another size.

    Source: the blend of Isensee et al., "nnU-Net", Nature Methods 2021.
    """
    patch = tuple(int(n) for n in patch_size)
    if image.ndim != len(patch) + 1 or min(patch) < 1:
        raise ModelError(f"a window {patch} does not fit an image (C, *S) of {tuple(image.shape)}")
    if not 0 <= overlap < 1:
        raise ModelError(f"overlap must be at least 0 and below 1, got {overlap}")
    if batch_size < 1:
        raise ModelError(f"batch_size must be at least 1, got {batch_size}")
    size = tuple(image.shape[1:])
    before = [max(p - n, 0) // 2 for p, n in zip(patch, size, strict=True)]
    after = [max(p - n, 0) - b for p, n, b in zip(patch, size, before, strict=True)]
    if any(before) or any(after):
        value = float(image.min()) if pad_value is None else pad_value
        image = pad(image, [n for b, a in reversed(list(zip(before, after, strict=True))) for n in (b, a)], value=value)
    windows = [
        tuple(slice(s, s + p) for s, p in zip(starts, patch, strict=True))
        for starts in itertools.product(*(_starts(n, p, overlap) for n, p in zip(image.shape[1:], patch, strict=True)))
    ]
    weight = _gaussian(patch).to(image.device)
    total: Tensor | None = None
    weights = torch.zeros(image.shape[1:], device=image.device)
    for first in range(0, len(windows), batch_size):
        chunk = windows[first : first + batch_size]
        predicted = predict(torch.stack([image[(slice(None), *window)] for window in chunk]))
        if len(predicted) != len(chunk) or tuple(predicted.shape[2:]) != patch:
            raise ModelError(f"predict must return ({len(chunk)}, K, {', '.join(map(str, patch))}), got {tuple(predicted.shape)}")
        if total is None:
            total = torch.zeros((predicted.shape[1], *image.shape[1:]), device=image.device)
        for window, part in zip(chunk, predicted, strict=True):
            total[(slice(None), *window)] += part.to(total) * weight
            weights[window] += weight
    assert total is not None  # an image has at least one window
    inner = tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))
    return total.div_(weights)[(slice(None), *inner)].contiguous()


def _starts(length: int, patch: int, overlap: float) -> list[int]:
    """Where windows begin along one axis; the last ends with the axis."""
    step = max(int(patch * (1 - overlap)), 1)
    last = length - patch
    return [*range(0, last, step), last]


def _gaussian(patch: Sequence[int]) -> Tensor:
    """Weights (*patch) float32, 1 at the centre, at least 0.001."""
    weight = torch.ones(tuple(patch))
    for axis, n in enumerate(patch):
        shape = [1] * len(patch)
        shape[axis] = n
        offset = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        weight = weight * torch.exp(-0.5 * (offset / (n / 8)) ** 2).reshape(shape)
    return weight.clamp_(min=1e-3)
