"""Motion: a patient who moves between lines of k-space."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medaug.axis import weigh_frequencies_
from medaug.draws import Draws, Numbers
from medaug.elementwise import compiled
from medaug.errors import AugmentationError
from medaug.kernels.mr_motion import move
from medaug.mr.ghosting import check_axes
from medaug.options import Span, check_probability, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Fills k-space, line after line along one axis, from a patient who lies in another pose after each movement.

    The pose that holds while the centre of k-space is acquired is the image's own, so masks and boxes stay true. The result is the real part, as after phase
    correction. Linear, so any scale of intensity will do.

    Attributes:
        rotation_deg: standard deviation of the angle about each axis at a movement (in 2D one angle), about the centre; a number, or (low, high) to draw it.
        translation_mm: standard deviation of the shift along each axis at a movement; a number, or (low, high) to draw it.
        movements: (low, high) of the number of movements, both taken.
        axes: spatial axes to draw the slow phase-encoding axis from; None is all.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a negative size, fewer than one movement, no axis, a sample without spacing, a p outside [0, 1].

    Source: Shaw et al., "MRI k-space motion artefact augmentation", MIDL 2019.
    """

    rotation_deg: Span = (0.5, 3.0)
    translation_mm: Span = (0.5, 3.0)
    movements: tuple[int, int] = (1, 3)
    axes: tuple[int, ...] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Motion", self.p)
        span("Motion", "rotation_deg", self.rotation_deg, low=0, high=90)
        span("Motion", "translation_mm", self.translation_mm, low=0)
        span("Motion", "movements", self.movements, low=1)
        if self.axes is not None and not self.axes:
            raise AugmentationError("Motion", "axes is empty; name a spatial axis, or None for all")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        if spacing is None:
            raise draws.error("has no spacing, so a movement in mm means nothing; give `spacing` along each spatial axis")
        dims, most = image.ndim - 2, int(self.movements[1])
        known = check_axes(draws, self.axes, dims)
        axis = np.array(known)[draws.integers("axis", 0, len(known))]
        angle = (
            draws.normal("rotation", (most, 3))
            * draws.uniform("rotation_deg", *span("Motion", "rotation_deg", self.rotation_deg))[:, None, None]
        )
        shift = draws.normal("translation", (most, dims))
        shift *= draws.uniform("translation_mm", *span("Motion", "translation_mm", self.translation_mm))[:, None, None]
        count = draws.integers("movements", int(self.movements[0]), most + 1)
        times = np.sort(np.where(np.arange(most) < count[:, None], draws.uniform("times", size=(most,)), 1.0), axis=1)
        result = image.float()
        for each in np.unique(axis):
            rows = np.flatnonzero(axis == each)
            if len(rows) == len(image):
                return moved_acquisition(result, angle, shift, times, int(each), spacing).to(image.dtype)
            chosen = torch.from_numpy(rows).to(image.device)
            moved = moved_acquisition(result[chosen], angle[rows], shift[rows], times[rows], int(each), spacing[rows])
            result.index_copy_(0, chosen, moved)
        return result.to(image.dtype)


def moved_acquisition(image: Tensor, angle_deg: Numbers, shift_mm: Numbers, times: Numbers, axis: int, spacing: Numbers) -> Tensor:
    """Acquire images along `axis` while the patient takes one pose after another.

    Args:
        image: (B, C, *S) float32, the pose at the centre of k-space.
        angle_deg: (B, moves, 3) about the z, y and x axis; in 2D the first counts.
        shift_mm: (B, moves, dims).
        times: (B, moves) ascending in [0, 1]; the share of the lines acquired at each movement. 1 never happens.
        axis: slow phase-encoding axis.
        spacing: (B, dims) mm.

    Returns:
        (B, C, *S) float32.
    """
    length = image.shape[2 + axis]
    line = np.arange(length)
    start = np.floor(times * length).astype(int)
    # The segment that holds the centre keeps the image's pose, the others take one pose each: segment 0 that of the move whose segment this is.
    home = (start <= length // 2).sum(1)
    result = image.clone()
    for move_index in range(times.shape[1]):
        segment = np.where(home == move_index + 1, 0, move_index + 1)
        first = np.where(segment == 0, 0, start[:, move_index])
        ends = np.concatenate([start, np.full((len(start), 1), length)], axis=1)
        last = np.take_along_axis(ends, segment[:, None], 1)[:, 0]
        mask = (line >= first[:, None]) & (line < last[:, None])
        rows = np.flatnonzero(mask.any(1))
        if not len(rows):
            continue
        matrices = _index_matrices(angle_deg[rows, move_index], shift_mm[rows, move_index], spacing[rows], tuple(image.shape[2:]))
        chosen = torch.from_numpy(rows).to(image.device)
        still = image if len(rows) == len(image) else image[chosen]
        posed = _posed(still, matrices).sub_(still)
        change = weigh_frequencies_(posed, axis, np.fft.ifftshift(mask[rows].astype(float), axes=1))
        result.index_add_(0, chosen, change)
    return result


def _index_matrices(angle_deg: Numbers, shift_mm: Numbers, spacing: Numbers, shape: tuple[int, ...]) -> Numbers:
    """Where each index is taken from, (B, 3, 4); of a 2D image as of a volume of one slice."""
    flat = len(shape) == 2
    count = len(angle_deg)
    sizes = np.concatenate([np.ones((count, 1)), spacing], axis=1) if flat else spacing
    shifts = np.concatenate([np.zeros((count, 1)), shift_mm], axis=1) if flat else shift_mm
    angles = np.radians(angle_deg) * ([1, 0, 0] if flat else [1, 1, 1])
    centre = (np.array((1, *shape) if flat else shape) - 1) / 2
    turn = np.repeat(np.eye(3)[None], count, axis=0)
    for about, (i, j) in enumerate([(1, 2), (0, 2), (0, 1)]):
        one = np.repeat(np.eye(3)[None], count, axis=0)
        one[:, i, i] = one[:, j, j] = np.cos(angles[:, about])
        one[:, i, j], one[:, j, i] = -np.sin(angles[:, about]), np.sin(angles[:, about])
        turn = one @ turn
    # out(p) = in(R^T (p - c - t) + c): content is turned by R about the centre c, then shifted by t.
    linear = turn.transpose(0, 2, 1) * sizes[:, None, :] / sizes[:, :, None]
    offset = centre - (linear @ (centre + shifts / sizes)[:, :, None])[:, :, 0]
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def _posed(image: Tensor, matrices: Numbers) -> Tensor:
    volume = image.unsqueeze(2) if image.ndim == 4 else image
    if not compiled(image.device):
        return _posed_torch(volume, matrices).view(image.shape)
    out = torch.empty_like(volume)
    move(volume.contiguous().numpy(), matrices, out.numpy())
    return out.view(image.shape)


def _posed_torch(volume: Tensor, matrices: Numbers) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float64, device=volume.device) for n in volume.shape[2:]]
    index = torch.stack(
        [*torch.meshgrid(*axes, indexing="ij"), torch.ones(volume.shape[2:], dtype=torch.float64, device=volume.device)], dim=-1
    )
    place = index @ torch.from_numpy(matrices).to(volume.device).transpose(1, 2)[:, None, None]
    lengths = torch.tensor(volume.shape[2:], dtype=torch.float64, device=volume.device)
    unit = ((2 * place + 1) / lengths - 1).flip(-1).to(volume.dtype)
    return grid_sample(volume, unit, mode="bilinear", padding_mode="border", align_corners=False)
