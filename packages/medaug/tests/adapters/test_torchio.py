"""TorchIO's subjects through a chain, and TorchIO's transforms inside one."""

import numpy as np
import pytest
import torch
import torchio as tio

from medaug import Affine, AugmentationError, Compose, Crop, Flip, Noise, Resize
from medaug.adapters.torchio import as_torchio, from_torchio

KEY = (3, 1, "patient-1", 0)
SHAPE = (14, 18, 10)  # x, y, z
SPACING = (0.8, 1.0, 2.5)


def oblique() -> np.ndarray:
    """A RAS affine of SPACING, turned about z and mirrored along x."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, 1, 1]) * np.array(SPACING)
    affine[:3, 3] = -40, 12, 7
    return affine


def subject(**more: object) -> tio.Subject:
    generator = torch.Generator().manual_seed(0)
    t1 = tio.ScalarImage(tensor=torch.randn(1, *SHAPE, generator=generator), affine=oblique())
    lesion = tio.LabelMap(tensor=torch.randint(0, 3, (1, *SHAPE), generator=generator), affine=oblique())
    return tio.Subject({"t1": t1, "lesion": lesion, "key": KEY, "id": "patient-1", **more})


def chain() -> Compose:
    return Compose([Flip(axes=(-1,)), Affine(rotation_deg=20, scale=(0.9, 1.1), translation_mm=3), Noise(std=0.1)])


def test_voxels_are_those_of_the_chain_itself_and_the_grid_stays():
    before = subject()
    after = tio.Compose([as_torchio(chain())])(before)
    direct = chain()(
        {"image": before["t1"].data.permute(0, 3, 2, 1), "mask": before["lesion"].data[0].permute(2, 1, 0), "spacing": SPACING[::-1]}, KEY
    )
    # the spacing that the affine tells differs from SPACING in the last bit of a float64
    torch.testing.assert_close(after["t1"].data, direct["image"].permute(0, 3, 2, 1), rtol=0, atol=1e-5)
    assert torch.equal(after["lesion"].data[0], direct["mask"].permute(2, 1, 0))
    for name in ("t1", "lesion"):
        np.testing.assert_allclose(after[name].affine, oblique(), atol=1e-9)
        np.testing.assert_allclose(after[name].spacing, SPACING, atol=1e-9)
    assert torch.equal(before["t1"].data, subject()["t1"].data)


def test_a_flip_is_torchios_flip():
    ours = as_torchio(Compose([Flip(axes=(-1,), p=1.0)]))(subject())
    theirs = tio.Flip(axes=(0,))(subject())
    for name in ("t1", "lesion"):
        assert torch.equal(ours[name].data, theirs[name].data)
        np.testing.assert_allclose(ours[name].affine, theirs[name].affine, atol=1e-9)


def test_a_crop_lies_where_torchios_crop_lies():
    ours = as_torchio(Compose([Crop(size=(6, 9, 8), random=False)]))(subject())
    theirs = tio.Crop((3, 3, 4, 5, 2, 2))(subject())  # 14 x 18 x 10 to 8 x 9 x 6; the odd voxel off the end
    for name in ("t1", "lesion"):
        assert torch.equal(ours[name].data, theirs[name].data)
        np.testing.assert_allclose(ours[name].affine, theirs[name].affine, atol=1e-9)


def test_another_spacing_lies_where_the_voxels_came_from():
    # a ramp in mm along x of the grid: what the new affine says of a voxel's place must be what it holds
    x = (oblique()[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + oblique()[:3, 3:])[0].reshape(1, *SHAPE)
    ramp = tio.Subject(image=tio.ScalarImage(tensor=torch.from_numpy(x).float(), affine=oblique()), key=KEY)
    after = as_torchio(Compose([Resize(shape=(7, 12, 11))], outside="border"))(ramp)["image"]
    np.testing.assert_allclose(after.spacing, [0.8 * 14 / 11, 18 / 12, 2.5 * 10 / 7], rtol=1e-6)
    found = (after.affine[:3, :3] @ np.indices((11, 12, 7)).reshape(3, -1) + after.affine[:3, 3:])[0].reshape(11, 12, 7)
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(after.data[0][inner], found[inner], atol=1e-3)


def test_a_subject_of_depth_1_is_2d():
    film = tio.Subject(image=tio.ScalarImage(tensor=torch.rand(1, 9, 7, 1), affine=np.diag([0.5, 0.7, 1, 1])), key=KEY)
    ours = as_torchio(Compose([Flip(axes=(0,), p=1.0)]))(film)
    assert torch.equal(ours["image"].data, film["image"].data.flip(2))


def test_several_images_and_label_maps_go_together():
    t2 = tio.ScalarImage(tensor=torch.rand(2, *SHAPE), affine=oblique())
    organs = tio.LabelMap(tensor=torch.randint(0, 9, (1, *SHAPE), dtype=torch.uint8), affine=oblique())
    spatial = Compose([Affine(rotation_deg=(12, 12))])
    together = as_torchio(spatial)(subject(t2=t2, organs=organs))
    alone = as_torchio(spatial)(tio.Subject(t2=t2, organs=organs, key=KEY))
    for name in ("t2", "organs"):
        assert torch.equal(together[name].data, alone[name].data)
    assert together["organs"].data.dtype == torch.uint8
    left = as_torchio(spatial, include=["t1"])(subject(t2=t2))
    assert torch.equal(left["t2"].data, t2.data)


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(AugmentationError, match="finds no ScalarImage in a subject of lesion"):
        as_torchio(chain())(tio.Subject(lesion=subject()["lesion"], key=KEY))
    with pytest.raises(AugmentationError, match="t2: has the shape"):
        as_torchio(chain())(subject(t2=tio.ScalarImage(tensor=torch.rand(1, 4, 4, 4), affine=oblique())))
    with pytest.raises(AugmentationError, match="has no entry 'name'"):
        as_torchio(chain(), key="name")(subject())


def test_a_torchio_transform_in_a_chain_is_keyed_and_leaves_the_generator_alone():
    compose = Compose([from_torchio(tio.RandomBiasField())])
    x = torch.rand(3, 1, 6, 7, 8) + 1
    keys = [(0, 0, name, 0) for name in "abc"]
    state = torch.get_rng_state()
    whole = compose.batch({"image": x, "key": keys})["image"]
    turned = compose.batch({"image": x.flip(0), "key": keys[::-1]})["image"].flip(0)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(whole, turned)
    assert not torch.allclose(whole[0] / x[0], whole[1] / x[1], rtol=1e-3)


def test_axes_and_spacing_of_a_wrapped_transform_are_torchios():
    x = torch.rand(1, 4, 5, 6)  # z, y, x
    flipped = Compose([from_torchio(tio.Flip(axes=(0,)))])({"image": x, "spacing": (3.0, 1.0, 0.5)}, KEY)["image"]
    assert torch.equal(flipped, x.flip(-1))
    seen = []
    step = from_torchio(lambda s: (seen.append((s["image"].spacing, s["image"].orientation)), s)[1])
    Compose([step])({"image": x, "spacing": (3.0, 1.0, 0.5)}, KEY)
    assert seen == [((0.5, 1.0, 3.0), ("L", "P", "S"))]
    with pytest.raises(AugmentationError, match=r"patient-1: CropOrPad made \(1, 2, 2, 2\) of \(1, 6, 5, 4\)"):
        Compose([from_torchio(tio.CropOrPad(2))])({"image": x}, KEY)
