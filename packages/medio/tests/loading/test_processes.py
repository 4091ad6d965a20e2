"""What becomes of workers: killed, orphaned, interrupted, hung or left alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from medio.errors import LoaderError, SampleError
from medio.loading.loader import BatchIterator, make_loader
from medio.loading.sampler import Draw, Sampler
from medio.loading.slots import SHARED_FOLDER

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the ring is for Linux")


METHODS = ["fork", pytest.param("spawn", marks=pytest.mark.slow)]


class Boxes:
    """Samples of a hundred kB; `act` is called in the worker before one is given."""

    def __init__(self, act: Any = None, count: int = 12) -> None:
        self.sample_ids = [f"s{i:02d}" for i in range(count)]
        self.act = act

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        if self.act is not None:
            self.act(draw)
        return {"image": np.full((1, 40, 40, 40), draw.index, np.int16), "key": draw.key}


def begin(dataset: Any, **options: Any) -> tuple[BatchIterator, Any]:
    iterator = iter(make_loader(dataset, Sampler(dataset, 2, 0, shuffle=False), **{"workers": 2, "transport": "ring", **options}))
    return iterator, iterator.batches


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not, but is still there: see `state`)."""
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Any, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        tick.wait(0.02)
    return True


def named_memory(*pids: int) -> set[str]:
    """Shared memory with a name that processes map: what a kill would leave in /dev/shm, whoever else works there."""
    lines = [line.split(maxsplit=5) for pid in (os.getpid(), *pids) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    paths = {line[5] for line in lines if len(line) == 6}
    return {path for path in paths if path.startswith(str(SHARED_FOLDER)) and not path.endswith("(deleted)")}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def kill_at_four(draw: Draw) -> None:
    if draw.index == 4:
        os.kill(os.getpid(), signal.SIGKILL)


def exit_at_four(draw: Draw) -> None:
    if draw.index == 4:
        raise SystemExit(3)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_worker_is_an_error_that_names_it_and_its_samples(method: str) -> None:
    iterator, batches = begin(Boxes(kill_at_four), workers=1, start_method=method)
    pids = batches.pids
    with pytest.raises(
        LoaderError, match=r"medio-loader-0 \(pid \d+\): was killed by SIGKILL .*want of memory.*batch 2 \(s04, s05\)"
    ) as caught:
        list(iterator)
    assert str(pids[0]) in str(caught.value)
    assert list(iterator) == []
    assert not any(map(alive, pids))


def test_a_worker_killed_from_outside_while_all_is_ready_is_noticed() -> None:
    iterator, batches = begin(Boxes())
    next(iterator)
    os.kill(batches.pids[1], signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(LoaderError, match=r"medio-loader-1 .*SIGKILL"):
        list(iterator)
    assert time.monotonic() - began < 10


def test_a_worker_that_exits_is_an_error_with_its_code() -> None:
    with pytest.raises(LoaderError, match=r"medio-loader-0 .*ended with exit code 3; in its hands: batch 2 \(s04, s05\)"):
        list(begin(Boxes(exit_at_four), workers=1)[0])


def test_the_dataloaders_killed_worker_names_the_batch_too() -> None:
    with pytest.raises(LoaderError, match=r"batch 2 \(s04, s05\): did not come"):
        list(begin(Boxes(kill_at_four), workers=1, transport="queue", prefetch=1)[0])


HANG = threading.Event()


def hang_at_four(draw: Draw) -> None:
    if draw.index == 4:
        HANG.wait(120)


@pytest.mark.parametrize("transport", ["ring", "threads"])
def test_a_batch_that_does_not_come_is_an_error_in_time(transport: str) -> None:
    HANG.clear()
    iterator, batches = begin(Boxes(hang_at_four), timeout=0.5, transport=transport)
    pids = batches.pids if transport == "ring" else ()
    with pytest.raises(LoaderError, match=r"batch 2 \(s04, s05\): did not come from .* within 0.5 s"):
        list(iterator)
    assert not any(map(alive, pids))
    HANG.set()


def test_no_process_and_no_shared_memory_is_left_however_a_loader_ends() -> None:
    before, mappings = named_memory(), open_files()
    loader = make_loader(Boxes(), Sampler(Boxes(), 2, 0), workers=2, transport="ring")
    closed, dropped, failed = iter(loader), iter(loader), begin(Boxes(exit_at_four))[0]
    pids = [pid for iterator in (closed, dropped, failed) for pid in iterator.batches.pids]
    for iterator in (closed, dropped):
        next(iterator)
    with pytest.raises(LoaderError):
        list(failed)
    assert named_memory(*closed.batches.pids, *dropped.batches.pids) == before
    loader.close()
    del closed, dropped, failed, loader, iterator
    assert not any(map(alive, pids))
    assert wait_until(lambda: open_files() <= mappings)


def test_a_loader_closes_at_once_while_a_later_one_runs() -> None:
    # The later one's workers were forked with copies of the first one's pipes.
    (first, one), (second, other) = begin(Boxes()), begin(Boxes())
    pids, later = one.pids, other.pids
    next(first)
    next(second)
    began = time.monotonic()
    first.close()
    assert time.monotonic() - began < 4
    assert not any(map(alive, pids))
    assert all(map(alive, later))
    assert next(second)["key"][0][2] == "s02"
    second.close()


def test_threads_end_with_their_loader() -> None:
    before = threading.active_count()
    iterator, _ = begin(Boxes(), transport="threads", workers=3)
    next(iterator)
    assert threading.active_count() == before + 3
    iterator.close()
    assert wait_until(lambda: threading.active_count() == before)


SCRIPT = """
import os, sys, signal, time
sys.path.insert(0, {folder!r})
from test_processes import Boxes, begin
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell inherits that it is ignored
    iterator, batches = begin(Boxes(), start_method={method!r})
    batch = next(iterator)
    print(*batches.pids, flush=True)
    {then}
"""


def run(tmp_path: Path, method: str, then: str) -> subprocess.Popen[str]:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), method=method, then=then))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("method", METHODS)
def test_workers_leave_when_their_parent_is_killed(tmp_path: Path, method: str) -> None:
    before = named_memory()
    with run(tmp_path, method, "time.sleep(60)") as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert named_memory(process.pid, *pids) == before
        assert any("memfd:medio-batch" in Path(f"/proc/{pid}/maps").read_text() for pid in pids)
        process.kill()
    assert wait_until(lambda: not any(map(running, pids)))


