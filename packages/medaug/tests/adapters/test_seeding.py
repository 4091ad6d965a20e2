"""Keyed numbers for libraries that draw from global generators."""

import random

import numpy as np
import pytest
import torch

from medaug.adapters.keys import read_key
from medaug.adapters.seeding import keyed_globals
from medaug.errors import AugmentationError


def three() -> tuple[float, float, float]:
    return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002


def test_a_seed_gives_its_numbers_and_leaves_the_generators_as_they_were():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    with keyed_globals(7):
        first = three()
    with keyed_globals(8):
        other = three()
    with keyed_globals(7):
        again = three()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_an_error_puts_the_generators_back_too():
    def fail() -> None:
        with keyed_globals(1):
            torch.rand(3)
            raise RuntimeError("within")

    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="within"):
        fail()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_key_is_read_from_an_entry_or_a_function():
    sample = {"key": [np.int64(1), 2, "a:b", 3], "id": "x"}
    assert read_key(sample, "key") == (1, 2, "a:b", 3)
    assert read_key(sample, lambda s: (0, 5, s["id"], 0)) == (0, 5, "x", 0)


@pytest.mark.parametrize(("sample", "message"), [({}, "has no entry 'key'"), ({"key": 3}, "has the key 3"), ({"key": (1, 2)}, "must be")])
def test_a_sample_without_a_key_is_refused(sample, message):
    with pytest.raises(AugmentationError, match=message):
        read_key(sample, "key")
