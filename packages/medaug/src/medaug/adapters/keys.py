"""Where an adapter takes the key of a sample from."""

from collections.abc import Callable, Mapping
from typing import Any

from medaug.errors import AugmentationError
from medaug.keyed import SampleKey

KeySource = str | Callable[[Mapping[str, Any]], SampleKey]
"""The name of the entry that holds (seed, epoch, sample_id, view), or a function of the sample that gives it."""


def read_key(sample: Mapping[str, Any], source: KeySource) -> SampleKey:
    """Give the key of a sample.

    Raises:
        AugmentationError: for a sample without a key, or one that is no (seed, epoch, sample_id, view).
    """
    if isinstance(source, str):
        if source not in sample:
            raise AugmentationError(
                "sample",
                f"has no entry {source!r} with its (seed, epoch, sample_id, view); put one there, or give `key` a function of the sample",
            )
        value = sample[source]
    else:
        value = source(sample)
    try:
        seed, epoch, sample_id, view = value
        return int(seed), int(epoch), str(sample_id), int(view)
    except (TypeError, ValueError):
        raise AugmentationError("sample", f"has the key {value!r}; it must be (seed, epoch, sample_id, view)") from None
