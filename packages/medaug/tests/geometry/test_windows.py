"""Crops, pads, zooms and grids: what is seen is where `geometry` and `affine` say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug import Affine, AugmentationError, BSpline, Compose, Crop, Flip, Pad, Plan, RandomResizedCrop, Resize, Rot90, Zoom
from medaug.draws import Draws
from medaug.geometry.plan import Rows

KEY = (5, 0, "patient-1", 0)
SHAPE, SPACING = (12, 20, 17), (2.0, 1.0, 0.6)
AFFINE = torch.tensor(
    # rows: LPS x, y, z; columns: steps along array z, y, x, and the first voxel. Oblique on purpose.
    [[0.3, 0.1, 0.59, -40.0], [0.2, 0.98, -0.1, 12.0], [1.96, -0.16, -0.07, 99.0], [0, 0, 0, 1]],
    dtype=torch.float64,
)


def ramp(shape: tuple[int, ...]) -> torch.Tensor:
    """An image whose channels are the index of each voxel: linear reading of it is exact, so a crop's values are its source places."""
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij"))


WINDOWS = [
    [Crop(size=(6, 9, 8))],
    [Crop(size=(6, 9, 8), random=False), Zoom(factor=(0.9, 1.6))],
    [Crop(size=(5, 6, 7), spacing_mm=(1.5, 1.5, 1.5))],
    [Crop(size_mm=(8.0, 9.0, 6.0))],
    [Crop(size=(4, 4, 4), size_mm=(8.0, 9.0, 6.0))],
    [Resize(shape=(7, 21, 30))],
    [Resize(spacing_mm=(1.0, 2.0, 1.2)), Crop(size=(9, 4, 5))],
    [RandomResizedCrop(shape=(6, 6, 6)), Pad(multiple=(4, 4, 4))],
    [Crop(size=(30, 9, 8))],
]


@pytest.mark.parametrize("transforms", WINDOWS)
def test_a_windows_values_geometry_and_affine_tell_the_same_places(transforms):
    compose = Compose(transforms, record=True, outside=-9.0, antialias=False)
    for view in range(4):
        out = compose({"image": ramp(SHAPE), "spacing": SPACING, "affine": AFFINE}, (5, 0, "s", view))
        index = torch.cat([ramp(tuple(out["image"].shape[1:])), torch.ones(1, *out["image"].shape[1:])]).double().flatten(1)
        places = (out["geometry"] @ index)[:3].view(out["image"].shape)
        last = torch.tensor(SHAPE).view(3, 1, 1, 1) - 1
        within = ((places >= 0) & (places <= last)).all(0)
        assert within.any()
        torch.testing.assert_close(out["image"][:, within].double(), places[:, within], atol=1e-4, rtol=0)
        # the patient frame: a voxel of the output lies where the source voxel that it shows lies
        torch.testing.assert_close((out["affine"] @ index)[:3], (AFFINE @ out["geometry"] @ index)[:3], atol=1e-9, rtol=0)
        steps = torch.linalg.norm(out["geometry"][:3, :3] * torch.tensor(SPACING, dtype=torch.float64)[:, None], dim=0)
        torch.testing.assert_close(torch.as_tensor(out["spacing"]).double(), steps, atol=1e-6, rtol=1e-6)


def test_a_plane_of_a_volume_keeps_its_affine_too():
    out = Compose([Crop(size=(4, 5), random=False)])({"image": ramp((10, 11)), "spacing": (1.0, 0.6), "affine": AFFINE}, KEY)
    # (10 - 4) / 2 = 3 and (11 - 5) / 2 = 3 voxels are left out before
    torch.testing.assert_close(out["affine"][:, 3], AFFINE @ torch.tensor([0.0, 3.0, 3.0, 1.0], dtype=torch.float64))
    assert torch.equal(out["affine"][:, :3], AFFINE[:, :3])


