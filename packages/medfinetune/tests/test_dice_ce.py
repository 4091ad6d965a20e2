import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfinetune.losses import dice_ce_loss


def _case(shape=(2, 3, 6, 5, 4), seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=g, dtype=torch.float64)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)
    return logits, target


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 6, 5, 4), (3, 4, 7, 6)])
def test_value_and_gradient_are_those_of_monai_where_every_class_occurs(shape, background, batch):
    losses = pytest.importorskip("monai.losses")
    logits, target = _case(shape)
    ours, theirs = logits.float().requires_grad_(), logits.float().requires_grad_()
    peer = losses.DiceCELoss(include_background=background, to_onehot_y=True, softmax=True, batch=batch, smooth_nr=1e-5, smooth_dr=1e-5)
    a = dice_ce_loss(ours, target, batch_dice=batch, include_background=background)
    b = peer(theirs, target.unsqueeze(1))
    a.backward()
    b.backward()
    assert a.item() == pytest.approx(b.item(), abs=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-7, rtol=1e-5)


def test_a_confident_perfect_prediction_costs_nothing():
    _, target = _case()
    logits = 60.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert float(dice_ce_loss(logits, target)) == pytest.approx(0, abs=1e-6)


def test_an_undecided_prediction_costs_what_paper_and_pencil_say():
    # two classes, p = 1/2 everywhere, foreground in 1 of 4 voxels:
    # Dice = 2 * 0.5 / (4 * 0.5 + 1) = 1/3, so the Dice term is 2/3; the cross entropy is ln 2
    target = torch.tensor([[[0, 0], [0, 1]]])
    loss = dice_ce_loss(torch.zeros(1, 2, 2, 2), target, smooth=0.0)
    assert float(loss) == pytest.approx(2 / 3 + math.log(2), abs=1e-6)


def test_batch_dice_divides_the_summed_overlaps():
    # p = 1/2; image 0 has 4 foreground voxels of 4, image 1 has 2 of 4.
    # per image: 2*2/(2+4) = 2/3 and 2*1/(2+2) = 1/2, mean loss 5/12; batch: 2*3/(4+6) = 3/5, loss 2/5
    target = torch.tensor([[[1, 1], [1, 1]], [[1, 1], [0, 0]]])
    logits = torch.zeros(2, 2, 2, 2)
    assert float(dice_ce_loss(logits, target, ce_weight=0, smooth=0.0)) == pytest.approx(5 / 12)
    assert float(dice_ce_loss(logits, target, ce_weight=0, smooth=0.0, batch_dice=True)) == pytest.approx(2 / 5)


def test_gather_makes_the_batch_dice_of_two_ranks_the_one_of_the_whole_batch():
    logits, target = _case()
    per_rank = {}

    def collect(rank):
        def gather(x):
            per_rank.setdefault(rank, []).append(x)
            return x

        return gather

    for rank in (0, 1):
        dice_ce_loss(logits[rank : rank + 1], target[rank : rank + 1], ce_weight=0, batch_dice=True, gather=collect(rank))
    calls = iter(zip(per_rank[0], per_rank[1], strict=True))
    joined = dice_ce_loss(logits[:1], target[:1], ce_weight=0, batch_dice=True, gather=lambda x: torch.cat(next(calls)).to(x.dtype))
    torch.testing.assert_close(joined, dice_ce_loss(logits, target, ce_weight=0, batch_dice=True))


def test_a_class_that_never_occurs_does_not_move_the_dice_term():
    _, target = _case((2, 3, 6, 5))
    three = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    absent = torch.cat([three, torch.full((2, 1, 6, 5), -30.0)], dim=1)  # a fourth class, with next to no probability
    torch.testing.assert_close(dice_ce_loss(absent, target, ce_weight=0), dice_ce_loss(three, target, ce_weight=0))


def test_an_image_of_background_alone_still_has_a_finite_loss_and_a_gradient():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = dice_ce_loss(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(3))  # no foreground: cross entropy alone
    assert logits.grad.abs().sum() > 0


def test_one_image_without_a_class_leaves_only_its_own_pair_out_of_the_mean():
    # image 0 holds class 1 (Dice term 1 - 2*2/(2+4) = 1/3 at p = 1/2), image 1 is empty: the mean runs over one pair
    target = torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]).long()
    assert float(dice_ce_loss(torch.zeros(2, 2, 2, 2), target, ce_weight=0, smooth=0.0)) == pytest.approx(1 / 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_unknown_voxels_move_neither_value_nor_gradient(seed, batch):
    logits, target = _case((2, 3, 5, 4), seed)
    unknown = torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    target = target.masked_fill(unknown, -1)
    a = logits.clone().requires_grad_()
    moved = torch.where(unknown.unsqueeze(1), logits + 7 * torch.randn(logits.shape, dtype=logits.dtype), logits)
    b = moved.requires_grad_()
    first, second = dice_ce_loss(a, target, batch_dice=batch), dice_ce_loss(b, target, batch_dice=batch)
    first.backward()
    assert first.item() == pytest.approx(second.item(), abs=1e-6)
    assert a.grad.movedim(1, -1)[unknown].abs().max() == 0 if unknown.any() else True


def test_a_batch_of_unknown_voxels_costs_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = dice_ce_loss(logits, torch.full((1, 4, 4), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_gradient_agrees_with_finite_differences():
    logits, target = _case((1, 3, 3, 3))
    target[0, 0, 0] = -1

    # float32 inside: central differences of a float64 input to about 1e-3
    x = logits.clone().requires_grad_()
    dice_ce_loss(x, target).backward()
    for index in [(0, 0, 1, 1), (0, 1, 2, 0), (0, 2, 0, 0)]:
        step = torch.zeros_like(logits)
        step[index] = 1e-2
        numeric = (dice_ce_loss(logits + step, target) - dice_ce_loss(logits - step, target)) / 2e-2
        assert float(x.grad[index]) == pytest.approx(float(numeric), abs=1e-4)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\).*\(1, 5, 4\)"):
        dice_ce_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 5, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="at least 2 classes"):
        dice_ce_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))
