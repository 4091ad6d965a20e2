import numpy as np
import pytest

from medeval.bootstrap import Estimate, bootstrap, keyed_rng, patient_weights


class MeanOf:
    """The mean of plain values, the simplest thing to put an interval around."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=float)

    def statistics(self, weights):
        return {"mean": weights @ self.values / weights.sum(axis=1)}

    def entered(self, metric):
        return np.ones(len(self.values), dtype=bool)

    def bounds(self, metric):
        return (0.0, 1.0)

    def biased(self, metric):
        return False


def mean_interval(values, patients, seed=0, samples=1000) -> Estimate:
    return bootstrap(MeanOf(values), patients, rng=keyed_rng(seed, "bootstrap"), samples=samples)["mean"]


def test_the_interval_of_a_share_is_that_of_the_binomial():
    # 40 of 100 independent cases: mean 0.4, standard error sqrt(0.4 * 0.6 / 100) = 0.049, so 0.304 to 0.496
    estimate = mean_interval([1] * 40 + [0] * 60, [str(i) for i in range(100)], samples=4000)
    assert estimate.value == 0.4
    assert (estimate.low, estimate.high) == (pytest.approx(0.304, abs=0.012), pytest.approx(0.496, abs=0.012))
    assert (estimate.n, estimate.patients) == (100, 100)


def test_95_percent_intervals_hold_the_truth_about_95_percent_of_the_time():
    # 300 data sets of 40 patients with 1 to 4 cases that share the patient's level: the true mean is 0.5
    rng = np.random.default_rng(1)
    held, naive = 0, 0
    for trial in range(300):
        patients = np.repeat(np.arange(40), rng.integers(1, 5, 40))
        values = 0.5 + 0.1 * rng.normal(size=40)[patients] + 0.02 * rng.normal(size=len(patients))
        clustered = mean_interval(values, patients.astype(str), seed=trial, samples=300)
        independent = mean_interval(values, np.arange(len(patients)).astype(str), seed=trial, samples=300)
        held += clustered.low <= 0.5 <= clustered.high
        naive += independent.low <= 0.5 <= independent.high
    # 300 trials: standard error 1.3 points; a percentile interval over 40 patients runs a little short of 95
    assert 0.90 <= held / 300 <= 0.98
    assert naive / 300 < 0.85  # what resampling films instead of patients would claim


def test_copies_of_a_patient_add_no_certainty():
    values = np.random.default_rng(2).random(30)
    once = mean_interval(values, [str(i) for i in range(30)])
    tenfold = mean_interval(np.repeat(values, 10), [str(i) for i in range(30) for _ in range(10)])
    assert (tenfold.low, tenfold.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert (tenfold.n, tenfold.patients) == (300, 30)


def test_one_patient_says_nothing_about_the_next():
    estimate = mean_interval([0.8, 0.9, 0.85], ["only"] * 3)
    assert (estimate.low, estimate.high, estimate.n, estimate.patients) == (0, 1, 3, 1)


def test_every_draw_holds_as_many_patients_as_there_are_and_all_their_cases():
    patients = ["b", "a", "b", "c", "c", "c"]
    weights = np.concatenate(list(patient_weights(patients, 500, keyed_rng(0, "x"))))
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 3:5], weights[:, 4:6])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    assert weights[:, [0, 1, 3]].mean() == pytest.approx(1, abs=1e-12)


def test_draws_come_in_chunks_without_changing(monkeypatch):
    patients = [str(i % 7) for i in range(20)]
    whole = np.concatenate(list(patient_weights(patients, 50, keyed_rng(3, "x"))))
    monkeypatch.setattr("medeval.bootstrap._CHUNK_ELEMENTS", 3 * 20)
    chunks = list(patient_weights(patients, 50, keyed_rng(3, "x")))
    assert len(chunks) == 17
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone():
    values, patients = np.random.default_rng(4).random(25), [str(i) for i in range(25)]
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = mean_interval(values, patients, seed=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert first == mean_interval(values, patients, seed=5)
    assert first != mean_interval(values, patients, seed=6)


def test_an_estimate_becomes_the_four_fields_of_a_summary():
    assert Estimate(0.5, 0.4, 0.6, 12, 7).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 12}
