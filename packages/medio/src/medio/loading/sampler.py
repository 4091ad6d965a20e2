"""Which sample comes when: a pure function of the seed, whatever the number of ranks and workers and wherever a run resumes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from medio.keyed import SampleKey, keyed_generator
from medio.loading.orders import Apart, Bucketed, Indices, Order, Plain, Weighted, codes, views


class Draw(NamedTuple):
    """A sample of a dataset, and the key from which its random draws are made."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which a draw has no use for
    key: SampleKey


class HasSampleIds(Protocol):
    """What a sampler needs of a dataset; with `one_per_patient` also `patients`, in the same order."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """Ids in the order of the dataset."""
        ...


class Sampler:
    """Endless batches of draws; epochs run on into each other, so nothing is dropped and no batch is short.

    Draw number i of the run, over all ranks, is draw `i mod L` of epoch `i // L`, with L the draws of an epoch (the number of samples, unless
    `one_per_patient`). Batch n of rank r takes draws n·G + r·batch_size onwards, with G = batch_size·world_size, the global batch: for equal G the run sees
    the same samples in the same order for any world size.

    A sample that comes again within an epoch, as weights make it, has another `view` in its key: 0, 1, 2, ….

    `position` is the number of the next batch that iteration yields. A loader asks for batches ahead of the model, so `position` is not what
    a model has seen: a trainer keeps its own count of steps and restores it with `load_state_dict({"position": step})`, or reads `batch_at(step)`.

    Args:
        dataset: gives the sample ids.
        batch_size: samples per rank and batch.
        seed: of the whole run.
        rank: this process.
        world_size: number of processes.
        shuffle: draw a new order each epoch; otherwise the dataset's order.
        weights: one number >= 0 a sample; every draw is then independent and takes sample i with probability weights[i] / sum(weights), so that in an epoch
            it is expected L·weights[i] / sum(weights) times. `balance` makes them.
        buckets: one whole number >= 0 a sample, like shapes alike (`shape_buckets` makes them): a global batch holds samples of one bucket, but for the
            few that mix the remainders of neighbouring buckets. Every sample still comes once an epoch (or as its weight says).
        one_per_patient: at most one sample of a patient in a global batch, for contrastive losses. An epoch is then as many whole batches as can be filled;
            what sits out is chosen anew each epoch.

    Raises:
        ValueError: for an empty dataset, numbers that make no sense, or options that exclude each other.
    """

    def __init__(
        self,
        dataset: HasSampleIds,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        weights: Sequence[float] | npt.NDArray[np.float64] | None = None,
        buckets: Sequence[int] | npt.NDArray[np.int64] | None = None,
        one_per_patient: bool = False,
    ) -> None:
        if not len(dataset.sample_ids):
            raise ValueError("Sampler got a dataset without samples; check its split")
        if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"need batch_size >= 1 and 0 <= rank < world_size, got {batch_size}, rank {rank} of {world_size}")
        if not shuffle and (weights is not None or one_per_patient):
            raise ValueError("weights and one_per_patient draw at random; leave shuffle=True")
        if one_per_patient and (weights is not None or buckets is not None):
            raise ValueError("one_per_patient fills its batches by patient alone; leave weights and buckets out")
        self.sample_ids = dataset.sample_ids
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.position = 0
        count = len(self.sample_ids)
        self._weights = None if weights is None else _checked_weights(weights, count)
        self._buckets = None if buckets is None else _checked_buckets(buckets, count)
        self._patients = _patients(dataset, count) if one_per_patient else None
        self._order = self._make_order()
        self._orders: dict[int, tuple[Indices, Indices | None]] = {}

    @property
    def draws_per_epoch(self) -> int:
        """Draws of an epoch over all ranks: the number of samples, less what sits out with `one_per_patient`."""
        return self._order.length

    @property
    def batches_per_epoch(self) -> int:
        """Batches after which every draw of an epoch has been made."""
        return -(-self.draws_per_epoch // self._global)

    def epoch_of(self, n: int) -> int:
        """Epoch of the first draw of global batch n."""
        return n * self._global // self.draws_per_epoch

    def batch_at(self, n: int) -> list[Draw]:
        """Return this rank's batch number n (from 0); depends on nothing that was drawn before."""
        if n < 0:
            raise ValueError(f"batches count from 0, got {n}")
        first = (n * self.world_size + self.rank) * self.batch_size
        return [self._draw(i) for i in range(first, first + self.batch_size)]

    def stand_in(self, n: int, place: int, attempt: int) -> Draw:
        """Return what takes the place of a draw that cannot be read: a pure function of the draw and the attempt.

        It comes from the same bucket, by the same weights, and from no patient of the global batch where the sampler keeps patients apart; its key has
        the view `-1 - attempt`.

        Args:
            n: number of the batch.
            place: of the broken draw in this rank's batch.
            attempt: from 0; the next one where the stand-in is broken too.

        Raises:
            ValueError: when no other sample is left.
        """
        broken = self.batch_at(n)[place]
        seed, epoch, _, _ = broken.key
        generator = keyed_generator(broken.key, "stand-in")
        count = len(self.sample_ids)
        fits = np.arange(count) != broken.index
        times = generator.random(count)
        if self._weights is not None:
            # Exponential arrival times at the rate of the weights: their order is that of draws without replacement.
            fits &= self._weights > 0
            times = -np.log1p(-times) / np.where(self._weights > 0, self._weights, 1.0)
        if self._buckets is not None:
            fits &= self._buckets == self._buckets[broken.index]
        if self._patients is not None:
            drawn = [self._draw(i).index for i in range(n * self._global, (n + 1) * self._global)]
            others = [index for index in drawn if index != broken.index]
            fits &= ~np.isin(self._patients, self._patients[others])
        left = np.flatnonzero(fits)
        if attempt >= len(left):
            raise ValueError(f"no sample is left to stand in for {broken.key[2]} after {attempt} others")
        index = int(left[np.argsort(times[left], kind="stable")[attempt]])
        return Draw(index, (seed, epoch, self.sample_ids[index], -1 - attempt))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield batches from `position` on, without end."""
        while True:
            batch = self.batch_at(self.position)
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return `position`, and what must be equal for it to mean the same place."""
        return {"position": self.position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to `state["position"]`.

        Raises:
            ValueError: when the state is of another run: other seed, global batch, number of samples, weights or buckets.
        """
        for name, value in self._identity().items():
            if state.get(name, value) != value:
                raise ValueError(
                    f"sampler state was saved with {name}={state[name]}, this sampler has {value}; resume with the same settings"
                )
        if state["position"] < 0:
            raise ValueError(f"position must not be negative, got {state['position']}")
        self.position = int(state["position"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_orders": {}}

    @property
    def _global(self) -> int:
        return self.batch_size * self.world_size

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "global_batch_size": self._global,
            "samples": len(self.sample_ids),
            "shuffle": self.shuffle,
            "weights": _digest(self._weights),
            "buckets": _digest(self._buckets),
            "patients_apart": _digest(self._patients),
        }

    def _make_order(self) -> Order:
        if self._patients is not None:
            return Apart(self._patients, self._global, self.seed)
        count = len(self.sample_ids)
        draws = Plain(count, self.seed, shuffle=self.shuffle) if self._weights is None else Weighted(self._weights, self.seed)
        return draws if self._buckets is None else Bucketed(draws, self._buckets, self._global, self.seed, shuffle=self.shuffle)

    def _draw(self, i: int) -> Draw:
        epoch, place = divmod(i, self.draws_per_epoch)
        order, repeats = self._epoch(epoch)
        index = int(order[place])
        return Draw(index, (self.seed, epoch, self.sample_ids[index], 0 if repeats is None else int(repeats[place])))

    def _epoch(self, epoch: int) -> tuple[Indices, Indices | None]:
        if epoch not in self._orders:
            order = self._order.at(epoch)
            # A batch spans few epochs; more orders than these would only fill memory over a long run.
            while len(self._orders) >= 4:
                self._orders.pop(next(iter(self._orders)))
            self._orders[epoch] = order, None if self._weights is None else views(order)
        return self._orders[epoch]


def _checked_weights(weights: Sequence[float] | npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (count,):
        raise ValueError(f"weights must be one number for each of {count} samples, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any() or not array.any():
        raise ValueError("weights must be finite and not negative, and some above 0")
    return array


def _checked_buckets(buckets: Sequence[int] | npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    array = np.asarray(buckets)
    if array.shape != (count,) or array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(f"buckets must be one whole number >= 0 for each of {count} samples, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _patients(dataset: HasSampleIds, count: int) -> npt.NDArray[np.int64]:
    patients: Sequence[str] | None = getattr(dataset, "patients", None)
    if patients is None or len(patients) != count:
        raise ValueError("one_per_patient needs a dataset with `patients`, one for each sample")
    return codes(patients)


def _digest(array: npt.NDArray[Any] | None) -> str:
    return "" if array is None else hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
