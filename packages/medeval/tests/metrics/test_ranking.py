import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval import LengthError, ValueRangeError, auroc, average_precision, roc_curve
from medeval.metrics.ranking import weighted_auroc, weighted_average_precision

sklearn_metrics = pytest.importorskip("sklearn.metrics")


@st.composite
def scored(draw):
    """Scores with many ties, and labels of both classes."""
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda v: 0 < sum(v) < len(v)))
    return np.array(scores, dtype=float), np.array(labels, dtype=float)


def test_auroc_counts_the_pairs_in_order_and_ties_half():
    # positives 3, 1; negatives 2, 1: pairs (3>2), (3>1), (1<2), (1=1): (2 + 0.5) / 4
    assert auroc(np.array([3, 1, 2, 1]), np.array([1, 1, 0, 0])) == 0.625


@settings(max_examples=40, deadline=None)
@given(scored())
def test_auroc_average_precision_and_curve_equal_scikit_learn_with_ties(case):
    scores, labels = case
    assert auroc(scores, labels) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(sklearn_metrics.average_precision_score(labels, scores))
    false, true, thresholds = roc_curve(scores, labels)
    assert sklearn_metrics.auc(false, true) == pytest.approx(auroc(scores, labels))
    for t, f, s in zip(true, false, thresholds, strict=True):  # each point is the rates of calling s and above positive
        assert t == np.mean(scores[labels == 1] >= s)
        assert f == np.mean(scores[labels == 0] >= s)
    assert (np.diff(thresholds) < 0).all()


@settings(max_examples=40, deadline=None)
@given(scored())
def test_auroc_ignores_monotone_transforms_and_turns_round_with_the_labels(case):
    scores, labels = case
    assert auroc(np.exp(scores / 3) - 7, labels) == auroc(scores, labels)
    assert auroc(scores, 1 - labels) == pytest.approx(1 - auroc(scores, labels))
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))


@settings(max_examples=40, deadline=None)
@given(scored(), st.integers(0, 2**32 - 1))
def test_a_weight_is_the_same_as_that_many_copies_of_the_case(case, seed):
    scores, labels = case
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(scores))).astype(float)
    for row, area, precision in zip(
        weights, weighted_auroc(scores, labels, weights), weighted_average_precision(scores, labels, weights), strict=True
    ):
        copies = np.repeat(np.arange(len(scores)), row.astype(int))
        if 0 < labels[copies].sum() < len(copies):
            assert area == pytest.approx(sklearn_metrics.roc_auc_score(labels[copies], scores[copies]))
            assert precision == pytest.approx(sklearn_metrics.average_precision_score(labels[copies], scores[copies]))
        else:
            assert math.isnan(area)


def test_one_class_only_is_undefined_and_not_0_or_1():
    assert math.isnan(auroc(np.array([0.1, 0.9]), np.array([1, 1])))
    with pytest.raises(ValueRangeError, match="at least one positive"):
        roc_curve(np.array([0.1, 0.9]), np.array([1, 1]))


def test_straight_stretches_of_the_curve_hold_no_points():
    # 50 positives above 50 negatives: the polygon has three corners
    false, true, _ = roc_curve(np.arange(100), np.arange(100) >= 50)
    np.testing.assert_array_equal(np.stack([false, true], 1), [[0, 0], [0, 1], [1, 1]])


def test_bad_scores_and_labels_are_refused_with_the_mend():
    with pytest.raises(ValueRangeError, match="1 of 2 are NaN"):
        auroc(np.array([np.nan, 1]), np.array([0, 1]))
    with pytest.raises(ValueRangeError, match="leave unknown cases out"):
        auroc(np.array([0, 1]), np.array([0, np.nan]))
    with pytest.raises(LengthError, match="equally long"):
        auroc(np.array([0, 1]), np.array([0]))
