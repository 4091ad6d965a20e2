"""Pasted lesions: their volume, place, border, boxes; keys alone decide."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medaug.errors import AugmentationError
from medaug.kernels.lesions import feathered, place_lesions
from medaug.views.copy_paste import CopyPaste

ORGAN, LESION = 1, 5


def recipient(names, shape=(14, 20, 18), spacing=(2.0, 1.0, 1.0)):
    """Zeros, with an organ that fills all but a border of 3."""
    dims = len(shape)
    mask = torch.zeros(len(names), *shape, dtype=torch.int64)
    mask[(slice(None), *[slice(3, -3)] * dims)] = ORGAN
    return {
        "image": torch.zeros(len(names), 1, *shape),
        "mask": mask,
        "spacing": torch.tensor([spacing] * len(names), dtype=torch.float64),
        "boxes": [torch.zeros(0, 2 * dims) for _ in names],
        "label": torch.full((len(names), 2), float("nan")),
        "key": [(0, 0, name, 0) for name in names],
    }


def donor(names, shape=(14, 20, 18), spacing=(2.0, 1.0, 1.0), pieces=1):
    """Ones, and tens on lesions of 2 x 3 x 4 voxels less a corner, well inside."""
    result = recipient(names, shape, spacing)
    result["mask"].zero_()
    lesion = torch.ones((2, 3, 4)[-len(shape) :], dtype=torch.bool)
    lesion.view(-1)[0] = False
    for piece in range(pieces):
        corner = (5, 4 + 7 * piece, 6)[-len(shape) :]
        box = tuple(slice(c, c + n) for c, n in zip(corner, lesion.shape, strict=True))
        result["mask"][(slice(None), *box)] = torch.where(lesion, LESION, 0)
    result["image"] = torch.where(result["mask"][:, None] == LESION, 10.0, 1.0)
    return result


NAMES = [f"p{i}" for i in range(6)]


@pytest.mark.parametrize(("shape", "spacing", "voxels"), [((14, 20, 18), (2.0, 1.0, 1.0), 23), ((20, 18), (1.0, 1.5), 11)])
def test_a_lesion_keeps_its_volume_lies_in_the_organ_and_is_told_by_its_box_and_label(shape, spacing, voxels):
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,), label_column=1)(recipient(NAMES, shape, spacing), donor(NAMES, shape, spacing))
    assert out["pasted"].all()
    organ = recipient(["x"], shape, spacing)["mask"][0] == ORGAN
    corners = set()
    for row in range(len(NAMES)):
        lesion = out["mask"][row] == LESION
        assert int(lesion.sum()) == voxels
        assert organ[lesion].all()
        assert torch.equal(out["mask"][row][~lesion], recipient(["x"], shape, spacing)["mask"][0][~lesion])
        assert (out["image"][row, 0][lesion] == 10).all()
        place = torch.nonzero(lesion)
        assert out["boxes"][row].tolist() == [[*place.amin(0).tolist(), *(place.amax(0) + 1).tolist()]]
        corners.add(tuple(place.amin(0).tolist()))
    assert len(corners) > 3
    assert (out["label"][:, 1] == 1).all()
    assert out["label"][:, 0].isnan().all()


def test_the_border_fades_with_distance_in_millimetres():
    feather = 4.0
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,), feather_mm=feather)(recipient(NAMES), donor(NAMES))
    for row in range(len(NAMES)):
        lesion = (out["mask"][row] == LESION).numpy()
        distance = ndimage.distance_transform_edt(~lesion, sampling=(2.0, 1.0, 1.0))
        t = np.clip(1 - distance / feather, 0, 1)
        expected = np.where(lesion, 10.0, t * t * (3 - 2 * t))  # the donor's surroundings are 1, the sample 0
        np.testing.assert_allclose(out["image"][row, 0].numpy(), expected, atol=1e-5)
        ring = out["image"][row, 0].numpy()[~lesion]
        order = np.argsort(distance[~lesion], kind="stable")
        assert (np.diff(ring[order]) <= 1e-6).all()
        assert ring.max() < 1
        assert (ring > 0).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 6), st.tuples(*[st.floats(0.4, 3)] * 3))
def test_feathers_agree_with_an_exact_distance_transform(seed, feather, spacing):
    lesion = np.random.default_rng(seed).random((5, 7, 6)) < 0.05
    lesion[2, 3, 3] = True
    distance = ndimage.distance_transform_edt(~lesion, sampling=spacing)
    t = np.where(lesion, 1.0, np.clip(1 - distance / feather, 0, 1) if feather > 0 else 0.0)
    np.testing.assert_allclose(feathered(lesion, np.array(spacing), feather), t * t * (3 - 2 * t), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_lesions_are_the_connected_pieces_that_scipy_finds(seed, which):
    mask = (np.random.default_rng(seed).random((1, 6, 7, 8)) < 0.12).astype(np.int64)
    pieces, count = ndimage.label(mask[0], np.ones((3, 3, 3)))
    none = np.zeros_like(mask)
    where = np.linspace(0, 1, 400, endpoint=False)[None]
    lesion, _, found = place_lesions(mask, none, np.array([1]), np.array([0]), 1.0, np.array([which]), where)
    if count:
        assert found.all()  # an empty image takes any lesion
        assert np.array_equal(lesion[0], pieces == 1 + int(which * count))


def test_matching_brings_the_surroundings_to_the_samples_level():
    # donor surroundings 1, sample 0: the lesion of 10 stands 9 above its surroundings, and so it does in the sample
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,), match=True)(recipient(NAMES), donor(NAMES))
    lesion = out["mask"] == LESION
    torch.testing.assert_close(out["image"][:, 0][lesion], torch.full((6 * 23,), 9.0))
    torch.testing.assert_close(out["image"][:, 0][~lesion], torch.zeros(int((~lesion).sum())))


def test_each_lesion_of_a_donor_has_its_turn():
    names = [f"p{i}" for i in range(40)]
    donors = donor(names, pieces=2)
    donors["image"][:, :, :, 9:] = torch.where(donors["mask"][:, None, :, 9:] == LESION, 20.0, 1.0)
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,))(recipient(names), donors)
    strengths = out["image"].amax((1, 2, 3, 4))
    assert set(strengths.tolist()) == {10.0, 20.0}


def test_a_lesion_that_fits_nowhere_leaves_the_sample_as_it_is():
    tight = recipient(NAMES)
    tight["mask"].zero_()
    tight["mask"][:, 7, 9, 9] = ORGAN
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,))(tight, donor(NAMES))
    assert not out["pasted"].any()
    assert torch.equal(out["image"], tight["image"])
    assert torch.equal(out["mask"], tight["mask"])
    assert all(len(boxes) == 0 for boxes in out["boxes"])
    # one allowed voxel under the lesion is enough when a twenty-third is asked for
    assert CopyPaste(labels=(LESION,), allowed=(ORGAN,), inside=1 / 23)(tight, donor(NAMES))["pasted"].all()


def test_by_default_a_lesion_never_covers_another():
    crowded = recipient(NAMES)
    crowded["mask"][:, :, 8:] = LESION
    out = CopyPaste(labels=(LESION,))(crowded, donor(NAMES))
    assert out["pasted"].any()
    gained = (out["mask"] == LESION).sum((1, 2, 3)) - (crowded["mask"] == LESION).sum((1, 2, 3))
    assert gained.tolist() == [23 * int(p) for p in out["pasted"]]


def test_a_donor_without_lesions_gives_nothing():
    healthy = recipient(NAMES)
    assert not CopyPaste(labels=(LESION,))(recipient(NAMES), healthy)["pasted"].any()


def test_a_pasted_sample_does_not_depend_on_the_batch_and_its_input_is_kept():
    paste = CopyPaste(labels=(LESION,), allowed=(ORGAN,), p=0.7)
    given_batch = recipient(NAMES)
    whole = paste(given_batch, donor(NAMES))
    assert 0 < int(whole["pasted"].sum()) < len(NAMES)
    assert not given_batch["image"].any()
    assert (given_batch["mask"] != LESION).all()
    for row, name in enumerate(NAMES):
        alone = paste(recipient([name]), donor([name]))
        assert all(torch.equal(alone[key][0], whole[key][row]) for key in ("image", "mask", "boxes", "pasted"))


def test_rows_of_the_batch_can_be_donors():
    both = {**recipient(["a", "b"]), "mask": torch.cat([recipient(["a"])["mask"], donor(["b"])["mask"]])}
    both["image"] = torch.cat([recipient(["a"])["image"], donor(["b"])["image"]])
    out = CopyPaste(labels=(LESION,), allowed=(ORGAN,))(both, [1, 1])
    assert out["pasted"].tolist() == [True, False]  # b has no organ
    assert out["image"][0].max() == 10


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: CopyPaste(labels=()), "mask values of lesions"),
        (lambda: CopyPaste(labels=(1,), inside=1.5), "inside"),
        (lambda: CopyPaste(labels=(1,), feather_mm=-1.0), "feather_mm"),
        (lambda: CopyPaste(labels=(1,))(recipient(["a"]), donor(["b"], spacing=(1.0, 1.0, 1.0))), "resample both to one"),
        (lambda: CopyPaste(labels=(1,))({**recipient(["a"]), "mask": None}, donor(["b"])), "has no mask"),
        (lambda: CopyPaste(labels=(1,))({**recipient(["a"]), "probability": 1}, donor(["b"])), "before masks become"),
    ],
)
def test_what_cannot_be_pasted_is_refused_with_the_reason(make, reason):
    with pytest.raises(AugmentationError, match=reason):
        make()
