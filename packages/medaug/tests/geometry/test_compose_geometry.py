"""Where content goes: against scipy, against hand-worked places, and back again."""

import math
import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug import Affine, AugmentationError, Compose, Flip, Gamma

KEY = (7, 0, "patient-1", 0)
GRIDS = [((24, 30), (1.0, 0.7)), ((14, 18, 22), (2.5, 1.0, 0.8))]


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2.0).astype(np.float32) * 10


def fixed(dims: int) -> tuple[Affine, np.ndarray]:
    """An affine with set parameters, and its matrix written out here from the definition, independently."""
    scale, shift = (1.2, 0.9, 1.1)[-dims:], (1.5, -2.0, 1.0)[-dims:]
    angles = (20.0, -10.0, 15.0) if dims == 3 else (20.0,)
    a = np.deg2rad(angles)
    if dims == 2:
        rotation = np.array([[math.cos(a[0]), -math.sin(a[0])], [math.sin(a[0]), math.cos(a[0])]])
    else:
        cz, sz, cy, sy, cx, sx = (f(v) for v in a for f in (math.cos, math.sin))
        about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])  # +y (axis 1) turns towards +x (axis 2)
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])  # +x turns towards +z
        about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])  # +z turns towards +y
        rotation = about_z @ about_y @ about_x
    transform = Affine(
        rotation_deg=tuple((v, v) for v in angles) if dims == 3 else (20.0, 20.0),
        scale=tuple((s, s) for s in scale),
        translation_mm=tuple((t, t) for t in shift),
    )
    matrix = np.eye(dims + 1)
    matrix[:dims, :dims] = rotation @ np.diag(scale)
    matrix[:dims, dims] = shift
    return transform, matrix


def scipy_moved(x: np.ndarray, matrix: np.ndarray, spacing: tuple[float, ...], order: int) -> tuple[np.ndarray, np.ndarray]:
    """Content moved by a matrix in mm about the centre, and the voxels whose source lies a voxel inside the grid."""
    dims = x.ndim
    scale = np.diag(spacing)
    linear = np.linalg.inv(scale) @ np.linalg.inv(matrix[:dims, :dims]) @ scale  # output index -> input index
    centre = (np.array(x.shape) - 1) / 2
    offset = centre - linear @ (centre + matrix[:dims, dims] / np.array(spacing))
    moved = ndimage.affine_transform(x.astype(np.float64), linear, offset, order=order, mode="nearest")
    source = np.einsum("ij,j...->i...", linear, np.indices(x.shape)) + offset.reshape(-1, *[1] * dims)
    interior = np.all([(s >= 1) & (s <= n - 2) for s, n in zip(source, x.shape, strict=True)], axis=0)
    return moved, interior


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_image_agrees_with_scipy_on_an_anisotropic_grid(shape, spacing):
    transform, matrix = fixed(len(shape))
    x = smooth(shape)
    out = Compose([transform])({"image": torch.tensor(x[None]), "spacing": spacing}, KEY)["image"][0].numpy()
    expected, interior = scipy_moved(x, matrix, spacing, order=1)
    assert interior.mean() > 0.3
    # both interpolate linearly; float32 coordinates are off by 1e-6 voxel, on slopes of about 1 a voxel
    np.testing.assert_allclose(out[interior], expected[interior], atol=1e-4)


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_mask_agrees_with_scipys_nearest_and_keeps_its_dtype_and_labels(shape, spacing):
    transform, matrix = fixed(len(shape))
    labels = (smooth(shape) > 0).astype(np.int64) * 1_000_000_007  # past float32's integers
    out = Compose([transform])({"image": torch.zeros(1, *shape), "mask": torch.tensor(labels), "spacing": spacing}, KEY)["mask"]
    expected, interior = scipy_moved(labels, matrix, spacing, order=0)
    assert out.dtype == torch.int64
    assert set(out.unique().tolist()) <= {0, 1_000_000_007}
    assert (out.numpy()[interior] == expected[interior]).mean() > 0.999  # ties at half voxels may round either way


