import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval import ValueRangeError, brier, ece, reliability

# Multiples of 1/20 lie on the edges of 4, 5 and 10 bins.
cases = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20)), st.integers(0, 1)), min_size=1, max_size=60
)


def naive_ece(probabilities, labels, bins):
    """The definition, case by case, with the edges compared one at a time."""
    total = 0.0
    for k in range(bins):
        inside = [i for i, p in enumerate(probabilities) if k / bins <= p and (p < (k + 1) / bins or k == bins - 1)]
        if inside:
            promised = sum(probabilities[i] for i in inside) / len(inside)
            observed = sum(labels[i] for i in inside) / len(inside)
            total += len(inside) / len(probabilities) * abs(observed - promised)
    return total


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(1, 20))
def test_ece_equals_a_loop_over_the_definition(rows, bins):
    p, y = np.array(rows).T
    assert ece(p, y, bins=bins) == pytest.approx(naive_ece(p.tolist(), y.tolist(), bins), abs=1e-12)


def test_ece_is_that_of_the_positive_class_and_not_of_the_likelier_label():
    # One bin: |1/4 observed - 0.45 promised| = 0.2. Two bins: 0.5 * |0 - 0.2| + 0.5 * |0.5 - 0.7| = 0.2.
    # The likelier label, in one bin: confidence (0.8, 0.8, 0.7, 0.7), right three times of four: |0.75 - 0.75| = 0.
    p, y = np.array([0.2, 0.2, 0.7, 0.7]), np.array([0, 0, 1, 0])
    assert ece(p, y, bins=1) == pytest.approx(0.2)
    assert ece(p, y, bins=2) == pytest.approx(0.2)


def test_bins_of_the_diagram_rebuild_the_ece():
    rng = np.random.default_rng(0)
    p = rng.random(200)
    y = rng.random(200) < p**2
    bins = reliability(p, y, bins=10)
    assert sum(b.n for b in bins) == 200
    assert sum(b.n / 200 * abs(b.observed - b.mean_probability) for b in bins) == pytest.approx(ece(p, y, bins=10))
    assert all(b.low <= b.mean_probability <= b.high for b in bins)


def test_brier_of_a_constant_half_is_a_quarter_and_of_the_truth_is_0():
    y = np.array([0, 1, 1, 0, 1])
    assert brier(np.full(5, 0.5), y) == 0.25
    assert brier(y.astype(float), y) == 0


def test_logits_are_refused_with_the_mend():
    with pytest.raises(ValueRangeError, match="apply a sigmoid"):
        ece(np.array([2.3, 0.1]), np.array([1, 0]))
    with pytest.raises(ValueRangeError, match="bins"):
        ece(np.array([0.3, 0.1]), np.array([1, 0]), bins=0)
