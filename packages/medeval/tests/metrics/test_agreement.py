import math

import pytest

from medeval import LengthError, ValueRangeError, cohen_kappa, kappa_interval, proportion


def test_ten_of_ten_accepted_still_has_an_interval():
    # Wilson at n of n: low = n / (n + z^2) = 10 / (10 + 3.8415)
    estimate = proportion(10, 10)
    assert (estimate.value, estimate.high, estimate.n) == (1, 1, 10)
    assert estimate.low == pytest.approx(10 / 13.8414588, rel=1e-6)


def test_the_interval_of_15_of_148_is_the_published_one():
    # Newcombe, Statistics in Medicine 1998, table I: 15/148 by the score method: 0.0624 to 0.1605
    estimate = proportion(15, 148)
    assert (estimate.low, estimate.high) == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))


def test_kappa_of_a_two_by_two_table():
    # both yes 20, first yes only 5, second yes only 10, both no 15: observed 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(first, first) == 1
    assert math.isnan(cohen_kappa(["y"] * 3, ["y"] * 3))


def test_the_interval_of_kappa_is_that_of_its_large_sample_error():
    # The table above: kappa 0.4; Fleiss, Cohen and Everitt, Psychol Bull 1969, give a standard error near
    # sqrt(0.7 * 0.3 / (50 * 0.5^2)) = 0.130, so 0.146 to 0.654
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    estimate = kappa_interval(first, second)
    assert estimate.value == pytest.approx(0.4)
    assert (estimate.low, estimate.high) == (pytest.approx(0.146, abs=0.04), pytest.approx(0.654, abs=0.04))
    assert estimate.n == 50
    assert kappa_interval(["y"] * 3, ["y"] * 3) is None


def test_verdicts_on_different_numbers_of_cases_are_refused():
    with pytest.raises(LengthError, match="1 and 2 verdicts"):
        cohen_kappa(["y"], ["y", "n"])
    with pytest.raises(ValueRangeError, match="3 of 2"):
        proportion(3, 2)
