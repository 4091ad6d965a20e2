"""Metal: bright inserts and the streaks that starved and hardened rays leave."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.axis import map_axis, mean_matrix
from medaug.ct.projection import WATER_PER_MM, attenuation, detector, fine, in_volume, project, reconstruct
from medaug.draws import Draws, Numbers
from medaug.elementwise import exp_, log_
from medaug.options import Span, check_probability, span

_SIZE, _VIEWS, _CANDIDATES = 160, 180, 16
_TISSUE_HU = -200.0
_TOP_HU = 3071.0
# Two energies stand for the spectrum: metal attenuates the softer one more than the harder one.
_SOFTER, _HARDER = 1.5, 0.5
_STARVED = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalStreaks:
    """Puts short metal cylinders, upright to the slices, into tissue and adds the streaks of their rays.

    Takes HU. Of each sample one slice is projected with its inserts; rays through metal harden (two energies), starve and get noisy; the error is
    reconstructed, and added to all slices that the inserts reach. Inside an insert the value is 3071 HU, the top of 12-bit scanners.

    Attributes:
        count: (low, high) of the number of inserts, both taken.
        radius_mm: radius of an insert; a number, or (low, high) to draw it.
        length_mm: length of the inserts along the slice axis; a number, or (low, high) to draw it.
        metal_per_mm: attenuation of the metal at 70 keV: titanium 0.25, steel 0.6; a number, or (low, high) to draw it.
        photons: photons a ray without a patient; fewer make noisier streaks.
        p: probability that a sample is changed.

    Raises:
        AugmentationError: for a count below 1, a size or attenuation that is not positive, a sample without spacing or of several channels, a p outside [0, 1].

    Source: De Man et al., "Metal streak artifacts in X-ray computed tomography: a simulation study", IEEE Trans. Nucl. Sci. 46(3), 1999.
    """

    count: tuple[int, int] = (1, 2)
    radius_mm: Span = (2.0, 6.0)
    length_mm: Span = (5.0, 40.0)
    metal_per_mm: Span = (0.25, 0.6)
    photons: float = 3e5
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("MetalStreaks", self.p)
        span("MetalStreaks", "count", self.count, low=1)
        span("MetalStreaks", "radius_mm", self.radius_mm, low=0, open_low=True)
        span("MetalStreaks", "length_mm", self.length_mm, low=0, open_low=True)
        span("MetalStreaks", "metal_per_mm", self.metal_per_mm, low=0, open_low=True)
        span("MetalStreaks", "photons", self.photons, low=1)

    def change(self, image: Tensor, draws: Draws, spacing: Numbers | None) -> Tensor:
        """See `IntensityTransform.change`."""
        volume, pixel = in_volume(image, draws, spacing)
        shape = volume.shape[2:]
        most = int(self.count[1])
        active = np.arange(most) < draws.integers("count", int(self.count[0]), most + 1)[:, None]
        radius = draws.uniform("radius_mm", *span("MetalStreaks", "radius_mm", self.radius_mm), size=(most,)) * active
        metal = draws.uniform("metal_per_mm", *span("MetalStreaks", "metal_per_mm", self.metal_per_mm))
        depth, place = self._places(volume, draws, most)
        centre = (place - (np.array(shape[1:]) - 1) / 2) * pixel[:, None]
        slices = volume[torch.arange(len(volume), device=volume.device), 0, torch.from_numpy(depth).to(volume.device)]
        quanta = draws.normal_field("quanta", (_VIEWS, detector(_coarse_shape(slices), pixel)[0]), image.device).mul_(self.photons**-0.5)
        streaks = metal_streaks(slices, pixel, centre, radius, metal, quanta)
        thick = np.ones(len(volume)) if image.ndim == 4 or spacing is None else spacing[:, 0]
        length = draws.uniform("length_mm", *span("MetalStreaks", "length_mm", self.length_mm))
        # Partial volume at both ends: a slice holds the insert by the share of its thickness.
        reach = np.clip(length[:, None] / 2 / thick[:, None] + 0.5 - np.abs(np.arange(shape[0]) - depth[:, None]), 0, 1)
        share = volume.new_tensor(reach.astype(np.float32))[:, None, :, None, None]
        cover = volume.new_tensor(_cover(centre, radius, (shape[1], shape[2]), pixel).astype(np.float32))[:, None, None] * share
        volume.add_(streaks[:, None, None] * share).mul_(1 - cover).add_(cover.mul_(_TOP_HU))
        return volume.clamp_(-1024.0, _TOP_HU).view(image.shape).to(image.dtype)

    def _places(self, volume: Tensor, draws: Draws, most: int) -> tuple[npt.NDArray[np.int64], Numbers]:
        """Draw a slice (B,) and, in it, the (B, most, 2) row and column of inserts: the first of a few draws that hits tissue."""
        shape = np.array(volume.shape[2:])
        depth = draws.integers("slice", 0, int(shape[0]))
        tries = np.floor(draws.uniform("place", 0.1, 0.9, (most, _CANDIDATES, 2)) * shape[1:]).astype(int)
        sample = np.arange(len(volume))[:, None, None]
        picked = [torch.from_numpy(np.broadcast_to(i, tries.shape[:3]).copy()).to(volume.device) for i in (sample, depth[:, None, None])]
        rows, columns = (torch.from_numpy(tries[..., axis].copy()).to(volume.device) for axis in (0, 1))
        tissue = (volume[picked[0], 0, picked[1], rows, columns] > _TISSUE_HU).cpu().numpy()
        best = np.where(tissue.any(2), tissue.argmax(2), 0)
        return depth, np.take_along_axis(tries, best[:, :, None, None], axis=2)[:, :, 0].astype(np.float64)


def metal_streaks(slices: Tensor, pixel: Numbers, centre: Numbers, radius: Numbers, metal: Numbers, quanta: Tensor) -> Tensor:
    """What metal discs add to slices, in HU: their own blurred picture and their streaks.

    Args:
        slices: (B, H, W) float32 HU.
        pixel: (B, 2) mm.
        centre: (B, discs, 2) row and column in mm from the slice's centre.
        radius: (B, discs) mm; 0 is no disc.
        metal: (B,) attenuation per mm.
        quanta: (B, views, bins) float32, the noise of a ray without a patient in nepers; bins as `detector` says for a slice of at most 160 pixels a side.

    Returns:
        (B, H, W) float32.
    """
    shape = _coarse_shape(slices)
    small = slices[:, None]
    for axis, count in enumerate(shape):
        matrix = mean_matrix(small.shape[2 + axis], count)
        small = map_axis(small, axis, np.broadcast_to(matrix, (len(small), *matrix.shape)))
    size = pixel * [slices.shape[1] / shape[0], slices.shape[2] / shape[1]]
    body = project(attenuation(small[:, 0]), size, quanta.shape[1])
    through = slices.new_tensor((_chords(centre, radius, shape, size, quanta.shape[1]) * metal[:, None, None]).astype(np.float32))
    softer, harder = exp_(-(body + through * _SOFTER)), exp_(-(body + through * _HARDER))
    measured = log_(softer.add_(harder).mul_(0.5).add_(_STARVED)).neg_()
    # The same detector without metal, so that rays without metal carry no error at all.
    bare = log_(exp_(-body).add_(_STARVED)).neg_()
    noise = quanta * exp_(measured * 0.5)
    error = (measured - bare + noise) * (through > 0)
    return fine(reconstruct(error, shape, size).mul_(1000 / WATER_PER_MM)[:, None, None], (1, slices.shape[1], slices.shape[2]))[:, 0, 0]


def _coarse_shape(slices: Tensor) -> tuple[int, int]:
    return min(_SIZE, slices.shape[1]), min(_SIZE, slices.shape[2])


def _chords(centre: Numbers, radius: Numbers, shape: tuple[int, int], pixel: Numbers, views: int) -> Numbers:
    """Length in mm of each ray within the discs, (B, views, bins): 2 sqrt(r² - (t - t0)²)."""
    bins, pitch = detector(shape, pixel)
    t = (np.arange(bins) - 0.5 * (bins - 1)) * pitch[:, None]
    turn = np.arange(views) * np.pi / views
    middle = centre[:, :, 1, None] * np.cos(turn) + centre[:, :, 0, None] * np.sin(turn)
    square = radius[:, :, None, None] ** 2 - (t[:, None, None] - middle[..., None]) ** 2
    return np.asarray(2 * np.sqrt(np.maximum(square, 0)).sum(1))


def _cover(centre: Numbers, radius: Numbers, shape: tuple[int, int], pixel: Numbers) -> Numbers:
    """Share of each pixel within the discs, (B, H, W), by the distance to the rim."""
    rows = (np.arange(shape[0]) - 0.5 * (shape[0] - 1)) * pixel[:, :1]
    columns = (np.arange(shape[1]) - 0.5 * (shape[1] - 1)) * pixel[:, 1:]
    across = np.sqrt(
        (rows[:, None, :, None] - centre[:, :, 0, None, None]) ** 2 + (columns[:, None, None] - centre[:, :, 1, None, None]) ** 2
    )
    size = pixel.mean(1)[:, None, None, None]
    inside = np.clip((radius[:, :, None, None] - across) / size + 0.5, 0, 1) * (radius > 0)[:, :, None, None]
    return np.asarray(inside.max(1))
