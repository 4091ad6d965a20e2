"""Occluders: pacemakers, tubes and electrodes that lie on or in the patient."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.elementwise import compiled
from medaug.errors import AugmentationError
from medaug.kernels.xray_capsules import paint
from medaug.options import check_probability, span
from medaug.xray.film import from_density, pixel_mm, to_density

Kind = Literal["pacemaker", "tube", "electrode"]
_KINDS: tuple[str, ...] = get_args(Kind)
_PIECES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Occluders:
    """Lays devices on a film: a pacemaker with its lead, a tube from the upper edge, an electrode with its cable to an edge.

    Lines are cubic Bézier curves; nobody gets a second pacemaker. Densities add to the film's own up to the top of its range, on a film whose values are linear in the logarithm of the exposure. Works on any scale.

    Attributes:
        kinds: to draw each device from.
        count: (low, high) of the number of devices, both taken.
        dense_is_bright: metal is bright, as most films are shown.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for no kind or an unknown one, a count below 1, an image that is not 2D or has no spacing, a p outside [0, 1].

    Source: sizes and places after Hunter et al., "Medical devices of the chest", RadioGraphics 24(6), 2004.
    """

    kinds: tuple[Kind, ...] = ("pacemaker", "tube", "electrode")
    count: tuple[int, int] = (1, 3)
    dense_is_bright: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Occluders", self.p)
        span("Occluders", "count", self.count, low=1)
        unknown = [kind for kind in self.kinds if kind not in _KINDS]
        if unknown or not self.kinds:
            raise AugmentationError("Occluders", f"kinds are some of {', '.join(_KINDS)}, got {self.kinds}")

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        pixel = pixel_mm(image, draws, spacing)
        most = int(self.count[1])
        count = draws.integers("count", int(self.count[0]), most + 1)
        kind = np.array([_KINDS.index(k) for k in self.kinds])[draws.integers("kind", 0, len(self.kinds), (most,))]
        size = np.array(image.shape[2:]) * pixel
        # A flip of all of a device's columns puts it on the other side as often.
        capsules = _devices(kind, draws.uniform("shape", size=(most, 16)), size, draws.chance("mirrored", 0.5, (most,)))
        again = (kind == 0) & (np.cumsum(kind == 0, axis=1) > 1)
        capsules[..., 4] *= ((np.arange(most) < count[:, None]) & ~again)[:, :, None]
        cover = paint_capsules(capsules.reshape(len(image), -1, 6), pixel, (image.shape[2], image.shape[3]), image.device)
        unit, least, extent = to_density(image, self.dense_is_bright)
        unit.add_(cover).clamp_max_(1)
        return from_density(unit, least, extent, self.dense_is_bright).to(image.dtype)


def paint_capsules(capsules: Numbers, pixel: Numbers, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Paint thick lines with round ends, the densest on top.

    Args:
        capsules: (B, n, 6): row and column of both ends, radius (all mm from the outer corner of the first pixel), density.
        pixel: (B, 2) mm.
        shape: of the film.
        device: where it is made.

    Returns:
        (B, 1, *shape) float32.
    """
    if not compiled(device):
        return _paint_torch(capsules, pixel, shape, device)
    out = torch.zeros(len(capsules), *shape)
    paint(np.ascontiguousarray(capsules), pixel, out.numpy())
    return out[:, None]


def _paint_torch(capsules: Numbers, pixel: Numbers, shape: tuple[int, int], device: torch.device) -> Tensor:
    sizes = torch.from_numpy(pixel.copy()).to(device)[:, :, None, None]
    rows = (torch.arange(shape[0], device=device)[:, None] + 0.5) * sizes[:, 0]
    columns = (torch.arange(shape[1], device=device) + 0.5) * sizes[:, 1]
    out = torch.zeros(len(capsules), *shape, dtype=torch.float64, device=device)
    for each in torch.from_numpy(capsules).to(device).unbind(1):
        y0, x0, y1, x1, radius, density = (value[:, None, None] for value in each.unbind(1))
        vy, vx = y1 - y0, x1 - x0
        along = (((rows - y0) * vy + (columns - x0) * vx) / (vy * vy + vx * vx).clamp_min(1e-12)).clamp(0, 1)
        distance = torch.hypot(rows - y0 - along * vy, columns - x0 - along * vx)
        cover = ((radius - distance) / sizes.mean(1) + 0.5).clamp(0, 1) * density * (radius > 0)
        out = torch.maximum(out, cover)
    return out.float()[:, None]


def _devices(kind: npt.NDArray[np.int64], u: Numbers, size: Numbers, mirrored: npt.NDArray[np.bool_]) -> Numbers:
    """Place devices by 16 uniform numbers each: (B, devices, 1 + pieces, 6), first the body, then the pieces of the line."""
    pacemaker, tube = kind == 0, kind == 1

    def pick(on_pacemaker: tuple[float, float], on_tube: tuple[float, float], on_electrode: tuple[float, float], index: int) -> Numbers:
        low, high = (np.where(pacemaker, on_pacemaker[i], np.where(tube, on_tube[i], on_electrode[i])) for i in (0, 1))
        return np.asarray(low + (high - low) * u[..., index])

    height, width = size[:, 0, None], size[:, 1, None]
    # start and end of the line, as shares of the film: pocket to heart; upper edge to the chest; electrode to an edge
    start = pick((0.15, 0.28), (0.0, 0.0), (0.15, 0.8), 0) * height, pick((0.15, 0.3), (0.4, 0.6), (0.15, 0.45), 1) * width
    end = pick((0.55, 0.75), (0.3, 0.7), (0.95, 1.0), 2) * height, pick((0.45, 0.6), (0.35, 0.65), (0.1, 0.9), 3) * width
    bend = [(u[..., 4 + i] - 0.5) * 0.3 for i in range(4)]
    knots = [
        np.stack([s, s + (e - s) / 3 + a * length, s + (e - s) * 2 / 3 + b * length, e], axis=-1)
        for s, e, a, b, length in zip(start, end, bend[:2], bend[2:], (height, width), strict=True)
    ]
    t = np.linspace(0, 1, _PIECES + 1)[:, None]
    bezier = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    # Elementwise sums: a matrix product's last bits would depend on the batch.
    rows, columns = ((bezier * knot[..., None, :]).sum(-1) for knot in knots)
    radius = pick((0.6, 1.2), (2.0, 5.0), (0.5, 1.0), 8)
    density = pick((0.3, 0.6), (0.06, 0.15), (0.1, 0.3), 9)
    body = np.zeros((*kind.shape, 1, 6))
    body[..., 0, 0], body[..., 0, 1] = start
    body[..., 0, 2] = start[0] + pick((-5, 5), (0, 0), (0, 0), 10)
    body[..., 0, 3] = start[1] + pick((8, 16), (0, 0), (0, 0), 11)
    body[..., 0, 4] = pick((16, 22), (0, 0), (4, 7), 12)
    body[..., 0, 5] = pick((0.6, 0.9), (0, 0), (0.2, 0.5), 13)
    line = np.stack(
        [
            rows[..., :-1],
            columns[..., :-1],
            rows[..., 1:],
            columns[..., 1:],
            *(np.repeat(v[..., None], _PIECES, -1) for v in (radius, density)),
        ],
        axis=-1,
    )
    result = np.concatenate([body, line], axis=2)
    for column in (1, 3):
        result[..., column] = np.where(mirrored[..., None], width[..., None] - result[..., column], result[..., column])
    return result
