"""Values: gamma and noise against their definitions."""

import math

import pytest
import torch

from medaug import AugmentationError, Compose, Gamma, Noise

KEY = (0, 0, "a", 0)


def test_gamma_two_squares_the_unit_scaled_image():
    # min -100, max 300: 100 lies at 0.5 of the range; 0.5 ** 2 = 0.25 -> -100 + 0.25 * 400 = 0
    image = torch.tensor([[[-100.0, 100.0, 300.0]]])
    out = Compose([Gamma(range=(2.0, 2.0))])({"image": image}, KEY)["image"]
    torch.testing.assert_close(out, torch.tensor([[[-100.0, 0.0, 300.0]]]))


def test_gamma_of_a_constant_image_is_that_image():
    image = torch.full((1, 3, 3), 7.0)
    assert torch.equal(Compose([Gamma()])({"image": image}, KEY)["image"], image)


def test_noise_has_the_std_it_was_asked_for():
    out = Compose([Noise(std=0.3)])({"image": torch.zeros(1, 40, 50, 50)}, KEY)["image"]
    # the standard deviation of n = 1e5 draws has a standard error of 0.3 / sqrt(2e5) = 0.0007
    assert out.std().item() == pytest.approx(0.3, abs=0.0035)
    assert out.mean().item() == pytest.approx(0.0, abs=5 * 0.3 / math.sqrt(1e5))


def test_two_noises_in_one_chain_are_independent():
    image = torch.zeros(1, 64, 64)
    both = Compose([Noise(std=1.0), Noise(std=1.0)])({"image": image}, KEY)["image"]
    # independent variances add to 2; the same field twice would give 4. Standard error 2 * sqrt(2 / 4096) = 0.044
    assert both.var().item() == pytest.approx(2.0, abs=0.25)


def test_half_precision_stays_half_precision():
    image = torch.rand(1, 8, 8).bfloat16()
    assert Compose([Gamma(), Noise()])({"image": image}, KEY)["image"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "make", [lambda: Gamma(range=(0.0, 1.0)), lambda: Gamma(range=(2.0, 1.0)), lambda: Noise(std=-1.0), lambda: Noise(p=1.5)]
)
def test_senseless_options_are_refused(make):
    with pytest.raises(AugmentationError):
        make()


@pytest.mark.gpu
def test_cuda_moves_content_as_the_cpu_does():
    from medaug import Affine, Flip

    augment = Compose([Flip(axes=(0,)), Affine(rotation_deg=20.0), Gamma()])
    image = torch.rand(2, 1, 12, 14, 16)
    batch = {"image": image, "mask": (image[:, 0] > 0.5).long(), "spacing": torch.ones(2, 3), "key": [KEY, (0, 0, "b", 0)]}
    there = augment.batch({k: v.cuda() if torch.is_tensor(v) else v for k, v in batch.items()})
    here = augment.batch(batch)
    torch.testing.assert_close(there["image"].cpu(), here["image"], atol=1e-4, rtol=0)
    assert (there["mask"].cpu() == here["mask"]).float().mean() > 0.999
