"""The order of an epoch's draws: plain, weighted, by bucket, or with no patient twice in a batch. Pure functions of (seed, epoch)."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medio.keyed import keyed_generator

Indices = npt.NDArray[np.int64]


class Order(Protocol):
    """What comes in which order in an epoch."""

    @property
    def length(self) -> int:
        """Draws an epoch, the same for every epoch."""
        ...

    def at(self, epoch: int) -> Indices:
        """Indices of the samples of an epoch, in order; (length,) int64."""
        ...


class Plain:
    """Every sample once an epoch: in a new keyed order each epoch, or in the dataset's."""

    def __init__(self, count: int, seed: int, *, shuffle: bool) -> None:
        self.length = count
        self.seed = seed
        self.shuffle = shuffle

    def at(self, epoch: int) -> Indices:
        """Give the permutation of an epoch."""
        if not self.shuffle:
            return np.arange(self.length, dtype=np.int64)
        return np.asarray(keyed_generator((self.seed, epoch, "", 0), "permutation").permutation(self.length), np.int64)


class Weighted:
    """As many draws as there are samples, each independent: sample i with probability weights[i] / sum(weights)."""

    def __init__(self, weights: npt.NDArray[np.float64], seed: int) -> None:
        self.length = len(weights)
        self.seed = seed
        self.cumulative = np.cumsum(weights)
        self.last = int(np.flatnonzero(weights)[-1])

    def at(self, epoch: int) -> Indices:
        """Draw the samples of an epoch, with replacement."""
        uniform = keyed_generator((self.seed, epoch, "", 0), "weighted").random(self.length)
        # Of equal sums, searchsorted takes what lies right: a weight of zero is never drawn. Rounding may reach the total: the last with a weight.
        drawn = np.searchsorted(self.cumulative, uniform * self.cumulative[-1], side="right")
        return np.asarray(np.minimum(drawn, self.last), np.int64)


class Bucketed:
    """The draws of another order, arranged so that a global batch holds one bucket where numbers allow.

    What is left of each bucket when its whole batches are cut makes mixed batches of neighbouring buckets. Epochs run on into each other: the batch
    that two epochs share takes the highest buckets of both.
    """

    def __init__(self, draws: Order, buckets: npt.NDArray[np.int64], batch: int, seed: int, *, shuffle: bool) -> None:
        self.draws = draws
        self.length = draws.length
        self.buckets = buckets
        self.batch = batch
        self.seed = seed
        self.shuffle = shuffle

    def at(self, epoch: int) -> Indices:
        """Arrange the draws of an epoch."""
        order = self.draws.at(epoch)
        head = -epoch * self.length % self.batch  # draws that complete the last batch of the epoch before
        if head >= self.length:
            return order
        tail = (self.length - head) % self.batch
        blocks, rest = self._cut(order)
        if len(rest) < head + tail:
            # The highest bucket with a whole batch gives it up. One is always enough: head + tail < 2 batches, and both sides differ by whole ones.
            rest = self._sorted(np.concatenate([rest, blocks.pop()]))
        middle, border = np.split(rest, [len(rest) - head - tail])
        blocks += [middle[i : i + self.batch] for i in range(0, len(middle), self.batch)]
        if self.shuffle:
            places = keyed_generator((self.seed, epoch, "", 0), "blocks").permutation(len(blocks))
            blocks = [blocks[i] for i in places]
        return np.concatenate([border[:head], *blocks, border[head:]])

    def _cut(self, order: Indices) -> tuple[list[Indices], Indices]:
        """Cut whole batches of one bucket, lowest bucket first; what is left comes sorted by bucket."""
        grouped = self._sorted(order)
        starts = np.flatnonzero(np.diff(self.buckets[grouped], prepend=np.int64(-1)))
        blocks: list[Indices] = []
        rest: list[Indices] = []
        for own in np.split(grouped, starts[1:]):
            whole = len(own) // self.batch * self.batch
            blocks += list(own[:whole].reshape(-1, self.batch))
            rest.append(own[whole:])
        return blocks, np.concatenate(rest)

    def _sorted(self, order: Indices) -> Indices:
        return order[np.argsort(self.buckets[order], kind="stable")]


class Apart:
    """No group (patient) twice in a global batch; an epoch is a whole number of batches.

    An epoch holds as many batches as can be filled: the largest B with sum(min(samples of a group, B)) >= B * batch. A group's samples beyond B, and what
    the last batch would not hold, sit out the epoch; a key chooses them anew each epoch.
    """

    def __init__(self, groups: npt.NDArray[np.int64], batch: int, seed: int) -> None:
        self.groups = groups
        self.batch = batch
        self.seed = seed
        self.batches = _whole_batches(np.bincount(groups), batch)
        self.length = self.batches * batch

    def at(self, epoch: int) -> Indices:
        """Deal the samples of an epoch to its batches."""
        generator = keyed_generator((self.seed, epoch, "", 0), "apart")
        order = generator.permutation(len(self.groups))
        # Groups in random order, each group's samples together.
        rank = generator.permutation(int(self.groups.max()) + 1)[self.groups[order]]
        order, rank = (values[np.argsort(rank, kind="stable")] for values in (order, rank))
        kept = order[_occurrences(rank) < self.batches]
        kept = kept[np.sort(generator.permutation(len(kept))[: self.length])]
        # Card j goes to batch j mod B: a run of at most B of one group reaches each batch at most once.
        dealt = generator.permuted(kept.reshape(self.batch, self.batches).T, axis=1)
        return np.asarray(dealt[generator.permutation(self.batches)].ravel(), np.int64)


def codes(values: Sequence[Hashable] | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Number the distinct values of a sequence from 0 in the order in which they first come."""
    known: dict[Hashable, int] = {}
    return np.fromiter((known.setdefault(value, len(known)) for value in values), np.int64, len(values))


def views(order: Indices) -> Indices:
    """How often each draw's sample came before in the order: what keeps the keys of repeated draws apart."""
    places = np.argsort(order, kind="stable")
    counted = np.empty(len(order), np.int64)
    counted[places] = _occurrences(order[places])
    return counted


def _occurrences(grouped: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count up from 0 within each run of equal values."""
    starts = np.flatnonzero(np.diff(grouped, prepend=grouped[:1] - 1))
    lengths = np.diff(np.append(starts, len(grouped)))
    return np.arange(len(grouped), dtype=np.int64) - np.repeat(starts, lengths)


def _whole_batches(counts: npt.NDArray[np.int64], batch: int) -> int:
    if len(counts) < batch:
        raise ValueError(
            f"a global batch of {batch} cannot hold at most one sample of each of {len(counts)} patients; use a smaller batch or more patients"
        )
    # sum(min(count, B)) - B * batch is concave in B and not negative at 1, so the B that do are 1 to the largest.
    low, high = 1, int(counts.sum()) // batch
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(counts, middle).sum() >= middle * batch else (low, middle - 1)
    return low
