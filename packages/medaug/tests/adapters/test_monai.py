"""MONAI's dictionaries and datasets around a chain, and MONAI's transforms inside one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai import transforms as mt
from monai.data import CacheDataset, MetaTensor
from monai.transforms.traits import RandomizableTrait

from medaug import Affine, AugmentationError, Compose, Flip, Noise
from medaug.adapters.monai import as_monai, from_monai
from medaug.geometry.deformations import BSpline

KEY = (3, 1, "patient-1", 0)
SHAPE = (14, 18, 10)  # x, y, z
SPACING = (0.8, 1.0, 2.5)


def oblique() -> torch.Tensor:
    """A RAS affine of SPACING, turned about two axes."""
    a, b = 0.3, -0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.from_numpy(about_z @ about_x * np.array(SPACING))
    affine[:3, 3] = torch.tensor([-40.0, 12.0, 7.0])
    return affine


def sample(seed: int = 0) -> dict[str, object]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, *SHAPE, generator=generator)
    mask = (torch.randn(1, *SHAPE, generator=generator) > 0).to(torch.uint8)
    return {"image": MetaTensor(image, affine=oblique()), "label": MetaTensor(mask, affine=oblique()), "key": KEY, "id": "patient-1"}


def chain(**options: object) -> Compose:
    return Compose([Flip(axes=(-1,)), Affine(rotation_deg=20, scale=(0.9, 1.1), translation_mm=3), Noise(std=0.1)], **options)


def test_voxels_are_those_of_the_chain_itself():
    before = sample()
    before["image"].meta["filename"] = "a.nii"
    after = mt.Compose([as_monai(chain(), mask="label")])(before)
    direct = chain()(
        {
            "image": before["image"].as_subclass(torch.Tensor).permute(0, 3, 2, 1),
            "mask": before["label"].as_subclass(torch.Tensor)[0].permute(2, 1, 0),
            "spacing": SPACING[::-1],
        },
        KEY,
    )
    # the spacing that the affine tells differs from SPACING in the last bit of a float64
    torch.testing.assert_close(after["image"].as_subclass(torch.Tensor), direct["image"].permute(0, 3, 2, 1), rtol=0, atol=1e-5)
    assert torch.equal(after["label"].as_subclass(torch.Tensor)[0], direct["mask"].permute(2, 1, 0))
    assert after["label"].dtype == torch.uint8
    assert after["image"].is_contiguous()
    assert after["image"].meta["spatial_shape"].tolist() == list(SHAPE)
    assert after["image"].meta["filename"] == "a.nii"


def test_a_ramp_in_the_patient_is_the_same_ramp_after():
    # each voxel holds its own place in RAS mm: wherever the affine says that a voxel lies afterwards, it must hold that place (linear interpolation is exact on it)
    affine = oblique()
    index = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in SHAPE], indexing="ij"))
    place = (torch.einsum("ij,j...->i...", affine[:3, :3], index) + affine[:3, 3].view(3, 1, 1, 1)).float()
    spatial = Compose([Flip(axes=(-1, 0), p=0.7), Affine(rotation_deg=15, scale=(0.9, 1.2), isotropic=False, translation_mm=2)])
    for view in range(5):
        after = as_monai(spatial, key=lambda s, view=view: (0, 0, "a", view))({"image": MetaTensor(place, affine=affine)})["image"]
        moved = after.affine
        found = torch.einsum("ij,j...->i...", moved[:3, :3], index) + moved[:3, 3].view(3, 1, 1, 1)
        inside = torch.linalg.solve(affine[:3, :3], (found - affine[:3, 3].view(3, 1, 1, 1)).reshape(3, -1)).reshape(3, *SHAPE)
        known = ((inside >= 0) & (inside <= torch.tensor(SHAPE).view(3, 1, 1, 1) - 1)).all(0)
        assert known.double().mean() > 0.3
        assert (after.as_subclass(torch.Tensor) - found)[:, known].abs().max() < 1e-3


def test_a_flip_leaves_the_affine_that_monai_leaves():
    ours = as_monai(Compose([Flip(axes=(-1,), p=1.0)]), mask="label")(sample())
    theirs = mt.Flipd(("image", "label"), spatial_axis=0)(sample())
    for name in ("image", "label"):
        assert torch.equal(ours[name].as_subclass(torch.Tensor), theirs[name].as_subclass(torch.Tensor))
        torch.testing.assert_close(ours[name].affine, theirs[name].affine, rtol=0, atol=1e-9)


def test_films_with_a_4x4_affine_are_2d():
    film = {"image": MetaTensor(torch.rand(1, 8, 12), affine=torch.diag(torch.tensor([0.5, 0.7, 1.0, 1.0]))), "key": KEY}
    ours = as_monai(Compose([Flip(axes=(0,), p=1.0)]))(film)["image"]
    theirs = mt.Flipd("image", spatial_axis=1)(film)["image"]
    assert torch.equal(ours.as_subclass(torch.Tensor), theirs.as_subclass(torch.Tensor))
    torch.testing.assert_close(ours.affine, theirs.affine, rtol=0, atol=1e-6)


def test_several_images_and_masks_go_together():
    data = sample() | {
        "t2": MetaTensor(torch.rand(1, *SHAPE), affine=oblique()),
        "lesion": MetaTensor(torch.randint(0, 4, (2, *SHAPE)), affine=oblique()),
    }
    spatial = Compose([Affine(rotation_deg=(12, 12))])
    together = as_monai(spatial, image=("image", "t2"), mask=("label", "lesion"))(data)
    for name, entry in (("t2", {"image": "t2"}), ("lesion", {"image": "t2", "mask": "lesion"})):
        alone = as_monai(spatial, **entry)(data)
        assert torch.equal(together[name].as_subclass(torch.Tensor), alone[name].as_subclass(torch.Tensor))


def test_probabilities_stay_probabilities_and_come_out_where_the_mask_does():
    votes = torch.nn.functional.one_hot(torch.arange(14 * 18 * 10) % 3, 3).view(*SHAPE, 3).permute(3, 0, 1, 2).float()
    data = sample() | {"votes": MetaTensor(votes, affine=oblique()), "label": MetaTensor(votes.argmax(0, keepdim=True), affine=oblique())}
    after = as_monai(Compose([Flip(axes=(-1,), p=1.0), Affine(rotation_deg=(10, 10), p=0.5)]), mask="label", probability="votes")(data)
    torch.testing.assert_close(after["votes"].as_subclass(torch.Tensor).sum(0), torch.ones(SHAPE), rtol=0, atol=1e-5)
    sure = after["votes"].as_subclass(torch.Tensor).amax(0) > 0.6
    assert torch.equal(after["votes"].as_subclass(torch.Tensor).argmax(0)[sure], after["label"].as_subclass(torch.Tensor)[0][sure])
    assert sure.any()


def test_a_deformation_leaves_the_affine_of_its_grid():
    after = as_monai(Compose([BSpline(spacing_mm=12.0, magnitude_mm=3.0)]))(sample())["image"]
    torch.testing.assert_close(after.affine, oblique(), rtol=0, atol=1e-9)
    assert not torch.equal(after.as_subclass(torch.Tensor), sample()["image"].as_subclass(torch.Tensor))


def test_a_cache_stores_what_stands_before_the_chain_and_draws_anew_each_epoch():
    epoch = 0
    transform = as_monai(chain(), key=lambda s: (0, epoch, s["id"], 0))
    assert isinstance(transform, RandomizableTrait)
    data = CacheDataset([sample()], mt.Compose([transform]), progress=False)
    first, again = data[0]["image"], data[0]["image"]
    epoch = 1
    assert torch.equal(first, again)
    assert not torch.equal(first, data[0]["image"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.zeros(1, *SHAPE)}, "finds a Tensor without an affine in 'image'"),
        ({"label": MetaTensor(torch.zeros(1, 3, 3, 3), affine=oblique())}, "label: has the shape"),
        ({"label": MetaTensor(torch.zeros(1, *SHAPE), affine=torch.eye(4))}, "label: lies elsewhere than image"),
        ({"key": "patient-1"}, "must be \\(seed, epoch, sample_id, view\\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(AugmentationError, match=message):
        as_monai(chain(), mask="label")(sample() | change)
    with pytest.raises(AugmentationError, match="finds no entry 'mask'; the sample has image, label"):
        as_monai(chain(), mask="mask")(sample())


def test_a_monai_transform_in_a_chain_gives_what_it_gives_alone_from_a_keyed_seed():
    step = from_monai(mt.RandBiasFieldd("image", prob=1.0, coeff_range=(0.2, 0.3)))
    compose = Compose([step])
    x = torch.rand(3, 1, 6, 7, 8) + 1
    keys = [(0, 0, name, 0) for name in "abc"]
    whole = compose.batch({"image": x, "key": keys})["image"]
    turned = compose.batch({"image": x.flip(0), "key": keys[::-1]})["image"].flip(0)
    alone = torch.stack([compose({"image": x[n]}, keys[n])["image"] for n in range(3)])
    assert torch.equal(whole, turned)
    assert torch.equal(whole, alone)
    ratios = (whole / x).flatten(1)
    assert not torch.allclose(ratios[0], ratios[1], rtol=1e-3)
    # MONAI's bias is the exponential of a polynomial of degree 3: its fourth differences vanish
    assert (whole.double() / x.double()).log().diff(n=4, dim=-1).abs().max() < 1e-4


def test_axes_of_a_wrapped_transform_are_monais():
    x = torch.rand(1, 4, 5, 6)  # z, y, x
    flipped = Compose([from_monai(mt.Flipd("image", spatial_axis=0))])({"image": x}, KEY)["image"]
    assert torch.equal(flipped, x.flip(-1))


def test_a_wrapped_transform_that_draws_from_global_generators_is_keyed_and_leaves_them_alone():
    step = from_monai(lambda d: {"image": d["image"] + torch.rand(1) + np.random.rand()})  # noqa: NPY002
    state = torch.get_rng_state()
    first, second = (Compose([step])({"image": torch.zeros(1, 2, 2)}, KEY)["image"] for _ in range(2))
    assert torch.equal(first, second)
    assert first.abs().sum() > 0
    assert torch.equal(state, torch.get_rng_state())


def test_a_wrapped_transform_may_not_change_the_shape():
    step = replace(from_monai(mt.CenterSpatialCropd("image", (2, 2))), p=1.0)
    with pytest.raises(AugmentationError, match=r"patient-1: CenterSpatialCropd made \(1, 2, 2\) of \(1, 4, 4\)"):
        Compose([step])({"image": torch.zeros(1, 4, 4)}, KEY)
