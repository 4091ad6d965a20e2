"""How a loader does: whether the trainer waits for data, and for what."""

from dataclasses import dataclass, field
from time import perf_counter

_STALL_S = 0.001


@dataclass
class LoaderStats:
    """Counters of one loader, over all its iterations.

    Attributes:
        workers: processes or threads that read.
        batches: handed out.
        samples: in them.
        bytes: of their arrays.
        wait_s: seconds in which the caller waited for a batch.
        stalls: batches that were waited for longer than a millisecond.
        read_s: seconds of reading, decoding and transforming, summed over workers.
        write_s: seconds of writing into the batches' memory, summed over workers.
        ring_bytes: memory of the ring at present.
        skipped: broken samples whose places others took.
        first: clock at the first request, in seconds; None before it.
        last: clock when the last batch was handed out.
    """

    workers: int = 0
    batches: int = 0
    samples: int = 0
    bytes: int = 0
    wait_s: float = 0.0
    stalls: int = 0
    read_s: float = 0.0
    write_s: float = 0.0
    ring_bytes: int = 0
    skipped: int = 0
    first: float | None = field(default=None, repr=False)
    last: float = field(default=0.0, repr=False)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first request to the last batch."""
        return 0.0 if self.first is None else self.last - self.first

    @property
    def wait_share(self) -> float:
        """Share of the time that the caller waited, 0 to 1; near 0 where the data keep up."""
        return self.wait_s / self.elapsed_s if self.elapsed_s else 0.0

    def handed_out(self, began: float, samples: int) -> None:
        """Count a batch that was asked for at clock `began`."""
        self.last = perf_counter()
        if self.first is None:
            self.first = began
        self.batches += 1
        self.samples += samples
        self.wait_s += self.last - began
        self.stalls += self.last - began > _STALL_S

    def summary(self) -> str:
        """Say it in a line, with the mend where the caller waits much."""
        if not self.batches:
            return "no batch was asked for yet"
        elapsed = max(self.elapsed_s, 1e-9)
        text = (
            f"{self.batches} batches ({self.samples} samples, {self.bytes / 1e6:.0f} MB) in {elapsed:.1f} s, {self.samples / elapsed:.1f} samples/s; "
            f"waited {self.wait_s:.1f} s ({100 * self.wait_share:.0f} %) in {self.stalls} batches; "
            f"read {self.read_s:.1f} s and wrote {self.write_s:.1f} s in {self.workers or 'no'} workers; ring {self.ring_bytes / 1e6:.0f} MB"
        )
        if self.skipped:
            text += f"; {self.skipped} broken samples replaced"
        if self.workers and self.wait_share > 0.1:
            busy = (self.read_s + self.write_s) / (elapsed * self.workers)
            text += "; workers are busy: add workers or make reading cheaper" if busy > 0.7 else "; workers idle at times: raise prefetch"
        return text