def test_crops_of_whole_voxels_and_quarter_turns_are_copied_bit_for_bit():
    image = torch.randn(2, 12, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.randint(0, 9, (12, 16, 16), generator=torch.Generator().manual_seed(1))
    sample = {"image": image, "mask": mask, "spacing": (2.0, 0.7, 0.7), "points": torch.tensor([[3.0, 2.0, 5.0]])}
    for turns in range(1, 4):
        out = Compose([Rot90(turns=(turns,)), Flip(axes=(0,), p=1.0)])(sample, KEY)
        assert torch.equal(out["image"], image.rot90(turns, (2, 3)).flip(1))
        assert torch.equal(out["mask"], mask.rot90(turns, (1, 2)).flip(0))
        z, y, x = out["points"][0].long().tolist()
        assert out["image"][0, z, y, x] == image[0, 3, 2, 5]
    compose = Compose([Crop(size=(5, 6, 7)), Flip(axes=(2,), p=1.0), Pad(size=(8, 8, 8))], record=True, outside=-1.0)
    out = compose(sample, KEY)
    start = (out["geometry"] @ torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64))[:3].round().long()
    inner = out["image"][:, 1:6, 1:7, 0:7]
    z, y, x = start.tolist()
    assert torch.equal(inner, image[:, z : z + 5, y : y + 6, x - 6 : x + 1].flip(3))


def test_a_random_crop_reaches_every_place_equally_often():
    compose, places = Compose([Crop(size=(4, 3))]), []
    image = ramp((6, 5))
    for number in range(600):
        out = compose({"image": image, "spacing": (1.0, 1.0)}, (0, 0, str(number), 0))["image"]
        places.append((int(out[0, 0, 0]), int(out[1, 0, 0])))
    counts = np.array([places.count((y, x)) for y in range(3) for x in range(3)])
    assert counts.sum() == 600
    # each of 9 places: mean 66.7, standard deviation 7.7
    assert np.abs(counts - 600 / 9).max() < 5 * 7.7


def test_an_image_smaller_than_the_crop_comes_to_the_middle():
    out = Compose([Crop(size=(7, 4))], outside=0.0)({"image": torch.ones(1, 4, 4), "spacing": (1.0, 1.0)}, KEY)["image"][0]
    assert torch.equal(out[:, 0], torch.tensor([0.0, 1, 1, 1, 1, 0, 0]))  # 3 too many: one before, two after


def test_a_pad_after_a_crop_shows_again_what_the_crop_left_out():
    image = ramp((9, 9))
    out = Compose([Crop(size=(3, 3), random=False), Pad(size=(9, 9))])({"image": image, "spacing": (1.0, 1.0)}, KEY)["image"]
    assert torch.equal(out, image)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 1.0), st.floats(1.0, 2.0))
def test_a_random_resized_crop_stays_inside_and_has_the_volume_it_was_asked_for(view, share, form):
    crop = RandomResizedCrop(shape=(4, 5, 6), scale=(share, share), ratio=(1 / form, form))
    plan = Compose([crop]).plan([(0, 0, "s", view)], SHAPE, SPACING)
    corners = np.array([[-0.5] * 3 + [1.0], [n - 0.5 for n in plan.shape] + [1.0]])
    low, high = (plan.index_matrices()[0] @ corners.T).T[:, :3]
    assert (low >= -0.5 - 1e-9).all()
    assert (high <= np.array(SHAPE) - 0.5 + 1e-9).all()
    shares = (high - low) / SHAPE
    if (shares < 1 - 1e-9).all():  # an axis that reaches past the image is cut
        assert shares.prod() == pytest.approx(share)
    assert (shares.prod() <= share + 1e-9) or form == 1.0


def test_zoom_changes_spacing_and_keeps_content_in_the_patient_frame():
    out = Compose([Zoom(factor=(2.0, 2.0))])({"image": ramp((8, 8)), "spacing": (1.0, 2.0), "affine": torch.eye(4)}, KEY)
    assert out["spacing"].tolist() == [0.5, 1.0]
    # the 8 voxels now span the middle 4: the first voxel's centre lies at 1.5 + 0.25 of the source
    assert out["image"][:, 0, 0].tolist() == [1.75, 1.75]
    torch.testing.assert_close(out["affine"][1:3, 3], torch.tensor([1.75, 1.75]))


def test_a_prior_of_another_grid_comes_onto_the_images_window():
    # the same field of 24 x 24 mm: image of 1 mm, prior of 2 mm; the ramp in mm about the centre must agree after the crop
    mm = ramp((24, 24)) - 11.5
    prior = (ramp((12, 12)) - 5.5) * 2
    compose = Compose([Affine(rotation_deg=20.0, translation_mm=1.0), BSpline(spacing_mm=10.0, magnitude_mm=2.0), Crop(size=(10, 10))])
    out = compose({"image": mm, "spacing": (1.0, 1.0), "prior": {"image": prior, "spacing": (2.0, 2.0)}}, KEY)
    assert out["prior"]["spacing"].tolist() == [1.0, 1.0]
    inner = (out["image"].abs() < 10.5).all(0)  # the prior's outermost centres lie at 11 mm
    assert inner.float().mean() > 0.6
    torch.testing.assert_close(out["prior"]["image"][:, inner], out["image"][:, inner], atol=1e-4, rtol=0)


