"""Median: small detail and specks lost, edges kept."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from medaug.draws import Draws, Numbers
from medaug.intensity.rows import single
from medaug.kernels import median as kernel
from medaug.kernels import serving
from medaug.options import check_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The median of each voxel and its neighbours: 3 x 3, in 3D 3 x 3 x 3; edges repeat their voxel.

    Attributes:
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a p outside [0, 1].
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Median", self.p)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        x = single(image)
        volumes = x.view(-1, *(1,) * (5 - x.ndim), *x.shape[2:])
        if serving.loops(x.device):
            kernel.median(volumes.numpy())
        else:
            _median_by_torch(volumes)
        return x.to(image.dtype)


def _median_by_torch(volumes: Tensor) -> None:
    """Median of (R, D, H, W), in place."""
    thick = volumes.shape[1] > 1
    around = pad(volumes[:, None], (1, 1, 1, 1, int(thick), int(thick)), mode="replicate")[:, 0]
    near = around.unfold(1, 3 if thick else 1, 1).unfold(2, 3, 1).unfold(3, 3, 1)
    volumes.copy_(near.flatten(4).median(-1).values)
