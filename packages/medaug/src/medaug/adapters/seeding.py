"""Give keyed randomness to libraries that draw from the global generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def keyed_globals(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (CPU), numpy and random within the block, and put them back as they were.

    They belong to the whole process: no other thread may draw from them meanwhile, or it gets these numbers.

    Args:
        seed: in [0, 2**32).
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 the old generator is what those libraries use
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
