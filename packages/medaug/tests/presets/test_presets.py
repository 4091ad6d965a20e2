"""What every preset promises."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from medaug import AugmentationError, Compose, presets
from medaug.presets import build, list_presets, make_preset, preset_options, to_config
from medaug.views.multi_crop import MultiCrop

NAMES = list(list_presets())
FLAT = [name for name in NAMES if name.startswith(("xray", "ultrasound"))]
SHAPES = {2: (40, 48), 3: (20, 26, 24)}
DATA = Path(__file__).resolve().parents[4].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real images beside the checkout are absent")


def dims_of(name: str) -> int:
    return 2 if name in FLAT else 3


def small(name: str, **options: Any) -> Any:
    """A preset at sizes that tests can pay."""
    dims, known = dims_of(name), preset_options(name)
    sizes = {"patch": (16, 20, 12), "spacing": None, "size": (20, 28, 24)[-dims:], "local_size": (12, 8, 16)[-dims:]}
    return make_preset(name, **{key: value for key, value in sizes.items() if key in known} | options)


def batch(name: str, count: int = 3) -> dict[str, Any]:
    """Smooth images: HU for CT, magnitudes from 0 for the rest; masks of two labels."""
    dims = dims_of(name)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 1, *[n // 4 for n in SHAPES[dims]]), generator=generator)
    image = torch.nn.functional.interpolate(coarse, SHAPES[dims], mode="trilinear" if dims == 3 else "bilinear")
    image = image * 2000 - 1000 if name.startswith("ct") else image * 400
    spacing = torch.tensor([2.5, 1.2, 1.2][-dims:], dtype=torch.float64).repeat(count, 1)
    mask = (image[:, 0] > image.mean()).to(torch.uint8)
    return {"image": image, "mask": mask, "spacing": spacing, "key": [(0, 0, f"sample-{n}", 0) for n in range(count)]}


def views(result: Any) -> list[dict[str, Any]]:
    return result if isinstance(result, list) else [result]


def chains(preset: Any) -> list[Compose]:
    return [kind.augment for kind in preset.views] if isinstance(preset, MultiCrop) else [preset]


def matrices(chain: Compose, dims: int, count: int) -> np.ndarray:
    """What the chain's matrices do to content, in mm, deformations aside: (count, dims, dims)."""
    plan = chain.plan([(5, 0, f"{n}", 0) for n in range(count)], SHAPES[dims], torch.full((dims,), 1.5))
    read = np.eye(dims + 1)
    for matrix in plan.matrices:
        read = matrix @ read
    return np.linalg.inv(read[:, :dims, :dims])


def test_presets_are_listed_with_their_purpose():
    expected = {
        "ct_segmentation",
        "mr_segmentation",
        "xray_classification",
        "xray_dino",
        "ct_mae",
        "mr_mae",
        "nnunet",
        "ct_detection",
        "registration",
    }
    assert expected <= set(NAMES)
    assert all(len(purpose) > 10 and not purpose.endswith(".") for purpose in list_presets().values())
    assert sorted(NAMES) == NAMES


