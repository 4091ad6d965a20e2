"""Batches made by worker processes, into shared memory that has no name; only small messages go through the pipes.

Each worker has a pipe of its own and no lock is shared, so a worker that is killed can block nobody: its pipe ends, and the caller is told at once.
A worker whose parent is gone sees the same end and leaves.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import select
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from mmap import mmap
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Any, NamedTuple

import numpy as np

from medio.errors import LoaderError
from medio.loading.batches import Finished, ids_of, late
from medio.loading.collation import lay_out, take_up, write
from medio.loading.making import Failure, Maker, SkippedSample
from medio.loading.sampler import Draw
from medio.loading.slots import Slots, nameless_file, rounded

_PULSE_S = 5.0
_PATIENCE_S = 5.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of malloc.h


class _Job(NamedTuple):
    number: int
    draws: list[Draw]
    slot: int
    dropped: list[int]


class _NewSlot(NamedTuple):
    slot: int
    size: int


class _Done(NamedTuple):
    number: int
    slot: int
    tree: Any
    nbytes: int
    skipped: list[SkippedSample]
    read_s: float
    write_s: float


class _Failed(NamedTuple):
    number: int
    failure: Failure


@dataclass
class _Worker:
    process: Any  # multiprocessing's process of the chosen start method
    pipe: "Connection[Any, Any]"
    pipe_end: int
    slots: Slots = field(default_factory=Slots)
    jobs: dict[int, list[Draw]] = field(default_factory=dict)


class ProcessBatches:
    """Batches made by processes.

    Args:
        maker: makes them, in the workers.
        first: number of the first batch.
        workers: processes.
        prefetch: batches ahead of the caller, per process.
        timeout: seconds to wait for one batch; None waits for ever.
        start_method: `fork`, `spawn` or None for the system's default.
    """

    def __init__(self, maker: Maker, first: int, workers: int, prefetch: int, timeout: float | None, start_method: str | None) -> None:
        self._sampler = maker.sampler
        self._prefetch = prefetch
        self._timeout = timeout
        self._send_next = first
        self._give_next = first
        self._ready: dict[int, tuple[_Worker, _Done] | Exception] = {}
        self._workers: list[_Worker] = []
        self._owner = os.getpid()
        self._poll = select.poll()
        context: Any = multiprocessing.get_context(start_method)
        forked = context.get_start_method() == "fork"
        try:
            for number in range(workers):
                ours, theirs = context.Pipe()
                # A forked worker inherits our ends; were they left open there, a worker could not see its parent's end.
                inherited = [worker.pipe for worker in self._workers] + [ours] if forked else []
                process = context.Process(target=_serve, args=(theirs, maker, inherited), name=f"medio-loader-{number}", daemon=True)
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours, ours.fileno()))
                for end in (ours.fileno(), process.sentinel):
                    self._poll.register(end, select.POLLIN)
        except BaseException:
            self.close()
            raise

    @property
    def ring_bytes(self) -> int:
        """Memory of the ring."""
        return sum(worker.slots.nbytes for worker in self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.process.pid for worker in self._workers)

    def __next__(self) -> Finished:
        """Wait for the next batch."""
        self._send()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while self._give_next not in self._ready:
            self._receive(deadline)
            self._send()
        got = self._ready.pop(self._give_next)
        if isinstance(got, Exception):
            raise got
        self._give_next += 1
        worker, done = got
        batch = take_up(done.tree, worker.slots.lease(done.slot))
        return Finished(batch, done.nbytes, self._sampler.batch_size, done.skipped, done.read_s, done.write_s)

    def close(self) -> None:
        """End the workers; each leaves when it is told or its pipe ends, and is killed if it does not."""
        workers, self._workers = self._workers, []
        if os.getpid() != self._owner:
            return  # a forked copy of the caller: the workers are not its own
        for worker in workers:
            # Said, not only shown by the pipe's end: another loader's forked workers may hold copies of that end.
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
            worker.pipe.close()
        for worker in workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()

    def _send(self) -> None:
        while self._send_next - self._give_next < self._prefetch * len(self._workers):
            worker = min(self._workers, key=lambda w: len(w.jobs))
            if len(worker.jobs) >= self._prefetch:
                return
            draws = self._sampler.batch_at(self._send_next)
            job = _Job(self._send_next, draws, worker.slots.take(), worker.slots.shed(self._prefetch))
            worker.jobs[job.number] = draws
            try:
                worker.pipe.send(job)
            except OSError:
                raise self._dead(worker) from None
            self._send_next += 1

    def _receive(self, deadline: float | None) -> None:
        """Take every message that is there; wait for one where there is none."""
        if not self._workers:
            raise LoaderError("loader", "it was closed")
        ready = self._poll.poll(None if deadline is None else max(0.0, 1e3 * (deadline - monotonic())))
        if not ready:
            number = self._give_next
            worker = next(w for w in self._workers if number in w.jobs)
            raise late(number, worker.jobs[number], self._timeout, f"{worker.process.name} (pid {worker.process.pid})")
        heard = [worker for worker in self._workers if any(end == worker.pipe_end for end, _ in ready)]
        for worker in heard:
            self._read(worker)
        for worker in self._workers:
            # What a dying worker still sent is read first; its pipe then ends.
            if worker not in heard and any(end == worker.process.sentinel for end, _ in ready):
                raise self._dead(worker)

    def _read(self, worker: _Worker) -> None:
        try:
            message = worker.pipe.recv()
            if isinstance(message, _NewSlot):
                worker.slots.adopt(message.slot, recv_handle(worker.pipe), message.size)
                return
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._dead(worker) from None
        worker.jobs.pop(message.number)
        if isinstance(message, _Failed):
            self._ready[message.number] = message.failure.error(f"{worker.process.name} (pid {worker.process.pid})")
        else:
            self._ready[message.number] = worker, message

    def _dead(self, worker: _Worker) -> LoaderError:
        worker.process.join(_PATIENCE_S)
        code = worker.process.exitcode
        how = f"ended with exit code {code}" if code is None or code >= 0 else f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += " (often the kernel for want of memory: see dmesg, use fewer workers, a smaller prefetch or batch)"
        doing = "; ".join(f"batch {number} ({ids_of(draws)})" for number, draws in worker.jobs.items()) or "nothing"
        return LoaderError(f"{worker.process.name} (pid {worker.process.pid})", f"{how}; in its hands: {doing}")


def _serve(pipe: "Connection[Any, Any]", maker: Maker, inherited: Sequence["Connection[Any, Any]"]) -> None:
    """Make batches until the pipe ends; runs in the worker."""
    for end in inherited:
        end.close()
    # Ctrl-C reaches the whole group: the parent decides. SIGTERM must end a worker whatever handler its parent had.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What came with the fork is not for this process to collect: walking through it would copy its pages.
    gc.freeze()
    settle()
    jobs: SimpleQueue[_Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    memory: dict[int, mmap] = {}
    while True:
        job = jobs.get()
        for slot in job.dropped:
            memory.pop(slot, None)
        try:
            answer: _Done | _Failed = _make(pipe, maker, job, memory)
        except Exception as error:  # noqa: BLE001 - it is raised where the batch is asked for
            answer = _Failed(job.number, Failure.of(error))
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception as error:  # noqa: BLE001 - as above: something in the batch cannot be pickled
            pipe.send(_Failed(job.number, Failure.of(TypeError(f"batch {job.number} ({ids_of(job.draws)}) cannot be sent: {error}"))))


def settle() -> None:
    """Make a process a worker: one thread, for the workers are the parallelism, and memory that stays with it from batch to batch."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    # glibc gives large arrays back to the system when they are freed and gets them again page by page: a fifth of the time of a batch of crops.
    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if change is not None:
        change(_M_MMAP_THRESHOLD, 32 << 20)
        change(_M_TRIM_THRESHOLD, 128 << 20)


