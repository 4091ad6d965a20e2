import math

import numpy as np
import pytest
import torch

from medfinetune import fit_platt
from medfinetune.calibration import SMALLEST_SCALE, platt_notes


def _expected_labels(scale, bias, n=40):
    # Of 1000 copies of each logit x, a share sigmoid(scale * x + bias) is positive: the likelihood's maximum is (scale, bias) itself,
    # up to the rounding of the counts. The logits keep scale * x + bias within 3, where a rounded count still says something.
    x = (torch.linspace(-3, 3, n, dtype=torch.float64) - bias) / scale
    positives = (torch.sigmoid(scale * x + bias) * 1000).round().long()
    logits = x.repeat_interleave(1000)
    labels = torch.cat([(torch.arange(1000) < p).double() for p in positives])
    return logits, labels


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.5, -1.0), (2.5, 0.7)])
def test_the_known_scale_and_bias_come_back(scale, bias):
    a, b = fit_platt(*_expected_labels(scale, bias))
    assert float(a) == pytest.approx(scale, abs=2e-3)
    assert float(b) == pytest.approx(bias, abs=2e-3)


def test_the_fit_is_the_unpenalised_logistic_regression_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) * 3
    y = (rng.random((400, 2)) < 1 / (1 + np.exp(-(0.4 * x - 0.8)))).astype(float)
    scale, bias = fit_platt(torch.from_numpy(x), torch.from_numpy(y), strength=1e-9)
    for k in range(2):
        peer = linear_model.LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(x[:, [k]], y[:, k])
        assert float(scale[k]) == pytest.approx(float(peer.coef_[0, 0]), abs=1e-4)
        assert float(bias[k]) == pytest.approx(float(peer.intercept_[0]), abs=1e-4)


def test_calibrated_probabilities_sum_to_the_positives():
    # the gradient of the likelihood in the bias is sum(p) - sum(y), zero at the optimum
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(300, 1)) * 5)
    y = torch.from_numpy((rng.random((300, 1)) < 0.2).astype(float))
    scale, bias = fit_platt(x, y, strength=1e-9)
    assert float(torch.sigmoid(scale * x + bias).sum()) == pytest.approx(float(y.sum()), abs=1e-4)


def test_unknown_labels_are_left_out():
    x, y = _expected_labels(0.7, 0.2, n=4)
    noise = torch.full((50,), 9.0, dtype=torch.float64)
    with_unknown = fit_platt(torch.cat([x, noise]), torch.cat([y, torch.full((50,), math.nan)]))
    torch.testing.assert_close(torch.cat(with_unknown), torch.cat(fit_platt(x, y)))


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_a_label_of_one_class_stays_at_the_identity_and_is_named(value):
    logits, labels = torch.randn(20, 2), torch.full((20, 2), value)
    labels[:10, 1], labels[10:, 1] = 0.0, 1.0
    scale, bias = fit_platt(logits, labels)
    assert (float(scale[0]), float(bias[0])) == (1.0, 0.0)
    notes = platt_notes(logits, labels, ("mass", "nodule"))
    assert notes[0].startswith("mass: no case of one class")


def test_separable_labels_stay_finite_and_keep_their_order():
    x = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    scale, bias = fit_platt(x, (x > 0).float())
    assert 1 < float(scale) < 20
    assert abs(float(bias)) < 1e-6  # symmetric data


def test_a_label_that_was_learned_backwards_is_named():
    x, y = _expected_labels(-1.0, 0.0, n=4)
    (note,) = platt_notes(x.unsqueeze(1), y.unsqueeze(1), ("effusion",))
    assert note.startswith("effusion: higher logits do not mean more positives")


def test_calibration_never_reverses_an_order_and_keeps_the_base_rate():
    x, y = _expected_labels(-1.0, 0.5, n=8)
    scale, bias = fit_platt(x, y, strength=1e-9)
    assert float(scale) == SMALLEST_SCALE
    # at the optimum of a bias alone the probabilities sum to the positives
    assert float(torch.sigmoid(scale * x + bias).sum()) == pytest.approx(float(y.sum()), abs=1e-3)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_platt(torch.tensor([math.inf, 0.0]), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        fit_platt(torch.zeros(2), torch.tensor([0.5, 0.0]))
    with pytest.raises(ValueError, match="one shape"):
        fit_platt(torch.zeros(2), torch.zeros(3))