def test_every_name_of_the_list_is_a_function_of_the_module():
    assert [name for name in NAMES if getattr(presets, name)() != make_preset(name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_comes_back_equal_from_its_config(name):
    for preset in (make_preset(name), small(name)):
        assert build(json.loads(json.dumps(to_config(preset)))) == preset


def test_unknown_presets_and_options_are_told_with_the_near_name():
    with pytest.raises(AugmentationError, match="ct_segmentatoin: is no preset, did you mean 'ct_segmentation'"):
        make_preset("ct_segmentatoin")
    with pytest.raises(AugmentationError, match="nnunet: has no option 'pach', did you mean 'patch'"):
        make_preset("nnunet", pach=1)
    with pytest.raises(AugmentationError, match="mr_mae: has a spacing but no patch"):
        make_preset("mr_mae", patch=None)
    with pytest.raises(AugmentationError, match="nnunet: dims is 2 or 3, got 4"):
        make_preset("nnunet", dims=4)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_alone_is_its_row_of_any_batch_and_stays_in_the_stated_range(name):
    preset, whole = small(name), batch(name)
    together = views(preset.batch(whole))
    turned = views(preset.batch({key: value.flip(0) if isinstance(value, torch.Tensor) else value[::-1] for key, value in whole.items()}))
    alone = views(preset({key: whole[key][1] for key in ("image", "mask", "spacing")}, whole["key"][1]))
    for row, back, one in zip(together, turned, alone, strict=True):
        assert torch.equal(row["image"][1], one["image"])
        assert torch.equal(row["image"], back["image"].flip(0))
        assert torch.equal(row["mask"], back["mask"].flip(0))
        assert torch.isfinite(row["image"]).all()
        if name.startswith("ct"):
            assert row["image"].amin() >= 0
            assert row["image"].amax() <= 1
        elif name.startswith(("mr", "xray", "ultrasound")):
            torch.testing.assert_close(row["image"].flatten(1).mean(1), torch.zeros(3), rtol=0, atol=1e-4)
            torch.testing.assert_close(row["image"].flatten(1).std(1), torch.ones(3), rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nnunet"])
def test_no_side_is_ever_mirrored_unless_asked(name):
    for chain in chains(small(name)):
        content = matrices(chain, dims_of(name), 300)
        assert (np.linalg.det(content) > 0).all()
        # and no half turns: each axis still points its way, so a film is never upside down
        assert (np.diagonal(content, axis1=1, axis2=2) > 0).all()


def test_mirrors_come_where_asked():
    content = matrices(make_preset("mr_segmentation", mirror_axes=(-1,)), 3, 300)
    share = (np.linalg.det(content) < 0).mean()
    assert abs(share - 0.5) < 4 * 0.5 / 300**0.5


def test_lesions_keep_their_size_within_a_tenth_in_detection():
    edge = np.cbrt(np.linalg.det(matrices(make_preset("ct_detection"), 3, 300)))
    assert edge.min() > 0.92
    assert edge.max() < 1.08
    assert np.ptp(edge) > 0.1


@pytest.mark.parametrize(("dims", "angle"), [(2, 180.0), (3, 30.0)])
def test_nnunet_turns_and_scales_as_often_and_as_far_as_nnunet(dims, angle):
    count = 3000
    content = matrices(make_preset("nnunet", dims=dims, mirror_axes=()), dims, count)
    size = np.abs(np.linalg.det(content)) ** (1 / dims)
    turns = content / size[:, None, None]
    scaled, turned = ~np.isclose(size, 1), ~np.isclose(turns, np.eye(dims)).all(axis=(1, 2))
    for share in (scaled.mean(), turned.mean()):
        assert abs(share - 0.2) < 4 * (0.2 * 0.8 / count) ** 0.5
    assert size.min() > 1 / 1.4 - 1e-9
    assert size.max() < 1 / 0.7 + 1e-9
    assert size.min() < 0.73
    assert size.max() > 1.4
    # every angle about its own axis: x is applied first, so the first axis' row of Rz Ry Rx holds sin(angle of y)
    found = np.arcsin(np.clip(turns[:, 0, -1] if dims == 3 else turns[:, 1, 0], -1, 1))
    assert np.rad2deg(np.abs(found)).max() < min(angle, 90) + 1e-9
    assert np.rad2deg(np.abs(found)).max() > min(angle, 90) * 0.9


def test_flat_nnunet_leaves_slices_where_they_are():
    content = matrices(make_preset("nnunet", flat=True, mirror_axes=()), 3, 200)
    assert np.allclose(content[:, 0], [1, 0, 0])
    assert np.allclose(content[:, :, 0], [1, 0, 0])
    assert not np.allclose(content, np.eye(3))


def test_registration_moves_a_pair_alike_and_shades_it_apart():
    whole = batch("registration")
    pair = whole | {"prior": {key: whole[key] for key in ("image", "mask", "spacing")}}
    after = make_preset("registration").batch(pair)
    assert torch.equal(after["mask"], after["prior"]["mask"])
    assert not torch.equal(after["mask"], whole["mask"])
    assert not torch.equal(after["image"], after["prior"]["image"])


@needs_data
def test_a_real_ct_with_organs_stays_in_its_window_and_its_labels():
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(DATA / "ct_totalseg/example_ct_sm.nii.gz")))
    organs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(DATA / "ct_totalseg/example_seg.nii.gz")))
    sample = {
        "image": torch.from_numpy(image.astype(np.int16))[None],
        "mask": torch.from_numpy(organs.astype(np.int64)),
        "spacing": (3.0, 3.0, 3.0),
    }
    before = set(np.unique(organs).tolist())
    for view in range(3):
        after = make_preset("ct_segmentation", patch=(24, 64, 64), spacing=(3.0, 3.0, 3.0))(sample, (0, 0, "ct", view))
        assert after["image"].shape == (1, 24, 64, 64)
        assert after["image"].dtype == torch.float32
        assert 0 <= after["image"].amin() < after["image"].amax() <= 1
        assert set(after["mask"].unique().tolist()) <= before


@needs_data
def test_a_real_film_is_still_that_film_after_classification():
    path = sorted((DATA / "cxr_nih/images_512").iterdir())[0]
    film = np.asarray(Image.open(path).convert("L"), np.float32)
    sample = {"image": torch.from_numpy(film)[None], "spacing": (0.7, 0.7)}
    correlations = []
    for view in range(6):
        after = make_preset("xray_classification", size=None)(sample, (0, 0, "film", view))["image"]
        correlations.append(np.corrcoef(film.ravel(), after.numpy().ravel())[0, 1])
    # recognisable, never turned or inverted, yet not the same
    assert min(correlations) > 0.5
    assert max(correlations) < 0.9999
