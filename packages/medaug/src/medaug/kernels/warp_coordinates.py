"""Where a row of voxels reads: matrices and B-spline displacements, applied to a row of coordinates in float64.

Everything is written for three axes; planar data has one voxel along the first. A displacement is a lattice of cubic B-spline coefficients, in units of
the lattice's own spacing, as are places there, counted from its middle; it has an odd number of points along each axis and ends in four planes of zeros on
every side, so it fades to nothing and no tap needs a check.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]

_FAR = 1e9  # voxels: where a perspective sees nothing
_1, _2, _3 = np.uintp(1), np.uintp(2), np.uintp(3)  # unsigned: numba tests signed indices for negative ones


@njit(cache=True, nogil=True)
def start_row(c: Floats, m: Floats, z: float, y: float, x: float, n: int) -> None:
    """Place n voxels of the output row (z, y), the first at x, through a matrix: c (3, n)."""
    for axis in range(3):
        base = m[axis, 0] * z + m[axis, 1] * y + m[axis, 3] + m[axis, 2] * x
        step = m[axis, 2]
        for i in range(n):
            c[axis, i] = base + step * i
    if m[3, 0] != 0.0 or m[3, 1] != 0.0 or m[3, 2] != 0.0:
        for i in range(n):
            _divide(c, i, m[3, 0] * z + m[3, 1] * y + m[3, 2] * (x + i) + m[3, 3])


@njit(cache=True, nogil=True)
def project_row(c: Floats, m: Floats, n: int) -> None:
    """Send c (3, n) through a matrix, in place."""
    perspective = m[3, 0] != 0.0 or m[3, 1] != 0.0 or m[3, 2] != 0.0
    for i in range(n):
        p, q, r = c[0, i], c[1, i], c[2, i]
        c[0, i] = m[0, 0] * p + m[0, 1] * q + m[0, 2] * r + m[0, 3]
        c[1, i] = m[1, 0] * p + m[1, 1] * q + m[1, 2] * r + m[1, 3]
        c[2, i] = m[2, 0] * p + m[2, 1] * q + m[2, 2] * r + m[2, 3]
        if perspective:
            _divide(c, i, m[3, 0] * p + m[3, 1] * q + m[3, 2] * r + m[3, 3])


@njit(cache=True, nogil=True)
def deform_row(c: Floats, n: int, lattice: Floats, planar: bool, aligned: bool, line: Floats) -> None:
    """Add the displacement of a lattice (3, N0, N1, N2) to c (3, n), both in its units; line (3, >= N2) is scratch.

    An aligned row has one place along the first two axes: there the lattice is reduced to a line once, and a voxel needs 4 taps, not 64.
    """
    if not aligned:
        u = np.empty(3)
        for i in range(n):
            _displacement(c[0, i], c[1, i], c[2, i], lattice, planar, u)
            for axis in range(3):
                c[axis, i] += u[axis]
        return
    n2 = lattice.shape[3]
    middle = n2 // 2
    first, count, w = _taps(c[0, 0], lattice.shape[1], planar)
    second, _, v = _taps(c[1, 0], lattice.shape[2], False)
    # the stretch of the line that this row sees, from end to end
    low = math.floor(min(max(min(c[2, 0], c[2, n - 1]), 1.0 - middle), middle - 2.0)) + middle - 1
    high = math.floor(min(max(max(c[2, 0], c[2, n - 1]), 1.0 - middle), middle - 2.0)) + middle + 3
    for axis in range(3):
        line[axis, low:high] = 0.0
        for a in range(count):
            for b in range(4):
                weight = w[a] * v[b]
                plane, row = np.uintp(first + a), np.uintp(second + b)
                for at in range(np.uintp(low), np.uintp(high)):
                    line[axis, at] += weight * lattice[axis, plane, row, at]
    for i in range(n):
        r = min(max(c[2, i], 1.0 - middle), middle - 2.0)
        cell = math.floor(r)
        tap = np.uintp(int(cell) + middle - 1)
        w0, w1, w2, w3 = _weights(r - cell)
        for axis in range(3):
            c[axis, i] += w0 * line[axis, tap] + w1 * line[axis, tap + _1] + w2 * line[axis, tap + _2] + w3 * line[axis, tap + _3]


@njit(cache=True, nogil=True)
def restore_row(c: Floats, n: int, lattice: Floats, planar: bool) -> None:
    """Undo `deform_row`: the place p with p + u(p) = c for each of c (3, n), in place, to 1e-6 of the lattice's spacing.

    Newton's method with steps of at most half a spacing; a row's next voxel starts from the displacement of the last.
    """
    u, jacobian, p, q = np.zeros(3), np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    guess = np.zeros(3)
    for i in range(n):
        for axis in range(3):
            q[axis] = c[axis, i]
            p[axis] = q[axis] - guess[axis]
        for _ in range(60):
            _gradient(p, lattice, planar, u, jacobian)
            for axis in range(3):
                u[axis] += p[axis] - q[axis]
                jacobian[axis, axis] += 1.0
            if max(abs(u[0]), abs(u[1]), abs(u[2])) < 1e-6:
                break
            _solve(jacobian, u)
            largest = max(abs(u[0]), abs(u[1]), abs(u[2]))
            shrink = 0.5 / largest if largest > 0.5 else 1.0
            for axis in range(3):
                p[axis] -= shrink * u[axis]
        for axis in range(3):
            c[axis, i] = p[axis]
            guess[axis] = q[axis] - p[axis]


@njit(cache=True, nogil=True)
def follow_row(
    c: Floats,
    n: int,
    matrices: Floats,
    coefficients: Floats,
    lattices: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    backward: npt.NDArray[np.bool_],
    planar: bool,
    row: int,
    aligned: bool,
    line: Floats,
) -> None:
    """Send c (3, n), already through the first matrix, through the rest of the chain of a sample.

    Args:
        c: coordinates, changed in place.
        n: how many.
        matrices: (B, K + 1, 4, 4).
        coefficients: all lattices, one after the other, each (B, 3, N0, N1, N2).
        lattices: (K, 4) the start of each lattice in `coefficients`, and N0, N1, N2.
        active: (B, K) False where a sample has no displacement.
        backward: (K,) True to undo the displacement.
        planar: the first axis has one voxel.
        row: the sample.
        aligned: the first lattice sees one place along its first two axes.
        line: (3, >= N2) scratch.
    """
    for k in range(len(lattices)):
        if active[row, k]:
            n0, n1, n2 = lattices[k, 1], lattices[k, 2], lattices[k, 3]
            size = 3 * n0 * n1 * n2
            start = lattices[k, 0] + row * size
            lattice = coefficients[start : start + size].reshape((3, n0, n1, n2))
            if backward[k]:
                restore_row(c, n, lattice, planar)
            else:
                deform_row(c, n, lattice, planar, aligned and k == 0, line)
        project_row(c, matrices[row, k + 1], n)


@njit(cache=True, nogil=True)
def follow_points(
    points: Floats,
    rows: npt.NDArray[np.int64],
    matrices: Floats,
    coefficients: Floats,
    lattices: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    backward: npt.NDArray[np.bool_],
    planar: bool,
) -> Floats:
    """Send points (n, 3) through the chain of their sample, rows (n,); see `follow_row`."""
    out, c, line = np.empty_like(points), np.empty((3, 1)), np.empty((3, 1))
    for i in range(len(points)):
        for axis in range(3):
            c[axis, 0] = points[i, axis]
        project_row(c, matrices[rows[i], 0], 1)
        follow_row(c, 1, matrices, coefficients, lattices, active, backward, planar, rows[i], False, line)
        for axis in range(3):
            out[i, axis] = c[axis, 0]
    return out


@njit(cache=True, nogil=True)
def _divide(c: Floats, i: int, w: float) -> None:
    """Perspective: divide by w; what lies on or behind the horizon is far away."""
    for axis in range(3):
        c[axis, i] = c[axis, i] / w if w > 1e-6 else _FAR


@njit(cache=True, nogil=True)
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at t in [0, 1) from the second of its four control points."""
    s = 1.0 - t
    return s * s * s / 6, (3 * t * t * t - 6 * t * t + 4) / 6, (3 * s * s * s - 6 * s * s + 4) / 6, t * t * t / 6


