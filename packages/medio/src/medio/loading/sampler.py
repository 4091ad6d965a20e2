"""Which sample comes when: a pure function of the seed, whatever the number of ranks and workers and wherever a run resumes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from medio.keyed import SampleKey, keyed_generator


class Draw(NamedTuple):
    """A sample of a dataset, and the key from which its random draws are made."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which a draw has no use for
    key: SampleKey


class HasSampleIds(Protocol):
    """What a sampler needs of a dataset."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """Ids in the order of the dataset."""
        ...


class Sampler:
    """Endless batches of draws; epochs run on into each other, so nothing is dropped and no batch is short.

    Draw number i of the run, over all ranks, is sample `permutation(seed, epoch)[i mod N]` of epoch `i // N`. Batch n of rank r takes draws
    n·G + r·batch_size onwards, with G = batch_size·world_size: for equal G the run sees the same samples in the same order for any world size.

    `position` is the number of the next batch that iteration yields. A DataLoader asks for batches ahead of the model, so `position` is not what
    a model has seen: a trainer keeps its own count of steps and restores it with `load_state_dict({"position": step})`, or reads `batch_at(step)`.

    Args:
        dataset: gives the sample ids.
        batch_size: samples per rank and batch.
        seed: of the whole run.
        rank: this process.
        world_size: number of processes.
        shuffle: draw a new order each epoch; otherwise the dataset's order.

    Raises:
        ValueError: for an empty dataset, or numbers that make no sense.
    """

    def __init__(
        self, dataset: HasSampleIds, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1, shuffle: bool = True
    ) -> None:
        if not len(dataset.sample_ids):
            raise ValueError("Sampler got a dataset without samples; check its split")
        if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"need batch_size >= 1 and 0 <= rank < world_size, got {batch_size}, rank {rank} of {world_size}")
        self.sample_ids = tuple(dataset.sample_ids)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.position = 0
        self._orders: dict[int, Sequence[int]] = {}

    @property
    def batches_per_epoch(self) -> int:
        """Batches after which every sample of an epoch has been drawn."""
        return -(-len(self.sample_ids) // (self.batch_size * self.world_size))

    def batch_at(self, n: int) -> list[Draw]:
        """Return this rank's batch number n (from 0); depends on nothing that was drawn before."""
        if n < 0:
            raise ValueError(f"batches count from 0, got {n}")
        first = (n * self.world_size + self.rank) * self.batch_size
        return [self._draw(i) for i in range(first, first + self.batch_size)]

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
            ValueError: when the state is of another run: other seed, global batch or number of samples.
        """
        for name, value in self._identity().items():
            if state.get(name, value) != value:
                raise ValueError(
                    f"sampler state was saved with {name}={state[name]}, this sampler has {value}; resume with the same settings"
                )
        if state["position"] < 0:
            raise ValueError(f"position must not be negative, got {state['position']}")
        self.position = int(state["position"])

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "global_batch_size": self.batch_size * self.world_size,
            "samples": len(self.sample_ids),
            "shuffle": self.shuffle,
        }

    def _draw(self, i: int) -> Draw:
        epoch, place = divmod(i, len(self.sample_ids))
        index = int(self._order(epoch)[place])
        return Draw(index, (self.seed, epoch, self.sample_ids[index], 0))

    def _order(self, epoch: int) -> Sequence[int]:
        if epoch not in self._orders:
            count = len(self.sample_ids)
            order = keyed_generator((self.seed, epoch, "", 0), "permutation").permutation(count).tolist() if self.shuffle else range(count)
            # A batch spans few epochs; more orders than these would only fill memory over a long run.
            while len(self._orders) >= 4:
                self._orders.pop(next(iter(self._orders)))
            self._orders[epoch] = order
        return self._orders[epoch]
