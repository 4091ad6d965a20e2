"""One batch from its draws: read, replace what is broken if that is wished, arrange. The same in any process or thread."""

import copy
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol

from medio.errors import LoaderError, MedioError, SampleError
from medio.loading.collation import Ragged, Sample, arrange, leaves_of
from medio.loading.sampler import Draw, HasSampleIds, Sampler

OnError = Literal["raise", "skip"]

_ATTEMPTS = 16


class LoadableDataset(HasSampleIds, Protocol):
    """What a loader needs of a dataset; `ShardDataset` and `DicomDataset` are such."""

    def __getitem__(self, draw: Draw, /) -> Any:
        """Give one sample, cut and altered by nothing but the draw's key."""
        ...


@dataclass(frozen=True)
class SkippedSample:
    """A sample that could not be read and whose place another took.

    Attributes:
        sample_id: whose.
        reason: why.
        batch: number of the batch.
        stand_in: the sample that took its place.
    """

    sample_id: str
    reason: str
    batch: int
    stand_in: str


class Failure(NamedTuple):
    """An error on its way between processes: its own text, and that of its traceback, for the traceback itself cannot travel."""

    kind: str
    path: str
    reason: str
    trace: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Take down an error."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, MedioError):
            return cls(type(error).__name__, error.path, error.reason, trace)
        return cls("ValueError", "", str(error), trace)

    def error(self, where: str) -> Exception:
        """Make the error again, with the first traceback as a note."""
        kinds = {kind.__name__: kind for kind in (SampleError, LoaderError)}
        error = kinds[self.kind](self.path, self.reason) if self.kind in kinds else ValueError(self.reason)
        error.add_note(f"in {where}:\n{self.trace}")
        return error


@dataclass
class Made:
    """A batch before it is written: its tree of leaves, what was skipped, and seconds of reading."""

    tree: Any
    skipped: list[SkippedSample] = field(default_factory=list)
    read_s: float = 0.0


@dataclass
class Maker:
    """Makes batches.

    Attributes:
        dataset: gives the samples.
        sampler: says what stands in for a broken sample.
        collate: the caller's own, or None for `medio.collate`.
        ragged: see `medio.collate`.
        on_error: `raise`, or `skip` to put another in a broken sample's place.
    """

    dataset: LoadableDataset
    sampler: Sampler
    collate: Callable[[Sequence[Sample]], Any] | None = None
    ragged: Ragged = "error"
    on_error: OnError = "raise"

    def __getstate__(self) -> dict[str, Any]:
        """For a spawned worker: it needs the sampler for stand-ins alone, and has the ids in its dataset."""
        sampler = None
        if self.on_error == "skip":
            sampler = copy.copy(self.sampler)
            sampler.sample_ids = ()
        return {**self.__dict__, "sampler": sampler}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give the sampler its ids again."""
        self.__dict__.update(state)
        if state["sampler"] is not None:
            self.sampler.sample_ids = self.dataset.sample_ids

    def make(self, number: int, draws: Sequence[Draw]) -> Made:
        """Make batch `number`.

        Raises:
            SampleError: when a sample cannot be read or transformed, or `collate` fails.
            ValueError: when samples do not fit together.
        """
        skipped: list[SkippedSample] = []
        began = perf_counter()
        samples = [self._sample(number, place, draw, skipped) for place, draw in enumerate(draws)]
        read_s = perf_counter() - began
        if self.collate is None:
            return Made(arrange(samples, self.ragged), skipped, read_s)
        try:
            batch = self.collate(samples)
        except Exception as error:
            ids = ", ".join(draw.key[2] for draw in draws[:8])
            raise SampleError(f"batch {number} ({ids})", f"collate failed: {type(error).__name__}: {error}") from error
        return Made(leaves_of(batch), skipped, read_s)

    def _sample(self, number: int, place: int, draw: Draw, skipped: list[SkippedSample]) -> Sample:
        try:
            return self._read(draw)
        except SampleError as error:
            if self.on_error == "raise":
                raise
            last = error
        broken = [last]
        for attempt in range(_ATTEMPTS):
            try:
                stand_in = self.sampler.stand_in(number, place, attempt)
            except ValueError as error:
                raise SampleError(last.path, f"{last.reason}; and {error}") from last
            try:
                sample = self._read(stand_in)
            except SampleError as error:
                broken.append(error)
                continue
            skipped += [SkippedSample(e.path, e.reason, number, stand_in.key[2]) for e in broken]
            return sample
        raise SampleError(
            last.path, f"{last.reason}; {_ATTEMPTS} stand-ins failed too, the last: {broken[-1]}; look at the dataset's files"
        ) from last

    def _read(self, draw: Draw) -> Sample:
        try:
            sample: Sample = self.dataset[draw]
        except SampleError:
            raise
        except Exception as error:
            raise SampleError(draw.key[2], f"{type(error).__name__}: {error}") from error
        return sample