@njit(cache=True, nogil=True)
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivative of `_weights`."""
    s = 1.0 - t
    return -s * s / 2, (3 * t * t - 4 * t) / 2, (4 * s - 3 * s * s) / 2, t * t / 2


@njit(cache=True, nogil=True)
def _taps(g: float, n: int, single: bool) -> tuple[int, int, tuple[float, float, float, float]]:
    """First control point, how many, and their weights."""
    if single:
        return 0, 1, (1.0, 0.0, 0.0, 0.0)
    middle = n // 2
    g = min(max(g, 1.0 - middle), middle - 2.0)
    cell = math.floor(g)
    return int(cell) + middle - 1, 4, _weights(g - cell)


@njit(cache=True, nogil=True)
def _rest(g: float, n: int) -> float:
    """How far a place lies past its second control point."""
    g = min(max(g, 1.0 - n // 2), n // 2 - 2.0)
    return g - math.floor(g)


@njit(cache=True, nogil=True)
def _displacement(p: float, q: float, r: float, lattice: Floats, planar: bool, u: Floats) -> None:
    """Evaluate the displacement at one place into u (3,)."""
    first, count, wp = _taps(p, lattice.shape[1], planar)
    second, _, wq = _taps(q, lattice.shape[2], False)
    third, _, wr = _taps(r, lattice.shape[3], False)
    w0, w1, w2, w3 = wr
    k = np.uintp(third)
    x = y = z = 0.0
    for a in range(count):
        i = np.uintp(first + a)
        for b in range(4):
            j = np.uintp(second + b)
            w = wp[a] * wq[b]
            # by name, not by a loop over axes: these stay in registers
            z += w * (
                w0 * lattice[0, i, j, k] + w1 * lattice[0, i, j, k + _1] + w2 * lattice[0, i, j, k + _2] + w3 * lattice[0, i, j, k + _3]
            )
            y += w * (
                w0 * lattice[1, i, j, k] + w1 * lattice[1, i, j, k + _1] + w2 * lattice[1, i, j, k + _2] + w3 * lattice[1, i, j, k + _3]
            )
            x += w * (
                w0 * lattice[2, i, j, k] + w1 * lattice[2, i, j, k + _1] + w2 * lattice[2, i, j, k + _2] + w3 * lattice[2, i, j, k + _3]
            )
    u[0], u[1], u[2] = z, y, x


@njit(cache=True, nogil=True)
def _gradient(p: Floats, lattice: Floats, planar: bool, u: Floats, jacobian: Floats) -> None:
    """Evaluate displacement u (3,) and its derivatives (3, 3), row u, column place."""
    i, count, wp = _taps(p[0], lattice.shape[1], planar)
    j, _, wq = _taps(p[1], lattice.shape[2], False)
    k, _, wr = _taps(p[2], lattice.shape[3], False)
    dp = (0.0, 0.0, 0.0, 0.0) if planar else _slopes(_rest(p[0], lattice.shape[1]))
    dq, dr = _slopes(_rest(p[1], lattice.shape[2])), _slopes(_rest(p[2], lattice.shape[3]))
    for axis in range(3):
        u[axis] = jacobian[axis, 0] = jacobian[axis, 1] = jacobian[axis, 2] = 0.0
        for a in range(count):
            for b in range(4):
                value = slope = 0.0
                for c in range(4):
                    tap = lattice[axis, i + a, j + b, k + c]
                    value += wr[c] * tap
                    slope += dr[c] * tap
                u[axis] += wp[a] * wq[b] * value
                jacobian[axis, 0] += dp[a] * wq[b] * value
                jacobian[axis, 1] += wp[a] * dq[b] * value
                jacobian[axis, 2] += wp[a] * wq[b] * slope


@njit(cache=True, nogil=True)
def _solve(a: Floats, b: Floats) -> None:
    """Solve a x = b (3, 3) by Cramer's rule, into b."""
    c00 = a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1]
    c01 = a[1, 2] * a[2, 0] - a[1, 0] * a[2, 2]
    c02 = a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0]
    determinant = a[0, 0] * c00 + a[0, 1] * c01 + a[0, 2] * c02
    if abs(determinant) < 1e-3:  # a step along the residual, where the map is nearly flat
        return
    x = c00 * b[0] + (a[0, 2] * a[2, 1] - a[0, 1] * a[2, 2]) * b[1] + (a[0, 1] * a[1, 2] - a[0, 2] * a[1, 1]) * b[2]
    y = c01 * b[0] + (a[0, 0] * a[2, 2] - a[0, 2] * a[2, 0]) * b[1] + (a[0, 2] * a[1, 0] - a[0, 0] * a[1, 2]) * b[2]
    z = c02 * b[0] + (a[0, 1] * a[2, 0] - a[0, 0] * a[2, 1]) * b[1] + (a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]) * b[2]
    b[0], b[1], b[2] = x / determinant, y / determinant, z / determinant