def _listen(pipe: "Connection[Any, Any]", jobs: "SimpleQueue[_Job]") -> None:
    """Take jobs off the pipe at once, so that the parent never waits to send one, and leave when the parent is gone."""
    parent = os.getppid()
    try:
        while True:
            if pipe.poll(_PULSE_S):
                job = pipe.recv()
                if job is None:
                    break
                jobs.put(job)
            elif os.getppid() != parent:
                break
    except (EOFError, OSError):
        pass
    os._exit(0)


def _make(pipe: "Connection[Any, Any]", maker: Maker, job: _Job, memory: dict[int, mmap]) -> _Done:
    made = maker.make(job.number, job.draws)
    began = perf_counter()
    tree, writes, size = lay_out(made.tree)
    held = memory.get(job.slot)
    if held is None or len(held) < size:
        held = memory[job.slot] = _share(pipe, job.slot, rounded(size))
    write(writes, np.frombuffer(held, np.uint8))
    return _Done(job.number, job.slot, tree, size, made.skipped, made.read_s, perf_counter() - began)


def _share(pipe: "Connection[Any, Any]", slot: int, size: int) -> mmap:
    descriptor = nameless_file(size)
    try:
        pipe.send(_NewSlot(slot, size))
        send_handle(pipe, descriptor, os.getppid())
        return mmap(descriptor, size)
    finally:
        os.close(descriptor)