@pytest.mark.slow
def test_ctrl_c_ends_the_parent_and_its_workers_without_a_word_from_them(tmp_path: Path) -> None:
    with run(tmp_path, "fork", "[b for b in iterator]") as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert errors.count("KeyboardInterrupt") == 1
    assert "Traceback" in errors
    assert errors.count("Traceback") == 1
    assert wait_until(lambda: not any(map(running, pids)))


@pytest.mark.slow
def test_a_script_that_ends_in_mid_iteration_leaves_quietly(tmp_path: Path) -> None:
    then = "threads, _ = begin(Boxes(), transport='threads'); next(threads)"
    with run(tmp_path, "fork", then) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert not any(map(running, pids))


def test_a_parents_handler_of_sigterm_is_not_its_workers() -> None:
    seen: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        iterator, batches = begin(Boxes())
        next(iterator)
        os.kill(batches.pids[0], signal.SIGTERM)
        with pytest.raises(LoaderError, match="SIGTERM"):
            list(iterator)
    finally:
        signal.signal(signal.SIGTERM, old)
    assert seen == []


def threads_of_worker(draw: Draw) -> None:
    import torch

    if torch.get_num_threads() != 1:
        raise RuntimeError(f"{torch.get_num_threads()} threads")


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_computes_on_one_thread(method: str) -> None:
    iterator, _ = begin(Boxes(threads_of_worker), start_method=method, workers=1)
    next(iterator)
    iterator.close()


@pytest.mark.slow
def test_a_spawned_worker_does_without_torch_where_the_dataset_does(tmp_path: Path) -> None:
    script = tmp_path / "lean.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from medio import Sampler, make_loader\nfrom boxes import Lean\n"
        "if __name__ == '__main__':\n"
        "    data = Lean()\n"
        "    with make_loader(data, Sampler(data, 2, 0), workers=1, transport='ring', start_method='spawn') as loader:\n"
        "        print(next(iter(loader))['image'].shape)\n"
    )
    (tmp_path / "boxes.py").write_text(
        "import sys\nimport numpy as np\n"
        "class Lean:\n"
        "    sample_ids = ['a', 'b']\n"
        "    def __getitem__(self, draw):\n"
        "        assert 'torch' not in sys.modules\n"
        "        return {'image': np.zeros((1, 2, 2)), 'key': draw.key}\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert "torch.Size([2, 1, 2, 2])" in done.stdout


class Wordy:
    """Ids of 40 kB, and 300 kB of text a sample."""

    sample_ids: ClassVar = ["s" * 40_000 + str(i) for i in range(8)]

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        return {"image": np.zeros((1, 2, 2), np.int16), "key": draw.key, "meta": {"text": "x" * 300_000}}


def test_messages_larger_than_a_pipe_pass_in_both_directions() -> None:
    wordy = Wordy()
    with make_loader(wordy, Sampler(wordy, 4, 0), workers=2, transport="ring", prefetch=4, start_method="fork", timeout=60) as loader:
        iterator = iter(loader)
        for n in range(12):
            batch = next(iterator)
            assert batch["key"] == [d.key for d in loader.sampler.batch_at(n)]
            assert len(batch["meta"][3]["text"]) == 300_000


def test_a_loader_that_cannot_start_leaves_no_process() -> None:
    dataset = Boxes(lambda draw: None)  # a lambda cannot be pickled for a spawned worker
    with pytest.raises(Exception, match="pickle"):
        begin(dataset, start_method="spawn")


def out_of_place(draw: Draw) -> None:
    raise MemoryError("no room for a volume")


def test_want_of_memory_in_a_worker_names_the_sample() -> None:
    with pytest.raises(SampleError, match="s00: MemoryError: no room for a volume"):
        next(begin(Boxes(out_of_place))[0])


def running(pid: int) -> bool:
    """Whether a process that is no child of ours runs; what only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
