"""Noise by its distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from medaug.draws import Draws
from medaug.intensity.noise import Noise
from medaug.intensity.poisson import PoissonNoise
from medaug.intensity.rician import RicianNoise

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0)]
SHAPE = (30, 40, 50)
N = math.prod(SHAPE)


def test_noise_adds_the_field_of_its_stream():
    x = torch.randn(2, 3, 6, 7, 9, generator=torch.Generator().manual_seed(0)) * 50
    changed = Noise(std=(1.0, 5.0), per_channel=True).change(x.clone(), Draws(KEYS), None)
    std = torch.from_numpy(Draws(KEYS).uniform("std", 1.0, 5.0, (3,))).float().view(2, 3, 1, 1, 1)
    assert torch.equal(changed, x + Draws(KEYS).normal_field("field", (3, 6, 7, 9)) * std)


def test_channels_and_samples_get_noise_of_their_own():
    changed = Noise(std=1.0).change(torch.zeros(2, 2, *SHAPE), Draws(KEYS), None).view(4, -1).double()
    correlation = torch.corrcoef(changed) - torch.eye(4)
    assert correlation.abs().max() < 5 / math.sqrt(N)


@pytest.mark.parametrize("signal", [0.0, 0.5, 4.0])
def test_rician_noise_has_a_rice_distribution(signal):
    changed = RicianNoise(std=0.8).change(torch.full((1, 1, *SHAPE), signal), Draws(KEYS[:1]), None).flatten().double().numpy()
    assert stats.kstest(changed, stats.rice(signal / 0.8, scale=0.8).cdf).pvalue > 1e-4
    assert changed.min() >= 0


def test_counts_have_mean_and_variance_of_their_dose():
    # value 3 above a zero of -1 at 50 counts a unit: 200 counts; variance (3 - -1) / 50 = 0.08 in the image's unit
    changed = PoissonNoise(counts_per_unit=50.0, zero=-1.0).change(torch.full((1, 1, *SHAPE), 3.0), Draws(KEYS[:1]), None).double()
    assert changed.mean().item() == pytest.approx(3.0, abs=5 * math.sqrt(0.08 / N))
    assert changed.var().item() == pytest.approx(0.08, rel=5 * math.sqrt(2 / N))
    # whole counts: the image in counts is made of integers
    counts = (changed + 1) * 50
    assert (counts - counts.round()).abs().max() < 1e-3


def test_a_quarter_of_the_dose_doubles_the_noise_and_no_signal_has_none():
    x = torch.full((1, 1, *SHAPE), 10.0)
    x[..., :5] = -2.0
    deviation = [
        PoissonNoise(counts_per_unit=dose).change(x.clone(), Draws(KEYS[:1]), None)[..., 5:].double().std().item() for dose in (1.0, 4.0)
    ]
    assert deviation[0] / deviation[1] == pytest.approx(2.0, rel=0.02)
    assert (PoissonNoise().change(x.clone(), Draws(KEYS[:1]), None)[..., :5] == 0).all()


def test_doses_are_drawn_log_uniformly():
    keys = [(0, 0, str(i), 0) for i in range(500)]
    changed = PoissonNoise(counts_per_unit=(4.0, 400.0)).change(torch.full((500, 1, 40, 40), 10.0), Draws(keys), None).double()
    doses = 10 / changed.flatten(1).var(1).numpy()
    # each dose is known to sqrt(2 / 1600) = 4 %: little beside a range of two decades
    assert stats.kstest(np.log(doses), stats.uniform(math.log(4), math.log(100)).cdf).pvalue > 1e-3
