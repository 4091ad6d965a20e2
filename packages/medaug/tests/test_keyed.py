"""A result is a function of the key alone."""

import random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug import Affine, BSpline, Compose, Crop, Elastic, Flip, Gamma, Noise, OneOf, Rot90, Zoom, key_digest

AUGMENT = Compose(
    [
        Flip(axes=(0, -1)),
        Affine(rotation_deg=15.0, scale=(0.9, 1.1), translation_mm=2.0, p=0.7),
        Gamma(p=0.6),
        Noise(std=(0.0, 0.2), p=0.7),
    ]
)
MANY = Compose(
    [
        BSpline(spacing_mm=4.0, magnitude_mm=1.0, p=0.5),
        OneOf([Affine(rotation_deg=15.0, shear_deg=3.0), Rot90(), Gamma()]),
        Elastic(sigma_mm=3.0, magnitude_mm=0.3, p=0.5),
        Zoom(p=0.5),
        Gamma(p=0.6),
        Noise(std=(0.0, 0.2), p=0.7),
    ],
    interpolation="cubic",
)


def make_sample(name: str, shape: tuple[int, ...]) -> dict[str, object]:
    generator = torch.Generator().manual_seed(key_digest((0, 0, name, 0), "test"))
    dims = len(shape)
    return {
        "image": torch.randn(2, *shape, generator=generator),
        "mask": torch.randint(0, 4, shape, generator=generator),
        "points": torch.rand(3, dims, generator=generator) * 5,
        "boxes": torch.rand(2, dims, generator=generator).repeat(1, 2) + torch.arange(2).repeat_interleave(dims) * 3,
        "spacing": torch.rand(dims, generator=generator) + 0.5,
    }


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True),
    st.sampled_from([(9, 11), (5, 6, 7)]),
    st.integers(0, 3),
    st.integers(0, 5),
    st.sampled_from([AUGMENT, MANY]),
)
def test_a_sample_is_the_same_alone_and_in_any_batch(ids, shape, epoch, view, augment):
    samples = [make_sample(str(i), shape) for i in ids]
    keys = [(3, epoch, str(i), view) for i in ids]
    batch = {name: torch.stack([s[name] for s in samples]) for name in ("image", "mask", "spacing")}
    batch |= {name: [s[name] for s in samples] for name in ("points", "boxes")}
    out = augment.batch({**batch, "key": keys})
    for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
        alone = augment(sample, key)
        for name in ("image", "mask", "points", "boxes", "spacing"):
            assert torch.equal(out[name][row], alone[name]), name


def test_threads_change_no_bit():
    augment = Compose([BSpline(spacing_mm=20.0, magnitude_mm=5.0), Affine(rotation_deg=20.0), Crop(size=(40, 50, 60))])
    sample = {"image": torch.randn(1, 44, 60, 64), "mask": torch.randint(0, 4, (44, 60, 64)), "spacing": (2.0, 1.0, 1.0)}
    before = torch.get_num_threads()
    outs = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outs.append(augment(sample, (0, 0, "a", 0)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(out[name], outs[0][name]) for out in outs for name in ("image", "mask"))


def test_another_epoch_view_sample_or_seed_draws_anew():
    sample = make_sample("a", (9, 11))
    seen = {
        AUGMENT(sample, key)["points"].numpy().tobytes()
        for key in [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1)]
    }
    always = Compose([Affine(rotation_deg=30.0)])
    angles = {always(sample, (0, 0, str(i), 0))["points"].numpy().tobytes() for i in range(20)}
    assert len(seen) > 1
    assert len(angles) == 20


def test_no_global_generator_moves():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the legacy global state is what must not move
    random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for view in range(5):
        AUGMENT(make_sample("a", (5, 6, 7)), (0, 0, "a", view))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_input_is_not_changed():
    sample = make_sample("a", (5, 6, 7))
    copies = {name: value.clone() for name, value in sample.items()}
    for view in range(5):
        AUGMENT(sample, (0, 0, "a", view))
        Compose([Noise(), Gamma()])(sample, (0, 0, "a", view))
    assert all(torch.equal(sample[name], copies[name]) for name in copies)


def test_flips_come_up_as_often_as_p_says():
    flip = Compose([Flip(axes=(-1,), p=0.25)])
    image = torch.tensor([[[0.0, 1.0]]])
    flipped = sum(bool(flip({"image": image, "spacing": (1.0, 1.0)}, (0, 0, str(i), 0))["image"][0, 0, 0] == 1.0) for i in range(2000))
    # binomial(2000, 0.25): mean 500, standard deviation 19.4; five of them
    assert abs(flipped - 500) < 97
