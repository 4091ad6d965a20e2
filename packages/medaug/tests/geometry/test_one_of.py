"""Choices are drawn by key, as often as their weights say."""

import pytest
import torch

from medaug import Affine, AugmentationError, Compose, Crop, Flip, Gamma, Noise, OneOf

IMAGE = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
UP, LEFT, TWICE = IMAGE.flip(1), IMAGE.flip(2), IMAGE.flip(1, 2)


def test_options_come_up_as_often_as_their_weights():
    choice = Compose([OneOf([Flip(axes=(0,), p=1.0), Flip(axes=(1,), p=1.0)], weights=(1, 3), p=0.8)])
    outs = [choice({"image": IMAGE, "spacing": (1.0, 1.0)}, (0, 0, str(i), 0))["image"] for i in range(1000)]
    counts = [sum(torch.equal(out, kind) for out in outs) for kind in (UP, LEFT, IMAGE, TWICE)]
    # 0.8 * (1/4, 3/4) and 0.2: standard deviations under 16
    assert all(abs(count - expected) < 5 * 16 for count, expected in zip(counts, (200, 600, 200, 0), strict=True))
    assert sum(counts) == 1000
    assert counts[3] == 0


def test_spatial_and_intensity_options_mix_and_a_batch_equals_its_samples():
    compose = Compose([OneOf([Affine(rotation_deg=20.0), Gamma(range=(2.0, 3.0)), Noise(std=0.5)]), OneOf([Noise(std=1.0)], p=0.5)])
    keys = [(0, 0, str(i), 0) for i in range(12)]
    image = torch.rand(12, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    out = compose.batch({"image": image, "spacing": torch.ones(12, 2), "key": keys})["image"]
    assert all(torch.equal(out[i], compose({"image": image[i], "spacing": (1.0, 1.0)}, key)["image"]) for i, key in enumerate(keys))


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(AugmentationError, match="sets the output's shape"):
        OneOf([Crop(size=(1, 1)), Flip(axes=(0,))])
    with pytest.raises(AugmentationError, match="no options"):
        OneOf([])
    with pytest.raises(AugmentationError, match="weights needs 1 numbers"):
        OneOf([Noise()], weights=(0.0,))
    with pytest.raises(AugmentationError, match="is no transform"):
        OneOf([OneOf([Noise()])])
