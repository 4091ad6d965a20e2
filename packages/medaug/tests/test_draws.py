"""Random numbers: the generator against its published answers, fields against the distributions they claim, and against each other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medaug import fields
from medaug.draws import Draws
from medaug.kernels import serving
from medaug.kernels.elementary import cos_sin_turn, exp2, log2, power
from medaug.kernels.philox import block

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0), (1, 0, "a", 0)]
N = 1 << 18


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 in whole numbers, written from the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % (1 << 32), (k[1] + 0xBB67AE85) % (1 << 32)]
    return tuple(c)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_reference_gives_the_known_answers_of_random123(counter, key, answer):
    assert philox(counter, key) == answer


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_block_is_philox_of_its_counter_and_key(key, counter):
    parts = (counter % (1 << 32), counter >> 32, 0, 0)
    assert tuple(int(w) for w in block(np.uint64(key), np.uint64(counter))) == philox(parts, (key % (1 << 32), key >> 32))


def test_a_uniform_field_is_the_words_of_its_blocks():
    keys = Draws(KEYS).keys("x")
    field = Draws(KEYS).uniform_field("x", (3, 5))
    for row, key in enumerate(keys.tolist()):
        words = [w for i in range(4) for w in philox((i, 0, 0, 0), (key % (1 << 32), key >> 32))][:15]
        assert field[row].flatten().tolist() == [(w >> 8) * 2.0**-24 for w in words]


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (4,), (5, 7), (2, 3, 11)])
def test_loops_and_tensors_make_the_same_fields(shape, monkeypatch):
    draws = Draws(KEYS)
    here = draws.normal_field("x", shape), draws.uniform_field("x", shape)
    monkeypatch.setattr(serving, "loops", lambda device: False)
    monkeypatch.setattr(fields, "_BLOCKS", 12)  # four blocks a sample at a time: the larger fields take several
    there = draws.normal_field("x", shape), draws.uniform_field("x", shape)
    torch.testing.assert_close(here[0], there[0], atol=1e-5, rtol=0)
    assert torch.equal(here[1], there[1])


def test_a_field_is_the_beginning_of_a_longer_one_and_of_any_batch():
    long = Draws(KEYS).normal_field("x", (5000,))
    assert torch.equal(Draws(KEYS[1:2]).normal_field("x", (4099,))[0], long[1, :4099])


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_normal_field_has_the_moments_and_the_distribution_of_a_normal(name):
    x = Draws(KEYS).child(name).normal_field("noise", (N,)).double().numpy()[0]
    # standard errors of mean, variance, skewness and kurtosis of n normals: sqrt(1, 2, 6, 24 over n); five of each
    for value, error in ((x.mean(), 1), (x.var() - 1, 2), (stats.skew(x), 6), (stats.kurtosis(x), 24)):
        assert abs(value) < 5 * math.sqrt(error / N)
    assert stats.kstest(x, "norm").pvalue > 1e-4
    assert 4.0 < np.abs(x).max() < 5.9  # the largest of 2**18 lies near 4.7; 24 bits end at sqrt(50 ln 2) = 5.9


def test_a_uniform_field_is_uniform_in_every_bit():
    x = Draws(KEYS).uniform_field("noise", (N,)).double().numpy()[0]
    assert stats.kstest(x, "uniform").pvalue > 1e-4
    whole = (x * 2**24).astype(np.int64)
    share = [(whole >> bit & 1).mean() for bit in range(24)]
    np.testing.assert_allclose(share, 0.5, atol=5 * 0.5 / math.sqrt(N))


def test_streams_rows_and_neighbours_are_uncorrelated():
    draws = Draws(KEYS)
    a, b = draws.normal_field("a", (N,)).double(), draws.normal_field("b", (N,)).double()
    pairs = [(a[0], a[1]), (a[0], a[2]), (a[0], b[0]), (a[0], draws.child("a").normal_field("a", (N,)).double()[0])]
    pairs += [(a[0, :-lag], a[0, lag:]) for lag in (1, 2, 3, 4, 64)]
    pairs += [(x**2 - 1, y**2 - 1) for x, y in pairs]  # radius and turn of a pair, words of a block: no shared scale either
    for x, y in pairs:
        assert abs((x * y).mean().item()) < 5 * (x.std() * y.std()).item() / math.sqrt(N)


def test_named_numbers_have_their_distributions():
    draws = Draws([(0, 0, str(i), 0) for i in range(4000)])
    assert stats.kstest(draws.uniform("u", 2, 5), stats.uniform(2, 3).cdf).pvalue > 1e-4
    assert stats.kstest(np.log(draws.log_uniform("l", 0.5, 2)), stats.uniform(-math.log(2), 2 * math.log(2)).cdf).pvalue > 1e-4
    assert stats.kstest(draws.normal("n"), "norm").pvalue > 1e-4
    counts = np.bincount(draws.integers("i", 0, 5), minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert abs(draws.chance("c", 0.3).mean() - 0.3) < 5 * math.sqrt(0.21 / 4000)


@pytest.mark.parametrize("shape", [(24, 28, 40), (40, 50), (1, 9, 8)])
def test_a_smooth_field_is_the_same_alone_in_a_batch_and_by_tensors(shape, monkeypatch):
    sigma = np.array([[3.0, 4.0, 9.0], [0.2, 2.0, 1.0], [30.0, 1.0, 5.0]])[:, : len(shape)]
    draws = Draws(KEYS)
    together = draws.smooth_field("s", shape, sigma)
    for row, key in enumerate(KEYS):
        assert torch.equal(Draws([key]).smooth_field("s", shape, sigma[row : row + 1])[0], together[row])
    monkeypatch.setattr(serving, "loops", lambda device: False)
    torch.testing.assert_close(draws.smooth_field("s", shape, sigma), together, atol=1e-5, rtol=0)


def test_a_smooth_field_has_variance_one_everywhere_and_a_gaussians_correlation():
    count, sigma = 4000, 4.0
    draws = Draws([(0, 0, str(i), 0) for i in range(count)])
    x = draws.smooth_field("s", (24, 32), np.full((count, 2), sigma)).double().numpy()
    # the variance of n normals has a standard error of sqrt(2 / n); six of them for the worst of 768 voxels
    np.testing.assert_allclose(x.var(axis=0), 1, atol=6 * math.sqrt(2 / count))
    # white noise smoothed by a Gaussian correlates as exp(-d**2 / 4 sigma**2); the cubic spline is its stand-in to 0.05, the sample to 0.03
    for lag in (2, 4, 8, 16):
        assert np.mean(x[:, :, 6] * x[:, :, 6 + lag]) == pytest.approx(math.exp(-(lag**2) / (4 * sigma**2)), abs=0.08)


def test_elementary_functions_keep_the_accuracy_they_state():
    x = np.concatenate([np.random.default_rng(0).random(3000), 2.0 ** np.linspace(-125, 100, 2000), [1.0, 0.5, 2.0]]).astype(np.float32)
    exact = np.log2(x.astype(np.float64))
    np.testing.assert_allclose([log2(v) for v in x], exact, rtol=2e-7, atol=1e-12)
    powers = np.linspace(-125.9, 127.9, 3001).astype(np.float32)
    np.testing.assert_allclose([exp2(v) for v in powers], 2.0 ** powers.astype(np.float64), rtol=2e-7)
    unit = np.linspace(0, 1, 4001).astype(np.float32)
    for g in (0.3, 1.0, 1.7, 4.0):
        np.testing.assert_allclose([power(v, np.float32(g)) for v in unit], unit.astype(np.float64) ** np.float32(g), atol=2e-7)
    turns = 2 * np.pi * unit.astype(np.float64)
    np.testing.assert_allclose([cos_sin_turn(v) for v in unit], np.stack([np.cos(turns), np.sin(turns)], 1), atol=2e-7)


def test_poisson_counts_have_their_distribution_on_both_sides_of_the_expansion():
    keys, other = Draws(KEYS[:1]).keys("z"), Draws(KEYS[:1]).keys("u")
    for mean in (0.3, 4.0, 9.9, 10.1, 25.0, 400.0):
        image = torch.full((1, 1, N), mean)
        fields.make_poisson(image, keys, other, np.ones(1), 0.0)
        found = np.bincount(image.flatten().long().numpy())
        expected = stats.poisson.pmf(np.arange(len(found)), mean) * N
        often = expected > 20
        error = (found - expected)[often] / np.sqrt(expected[often])
        # below the switch the distribution is exact; above, the expansion is: a chance no sample this large tells from the true one
        assert stats.chi2.sf((error**2).sum(), often.sum() - 1) > 1e-4, mean
