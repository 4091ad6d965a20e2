"""Keyed randomness: a draw is a pure function of the sample's key and the name of the stream."""

import hashlib

import numpy as np

SampleKey = tuple[int, int, str, int]
"""(seed, epoch, sample_id, view): all that a random draw may depend on."""


def key_digest(key: SampleKey, stream: str) -> int:
    """Hash a key and a stream's name (without a colon) to [0, 2**63); equal on every machine, rank and worker."""
    seed, epoch, sample_id, view = key
    # sample_id comes last: it is the only part that may hold a colon, so no two keys share a text.
    text = f"{seed}:{epoch}:{view}:{stream}:{sample_id}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def keyed_generator(key: SampleKey, stream: str) -> np.random.Generator:
    """Make the counter-based generator (Philox) of one key and stream; no global generator is touched."""
    return np.random.Generator(np.random.Philox(key=key_digest(key, stream)))
