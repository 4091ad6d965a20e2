"""Who is mixed with whom, and the draws of a pair: functions of keys, never of places in a batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medaug.draws import Draws, Numbers
from medaug.errors import AugmentationError
from medaug.kernels.beta import beta_quantiles
from medaug.keyed import SampleKey, key_digest


class Partners(NamedTuple):
    """The partners of a batch of B samples."""

    batch: Mapping[str, Any]
    rows: npt.NDArray[np.intp]  # (B,) where each sample's partner is in `batch`
    draws: Draws  # of the pairs


def batch_partners(keys: Sequence[SampleKey]) -> npt.NDArray[np.intp]:
    """Pair each sample of a batch with another: the next one in the order of their keys' digests, the last one with the first.

    The order of the batch, the worker and the rank change nothing, but the batch's members do: another sampler, batch size or number of ranks makes other
    pairs. Where a run must not depend on these, choose with `partner_id` from the whole data set and give the partners as a batch of their own.

    Args:
        keys: of the batch.

    Returns:
        (B,) the partner's row; nobody is its own partner unless alone. Samples of equal keys are alike, whoever comes first.
    """
    order = np.array(sorted(range(len(keys)), key=lambda row: (key_digest(keys[row], "partner"), keys[row][2])), np.intp)
    partners = np.empty(len(keys), np.intp)
    partners[order] = np.roll(order, -1)
    return partners


def partner_id(key: SampleKey, ids: Sequence[str]) -> str:
    """Choose a sample's partner from a data set, each other sample equally often.

    Args:
        key: (seed, epoch, sample_id, view) of the sample.
        ids: of the data set or of its training split, each once, in an order that all workers and ranks share.

    Returns:
        One of `ids` that is not the sample's own; a function of the key and of `ids`.

    Raises:
        AugmentationError: where there is no other sample.
    """
    unit = float(Draws([key]).uniform("partner")[0])
    place = int(unit * len(ids))
    if place < len(ids) and ids[place] == key[2]:
        # The own id: one more step lands uniformly on the others.
        others = [i for i in ids if i != key[2]]
        place, ids = int((unit * len(ids) - place) * len(others)), others
    if not ids:
        raise AugmentationError(key[2], "has no partner: the data set has no other sample; leave out what mixes samples")
    return ids[place]


def pair_draws(keys: Sequence[SampleKey], partner_keys: Sequence[SampleKey]) -> Draws:
    """Open the streams of pairs: functions of both samples' keys.

    Args:
        keys: of the samples that receive.
        partner_keys: of their partners, as many.

    Returns:
        B streams, whose errors name both samples.
    """
    pairs = []
    for (seed, epoch, sample, view), (_, _, partner, partner_view) in zip(keys, partner_keys, strict=True):
        # The length of the first name makes the text tell all pairs of names apart.
        pairs.append((seed, epoch, f"{sample} with {partner} ({len(sample)}, view {partner_view})", view))
    return Draws(pairs)


def beta(draws: Draws, name: str, a: float, b: float) -> Numbers:
    """Draw from the beta distribution: (B,) float64 in [0, 1], one uniform number each, through the quantiles.

    Args:
        draws: B streams.
        name: of the draw.
        a: first shape, positive; up to 1e4 the quantiles agree with SciPy's to 1e-9.
        b: second shape.
    """
    return np.asarray(beta_quantiles(draws.uniform(name), float(a), float(b)))


def batch_keys(batch: Mapping[str, Any]) -> list[SampleKey]:
    """Read the keys of a batch; raise AugmentationError unless there is one a sample."""
    keys = batch.get("key")
    if keys is None or len(keys) != len(batch["image"]):
        raise AugmentationError(
            "batch", f"needs one `key` (seed, epoch, sample_id, view) a sample, got {None if keys is None else len(keys)}"
        )
    return [(int(key[0]), int(key[1]), str(key[2]), int(key[3])) for key in keys]


def partners_of(batch: Mapping[str, Any], partner: Mapping[str, Any] | Sequence[int] | Tensor | None) -> Partners:
    """Line up the partners of a batch.

    Args:
        batch: with `image` and `key`.
        partner: None for `batch_partners`; B rows of the batch; or a batch of B partners with keys of their own.

    Returns:
        Where the partners are, and the draws of the pairs; nothing is copied.

    Raises:
        AugmentationError: for missing keys, rows outside the batch, partners of another number or shape.
    """
    keys = batch_keys(batch)
    if isinstance(partner, Mapping):
        source, rows = partner, np.arange(len(keys))
        partner_keys = batch_keys(partner)
        if partner["image"].shape != batch["image"].shape:
            raise AugmentationError(
                "partner", f"images {tuple(source['image'].shape)} do not fit {tuple(batch['image'].shape)}; bring both to one shape first"
            )
    else:
        source, rows = batch, batch_partners(keys) if partner is None else np.asarray(torch.as_tensor(partner).cpu().numpy(), np.intp)
        if rows.shape != (len(keys),) or (len(keys) and not 0 <= rows.min() <= rows.max() < len(keys)):
            raise AugmentationError("partner", f"needs one row of the batch, 0 to {len(keys) - 1}, a sample, got {rows.tolist()}")
        partner_keys = [keys[row] for row in rows]
    return Partners(source, rows, pair_draws(keys, partner_keys))
