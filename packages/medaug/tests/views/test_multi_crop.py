"""Views: each shows what its geometry says, keeps its bonds to the first, and follows from its key."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.compose import Compose
from medaug.errors import AugmentationError
from medaug.geometry.affine import Affine
from medaug.geometry.turns import Flip
from medaug.geometry.windows import Resize
from medaug.intensity.gamma import Gamma
from medaug.views.correspondence import correspond
from medaug.views.multi_crop import CropViews, MultiCrop

SHAPES = [(40, 30), (16, 20, 24)]
SPACING = {2: (0.5, 0.8), 3: (2.0, 1.0, 0.7)}


def ramp(names, shape, epoch=0):
    """An image whose channels are the index of each voxel along each axis."""
    dims = len(shape)
    index = torch.from_numpy(np.indices(shape)).float()
    return {
        "image": index[None].repeat(len(names), *[1] * (dims + 1)),
        "spacing": torch.tensor([SPACING[dims]] * len(names), dtype=torch.float64),
        "affine": torch.eye(4, dtype=torch.float64).repeat(len(names), 1, 1),
        "key": [(0, epoch, name, 0) for name in names],
    }


def crops(dims, augment=None, overlap=0.5):
    augment = augment or Compose([Flip(axes=tuple(range(dims)))])
    return MultiCrop(
        views=(
            CropViews(shape=(12, 10, 14)[:dims], count=2, scale=(0.4, 0.9), augment=augment, overlap=overlap),
            CropViews(shape=(6, 8, 5)[:dims], count=2, size_mm=(4.0, 9.0), augment=augment, overlap=overlap),
        )
    )


def moved(geometry, shape):
    """Where the voxels of a view lie in the source, (B, dims, *shape)."""
    dims = len(shape)
    index = np.indices(shape).reshape(dims, -1)
    matrix = geometry.numpy()
    return (matrix[:, :dims, :dims] @ index + matrix[:, :dims, dims:]).reshape(-1, dims, *shape)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 1000), st.booleans())
def test_a_view_shows_the_places_that_its_geometry_says(shape, epoch, turned):
    dims = len(shape)
    augment = Compose([Flip(axes=tuple(range(dims))), Affine(rotation_deg=20.0, scale=(0.9, 1.1))]) if turned else None
    for view in crops(dims, augment).batch(ramp(["a", "b"], shape, epoch)):
        place = moved(view["geometry"], view["image"].shape[2:])
        limit = np.array(shape).reshape(-1, *[1] * dims) - 1
        # antialiasing looks two source voxels around at most here; inside, its mean of a ramp is the ramp
        inside = ((place >= 3) & (place <= limit - 3)).all(1)
        assert inside.any()
        error = np.abs(view["image"].numpy() - place).max(1)[inside]
        assert error.max() < 1e-4 * max(shape)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 10**6), st.floats(0, 1))
def test_windows_lie_inside_and_share_with_the_first_what_was_asked_for(shape, epoch, overlap):
    dims = len(shape)
    extent = np.array(shape)
    bounds = []
    for view in crops(dims, Compose([]), overlap).batch(ramp(["a", "b", "c"], shape, epoch)):
        matrix = view["geometry"].numpy()
        step = np.diagonal(matrix, axis1=1, axis2=2)[:, :dims]
        low = matrix[:, :dims, dims] + 0.5 - step / 2  # outer faces, in source voxels from the first face
        high = low + step * np.array(view["image"].shape[2:])
        bounds.append((low, high))
        assert low.min() > -1e-9
        assert (high < extent + 1e-9).all()
        np.testing.assert_allclose(view["spacing"].numpy(), step * np.array(SPACING[dims]), rtol=1e-12)
    (first_low, first_high), *others = bounds
    for low, high in others:
        common = np.minimum(high, first_high) - np.maximum(low, first_low)
        assert (common >= overlap * np.minimum(high - low, first_high - first_low) - 1e-9).all()


def test_scale_is_the_share_of_the_volume_and_size_mm_the_edge_of_the_cube():
    shape, names = (40, 50, 60), [f"p{i}" for i in range(400)]
    batch = {**ramp(["x"], (4, 5, 6)), "image": torch.zeros(1, 1, 1, 1, 1).expand(400, 1, *shape), "key": [(0, 0, n, 0) for n in names]}
    batch["spacing"] = torch.tensor([(1.0, 1.0, 1.0)] * 400)
    del batch["affine"]
    views = MultiCrop(views=(CropViews(shape=(2, 2, 2), scale=(0.1, 0.4)), CropViews(shape=(2, 2, 2), size_mm=(8.0, 20.0)))).batch(batch)
    volume = [v["spacing"].double().prod(1).numpy() * 8 for v in views]
    share, edge = volume[0] / np.prod(shape), volume[1] ** (1 / 3)
    for drawn, low, high in ((share, 0.1, 0.4), (edge, 8.0, 20.0)):
        assert low - 1e-4 <= drawn.min()
        assert drawn.max() <= high + 1e-4
        # uniform: standard error of the mean (high - low) / sqrt(12 * 400)
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / np.sqrt(4800))


def test_a_window_longer_than_the_image_shows_all_of_it_in_its_middle():
    batch = ramp(["a", "b"], (10, 10))
    view = MultiCrop(views=(CropViews(shape=(20, 20), size_mm=(16.0, 16.0), ratio=(1, 1)),)).batch(batch)[0]
    # 16 mm about an image of 5 x 8 mm: 20 voxels of 0.8 mm; the middle of the output is the middle of the source
    middle = view["geometry"].numpy()[:, :2] @ np.array([9.5, 9.5, 1.0])
    np.testing.assert_allclose(middle, 4.5, atol=1e-12)
    np.testing.assert_allclose(view["spacing"].numpy(), 0.8)


def test_views_do_not_depend_on_the_batch_and_take_keys_of_their_own():
    names = ["a", "b", "c"]
    augment = Compose([Flip(axes=(0, 1)), Affine(rotation_deg=10.0), Gamma(p=0.7)])
    chain = crops(2, augment)
    whole = chain.batch(ramp(names, (40, 30)))
    assert [view["key"][1] for view in whole] == [(0, 0, "b", number) for number in range(4)]
    for row, name in enumerate(names):
        sample = {key: value[0] for key, value in ramp([name], (40, 30)).items() if key != "key"}
        for view, alone in zip(whole, chain(sample, (0, 0, name, 0)), strict=True):
            assert alone["key"] == view["key"][row]
            for key in ("image", "geometry", "spacing"):
                assert torch.equal(alone[key], view[key][row]), key
    assert len({view["geometry"][0].numpy().tobytes() for view in whole}) == 4


def test_masks_and_points_go_with_the_views():
    batch = ramp(["a"], (40, 30))
    batch["mask"] = (batch["image"][:, 0] >= 20).long()
    batch["points"] = [torch.tensor([[20.0, 15.0]])]
    view = crops(2).batch(batch)[0]
    place = moved(view["geometry"], (12, 10))[0, 0]
    assert torch.equal(view["mask"][0], torch.from_numpy(np.floor(place + 0.5) >= 20).long())
    back = view["geometry"][0].numpy() @ np.append(view["points"][0][0].numpy(), 1.0)
    np.testing.assert_allclose(back[:2], [20.0, 15.0], atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 1000))
def test_corresponding_voxels_show_the_same_content(shape, epoch):
    dims = len(shape)
    augment = Compose([Flip(axes=tuple(range(dims))), Affine(rotation_deg=15.0)])
    views = crops(dims, augment).batch(ramp(["a", "b"], shape, epoch))
    for view, other in ((views[0], views[1]), (views[2], views[0])):
        found = correspond(view, other)
        source = moved(view["geometry"], view["image"].shape[2:]).reshape(2, dims, -1)
        other_source = moved(other["geometry"], other["image"].shape[2:])
        for row in range(2):
            # interpolate the other view's source places at the matched place: the source place of the token itself
            place = found.place[row].numpy().T
            within = found.inside[row].numpy() & ((place >= 0) & (place <= np.array(other["image"].shape[2:])[:, None] - 1)).all(0)
            for axis in range(dims):
                read = ndimage.map_coordinates(other_source[row, axis], place, order=1, mode="nearest")
                np.testing.assert_allclose(read[within], source[row, axis][within], atol=1e-6)
            token = found.token[row].numpy()
            nearest = np.stack(np.unravel_index(np.maximum(token, 0), other["image"].shape[2:]))
            assert (np.abs(nearest - place).max(0)[token >= 0] <= 0.5 + 1e-9).all()
            assert ((token >= 0) == found.inside[row].numpy()).all()


def view_of(shape, matrix):
    return {"image": torch.zeros(1, 1, *shape), "geometry": torch.tensor([matrix], dtype=torch.float64)}


def test_tokens_of_an_unequal_grid_are_matched_row_major():
    # the other view is flipped along W: token (d, h, w) of grid (2, 3, 5) meets (d, h, 4 - w)
    shape, grid = (4, 6, 10), (2, 3, 5)
    flip = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 9], [0, 0, 0, 1]]
    found = correspond(view_of(shape, np.eye(4).tolist()), view_of(shape, flip), grid, grid)
    d, h, w = np.indices(grid).reshape(3, -1)
    assert found.token[0].tolist() == (d * 15 + h * 5 + 4 - w).tolist()
    assert found.inside.all()


def test_tokens_of_different_sizes_and_tokens_outside():
    # view: 8 voxels from source index 4; other: 8 voxels from 0, in tokens of 4: voxels 4..7 are its second token, 8..11 lie outside
    found = correspond(view_of((1, 8), [[1, 0, 0], [0, 1, 4], [0, 0, 1]]), view_of((1, 8), np.eye(3).tolist()), None, (1, 2))
    assert found.token[0].tolist() == [1, 1, 1, 1, -1, -1, -1, -1]
    # the centre of source voxel 4 lies 4.5 / 4 tokens from the first face, 0.625 from the first token's centre
    assert found.place[0, 0].tolist() == [0.0, 0.625]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: CropViews(shape=(8, 8)), "one of `scale`"),
        (lambda: CropViews(shape=(8, 8), scale=(0.5, 1), size_mm=(3, 4)), "one of `scale`"),
        (lambda: CropViews(shape=(8, 8), scale=(0.5, 1.2)), "scale needs"),
        (lambda: CropViews(shape=(8,), scale=(0.5, 1)), "2 or 3 positive sizes"),
        (lambda: CropViews(shape=(8, 8), scale=(0.5, 1), overlap=1.5), "overlap needs"),
        (lambda: MultiCrop(views=()), "needs views"),
        (lambda: crops(2).batch({**ramp(["a"], (9, 9)), "spacing": None}), "has no spacing"),
        (lambda: crops(3).batch(ramp(["a"], (9, 9))), "give views for 2D"),
        (lambda: crops(2, Compose([Resize(shape=(5, 5))])).batch(ramp(["a"], (9, 9))), "take windows out"),
        (lambda: correspond({"image": torch.zeros(1, 1, 4, 4)}, {"image": torch.zeros(1, 1, 4, 4)}), "no `geometry`"),
        (lambda: correspond(view_of((4, 4), np.eye(3).tolist()), view_of((4, 4), np.eye(3).tolist()), (2, 2, 2)), "do not fit"),
    ],
)
def test_views_that_cannot_be_made_are_refused_with_the_reason(make, reason):
    with pytest.raises(AugmentationError, match=reason):
        make()
