"""How an image meets its parameters: as rows of numbers, one row for each set of parameters."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers

Singles = npt.NDArray[np.float32]


def single(image: Tensor) -> Tensor:
    """Give the image as contiguous float32: itself where it is so, a copy otherwise."""
    return image.detach().to(torch.float32).contiguous()


def rows(image: Tensor, per_channel: bool) -> Tensor:
    """See (B, C, *S) as (R, n): a row a sample, or a row a channel."""
    return image.view(len(image) * (image.shape[1] if per_channel else 1), -1)


def drawn(draws: Draws, name: str, low: float, high: float, image: Tensor, per_channel: bool) -> Numbers:
    """Draw a number in [low, high) for each row of `rows`: (R,)."""
    return draws.uniform(name, low, high, (image.shape[1],) if per_channel else ()).reshape(-1)


def drawn_log(draws: Draws, name: str, low: float, high: float, image: Tensor, per_channel: bool) -> Numbers:
    """Draw a number in [low, high) for each row of `rows`, its logarithm uniform: (R,)."""
    return draws.log_uniform(name, low, high, (image.shape[1],) if per_channel else ()).reshape(-1)


def column(values: Numbers, x: Tensor) -> Tensor:
    """Turn (R,) into (R, 1) float32 beside the rows x."""
    return torch.from_numpy(values.astype(np.float32)).to(x.device)[:, None]
