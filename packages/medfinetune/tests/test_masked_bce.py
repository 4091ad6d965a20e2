import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfinetune.losses import masked_bce_loss

NAN = math.nan


def test_an_undecided_prediction_costs_ln_2_for_each_known_label():
    assert float(masked_bce_loss(torch.zeros(2, 3), torch.tensor([[1, 0, NAN], [NAN, NAN, 1.0]]))) == pytest.approx(math.log(2))


def test_the_value_and_gradient_are_those_of_torch_over_the_known_labels():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, generator=g)
    y = (torch.rand(5, 4, generator=g) > 0.5).float()
    hidden = torch.rand(5, 4, generator=g) < 0.4
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    a = masked_bce_loss(ours, y.masked_fill(hidden, NAN))
    b = torch.nn.functional.binary_cross_entropy_with_logits(theirs[~hidden], y[~hidden])
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.grad, theirs.grad)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_unknown_labels_move_neither_value_nor_gradient(seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, generator=g)
    y = (torch.rand(4, 3, generator=g) > 0.5).float()
    hidden = torch.rand(4, 3, generator=g) < 0.5
    y[hidden] = NAN
    a, b = x.clone().requires_grad_(), torch.where(hidden, x + 100, x).requires_grad_()
    first, second = masked_bce_loss(a, y), masked_bce_loss(b, y)
    first.backward()
    second.backward()
    torch.testing.assert_close(first, second)
    assert torch.isfinite(a.grad).all()
    assert not a.grad[hidden].any()
    torch.testing.assert_close(a.grad, b.grad)


def test_a_batch_without_a_known_label_costs_nothing():
    x = torch.randn(2, 2, requires_grad=True)
    loss = masked_bce_loss(x, torch.full((2, 2), NAN))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not x.grad.any()


def test_a_positive_weight_scales_the_positive_term_of_its_label_only():
    # sigmoid(0) = 1/2: each term is ln 2; weights 3 and 1 on two positives give (3 + 1) / 2 * ln 2
    loss = masked_bce_loss(torch.zeros(1, 2), torch.ones(1, 2), positive_weight=torch.tensor([3.0, 1.0]))
    assert float(loss) == pytest.approx(2 * math.log(2))
    assert float(masked_bce_loss(torch.zeros(1, 2), torch.zeros(1, 2), positive_weight=torch.tensor([3.0, 1.0]))) == pytest.approx(
        math.log(2)
    )


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        masked_bce_loss(torch.zeros(2, 3), torch.zeros(2, 4))
