"""Cross-entropy where it counts."""

import math

import pytest
import torch

from medvlm import IGNORE, next_token_loss


def test_uniform_logits_cost_the_log_of_the_vocabulary():
    loss = next_token_loss(torch.zeros(2, 3, 7), torch.tensor([[IGNORE, 1, 2], [IGNORE, IGNORE, 5]]))
    assert loss.tolist() == pytest.approx([math.log(7)] * 2)


def test_position_i_predicts_token_i_plus_one():
    logits = torch.full((1, 3, 4), -50.0)
    logits[0, 0, 2] = logits[0, 1, 3] = 50.0
    assert next_token_loss(logits, torch.tensor([[0, 2, 3]])).item() == pytest.approx(0.0, abs=1e-6)


def test_a_sample_is_the_mean_of_its_tokens_and_without_labels_zero():
    # two equal logits cost ln 2; logits (0, ln 3) give token 0 the probability 1/4: ln 4. Their mean is (ln 2 + ln 4) / 2 = 1.5 ln 2
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)], [0.0, 0.0]]] * 2)
    loss = next_token_loss(logits, torch.tensor([[0, 1, 0], [IGNORE] * 3]))
    assert loss.tolist() == pytest.approx([1.5 * math.log(2), 0.0])
