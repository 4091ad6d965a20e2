"""Mixup and CutMix: what is seen of each sample, and what the labels say of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medaug.errors import AugmentationError
from medaug.views.mixing import CutMix, Mixup, mix_labels

NAN = math.nan


def batch(ids, shape=(6, 9), epoch=0):
    """Image i is constant i, its mask i % 3, its label (i % 2, unknown for multiples of 3)."""
    ids = list(ids)
    number = torch.tensor(ids, dtype=torch.float32)
    whole = number.view(-1, 1, *(1,) * len(shape))
    return {
        "image": whole.expand(-1, 2, *shape).contiguous(),
        "mask": (whole[:, 0] % 3).expand(-1, *shape).long(),
        "label": torch.stack([number % 2, torch.where(number % 3 == 0, NAN, number)], dim=1),
        "key": [(0, epoch, str(i), 0) for i in ids],
    }


def same(a, b):
    return torch.equal(torch.nan_to_num(a, nan=-99.0), torch.nan_to_num(b, nan=-99.0))


def test_labels_are_blended_by_share_and_unknown_where_either_is():
    own = torch.tensor([[1.0, NAN, 0.0, 1.0]] * 3)
    other = torch.tensor([[0.0, 1.0, NAN, 1.0]] * 3)
    mixed = mix_labels(own, other, torch.tensor([0.25, 1.0, 0.0]))
    # at share 1 the sample's own labels stay, known or not; at 0 the partner's
    assert same(mixed, torch.tensor([[0.25, NAN, NAN, 1.0], [1.0, NAN, 0.0, 1.0], [0.0, 1.0, NAN, 1.0]]))


def test_whole_number_labels_become_shares():
    assert mix_labels(torch.tensor([[1, 0]]), torch.tensor([[0, 0]]), torch.tensor([0.75])).tolist() == [[0.75, 0.0]]


def test_mixup_blends_images_masks_and_labels_by_one_share():
    given_batch = batch([1, 2, 4, 5])
    out = Mixup(alpha=1.0, classes=3)(given_batch, [1, 0, 3, 2])
    share = out["own_share"]
    own, other = torch.tensor([1.0, 2, 4, 5]), torch.tensor([2.0, 1, 5, 4])
    expected = own * share + other * (1 - share)
    torch.testing.assert_close(out["image"], expected.float().view(-1, 1, 1, 1).expand(-1, 2, 6, 9))
    torch.testing.assert_close(out["label"][:, 1], expected.float())
    torch.testing.assert_close(out["probability"].sum(1), torch.ones(4, 6, 9))
    # sample 0 has class 1, its partner class 2
    torch.testing.assert_close(out["probability"][0, :, 0, 0], torch.tensor([0.0, share[0], 1 - share[0]], dtype=torch.float32))
    assert "mask" not in out


def test_mixup_shares_follow_the_beta_distribution():
    given_batch = batch(range(1500), (1, 1))
    del given_batch["mask"]
    share = Mixup(alpha=0.4)(given_batch)["own_share"].numpy()
    assert stats.kstest(share, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 3), st.sampled_from([(6, 9), (4, 5, 7)]), st.integers(0, 50))
def test_cutmix_labels_weigh_what_is_seen(alpha, shape, epoch):
    given_batch = batch([1, 2, 4, 5], shape, epoch)
    out = CutMix(alpha=alpha)(given_batch, [1, 0, 3, 2])
    for row, (own, other) in enumerate([(1, 2), (2, 1), (4, 5), (5, 4)]):
        stays = out["image"][row, 0] == own
        assert out["own_share"][row].item() == pytest.approx(stays.double().mean().item(), abs=1e-12)
        assert out["label"][row, 1].item() == pytest.approx(out["image"][row, 0].mean().item(), rel=1e-5)
        assert torch.equal(out["mask"][row], torch.where(stays, own % 3, other % 3))
        assert torch.equal(out["image"][row, 0], out["image"][row, 1])
        place = torch.nonzero(~stays)
        if len(place):  # what was cut is one full box
            extent = place.amax(0) - place.amin(0) + 1
            assert int(extent.prod()) == len(place)


def test_cutmix_boxes_have_the_drawn_share_and_lie_anywhere_inside():
    shape = (12, 20)
    given_batch = batch(range(1, 2001), shape)
    cut = (CutMix(alpha=1.0)(given_batch)["image"][:, 0] != given_batch["image"][:, 0]).double()
    # the share is uniform: mean 1/2, standard error sqrt(1/12 / 2000) = 0.0065; rounding of edges to voxels below 0.01
    assert cut.mean().item() == pytest.approx(0.5, abs=0.03)
    # a box of edges e covers a given corner at one of its prod(S - e + 1) places
    root = np.sqrt(np.linspace(0, 1, 20001)[1:])
    edges = [np.rint(n * root) for n in shape]
    corner = np.mean((edges[0] > 0) * (edges[1] > 0) / ((13 - edges[0]) * (21 - edges[1])))
    for place in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        assert cut[(slice(None), *place)].mean().item() == pytest.approx(corner, abs=4 * np.sqrt(corner / 2000))


@pytest.mark.parametrize("mix", [Mixup(classes=3, p=0.6), CutMix(p=0.6)])
def test_a_mixed_sample_does_not_depend_on_the_order_of_the_batch(mix):
    order = [3, 0, 4, 1, 2]
    ids = [11, 12, 13, 15, 16]
    first, second = mix(batch(ids)), mix(batch([ids[i] for i in order]))
    for name in ("image", "label", "own_share"):
        assert same(second[name], first[name][order]), name


@pytest.mark.parametrize("mix", [Mixup(classes=3), CutMix()])
def test_with_partners_given_the_members_of_a_batch_change_nothing(mix):
    whole = mix(batch([1, 2, 4]), batch([7, 8, 10]))
    alone = mix(batch([2]), batch([8]))
    for name in ("image", "label", "own_share"):
        assert same(alone[name], whole[name][1:2]), name


@pytest.mark.parametrize("mix", [Mixup(classes=3, p=0.0), CutMix(p=0.0)])
def test_without_probability_nothing_changes(mix):
    given_batch = batch([0, 1, 2])
    out = mix(given_batch)
    assert torch.equal(out["image"], given_batch["image"])
    assert same(out["label"], given_batch["label"])
    assert out["own_share"].tolist() == [1.0] * 3


def test_what_was_given_is_not_changed():
    given_batch = batch([1, 2, 4])
    kept = {name: value.clone() for name, value in given_batch.items() if name != "key"}
    Mixup(classes=3)(given_batch)
    CutMix()(given_batch)
    assert all(same(given_batch[name], value) for name, value in kept.items())


def test_half_precision_is_blended_in_single_and_stays_half():
    given_batch = batch([1, 2])
    del given_batch["mask"]
    halves = {**given_batch, "image": given_batch["image"].half()}
    out, single = (Mixup()(b)["image"] for b in (halves, given_batch))
    assert out.dtype == torch.float16
    assert torch.equal(out, single.half())


@pytest.mark.parametrize(
    ("change", "mix", "reason"),
    [
        ({"image": torch.zeros(2, 1, 4, 4, dtype=torch.int16)}, CutMix(), "floating point"),
        ({"boxes": [torch.zeros(1, 4), torch.zeros(0, 4)]}, CutMix(), "boxes cannot be mixed"),
        ({"prior": {}}, Mixup(), "prior"),
        ({}, Mixup(), "give Mixup its `classes`"),
        ({}, Mixup(classes=2), "told of 2 classes"),
        ({"label": torch.tensor([0, 1])}, CutMix(), "one column a class"),
        ({"label": np.nan * torch.zeros(2, 2)}, lambda b: CutMix()(b, batch([3, 4, 5])), "fit|number"),
    ],
)
def test_what_cannot_be_mixed_is_refused_with_the_reason(change, mix, reason):
    with pytest.raises(AugmentationError, match=reason):
        mix({**batch([1, 2]), **change})


def test_partners_without_labels_are_refused():
    partner = batch([7, 8])
    del partner["label"]
    with pytest.raises(AugmentationError, match="label is missing"):
        CutMix()(batch([1, 2]), partner)


@pytest.mark.gpu
@pytest.mark.parametrize("mix", [Mixup(classes=3, p=0.6), CutMix(p=0.6)])
def test_mixing_on_cuda_agrees_with_the_cpu(mix):
    here = batch([11, 12, 13, 15])
    there = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in here.items()}
    one, other = mix(here), mix(there)
    for name in ("image", "label", "own_share"):
        torch.testing.assert_close(other[name].cpu(), one[name], equal_nan=True)
