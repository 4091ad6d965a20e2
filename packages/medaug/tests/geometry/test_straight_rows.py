"""Crops, zooms, resizes and flips, which a kernel of their own reads: against scipy, and against the general rows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.resampling.chain import Chain
from medaug.resampling.warping import Warper

SCIPY = {"border": "nearest", "reflect": "reflect", "minimum": "nearest", -3.5: "nearest"}


def chain_of(matrices: np.ndarray) -> Chain:
    return Chain(matrices=np.ascontiguousarray(matrices[:, None]), lattices=(), backward=())


def straight(scale: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    """(1, 4, 4) output index -> scale · index + shift; planar with two numbers."""
    m = np.eye(4)
    for axis, (a, b) in enumerate(zip(scale, shift, strict=True), start=3 - len(scale)):
        m[axis, axis], m[axis, 3] = a, b
    return m[None]


def tilted(m: np.ndarray) -> np.ndarray:
    """The same places to 1e-13 voxel, but no longer along the axes, so that the general rows read them."""
    m = m.copy()
    m[:, 2, 1] += 1e-15
    return m


def picture(shape: tuple[int, ...], dtype: torch.dtype, channels: int = 2, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randint(0, 200, (count, channels, *shape), generator=generator).to(dtype)


def labels(shape: tuple[int, ...], count: int = 1) -> torch.Tensor:
    return torch.randint(0, 90, (count, *shape), generator=torch.Generator().manual_seed(7), dtype=torch.int16)


def mapped(x: np.ndarray, places: np.ndarray, outside: str | float, order: int) -> np.ndarray:
    """scipy at places (dims, *G); outside up to half a voxel past the outermost centres the edge's value holds, then the fill."""
    read = ndimage.map_coordinates(x.astype(np.float64), places, order=order, mode=SCIPY[outside])
    if outside in ("border", "reflect"):
        return read
    size = np.array(x.shape).reshape(-1, *[1] * len(x.shape))
    inside = ((places >= -0.5) & (places <= size - 0.5)).all(0)
    return np.where(inside, read, x.min() if outside == "minimum" else outside)


CASES = [
    ((9, 12, 14), (11, 10, 17), (0.61, 0.83, 0.57), (0.7, 1.3, 0.4)),  # a zoom in
    ((9, 12, 14), (8, 13, 15), (1.31, -1.17, -1.29), (-1.6, 13.9, 17.3)),  # a zoom out with flips
    ((1, 12, 14), (1, 9, 9), (1.0, 0.73, -0.87), (0.0, -2.2, 9.1)),  # one plane
    ((9, 1, 1), (12, 2, 3), (0.7, 0.4, 0.3), (0.1, -0.2, -0.3)),  # one column
    ((12, 14), (9, 20), (1.4, -0.77), (-1.27, 15.23)),
    ((14, 11), (17, 6), (-0.9, 1.9), (14.1, -0.3)),
]


@pytest.mark.parametrize("outside", ["minimum", "border", "reflect", -3.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint8])
@pytest.mark.parametrize(("shape", "grid", "scale", "shift"), CASES)
def test_straight_rows_agree_with_scipy(shape, grid, scale, shift, dtype, outside):
    image, mask = picture(shape, dtype), labels(shape)
    warper = Warper(chain=chain_of(straight(scale, shift)), source=shape, grid=grid, antialias=False)
    out, moved = warper.images(image, mask, "linear", outside)
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float64) for n in grid], indexing="ij"))
    places = index * np.array(scale).reshape(-1, *[1] * len(grid)) + np.array(shift).reshape(-1, *[1] * len(grid))
    for channel in range(2):
        expected = mapped(image[0, channel].numpy(), places, outside, order=1)
        np.testing.assert_allclose(out[0, channel].numpy(), expected, atol=4e-4)  # float32 fractions on steps of up to 200
    mode = {"border": "nearest", "reflect": "reflect"}.get(outside, "constant")
    nearest = ndimage.map_coordinates(mask[0].numpy(), _whole(places), order=0, mode="nearest" if mode == "constant" else mode)
    if mode == "constant":
        size = np.array(shape).reshape(-1, *[1] * len(grid))
        nearest = np.where(((places >= -0.5) & (places <= size - 0.5)).all(0), nearest, 0)
    np.testing.assert_array_equal(moved[0].numpy(), nearest)


def _whole(places: np.ndarray) -> np.ndarray:
    return np.floor(places + 0.5)


@pytest.mark.parametrize("zoom", [(1.7, 1.3, 2.0), (0.8, 1.0, 0.6)])
def test_a_resize_is_scipys_zoom_of_the_grid(zoom):
    x = picture((10, 12, 14), torch.float32, channels=1)
    expected = ndimage.zoom(x[0, 0].numpy().astype(np.float64), zoom, order=1, mode="nearest", grid_mode=True)
    ratio = np.array(x.shape[2:]) / expected.shape
    chain = chain_of(straight(tuple(ratio), tuple(ratio / 2 - 0.5)))
    out = Warper(chain=chain, source=(10, 12, 14), grid=expected.shape, antialias=False).images(x, None)[0]
    np.testing.assert_allclose(out[0, 0].numpy(), expected, atol=4e-4)


