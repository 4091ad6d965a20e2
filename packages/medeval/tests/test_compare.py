import dataclasses

import numpy as np
import pytest

from medeval import EvalError, LengthError, compare, evaluate


def films(noise: float, seed: int, n: int = 100, order=None):
    """A model that sees the shared signal through noise of its own."""
    shared = np.random.default_rng(0)
    labels = (shared.random((n, 1)) < 0.4).astype(float)
    signal = 2 * labels - 1 + shared.normal(size=labels.shape)
    p = 1 / (1 + np.exp(-signal - noise * np.random.default_rng(seed).normal(size=labels.shape)))
    order = np.arange(n) if order is None else order
    return evaluate(
        "classification",
        p[order],
        labels[order],
        classes=["mass"],
        patients=[f"p{i // 2}" for i in order],
        sample_ids=[f"s{i}" for i in order],
        samples=100,
    )


def test_the_difference_is_that_of_the_two_figures_and_turns_round():
    a, b = films(0.2, 1), films(3, 2)
    forth, back = compare(a, b, "auroc"), compare(b, a, "auroc")
    assert forth.value == pytest.approx(a.estimates["auroc"].value - b.estimates["auroc"].value)
    assert (forth.value, forth.low, forth.high) == (pytest.approx(-back.value), pytest.approx(-back.high), pytest.approx(-back.low))
    assert forth.low > 0  # the clearly better model is seen to be so


def test_pairing_gives_a_narrower_interval_than_the_two_alone():
    a, b = films(0.2, 1), films(0.3, 2)
    paired = compare(a, b, "auroc")
    widths = [e.high - e.low for e in (a.estimates["auroc"], b.estimates["auroc"])]
    assert paired.high - paired.low < 0.5 * np.hypot(*widths)


def test_a_model_against_itself_differs_by_exactly_nothing_in_any_order_of_cases():
    a, shuffled = films(1, 1), films(1, 1, order=np.random.default_rng(3).permutation(100))
    for metric in a.estimates:
        difference = compare(a, shuffled, metric)
        assert (difference.value, difference.low, difference.high, difference.n) == (0, 0, 0, 100)


def test_a_segmenter_that_misses_is_found_worse_by_the_whole_share_it_missed():
    reference = [np.ones((3, 3), dtype=int)] * 10
    worse = [np.zeros((3, 3), dtype=int)] * 5 + reference[5:]
    options = {"classes": ("background", "organ"), "spacing": [(1, 1)] * 10, "patients": [str(i) for i in range(10)]}
    good, bad = evaluate("segmentation", reference, reference, **options), evaluate("segmentation", worse, reference, **options)
    difference = compare(good, bad, "dice")
    assert difference.value == 0.5
    assert 0.1 <= difference.low < 0.5 < difference.high <= 0.9


def test_evaluations_that_do_not_match_are_refused():
    a = films(1, 1)
    with pytest.raises(EvalError, match="dice: is not among the figures of the first"):
        compare(a, a, "dice")
    with pytest.raises(LengthError, match=r"s98: is one of 2 cases that only one"):
        compare(a, films(1, 1, order=np.arange(98)), "auroc")
    moved = dataclasses.replace(a, patients=("other", *a.patients[1:]))
    with pytest.raises(LengthError, match="s0: belongs to patient p0 in one evaluation and other"):
        compare(a, moved, "auroc")
    turned = dataclasses.replace(a, scores=dataclasses.replace(a.scores, labels=1 - a.scores.labels))
    with pytest.raises(EvalError, match="other labels in the two"):
        compare(a, turned, "auroc")
