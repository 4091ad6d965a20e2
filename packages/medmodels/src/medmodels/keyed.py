"""Keyed randomness: a draw is a pure function of the sample's key and the name of the stream."""

import hashlib

import torch

SampleKey = tuple[int, int, str, int]
"""(seed, epoch, sample_id, view): all that a random draw may depend on."""


def key_digest(key: SampleKey, stream: str) -> int:
    """Hash a key and a stream's name to 63 bits.

    Args:
        key: (seed, epoch, sample_id, view).
        stream: what is drawn, e.g. `"mask"`; draws of different streams are independent. Holds no colon.

    Returns:
        An integer in [0, 2**63), equal on every machine, rank and worker.
    """
    seed, epoch, sample_id, view = key
    # sample_id comes last: it is the only part that may hold a colon, so no two keys share a text.
    text = f"{seed}:{epoch}:{view}:{stream}:{sample_id}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def keyed_generator(key: SampleKey, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Make the torch generator of one key and stream; the global generator is never touched."""
    return torch.Generator(device=device).manual_seed(key_digest(key, stream))