scales = st.floats(-5.0, 5.0).filter(lambda s: abs(s) > 0.2)
axes = st.tuples(scales, st.floats(-0.3, 1.3), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(axes, min_size=2, max_size=3),
    st.sampled_from(["minimum", "border", "reflect", -3.5]),
    st.sampled_from(["linear", "cubic"]),
    st.sampled_from([torch.float32, torch.int16, torch.uint8]),
    st.booleans(),
)
def test_straight_rows_read_what_general_rows_read(parts, outside, interpolation, dtype, antialias):
    shape, grid = tuple(p[2] for p in parts), tuple(p[3] for p in parts)
    # the middle of the output falls somewhere in or about the source
    shift = tuple(p[1] * p[2] - p[0] * (p[3] - 1) / 2 + 0.0137 for p in parts)
    m = straight(tuple(p[0] for p in parts), shift)
    image, mask = picture(shape, dtype), labels(shape)
    ways = [
        Warper(chain=chain_of(matrix), source=shape, grid=grid, antialias=antialias).images(image, mask, interpolation, outside)
        for matrix in (m, tilted(m))
    ]
    torch.testing.assert_close(ways[0][0], ways[1][0], atol=2e-4, rtol=0)  # 1e-6 of the range of 200
    assert torch.equal(ways[0][1], ways[1][1])


def test_averages_of_shrunken_rows_are_those_of_their_boxes():
    # 4 voxels to 1 along z, 6 to 1 along y, 8 to 1 along x: 2, 3 and 4 places of two voxels each
    x = picture((8, 12, 16), torch.float32)
    chain = chain_of(straight((4.0, -6.0, 8.0), (1.5, 8.5, 3.5)))
    out = Warper(chain=chain, source=(8, 12, 16), grid=(2, 2, 2)).images(x, None)[0]
    torch.testing.assert_close(out, torch.nn.functional.avg_pool3d(x, (4, 6, 8)).flip(3), atol=2e-4, rtol=0)


@pytest.mark.parametrize("outside", ["minimum", "border", "reflect", -3.5])
@pytest.mark.parametrize("antialias", [False, True])
def test_a_sample_gives_the_same_bits_alone_in_a_batch_and_with_threads(outside, antialias):
    ways = [
        straight((0.7, -0.9, 1.1), (1.0, 20.0, -2.0)),
        straight((2.9, 1.7, -3.3), (0.3, 0.4, 39.0)),
        tilted(straight((0.7, 0.9, 1.1), (1.0, 2.0, -2.0))),
        straight((1.0, -1.0, 1.0), (3.0, 20.0, -4.0)),
    ]
    image, mask = picture((20, 24, 30), torch.float32, count=4) * 1.7, labels((20, 24, 30), 4)

    def read(rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        chain = chain_of(np.concatenate([ways[row] for row in rows]))
        return Warper(chain=chain, source=(20, 24, 30), grid=(24, 26, 33), antialias=antialias).images(
            image[rows], mask[rows], "linear", outside
        )

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole, back = read([0, 1, 2, 3]), read([3, 1, 0, 2])
        torch.set_num_threads(3)
        split = read([0, 1, 2, 3])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(whole, split, strict=True))
    for row in range(4):
        alone = read([row])
        for part in range(2):
            assert torch.equal(alone[part][0], whole[part][row])
            assert torch.equal(alone[part][0], back[part][[3, 1, 0, 2].index(row)])


@pytest.mark.parametrize("outside", ["minimum", "border", "reflect", -3.5])
@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_flips_turns_and_whole_shifts_are_copied_bit_for_bit(dims, outside, data):
    order = data.draw(st.permutations(range(dims)))
    shape, grid = [tuple(data.draw(st.integers(1, 7)) for _ in range(dims)) for _ in range(2)]
    m = np.eye(4)
    m[3 - dims :, 3 - dims : 3] = 0
    signs, shifts = [], []
    for axis in range(dims):
        signs.append(data.draw(st.sampled_from([-1, 1])))
        shifts.append(data.draw(st.integers(-9, 9)))
        m[3 - dims + axis, 3 - dims + order[axis]] = signs[axis]
        m[3 - dims + axis, 3] = shifts[axis]
    # odd bits of float64, which no arithmetic would keep
    image = torch.rand((1, 2, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e-9
    mask = labels(shape)
    out, moved = Warper(chain=chain_of(m[None]), source=shape, grid=grid).images(image, mask, "linear", outside)
    index = np.indices(grid)
    places = np.stack([signs[a] * index[order[a]] + shifts[a] for a in range(dims)])
    size = np.array(shape).reshape(-1, *[1] * dims)
    inside = ((places >= 0) & (places < size)).all(0)
    if outside == "reflect":
        places = places % (2 * size)
        places = np.where(places >= size, 2 * size - 1 - places, places)
    places = tuple(np.clip(places, 0, size - 1))
    for channel in range(2):
        x = image[0, channel].numpy()
        expected = x[places]
        if outside not in ("border", "reflect"):
            expected = np.where(inside, expected, x.min() if outside == "minimum" else outside)
        assert np.array_equal(out[0, channel].numpy(), expected)
    expected = mask[0].numpy()[places]
    assert np.array_equal(moved[0].numpy(), expected if outside in ("border", "reflect") else np.where(inside, expected, 0))
