"""What both tasks do at prediction: take an image in, run in evaluation mode, average over flips."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from medfinetune.errors import BatchError
from medfinetune.results import HasGeometry
from medmodels.preprocessing import Preprocessing


def prepared(image: HasGeometry, preprocessing: Preprocessing, in_channels: int) -> Tensor:
    """Normalise an image whose geometry is already that of `preprocessing`.

    Args:
        image: `.array` ([C,] *S) in its unit.
        preprocessing: says the dimensions and the intensity.
        in_channels: what the network takes.

    Returns:
        (C, *S) float32.

    Raises:
        BatchError: for dimensions, channels, or (whole-image tasks) a size that do not fit.
    """
    dims = preprocessing.spatial_dims
    if len(image.spacing) != dims or image.array.ndim not in (dims, dims + 1):
        raise BatchError(f"image of shape {image.array.shape} with spacing {tuple(image.spacing)}: the network takes {dims}D images")
    # Tensors share memory with the array, which may be read-only, and torch has no uint16: copy to float32 first.
    values = torch.from_numpy(image.array.astype("float32"))
    x = values.unsqueeze(0) if values.ndim == dims else values
    if x.shape[0] != in_channels:
        raise BatchError(f"image of shape {image.array.shape}: the network takes {in_channels} channels, this has {x.shape[0]}")
    if preprocessing.whole_image and tuple(x.shape[1:]) != preprocessing.patch_size:
        raise BatchError(f"image of size {tuple(x.shape[1:])}: this task takes whole images of {preprocessing.patch_size}; resize it first")
    return preprocessing.intensity.apply(x)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradient, and back to the mode that was."""
    was = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(was)


def flip_averaged(network: Callable[[Tensor], Tensor], axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Softmax of a segmentation network, averaged over all combinations of flips along `axes`.

    Args:
        network: (B, C, *S) to logits (B, K, *S).
        axes: spatial axes, 0 is the first after the channels; empty runs once.

    Returns:
        (B, C, *S) to probabilities (B, K, *S).
    """
    flips = [tuple(a + 2 for a in chosen) for n in range(len(axes) + 1) for chosen in combinations(axes, n)]

    def probabilities(x: Tensor) -> Tensor:
        total = torch.zeros(())
        for dims in flips:
            total = total.to(x.device) + network(x.flip(dims)).float().softmax(1).flip(dims)
        return total / len(flips)

    return probabilities