def test_a_prior_of_another_grid_is_deformed_alike_in_millimetres():
    mm = ramp((24, 24)) - 11.5
    prior = (ramp((12, 16)) - torch.tensor([5.5, 7.5])[:, None, None]) * torch.tensor([2.0, 1.0])[:, None, None]  # 24 x 16 mm
    compose = Compose([BSpline(spacing_mm=6.0, magnitude_mm=2.0)], outside="border")
    out = compose({"image": mm, "spacing": (1.0, 1.0), "prior": {"image": prior, "spacing": (2.0, 1.0)}}, KEY)
    # prior voxel (i, j) lies between image rows 2 i and 2 i + 1, at column j + 4; away from the prior's edge, where "border" holds values
    halves = (out["image"][:, 4:20:2, 8:16] + out["image"][:, 5:21:2, 8:16]) / 2
    torch.testing.assert_close(out["prior"]["image"][:, 2:10, 4:12], halves, atol=0.1, rtol=0)  # curvature of the field between two rows


def test_batches_of_one_shape_are_insisted_on():
    batch = {"image": torch.zeros(2, 1, 8, 8), "spacing": torch.tensor([[1.0, 1.0], [2.0, 2.0]]), "key": [KEY, KEY]}
    with pytest.raises(AugmentationError, match=r"come out in shapes \(4, 4\) to \(8, 8\).*set the shape"):
        Compose([Resize(spacing_mm=(2.0, 2.0))]).batch(batch)
    assert Compose([Crop(size=(3, 3), spacing_mm=(2.0, 2.0))]).batch(batch)["image"].shape == (2, 1, 3, 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Crop(), "needs `size`"),
        (lambda: Crop(size=(4, 4), size_mm=(1.0, 1.0), spacing_mm=(1.0, 1.0)), "needs `size`"),
        (lambda: Crop(size=(0, 4)), "size must be positive"),
        (lambda: Resize(), "one of `shape`"),
        (lambda: Pad(), "`size` or `multiple`"),
        (lambda: Zoom(factor=(0.0, 1.0)), "0 < low"),
        (lambda: RandomResizedCrop(shape=(4, 4), scale=(0.5, 1.5)), "scale needs"),
        (lambda: Rot90(axes=(1, 1)), "two different axes"),
        (lambda: BSpline(spacing_mm=10.0, magnitude_mm=4.1), "may fold"),
    ],
)
def test_senseless_options_are_refused(make, reason):
    with pytest.raises(AugmentationError, match=reason):
        make()


def test_what_does_not_fit_the_image_is_told():
    sample = {"image": torch.zeros(1, 8, 8), "spacing": (1.0, 1.0)}
    with pytest.raises(AugmentationError, match=r"Crop: \(4, 4, 4\) has 3 numbers, this image needs 2"):
        Compose([Crop(size=(4, 4, 4))])(sample, KEY)
    with pytest.raises(AugmentationError, match="was augmented onto another grid; give `shape`"):
        Compose([Crop(size=(4, 4))]).invert(torch.zeros(1, 4, 4), KEY, (1.0, 1.0))
    with pytest.raises(AugmentationError, match=r"is deformed, which no matrix says"):
        Compose([BSpline(spacing_mm=10.0, magnitude_mm=2.0)], record=True)(sample, KEY)


class _Nudge:
    """A transform of a user's own: half a millimetre along the last axis."""

    def extend(self, plan: Plan, draws: Draws, on: Rows) -> Plan:
        forward = np.repeat(np.eye(plan.dims + 1)[None], len(on), axis=0)
        forward[:, plan.dims - 1, plan.dims] = 0.5
        return plan.move(forward, on)


def test_a_transform_of_ones_own_joins_the_plan():
    out = Compose([_Nudge(), Flip(axes=(1,), p=1.0)])(
        {"image": ramp((5, 5)), "points": torch.tensor([[2.0, 1.0]]), "spacing": (1.0, 1.0)}, KEY
    )
    assert out["points"].tolist() == [[2.0, 2.5]]  # 1 -> 1.5, mirrored at 2 -> 2.5
