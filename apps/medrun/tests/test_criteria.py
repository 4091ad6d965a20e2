import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrun import Criterion, judge


def figure(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high, "n": 20.0}


def test_a_threshold_is_met_by_the_interval_not_by_the_value() -> None:
    criteria = [Criterion.parse("dice>=0.85")]
    assert judge(criteria, {"dice": figure(0.88, 0.86, 0.90)}).passed
    verdict = judge(criteria, {"dice": figure(0.88, 0.84, 0.92)})
    assert verdict.refusals == ("dice 0.88 [0.84, 0.92]: the interval's low end 0.84 is below 0.85",)


def test_where_less_is_better_the_high_end_counts() -> None:
    criteria = [Criterion.parse("hd95_mm<=10")]
    assert judge(criteria, {"hd95_mm": figure(8, 7, 9)}).passed
    assert "above 10" in judge(criteria, {"hd95_mm": figure(8, 5, 11)}).refusals[0]


def test_not_worse_by_a_margin_looks_at_the_pessimistic_end() -> None:
    # current 0.85, margin 0.02: the low end must reach 0.83
    criteria = [Criterion.parse("dice within 0.02")]
    current = {"dice": figure(0.85, 0.8, 0.9)}
    assert judge(criteria, {"dice": figure(0.85, 0.831, 0.87)}, current).passed
    assert not judge(criteria, {"dice": figure(0.86, 0.829, 0.89)}, current).passed
    less = [Criterion.parse("hd95_mm within 1 less")]
    assert judge(less, {"hd95_mm": figure(5, 4, 5.9)}, {"hd95_mm": figure(5, 4, 6)}).passed
    assert not judge(less, {"hd95_mm": figure(5, 4, 6.1)}, {"hd95_mm": figure(5, 4, 6)}).passed


def test_a_first_version_has_nothing_to_be_worse_than() -> None:
    assert judge([Criterion.parse("dice within 0.02")], {"dice": figure(0.5, 0.4, 0.6)}).passed


def test_what_was_not_measured_is_refused() -> None:
    assert "not measured" in judge([Criterion.parse("dice>=0.5")], {"nsd": figure(1, 1, 1)}).refusals[0]
    bare: dict[str, float | None] = {"value": 0.9, "low": None, "high": None, "n": None}
    assert "no interval" in judge([Criterion.parse("dice>=0.5")], {"dice": bare}).refusals[0]
    assert "to compare with" in judge([Criterion.parse("dice within 0.1")], {"dice": figure(1, 1, 1)}, {}).refusals[0]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_a_version_never_loses_to_itself_by_more_than_its_own_interval(value: float, half: float, margin: float) -> None:
    own = {"dice": figure(value, value - half, value + half)}
    assert judge([Criterion(metric="dice", margin=margin)], own, own).passed == (value - half >= value - margin)


@pytest.mark.parametrize("text", ["dice", "dice>0.8", "dice>=high", "dice within", "dice within 0.1 most"])
def test_a_criterion_that_cannot_be_read_shows_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"dice|better"):
        Criterion.parse(text)


def test_no_criteria_promote_nothing() -> None:
    with pytest.raises(ValueError, match="at least one criterion"):
        judge([], {})
