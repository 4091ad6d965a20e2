"""Chains as plain data and back."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug import Affine, AugmentationError, Compose, Draws, Flip, Gamma, Noise, OneOf
from medaug.presets import build, from_config, to_config
from medaug.presets.catalogue import _types, find_type

small = st.floats(0, 30, allow_nan=False)
span = st.tuples(small, small).map(lambda pair: tuple(sorted(pair)))
scale = st.tuples(st.floats(0.1, 1), st.floats(1, 5))
chance = st.floats(0, 1)
affine = st.builds(
    Affine,
    rotation_deg=st.one_of(small, span, st.tuples(span, span, span)),
    scale=st.one_of(scale, st.tuples(scale, scale, scale)),
    translation_mm=st.one_of(small, span),
    isotropic=st.booleans(),
    p=chance,
)
flip = st.builds(Flip, axes=st.lists(st.integers(-3, 2), min_size=1, max_size=3, unique=True).map(tuple), p=chance)
noise = st.builds(Noise, std=st.one_of(small, span), p=chance)
gamma = st.builds(Gamma, range=scale, p=chance)
chains = st.lists(st.one_of(affine, flip, noise, gamma), max_size=4).map(Compose)


@settings(max_examples=60, deadline=None)
@given(chains)
def test_any_chain_comes_back_equal_through_json(chain):
    config = to_config(chain)
    assert from_config(config) == chain
    assert from_config(json.loads(json.dumps(config))) == chain


def test_a_chain_comes_back_equal_through_yaml():
    yaml = pytest.importorskip("yaml", reason="PyYAML is no dependency of medaug")
    chain = Compose(
        [Flip(axes=(-1,)), OneOf([Noise(std=(1e-3, 0.25)), Gamma(p=0.5)], weights=(1, 2)), Affine(scale=((0.9, 1), (1, 1.1), (1, 1)))]
    )
    assert from_config(yaml.safe_load(yaml.safe_dump(to_config(chain)))) == chain


def test_a_chain_that_came_back_draws_the_same_numbers():
    chain = Compose([Flip(axes=(-1,)), Noise(std=(0.1, 0.2)), Gamma(p=0.5)])
    again = from_config(json.loads(json.dumps(to_config(chain))))
    sample = {"image": torch.rand(1, 5, 6, 7), "spacing": (2.0, 1.0, 1.0)}
    for view in range(4):
        key = (0, 0, "a", view)
        assert torch.equal(chain(sample, key)["image"], again(sample, key)["image"])


def test_every_option_is_written_with_defaults_and_numpy_numbers_as_plain_ones():
    assert to_config(Noise(std=(np.float64(0.25), np.float32(0.5)), p=1)) == {"type": "Noise", "std": [0.25, 0.5], "p": 1} | {
        key: value for key, value in to_config(Noise()).items() if key not in ("std", "p")
    }


def test_options_left_out_take_their_defaults():
    assert from_config({"type": "Compose", "transforms": [{"type": "Flip", "axes": [0]}]}) == Compose([Flip(axes=(0,))])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "Compos", "transforms": []}, "Compos: is no transform of medaug, did you mean 'Compose'?"),
        ({"type": "Compose", "transforms": [{"type": "flipp", "axes": [0]}]}, "flipp: is no transform of medaug, did you mean 'Flip'?"),
        ({"type": "Noise", "stdd": 1}, "Noise: has no option 'stdd', did you mean 'std'?; it has std"),
        ({"type": "Noise", "std": -1}, "Noise: std needs finite low <= high"),
        ({"type": "Flip"}, "Flip: does not take these options"),
        ({"transforms": []}, "config: needs a `type` that names a transform"),
        ({"type": "Qwzx"}, "Qwzx: is no transform of medaug; classes of your own go in `types`"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line_with_the_mend(config, message):
    with pytest.raises(AugmentationError) as error:
        build(config)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_single_transform_is_no_chain():
    assert build({"type": "Flip", "axes": [0]}) == Flip(axes=(0,))
    with pytest.raises(AugmentationError, match="describes a Flip, not a Compose; read it by `build`"):
        from_config({"type": "Flip", "axes": [0]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A transform of one's own."""

    level: float = 0.0
    p: float = 1.0

    def change(self, image: torch.Tensor, draws: Draws, spacing: object) -> torch.Tensor:
        return self.level - image


def test_classes_of_ones_own_are_named_by_whoever_reads():
    chain = Compose([Negative(level=2.0)])
    with pytest.raises(AugmentationError, match="Negative: is no transform of medaug"):
        from_config(to_config(chain))
    assert from_config(to_config(chain), types=[Negative]) == chain


@dataclass(frozen=True)
class Holder:
    value: object
    p: float = 1.0


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (Holder(value=print), "Holder: value holds a builtin_function_or_method"),
        (Holder(value=float("inf")), "Holder: value is inf, which JSON cannot hold"),
        (Holder(value={"type": 3}), "Holder: value has keys that a config cannot hold"),
        (print, "is no frozen dataclass"),
    ],
)
def test_what_plain_types_cannot_hold_is_refused(chain, message):
    with pytest.raises(AugmentationError, match=message):
        to_config(chain)


def test_every_transform_of_the_package_comes_back_equal():
    found = 0
    for cls in _types().values():
        if not (hasattr(cls, "change") or hasattr(cls, "extend")):
            continue
        try:
            transform = cls()
        except (TypeError, AugmentationError):  # options without a default
            continue
        assert build(json.loads(json.dumps(to_config(transform)))) == transform
        found += 1
    assert found > 30


def test_names_are_found_once_in_the_package():
    assert find_type("Affine") is Affine
    assert find_type("Compose") is Compose
