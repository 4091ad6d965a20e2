"""Smooth deformations that never fold space."""

import math
from dataclasses import dataclass

import numpy as np

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.geometry.plan import Lattice, Plan, Rows
from medaug.kernels.warp_lattice import draw_lattice
from medaug.options import Span, check_probability, span

_INJECTIVE = 0.40  # of the control points' distance: Choi and Lee 2000, 1 / 2.046 in 2D and 1 / 2.479 in 3D
_EMPTY = 4  # planes of zeros around a lattice, see `kernels.warp_coordinates`
_VARIANCE = 2 / 3  # of the Gaussian between control points; the B-spline adds 1 / 3, so sigma is one spacing
_TAPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BSpline:
    """Move control points at random and let cubic B-splines carry what lies between.

    The displacement is where the output reads, so the output at a place shows what lay at place + u. It cannot fold: magnitude is bounded by theory.

    Attributes:
        spacing_mm: distance of control points along every axis, one of them at the window's centre.
        magnitude_mm: control points move uniformly in [-magnitude, magnitude] along each axis; a number, or (low, high) to draw it. At most 0.4 spacing_mm.
        p: probability that a sample is deformed.

    Raises:
        AugmentationError: for a spacing that is not positive, a magnitude that could fold, a p outside [0, 1].

    Source: Rueckert et al., "Nonrigid registration using free-form deformations", IEEE TMI 1999; the bound: Choi and Lee, "Injectivity conditions of 2D and
    3D uniform cubic B-spline functions", Graphical Models 2000.
    """

    spacing_mm: float = 40.0
    magnitude_mm: Span = 6.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("BSpline", self.p)
        span("BSpline", "spacing_mm", self.spacing_mm, low=0, open_low=True)
        if span("BSpline", "magnitude_mm", self.magnitude_mm, low=0)[1] > _INJECTIVE * self.spacing_mm:
            raise AugmentationError(
                "BSpline",
                f"magnitude_mm {self.magnitude_mm} may fold space; it is at most {_INJECTIVE} of spacing_mm, {_INJECTIVE * self.spacing_mm:g}",
            )

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        magnitude = draws.uniform("magnitude", *span("BSpline", "magnitude_mm", self.magnitude_mm))
        active = on & draws.chance("apply", self.p) & (magnitude > 0)
        moves = _control_points(plan, draws, active, self.spacing_mm, normal=False, margin=0)
        moves *= (magnitude / self.spacing_mm)[:, None, None, None, None]
        return plan.deform(Lattice(coefficients=moves, spacing_mm=self.spacing_mm, active=active))


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Displace by Gaussian-smoothed noise.

    The displacement is where the output reads. A draw that could fold is scaled down, as a whole, until it cannot.

    Attributes:
        sigma_mm: of the Gaussian that smooths white noise, the same along all axes whatever the voxels.
        magnitude_mm: root mean square of the displacement along each axis; a number, or (low, high) to draw it. Up to about
            0.07 sigma_mm is kept as drawn; take `BSpline` for more.
        p: probability that a sample is deformed.

    Raises:
        AugmentationError: for a sigma that is not positive, a negative or reversed magnitude, a p outside [0, 1].

    Source: Simard, Steinkraus, Platt, "Best practices for convolutional neural networks", ICDAR 2003; here on cubic B-splines a sigma apart.
    """

    sigma_mm: float = 25.0
    magnitude_mm: Span = 1.5
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("Elastic", self.p)
        span("Elastic", "sigma_mm", self.sigma_mm, low=0, open_low=True)
        span("Elastic", "magnitude_mm", self.magnitude_mm, low=0)

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        """See `SpatialTransform.extend`."""
        magnitude = draws.uniform("magnitude", *span("Elastic", "magnitude_mm", self.magnitude_mm))
        active = on & draws.chance("apply", self.p) & (magnitude > 0)
        moves = _smoothed(_control_points(plan, draws, active, self.sigma_mm, normal=True, margin=2 * _TAPS), plan.dims)
        moves *= (magnitude / self.sigma_mm)[:, None, None, None, None]
        moves *= np.minimum(_unfolding(moves), 1.0)[:, None, None, None, None]
        return plan.deform(Lattice(coefficients=moves, spacing_mm=self.sigma_mm, active=active))


def _control_points(plan: Plan, draws: Draws, active: Rows, spacing_mm: float, *, normal: bool, margin: int) -> Numbers:
    """Draw control points for the windows of a plan, (B, 3, N0, N1, N2); 2D has N0 = 1 and none along z.

    An active sample has those that its own window and half the margin reach and zeros beyond, however large the windows beside it are; others have zeros.
    """
    reach = np.where(active[:, None], np.ceil(plan.extent_mm / 2 / spacing_mm).astype(np.int64) + 2, -margin)
    radius = np.zeros((len(reach), 3), np.int64)
    radius[:, 3 - plan.dims :] = np.where(active[:, None], reach + margin // 2, -1)
    sizes = 2 * (reach.max(0) + margin + _EMPTY) + 1
    if sizes.prod() > 1 << 26:
        raise plan.error(
            f"would need {sizes.prod()} control points at {spacing_mm} mm over {plan.extent_mm.max():.0f} mm; set them farther apart"
        )
    out = np.empty((len(reach), 3, *(1,) * (3 - plan.dims), *sizes))
    seeds = draws.integers("control points", 0, 1 << 53).astype(np.uint64)
    draw_lattice(seeds, radius, normal, out)
    if plan.dims == 2:
        out[:, 0] = 0.0
    return out


def _smoothed(noise: Numbers, dims: int) -> Numbers:
    """Smooth white noise along the lattice so that the B-splines over it have a variance of 1 on average."""
    taps = np.exp(-(np.arange(-_TAPS, _TAPS + 1) ** 2) / (2 * _VARIANCE))
    spline = np.array([1, 120, 1191, 2416, 1191, 120, 1]) / 5040  # autocorrelation of the cubic B-spline at whole distances
    own = np.correlate(taps, taps, "full")
    taps /= math.sqrt(float(np.convolve(own, spline, "same")[len(own) // 2]))
    for axis in range(5 - dims, 5):
        total = np.zeros_like(noise)
        for shift, weight in zip(range(-_TAPS, _TAPS + 1), taps, strict=True):
            total += weight * np.roll(noise, shift, axis)  # what rolls over the rim is zero
        noise = total
    return noise


def _unfolding(moves: Numbers) -> Numbers:
    """Factor for each sample, (B,), up to which its moves, in units of the lattice, certainly do not fold.

    Either no move passes Choi and Lee's bound, or the derivatives of each component sum to under 1 over the axes, so that the displacement contracts. Those of
    a cubic B-spline lie between the differences of the neighbouring control points: 3 along the derivative's axis, 4 along the others.
    """
    tiny = np.finfo(np.float64).tiny
    factors = _INJECTIVE / np.maximum(np.abs(moves).max(axis=(1, 2, 3, 4)), tiny)
    for row in np.flatnonzero(factors < 1):
        steepest = 0.0
        for component in moves[row]:
            slopes = np.zeros(())
            for axis in range(3):
                steps = np.abs(np.diff(component, axis=axis, append=0.0))
                for other, n in enumerate(steps.shape):
                    if n > 1:
                        steps = _largest_of(steps, other, 3 if other == axis else 4)
                slopes = slopes + steps
            steepest = max(steepest, float(slopes.max()))
        factors[row] = max(factors[row], 0.95 / steepest)
    return np.asarray(factors)


def _largest_of(x: Numbers, axis: int, count: int) -> Numbers:
    """Maximum of each value and those that follow along an axis; x ends in zeros."""
    pair = np.maximum(x, np.roll(x, -1, axis))
    return np.maximum(pair, np.roll(pair if count == 4 else x, -2, axis))