def test_quarter_turn_of_an_anisotropic_image_keeps_millimetres():
    # 8 rows of 1 mm and 4 columns of 2 mm: a field of 8 x 8 mm. A dot at +3 mm down, 1 mm right of the centre (row 6.5, column 2) turns +y to +x:
    # (y, x) = (3, 1) -> (-1, 3) mm = row 3.5 - 1 = 2.5, column 1.5 + 3 / 2 = 3.
    turn = Compose([Affine(rotation_deg=(90.0, 90.0))])
    out = turn({"image": torch.zeros(1, 8, 4), "points": torch.tensor([[6.5, 2.0]]), "spacing": (1.0, 2.0)}, KEY)
    torch.testing.assert_close(out["points"], torch.tensor([[2.5, 3.0]]))


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_a_bright_dot_and_its_mask_land_where_its_point_says(shape, spacing):
    dims = len(shape)
    transform, _ = fixed(dims)
    place = tuple(n // 2 + 3 for n in shape)
    image, mask = torch.zeros(1, *shape), torch.zeros(shape, dtype=torch.int64)
    block = tuple(slice(p - 1, p + 2) for p in place)
    image[(0, *block)], mask[block] = 1.0, 1
    out = Compose([Flip(axes=(0, -1), p=1.0), transform])(
        {"image": image, "mask": mask, "points": torch.tensor([place], dtype=torch.float32), "spacing": spacing}, KEY
    )
    weights = out["image"][0] / out["image"].sum()
    centroid = torch.stack([(weights * axis).sum() for axis in torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")])
    # the centroid of 27 (or 9) voxels after linear interpolation is good to a few tenths of a voxel
    assert (centroid - out["points"][0]).abs().max() < 0.3
    assert out["mask"][tuple(out["points"][0].round().long())] == 1


def test_box_still_bounds_its_mask_after_any_affine():
    shape, spacing = (20, 24, 28), (2.0, 1.0, 1.5)
    mask = torch.zeros(shape, dtype=torch.uint8)
    mask[7:13, 9:15, 11:18] = 1
    box = torch.tensor([[7.0, 9.0, 11.0, 13.0, 15.0, 18.0]])
    augment = Compose([Affine(rotation_deg=25.0, scale=(0.8, 1.2), translation_mm=2.0), Flip(axes=(0, 1, 2))])
    for view in range(10):
        out = augment({"image": mask[None].float(), "mask": mask, "boxes": box, "spacing": spacing}, (0, 0, "s", view))
        found = out["mask"].nonzero().float()
        low, high = out["boxes"][0, :3], out["boxes"][0, 3:]
        assert (found.amin(0) + 0.5 >= low - 1e-3).all()
        assert (found.amax(0) + 0.5 <= high + 1e-3).all()
        # a face of the rotated block always reaches its bound: at most the corner's own voxels lie between
        assert (low + high - found.amin(0) - found.amax(0) - 1).abs().max() < 4


def test_pure_flips_are_exact_and_boxes_stay_ordered():
    image = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    sample = {
        "image": image,
        "mask": torch.arange(120).view(4, 5, 6),
        "boxes": torch.tensor([[0.0, 1, 2, 3, 3, 3]]),
        "points": torch.tensor([[0.0, 0.0, 5.0]]),
        "spacing": (3.0, 1.0, 0.7),
    }
    out = Compose([Flip(axes=(0,), p=1.0), Flip(axes=(-1,), p=1.0)])(sample, KEY)
    assert torch.equal(out["image"], image.flip(1, 3))
    assert torch.equal(out["mask"], sample["mask"].flip(0, 2))
    assert out["points"].tolist() == [[3.0, 0.0, 0.0]]
    assert out["boxes"].tolist() == [
        [1.0, 1.0, 3.0, 4.0, 3.0, 4.0]
    ]  # z 0..2 of 4 -> 3..1 and x 2 of 6 -> 3: lowest index, then one past the highest


def test_transforms_act_in_their_order():
    # from the centre (2, 2): down 1 mm, then mirrored in y, ends 1 mm up; the other way round it ends 1 mm down
    sample = {"image": torch.zeros(1, 5, 5), "points": torch.tensor([[2.0, 2.0]]), "spacing": (1.0, 1.0)}
    down, mirror = Affine(translation_mm=((1.0, 1.0), (0.0, 0.0))), Flip(axes=(0,), p=1.0)
    assert Compose([down, mirror])(sample, KEY)["points"].tolist() == [[1.0, 2.0]]
    assert Compose([mirror, down])(sample, KEY)["points"].tolist() == [[3.0, 2.0]]


def test_transforms_join_into_one_resampling():
    # +30 and -30 degrees are the identity up to rounding: resampled twice the image would blur, once it does not
    x = torch.tensor(smooth((20, 20)))[None]
    twice = Compose([Affine(rotation_deg=(30.0, 30.0)), Affine(rotation_deg=(-30.0, -30.0))])
    torch.testing.assert_close(twice({"image": x, "spacing": (1.0, 1.0)}, KEY)["image"], x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("transforms", [[Affine()], [Flip(axes=(0,), p=0.0)], [Affine(rotation_deg=40, p=0.0)], [Gamma(range=(1, 1))], []])
def test_identity_parameters_return_the_input_and_keep_its_affine(transforms):
    image = torch.randn(1, 7, 8, 9)
    sample = {"image": image, "mask": torch.ones(7, 8, 9, dtype=torch.int64), "spacing": (1.0, 2.0, 3.0), "affine": torch.eye(4)}
    out = Compose(transforms)(sample, KEY)
    assert out.keys() == sample.keys()
    assert all(torch.equal(torch.as_tensor(out[name]), torch.as_tensor(sample[name])) for name in ("image", "mask", "affine"))


def test_affine_leaves_a_sample_whose_content_moved():
    sample = {"image": torch.zeros(1, 4, 4, 4), "spacing": (1.0, 1.0, 1.0), "affine": torch.eye(4)}
    assert "affine" not in Compose([Flip(axes=(0,), p=1.0)])(sample, KEY)
    assert "affine" in sample


def test_outside_takes_the_channels_minimum_and_zero_in_the_mask():
    image = torch.stack([torch.full((6, 6), -1000.0), torch.full((6, 6), 5.0)])
    image[0, 3, 3], image[1, 3, 3] = 40.0, 9.0
    out = Compose([Affine(translation_mm=((0.0, 0.0), (2.0, 2.0)))])(
        {"image": image, "mask": torch.full((6, 6), 3), "spacing": (1.0, 1.0)}, KEY
    )
    assert (out["image"][0, :, :2] == -1000).all()
    assert (out["image"][1, :, :2] == 5).all()
    assert out["image"][0, 3, 5] == pytest.approx(40.0, abs=1e-3)
    assert (out["mask"][:, :2] == 0).all()
    assert (out["mask"][:, 2:] == 3).all()


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_invert_brings_a_moved_image_back(shape, spacing):
    augment = Compose([Flip(axes=(-1,)), Affine(rotation_deg=12.0, scale=(0.95, 1.1), translation_mm=1.0)])
    x = torch.tensor(ndimage.gaussian_filter(smooth(shape), 1.0))[None]
    labels = (x[0] > 0).long()
    moved = []
    for view in range(4):
        key = (1, 0, "p", view)
        out = augment({"image": x, "mask": labels, "spacing": spacing}, key)
        back = augment.invert(out["image"], key, spacing)
        middle = (0, *[slice(n // 3, n - n // 3) for n in shape])
        # two linear interpolations of a field this smooth; a wrong direction would be off by its whole amplitude
        assert (back - x)[middle].abs().max() < 0.25 * x.std()
        moved.append((out["image"] - x)[middle].abs().max())
        assert (augment.invert(out["mask"], key, spacing) == labels)[middle[1:]].float().mean() > 0.93
        assert augment.invert(out["mask"], key, spacing).dtype == torch.int64
    assert max(moved) > 0.5 * x.std()  # there was something to bring back


def test_invert_of_a_batch_equals_invert_of_each():
    augment = Compose([Flip(axes=(0,)), Affine(rotation_deg=20.0)])
    keys = [(0, 0, name, 0) for name in "abc"]
    result = torch.rand(3, 2, 9, 10, generator=torch.Generator().manual_seed(1))
    together = augment.invert(result, keys, (1.0, 1.0))
    assert all(torch.equal(together[i], augment.invert(result[i], key, (1.0, 1.0))) for i, key in enumerate(keys))


def test_prior_moves_with_its_image():
    x = torch.tensor(smooth((16, 16)))[None]
    out = Compose([Affine(rotation_deg=(20.0, 20.0))])(
        {"image": x, "spacing": (1.0, 1.0), "prior": {"image": x, "spacing": (1.0, 1.0)}}, KEY
    )
    assert torch.equal(out["image"], out["prior"]["image"])


def test_errors_name_the_sample_and_the_mend():
    augment = Compose([Affine(rotation_deg=5.0)])
    with pytest.raises(AugmentationError, match=r"patient-1: has no spacing.*give `spacing`"):
        augment({"image": torch.zeros(1, 4, 4)}, KEY)
    with pytest.raises(AugmentationError, match=r"patient-1: mask of shape \(5, 4\).*resample it"):
        augment({"image": torch.zeros(1, 4, 4), "mask": torch.zeros(5, 4), "spacing": (1.0, 1.0)}, KEY)
    with pytest.raises(AugmentationError, match=r"batch: needs one `key`"):
        augment.batch({"image": torch.zeros(2, 1, 4, 4), "spacing": torch.ones(2, 2)})
    with pytest.raises(AugmentationError, match="scale must be positive"):
        Affine(scale=(0.0, 1.0))
    with pytest.raises(AugmentationError, match=r"Flip: axis 2 does not exist in 2D"):
        Compose([Flip(axes=(2,))])({"image": torch.zeros(1, 4, 4), "spacing": (1.0, 1.0)}, KEY)
    error = AugmentationError("a", "b")
    assert str(pickle.loads(pickle.dumps(error))) == "a: b"
