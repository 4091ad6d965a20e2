"""Which patch of one view shows what a patch of another view shows: for dense self-supervision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medaug.errors import AugmentationError
from medaug.views.masks import check_grid, token_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondence:
    """Where the tokens of one view lie in another.

    Attributes:
        place: (B, N, dims) float64, in the other view's tokens: their centres lie at whole numbers.
        inside: (B, N) bool, whether that is inside the other view.
        token: (B, N) int64, the other view's token there, row-major; -1 where outside.
    """

    place: Tensor
    inside: Tensor
    token: Tensor


def correspond(
    view: Mapping[str, Any], other: Mapping[str, Any], grid: Sequence[int] | None = None, other_grid: Sequence[int] | None = None
) -> Correspondence:
    """Find the tokens of a view in another view of the same samples. Places outside the source, which both may show, match too.

    Args:
        view: of `MultiCrop.batch`, or of a `Compose` that records: `image` (B, C, *S) and `geometry` (B, dims + 1, dims + 1), output index -> source index.
        other: another one, from the same source.
        grid: tokens of `view` along each axis; they tile its image. None: voxels.
        other_grid: tokens of `other`; None: voxels.

    Returns:
        The places, rounded to 1e-9 of a token so that a border between two tokens falls to one side in any batch: the higher.

    Raises:
        AugmentationError: for a view without geometry, views of different batches, a grid of other axes.
    """
    for side in (view, other):
        if side.get("geometry") is None:
            raise AugmentationError("correspond", "a view has no `geometry`; make views by MultiCrop, or by a Compose with record=True")
    shape, other_shape = (tuple(side["image"].shape[2:]) for side in (view, other))
    tokens = shape if grid is None else check_grid("correspond", grid)
    other_tokens = other_shape if other_grid is None else check_grid("correspond", other_grid)
    there, here = (torch.as_tensor(side["geometry"]).double() for side in (other, view))
    if here.shape != there.shape or not len(shape) == len(tokens) == len(other_tokens) == here.shape[1] - 1:
        raise AugmentationError(
            "correspond", f"views of {shape} and {other_shape} with grids {tokens} and {other_tokens} do not fit each other"
        )
    back = torch.linalg.inv(there)
    # Sums over the short axis only, never a matrix product: its rounding may depend on the size of the batch.
    matrix = (back[:, :, :, None] * here[:, None]).sum(2)
    centre = (token_places(tokens, here.device) + 0.5) * _ratio(shape, tokens, here) - 0.5  # (N, dims) in voxels of `view`
    moved = (matrix[:, None, :-1, :-1] * centre[None, :, None]).sum(-1) + matrix[:, None, :-1, -1]
    place = torch.round((moved + 0.5) / _ratio(other_shape, other_tokens, here) - 0.5, decimals=9)
    nearest = torch.floor(place + 0.5)
    size = torch.tensor(other_tokens, device=here.device)
    inside = ((nearest >= 0) & (nearest < size)).all(-1)
    stride = torch.tensor([math.prod(other_tokens[axis + 1 :]) for axis in range(len(other_tokens))], device=here.device)
    token = torch.where(inside, (nearest.long() * stride).sum(-1), -1)
    return Correspondence(place=place, inside=inside, token=token)


def _ratio(shape: tuple[int, ...], tokens: tuple[int, ...], like: Tensor) -> Tensor:
    """Voxels a token along each axis."""
    return torch.tensor([n / t for n, t in zip(shape, tokens, strict=True)], dtype=torch.float64, device=like.device)
