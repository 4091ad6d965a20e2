"""Partners and the numbers of pairs come from keys alone."""

import collections

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medaug.draws import Draws
from medaug.errors import AugmentationError
from medaug.kernels.beta import beta_quantiles
from medaug.views.partners import batch_partners, beta, pair_draws, partner_id, partners_of

SHAPES = [(0.2, 0.2), (0.4, 0.4), (1.0, 1.0), (0.1, 3.0), (5.0, 2.0), (50.0, 80.0), (1e4, 1e4)]


def key(i: int, epoch: int = 0) -> tuple[int, int, str, int]:
    return (0, epoch, f"patient-{i}", 0)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_beta_quantiles_are_those_of_scipy(a, b):
    unit = np.concatenate([[0.0, 1e-12, 1e-6], np.linspace(0.001, 0.999, 201), [1 - 1e-6, 1 - 2.0**-53]])
    np.testing.assert_allclose(beta_quantiles(unit, a, b), stats.beta(a, b).ppf(unit), rtol=0, atol=1e-9)


def test_beta_draws_follow_their_distribution():
    drawn = beta(Draws([key(i) for i in range(4000)]), "share", 0.4, 0.7)
    assert stats.kstest(drawn, stats.beta(0.4, 0.7).cdf).pvalue > 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.randoms(use_true_random=False))
def test_partners_follow_the_samples_through_any_order_of_the_batch(count, random):
    keys = [key(i) for i in range(count)]
    shuffled = random.sample(keys, count)
    pairs = {keys[i]: keys[j] for i, j in enumerate(batch_partners(keys))}
    assert pairs == {shuffled[i]: shuffled[j] for i, j in enumerate(batch_partners(shuffled))}
    assert sorted(pairs.values()) == sorted(keys)  # each gives once
    assert all(sample != other for sample, other in pairs.items())


def test_a_sample_alone_is_its_own_partner():
    assert batch_partners([key(0)]).tolist() == [0]


def test_other_samples_of_the_data_set_are_chosen_equally_often():
    ids = [f"patient-{i}" for i in range(5)]
    counts = collections.Counter(partner_id(key(2, epoch), ids) for epoch in range(4000))
    assert set(counts) == {"patient-0", "patient-1", "patient-3", "patient-4"}
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_a_sample_from_outside_the_list_takes_any_of_it():
    counts = collections.Counter(partner_id(key(9, epoch), ["a", "b", "c"]) for epoch in range(3000))
    assert stats.chisquare([counts["a"], counts["b"], counts["c"]]).pvalue > 1e-3


@pytest.mark.parametrize("ids", [[], ["patient-3"]])
def test_nobody_to_mix_with_is_an_error(ids):
    with pytest.raises(AugmentationError, match="no other sample"):
        partner_id(key(3), ids)


def test_pairs_whose_names_join_alike_have_different_draws():
    pairs = [("a", "b with c"), ("a with b", "c"), ("a", "b"), ("b", "a")]
    numbers = pair_draws([(0, 0, a, 0) for a, _ in pairs], [(0, 0, b, 0) for _, b in pairs]).uniform("x")
    assert len(set(numbers.tolist())) == 4


@pytest.mark.parametrize("partner", [[0, 2], [0], [-1, 0]])
def test_partners_outside_the_batch_are_refused(partner):
    with pytest.raises(AugmentationError, match="one row of the batch"):
        partners_of({"image": torch.zeros(2, 1, 4, 4), "key": [key(0), key(1)]}, partner)


def test_partners_of_another_shape_are_refused():
    one = {"image": torch.zeros(1, 1, 4, 4), "key": [key(0)]}
    with pytest.raises(AugmentationError, match="bring both to one shape"):
        partners_of(one, {"image": torch.zeros(1, 1, 4, 5), "key": [key(1)]})
    with pytest.raises(AugmentationError, match="one `key`"):
        partners_of({"image": torch.zeros(1, 1, 4, 4)}, None)
